#include "cli/lib/stream.h"

#include "base/arena.h"
#include "cli/lib/call.h"
#include "cli/lib/print.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RECONNECTS_MAX 1000

struct follow {
    const struct request *request;
    struct buf line;
    char cursor[512];
    bool is_news;           /* not the stream's own "ready", which only says where it begins */
    int64_t left;           /* --limit: events still wanted; -1: no limit */
    bool heard;
};

static void on_line(struct follow *follow, struct str line)
{
    if (str_starts(line, "id:")) {
        struct str id = str_trim((struct str){ line.data + 3, line.len - 3 });

        snprintf(follow->cursor, sizeof follow->cursor, "%.*s", STR_FMT(id));
    }
    if (str_starts(line, "event:"))
        follow->is_news = !str_is(str_trim((struct str){ line.data + 6, line.len - 6 }), "ready");
    if (str_starts(line, "data:") && follow->is_news) {
        table_print_event(str_trim((struct str){ line.data + 5, line.len - 5 }), &follow->request->table);
        follow->heard = true;
        if (follow->left > 0)
            follow->left--;
    }
}

static int on_piece(void *arg, struct str piece)
{
    struct follow *follow = arg;

    for (size_t i = 0; i < piece.len && follow->left != 0; i++) {
        if (piece.data[i] != '\n') {
            buf_putc(&follow->line, piece.data[i]);
            continue;
        }
        on_line(follow, buf_slice(&follow->line));
        buf_clear(&follow->line);
    }
    return follow->left == 0;
}

int stream_follow(struct arena *arena, const struct request *request, const struct target *target)
{
    struct follow follow = { .request = request, .is_news = true, .left = request->limit ? request->limit : -1 };
    struct timespec pause = { 0, 250000000 };
    int status = 0;

    buf_init(&follow.line, LIMIT_ANSWER_BYTES);
    for (int tries = 0; tries < RECONNECTS_MAX && follow.left; tries++) {
        struct hub_call call = {
            .url = target->url, .socket = target->socket, .key = target->key, .tenant = target->tenant,
            .method = HTTP_GET, .path = request_path(arena, request, follow.cursor[0] ? follow.cursor : NULL, 0),
            .each = on_piece, .arg = &follow,
        };
        struct hub_answer answer;
        struct err err = { 0 };

        follow.heard = false;
        status = hub_call(&call, &answer, &err) ? -1 : 0;
        if (!status && answer.status >= 400) {
            status = call_problem(&answer);
            buf_fini(&answer.body);
            break;
        }
        buf_fini(&answer.body);
        if (follow.left == 0)
            break;
        if (status && tries == 0) {
            status = print_failure(&err);
            break;
        }
        if (follow.heard)
            pause = (struct timespec){ 0, 250000000 };
        else if (pause.tv_sec < 8)
            pause = (struct timespec){ pause.tv_sec * 2 + 1, 0 };
        fputs("message-hub: the stream ended; trying again\n", stderr);
        nanosleep(&pause, NULL);
    }
    buf_fini(&follow.line);
    return status < 0 ? 1 : status;
}

#include "cli/lib/remote.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/print.h"
#include "cli/lib/request.h"
#include "cli/lib/stream.h"
#include "net/client_hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VERBS_MAX 256

const struct op *remote_next(struct verb_position *position)
{
    for (; op_tables[position->table]; position->table++, position->row = 0)
        while (position->row < op_tables[position->table]->count) {
            const struct op *op = &op_tables[position->table]->ops[position->row++];

            if (op->cli && !(op->flags & OP_ALIAS))
                return op;
        }
    return NULL;
}

/* How many words of argv the verb takes; 0 when it is another one. */
static int words_matched(const char *verb, int argc, char **argv)
{
    struct str rest = str_c(verb), word;
    int count = 0;

    while (str_split(&rest, ' ', &word)) {
        if (count >= argc || !str_is(word, argv[count]))
            return 0;
        count++;
    }
    return count;
}

const struct op *remote_find(int argc, char **argv, int *words)
{
    struct verb_position position = { 0 };
    const struct op *op, *best = NULL;

    *words = 0;
    while ((op = remote_next(&position))) {
        int count = words_matched(op->cli, argc, argv);

        if (count > *words) {
            best = op;
            *words = count;
        }
    }
    return best;
}

static int problem(const struct hub_answer *answer)
{
    struct arena *arena = arena_new(0);
    const struct json *json = json_parse_lenient(arena, buf_slice(&answer->body), NULL);
    struct str code = json_text(json_get(json, "code"));
    struct err err = { 0 };
    int status;

    err_set(&err, ERR_INTERNAL, "The hub answered %d.", answer->status);
    for (enum err_code known = ERR_NONE; known < ERR_CODES; known++)
        if (str_is(code, err_word(known)) || (!code.data && known && err_status(known) == answer->status))
            err.code = known;
    if (json_text(json_get(json, "detail")).len)
        snprintf(err.detail, sizeof err.detail, "%s", str_printable(arena, json_text(json_get(json, "detail")), true));
    if (json_text(json_get(json, "hint")).len)
        snprintf(err.hint, sizeof err.hint, "%s", str_printable(arena, json_text(json_get(json, "hint")), true));
    if (err.code == ERR_UNAUTHENTICATED && !err.hint[0])
        err_hint(&err, "Give a key: message-hub config set key mh_...");
    status = print_failure(&err);
    arena_free(arena);
    return status;
}

static int call_once(struct arena *arena, const struct request *request, const struct target *target, const char *cursor,
                     struct hub_answer *answer)
{
    int64_t page = request->limit > LIMIT_PAGE_MAX ? LIMIT_PAGE_MAX : 0;
    struct hub_call call = {
        .url = target->url, .socket = target->socket, .key = target->key, .tenant = target->tenant,
        .method = request->op->method, .path = request_path(arena, request, cursor, page),
        .body = request_body(arena, request), .idempotency_key = request->idempotency_key,
        .timeout_ms = request->timeout_ms,
    };
    struct err err = { 0 };

    if (hub_call(&call, answer, &err)) {
        buf_fini(&answer->body);
        return print_failure(&err);
    }
    if (answer->status >= 400) {
        int status = problem(answer);

        buf_fini(&answer->body);
        return status;
    }
    return 0;
}

/* A list: pages are followed up to --limit. */
static int run_list(struct arena *arena, const struct request *request, const struct target *target)
{
    const char *cursor = NULL;
    int64_t left = request->limit;

    do {
        struct hub_answer answer;
        const struct json *json;
        int status = call_once(arena, request, target, cursor, &answer);

        if (status)
            return status;
        json = json_parse_lenient(arena, buf_slice(&answer.body), NULL);
        buf_fini(&answer.body);
        table_print_list(json_get(json, "items"), &request->table);
        left -= (int64_t)json_count(json_get(json, "items"));
        cursor = str_dup(arena, json_text(json_get(json, "next")));
    } while (cursor && left > 0 && request->limit > LIMIT_PAGE_MAX);
    return 0;
}

static int run_one(struct arena *arena, const struct request *request, const struct target *target)
{
    struct hub_answer answer;
    const struct json *json;
    int status = call_once(arena, request, target, NULL, &answer);

    if (status)
        return status;
    json = json_parse_lenient(arena, buf_slice(&answer.body), NULL);
    if (json)
        table_print_object(json, &request->table);
    else if (answer.body.len)
        fwrite(answer.body.data, 1, answer.body.len, stdout);
    else if (!request->quiet)
        fputs("Done.\n", stderr);
    buf_fini(&answer.body);
    return 0;
}

/* --stdin: one call per line; exit code 6 when some of them failed. */
static int run_lines(struct arena *arena, int argc, char **argv, const struct request *first, const struct target *target)
{
    char line[4096];
    int done = 0, failed = 0, status = 0;

    while (fgets(line, sizeof line, stdin)) {
        struct request request;
        struct err err = { 0 };
        char **words = arena_array(arena, (size_t)argc + 2, sizeof *words);

        line[strcspn(line, "\r\n\t")] = '\0';
        if (!line[0])
            continue;
        words[0] = line;
        memcpy(words + 1, argv, (size_t)argc * sizeof *words);
        if (request_read(arena, first->op, argc + 1, words, &request, &err))
            status = print_failure(&err);
        else
            status = run_one(arena, &request, target);
        done += status == 0;
        failed += status != 0;
    }
    fprintf(stderr, "%d done, %d failed\n", done, failed);
    return failed == 0 ? 0 : done ? 6 : status;
}

static int run_verb(const struct op *op, int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct request request;
    struct target target;
    struct err err = { 0 };
    int status = 0;

    if (request_read(arena, op, argc, argv, &request, &err) || target_find(arena, &request.target, &target, &err))
        status = print_failure(&err);
    else if (request.help)
        remote_help(op);
    else if (op->flags & OP_STREAM)
        status = stream_follow(arena, &request, &target);
    else if (request.from_stdin)
        status = run_lines(arena, argc, argv, &request, &target);
    else if (op->flags & OP_LIST)
        status = run_list(arena, &request, &target);
    else
        status = run_one(arena, &request, &target);
    arena_free(arena);
    return status;
}

static int unknown_verb(const char *word)
{
    const char *names[VERBS_MAX + 1] = { 0 };
    struct verb_position position = { 0 };
    struct err err = { 0 };
    const struct op *op;
    const char *nearest;
    size_t count = 0;

    for (const struct command *const *command = commands; *command && count < VERBS_MAX; command++)
        names[count++] = (*command)->name;
    while ((op = remote_next(&position)) && count < VERBS_MAX)
        names[count++] = op->cli;
    nearest = field_nearest(word, names);
    err_set(&err, ERR_INVALID, "There is no command \"%s\".", word);
    err_hint(&err, nearest ? "Did you mean \"message-hub %s\"?" : "`message-hub help` lists all commands.%s",
             nearest ? nearest : "");
    return print_failure(&err);
}

int remote_main(int argc, char **argv)
{
    int words;
    const struct op *op = remote_find(argc, argv, &words);
    struct arena *arena;
    const char *joined, *plugin;

    if (op)
        return run_verb(op, argc - words, argv + words);
    arena = arena_new(0);
    plugin = arena_printf(arena, "message-hub-%s", argv[0]);
    joined = argc > 1 && argv[1][0] != '-' ? arena_printf(arena, "%s %s", argv[0], argv[1]) : argv[0];
    if (!strchr(argv[0], '/') && argv[0][0] != '-') {
        argv[0] = arena_strdup(arena, plugin);
        execvp(plugin, argv);
    }
    words = unknown_verb(joined);
    arena_free(arena);
    return words;
}

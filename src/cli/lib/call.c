#include "cli/lib/call.h"

#include "base/arena.h"
#include "base/clock.h"
#include "cli/lib/flags.h"
#include "cli/lib/print.h"
#include "cli/lib/upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int call_problem(const struct hub_answer *answer)
{
    struct arena *arena = arena_new(0);
    const struct json *json = json_parse_lenient(arena, buf_slice(&answer->body), NULL);
    struct str code = json_text(json_get(json, "code")), detail = json_text(json_get(json, "detail"));
    struct str hint = json_text(json_get(json, "hint"));
    struct err err = { 0 };
    int status;

    err_set(&err, ERR_INTERNAL, "The hub answered %d.", answer->status);
    for (enum err_code known = ERR_NONE + 1; known < ERR_CODES; known++)
        if (code.data ? str_is(code, err_word(known)) : err_status(known) == answer->status) {
            err.code = known;
            break;
        }
    if (detail.len)
        snprintf(err.detail, sizeof err.detail, "%s", str_printable(arena, detail, true));
    if (hint.len)
        err_hint(&err, "%s", str_printable(arena, hint, true));
    else
        err_hint(&err, "Is this the address of a hub? `message-hub ready` tells how it is.");
    if (err.code == ERR_UNAUTHENTICATED)
        err_hint(&err, "Store a key of this hub: message-hub config set key mh_... (or MESSAGE_HUB_KEY, or --key).");
    status = print_failure(&err);
    arena_free(arena);
    return status;
}

static void tell(const struct hub_call *call, const struct hub_answer *answer, int64_t since_us)
{
    fprintf(stderr, "%s %s%s %s: %d, %zu bytes, %.1f ms\n", http_method_name(call->method),
            call->socket ? call->socket : call->url, call->path, call->body.data ? call->body.data : "", answer->status,
            answer->body.len, (double)(clock_mono_us() - since_us) / 1000);
}

/* 0 with the answer in `answer` (buf_fini it), else the exit code. */
static int call_once(struct arena *arena, const struct request *request, const struct target *target,
                     const char *path, struct hub_answer *answer)
{
    struct hub_call call = {
        .url = target->url, .socket = target->socket, .key = target->key, .tenant = target->tenant,
        .method = request->op->method, .path = path, .body = request_body(arena, request),
        .idempotency_key = request->idempotency_key, .timeout_ms = request->timeout_ms,
    };
    int64_t start_us = clock_mono_us();
    struct err err = { 0 };
    int status = 0;

    if (hub_call(&call, answer, &err)) {
        buf_fini(&answer->body);
        return print_failure(&err);
    }
    if (request->verbose)
        tell(&call, answer, start_us);
    if (answer->status >= 400) {
        status = call_problem(answer);
        buf_fini(&answer->body);
    }
    return status;
}

/* Where the next page begins, or NULL after the last. Some lists always tell where to go on later, and say apart
 * whether there is more now. */
static const char *next_page(struct arena *arena, const struct json *json)
{
    const struct json *more = json_get(json, "has_more");

    if (json_kind(more) == JSON_KIND_BOOL && !json_bool(more, false))
        return NULL;
    return str_dup(arena, json_text(json_get(json, "next")));
}

/* A cursor that goes on by itself stands at its own time and wants no other beside it. */
static void forget_since(struct request *request, const struct json *json)
{
    const struct field *since = flags_field(request->op, STR("since"));

    if (since && json_get(json, "has_more"))
        request->in.values[since - request->op->fields].field = NULL;
}

static int run_list(struct arena *arena, struct request *request, const struct target *target)
{
    int64_t left = request->limit ? request->limit : LIMIT_PAGE_DEFAULT;
    struct table *table = NULL;
    const char *cursor = NULL;

    do {
        struct arena *page = arena_new(0);
        int64_t wanted = !request->limit && !cursor ? 0 : left < LIMIT_PAGE_MAX ? left : LIMIT_PAGE_MAX;
        const char *path = request_path(page, request, cursor, wanted);
        struct hub_answer answer;
        const struct json *json;
        int status = call_once(page, request, target, path, &answer);

        if (status) {
            arena_free(page);
            return status;
        }
        json = json_parse_lenient(page, buf_slice(&answer.body), NULL);
        buf_fini(&answer.body);
        table = table ? table : table_open(arena, &request->table);
        table_items(table, json_get(json, "items"));
        left -= (int64_t)json_count(json_get(json, "items"));
        cursor = next_page(arena, json);
        forget_since(request, json);
        arena_free(page);
    } while (cursor && left > 0);
    table_close(table);
    return 0;
}

static int run_one(struct arena *arena, const struct request *request, const struct target *target)
{
    const char *path = request_path(arena, request, NULL, 0);
    struct table_options table = request->table;
    struct hub_answer answer;
    const struct json *json;
    int status = call_once(arena, request, target, path, &answer);

    if (status)
        return status;
    json = json_parse_lenient(arena, buf_slice(&answer.body), NULL);
    if (request->op->method == HTTP_GET)
        table.columns = NULL;       /* asked for one thing, one wants to see all of it */
    if (json && !request->quiet)
        table_print_object(json, &table);
    else if (answer.body.len && !request->quiet)
        fwrite(answer.body.data, 1, answer.body.len, stdout);
    else if (!request->quiet)
        fputs("Done.\n", stderr);
    buf_fini(&answer.body);
    return 0;
}

static int run_dry(struct arena *arena, const struct request *request)
{
    struct str body = request_body(arena, request);

    printf("%s %s%s%.*s\n", http_method_name(request->op->method), request_path(arena, request, NULL, 0),
           body.data ? " " : "", STR_FMT(body));
    return 0;
}

static int run_single(struct arena *arena, struct request *request, const struct target *target)
{
    int status = request->dry_run ? 0 : upload_attached(arena, request, target);

    if (request->dry_run || status)
        return status ? status : run_dry(arena, request);
    return request->op->flags & OP_LIST ? run_list(arena, request, target) : run_one(arena, request, target);
}

static int count_up(int done, int failed, int status)
{
    fprintf(stderr, "%d done, %d failed\n", done, failed);
    return !failed ? 0 : done ? 6 : status;
}

int call_run(struct arena *arena, struct request *request, const struct target *target)
{
    struct str name = request_positional(request->op, 0);
    int status = run_single(arena, request, target), last = status, failed = status != 0;
    struct value *value;

    if (!request->more.count)
        return status;
    value = (struct value *)field_get(&request->in, str_dup(arena, name));
    for (int i = 0; i < request->more.count; i++) {
        value->text = str_c(request->more.words[i]);
        status = run_single(arena, request, target);
        failed += status != 0;
        last = status ? status : last;
    }
    return count_up(request->more.count + 1 - failed, failed, last);
}

int call_lines(struct arena *arena, const struct request *first, const struct config_words *words,
               const struct target *target)
{
    struct config_words all = { arena_array(arena, (size_t)words->count + 2, sizeof *all.words), 1 };
    int done = 0, failed = 0, status, last = 0;
    char *line = NULL;
    size_t room = 0;

    for (int i = 0; i < words->count; i++)
        if (strcmp(words->words[i], "--stdin") != 0)
            all.words[all.count++] = words->words[i];
    for (int number = 1; getline(&line, &room, stdin) >= 0; number++) {
        struct arena *page = arena_new(0);
        struct request request;
        struct err err = { 0 };

        line[strcspn(line, "\r\n\t")] = '\0';
        all.words[0] = line;
        status = 0;
        if (line[0] == '-') {
            err_set(&err, ERR_INVALID, "Line %d, \"%s\", is no argument of `%s`.", number, line, first->op->cli);
            err_hint(&err, "Each line begins with what would be the first argument.");
            status = print_failure(&err);
        } else if (line[0] && request_read(page, first->op, &all, &request, &err)) {
            status = print_failure(&err);
        } else if (line[0]) {
            /* each line is a call of its own, and the same lines again are the same calls */
            if (request.idempotency_key)
                request.idempotency_key = arena_printf(page, "%s-%d", request.idempotency_key, number);
            status = run_single(page, &request, target);
        }
        done += line[0] && !status;
        failed += status != 0;
        last = status ? status : last;
        arena_free(page);
    }
    free(line);
    return count_up(done, failed, last);
}

/* ask.h - questions to the hub of world.h, and what their answers must be. */
#pragma once

#include "world.h"

static inline void world_must(const char *sql)
{
    struct err err = { 0 };

    if (db_write(world.hub.db, world_sql, (void *)(uintptr_t)sql, &err))
        fail_msg("%s: %s", sql, err.detail);
}

static inline int64_t world_number(const char *sql)
{
    struct err err = { 0 };
    struct db_session *session = db_read(world.hub.db, 0, &err);
    int64_t value = -1;

    if (!session || db_query_int(session, sql, DB_NO_ARGS, -1, &value, &err))
        fail_msg("%s: %s", sql, err.detail);
    db_read_end(session);
    return value;
}

/* "GET /livez"; key and body may be NULL; `headers` are further lines, each ended by \r\n, or NULL. */
static inline struct answer *ask_with(const char *what, const char *key, const char *body, const char *headers)
{
    struct peer *peer = dial(world.server);
    struct answer *answer;
    char head[4096];
    size_t len = body ? strlen(body) : 0;

    snprintf(head, sizeof head, "%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s%s%s%s", what, http_port(world.server),
             key ? "Authorization: Bearer " : "", key ? key : "", key ? "\r\n" : "", headers ? headers : "",
             body ? "Content-Type: application/json\r\n" : "");
    say(peer, head);
    snprintf(head, sizeof head, "Content-Length: %zu\r\nConnection: close\r\n\r\n", len);
    say(peer, head);
    if (body)
        say_bytes(peer, body, len);
    answer = hear(peer, !strncmp(what, "HEAD", 4));
    hang_up(peer);
    return answer;
}

static inline struct answer *ask(const char *what, const char *key, const char *body)
{
    return ask_with(what, key, body, NULL);
}

/* The answer's JSON, in world.arena. */
static inline const struct json *json_of(const struct answer *answer)
{
    struct err err = { 0 };
    const struct json *json = json_parse(world.arena, (struct str){ answer->body, answer->len }, &err);

    if (!json)
        fail_msg("%s in: %.*s", err.detail, (int)answer->len, answer->body);
    return json;
}

static inline const char *text_of(const struct json *json, const char *path)
{
    return str_dup(world.arena, json_text(json_at(json, path)));
}

/* An answer that must have this status, as JSON. */
static inline const struct json *must_ask(int status, const char *what, const char *key, const char *body)
{
    struct answer *answer = ask(what, key, body);

    if (answer->status != status)
        fail_msg("%s: %d instead of %d: %.*s", what, answer->status, status, (int)answer->len, answer->body);
    return answer->len ? json_of(answer) : NULL;
}

/* A refusal: its status and code, with a hint. */
static inline void must_refuse(int status, const char *code, const char *what, const char *key, const char *body)
{
    const struct json *problem = must_ask(status, what, key, body);

    assert_string_equal(text_of(problem, "code"), code);
    assert_non_null(text_of(problem, "detail"));
    assert_non_null(text_of(problem, "request_id"));
}

/* The format with the id in it, in world.arena. */
static inline const char *path_of(const char *format, const char *id)
{
    struct str rest, head;
    const char *mark = strstr(format, "%s");

    assert_non_null(mark);
    head = (struct str){ format, (size_t)(mark - format) };
    rest = str_c(mark + 2);
    return arena_printf(world.arena, "%.*s%s%.*s", STR_FMT(head), id, STR_FMT(rest));
}

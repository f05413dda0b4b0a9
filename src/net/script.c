#include "net/script_inside.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

struct step {
    struct script_step given;
    int used;
    struct step *next;
};

struct asked {
    struct exchange_request request;
    struct asked *next;
};

static bool fits(const struct step *step, const struct exchange_request *request)
{
    const struct script_step *given = &step->given;
    size_t length = strlen(given->url);

    if (given->method != request->method || (given->times >= 0 && step->used >= (given->times ? given->times : 1)))
        return false;
    if (length > 0 && given->url[length - 1] == '*')
        return strncmp(request->url, given->url, length - 1) == 0;
    return strcmp(request->url, given->url) == 0;
}

static void record(struct script *script, const struct exchange_request *request)
{
    struct asked *asked = arena_alloc(script->arena, sizeof *asked);
    struct http_header *headers = arena_array(script->arena, request->header_count, sizeof *headers);

    asked->request = *request;
    asked->request.url = arena_strdup(script->arena, request->url);
    asked->request.headers = headers;
    for (size_t i = 0; i < request->header_count; i++) {
        headers[i].name.data = str_dup(script->arena, request->headers[i].name);
        headers[i].name.len = request->headers[i].name.len;
        headers[i].value.data = str_dup(script->arena, request->headers[i].value);
        headers[i].value.len = request->headers[i].value.len;
    }
    asked->request.body.data = str_dup(script->arena, request->body);
    *script->last_asked = asked;
    script->last_asked = &asked->next;
    script->asked_count++;
}

static void answer(struct arena *arena, const struct script_step *step, size_t max, struct exchange_reply *reply)
{
    struct str rest = str_c(arena_strdup(arena, step->headers)), line, name;

    reply->headers = arena_array(arena, LIMIT_HEADER_COUNT, sizeof *reply->headers);
    while (reply->header_count < LIMIT_HEADER_COUNT && str_split(&rest, '\n', &line)) {
        struct http_header *header = &reply->headers[reply->header_count];

        if (!str_split(&line, ':', &name) || !line.data)
            continue;
        header->name = str_trim(name);
        header->value = str_trim(line);
        reply->header_count++;
    }
    reply->body = str_c(arena_strdup(arena, step->body ? step->body : ""));
    if (reply->body.len > max) {
        *reply = (struct exchange_reply){ .end = EXCHANGE_UNKNOWN };
        err_set(&reply->err, ERR_TOO_LARGE, "The request was sent, but its answer is larger than what is read of one.");
        return;
    }
    reply->end = EXCHANGE_ANSWERED;
    reply->status = step->status;
    reply->retry_after_s = exchange_retry_after_s(exchange_header(reply, "Retry-After"), clock_ms());
}

static void play(struct arena *arena, const struct script_step *step, const struct exchange_request *request,
                 struct exchange_reply *reply)
{
    int timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : LIMIT_SEND_MS;

    reply->end = step->end;
    if (step->end == EXCHANGE_NOT_SENT) {
        err_set(&reply->err, ERR_UNAVAILABLE, "The other side refused the connection or cannot be reached.");
    } else if (step->after_ms > timeout_ms) {
        reply->end = EXCHANGE_UNKNOWN;
        err_set(&reply->err, ERR_TIMEOUT, "The request was sent, but no complete answer came in time.");
    } else if (step->end == EXCHANGE_UNKNOWN) {
        err_set(&reply->err, ERR_UNAVAILABLE, "The request was sent, but the connection ended before its answer.");
    } else {
        answer(arena, step, request->answer_max ? request->answer_max : LIMIT_EXCHANGE_BYTES, reply);
    }
}

static void run(struct exchange *self, struct arena *arena, const struct exchange_request *request,
                struct exchange_reply *reply)
{
    struct script *script = (struct script *)self;
    struct step *step;

    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
    pthread_mutex_lock(&script->lock);
    record(script, request);
    for (step = script->first_step; step && !fits(step, request); step = step->next)
        ;
    if (step)
        step->used++;
    else
        script->surprise_count++;
    pthread_mutex_unlock(&script->lock);
    if (step)
        play(arena, &step->given, request, reply);
    else
        /* not the URL: it may hold a secret, as real exchanges must not say either */
        err_set(&reply->err, ERR_INTERNAL, "The scripted peer did not expect this %s.",
                http_method_name(request->method));
}

struct script *script_new(void)
{
    struct script *script = mem_alloc(sizeof *script);

    script->exchange = (struct exchange){ run, script_mail_run, script_stream_open };
    script->arena = arena_new(0);
    script->last_step = &script->first_step;
    script->last_mail = &script->first_mail;
    script->last_mailed = &script->first_mailed;
    script->last_talk = &script->first_talk;
    script->last_asked = &script->first_asked;
    pthread_mutex_init(&script->lock, NULL);
    return script;
}

void script_free(struct script *script)
{
    if (!script)
        return;
    pthread_mutex_destroy(&script->lock);
    arena_free(script->arena);
    free(script);
}

void script_add(struct script *script, const struct script_step *step)
{
    struct step *copy;

    pthread_mutex_lock(&script->lock);
    copy = arena_alloc(script->arena, sizeof *copy);
    copy->given = *step;
    copy->given.url = arena_strdup(script->arena, step->url);
    copy->given.headers = arena_strdup(script->arena, step->headers);
    copy->given.body = arena_strdup(script->arena, step->body);
    *script->last_step = copy;
    script->last_step = &copy->next;
    pthread_mutex_unlock(&script->lock);
}

struct exchange *script_exchange(struct script *script)
{
    return &script->exchange;
}

size_t script_asked(struct script *script)
{
    size_t count;

    pthread_mutex_lock(&script->lock);
    count = script->asked_count;
    pthread_mutex_unlock(&script->lock);
    return count;
}

size_t script_surprises(struct script *script)
{
    size_t count;

    pthread_mutex_lock(&script->lock);
    count = script->surprise_count;
    pthread_mutex_unlock(&script->lock);
    return count;
}

size_t script_left(struct script *script)
{
    size_t left = 0;

    pthread_mutex_lock(&script->lock);
    for (const struct step *step = script->first_step; step; step = step->next) {
        int times = step->given.times > 0 ? step->given.times : 1;

        if (step->used < times)
            left += (size_t)(times - step->used);
    }
    left += script_mail_left(script) + script_stream_left(script);
    pthread_mutex_unlock(&script->lock);
    return left;
}

const struct exchange_request *script_request(struct script *script, size_t n)
{
    const struct asked *asked;

    pthread_mutex_lock(&script->lock);
    for (asked = script->first_asked; asked && n > 0; asked = asked->next)
        n--;
    pthread_mutex_unlock(&script->lock);
    return asked ? &asked->request : NULL;
}

#include "net/script_inside.h"

#include "base/arena.h"
#include "base/limits.h"

#include <string.h>

struct mail_step {
    struct script_mail given;
    int used;
    struct mail_step *next;
};

struct mail_asked {
    struct exchange_mail mail;
    struct mail_asked *next;
};

void script_add_mail(struct script *script, const struct script_mail *mail)
{
    struct mail_step *step;

    pthread_mutex_lock(&script->lock);
    step = arena_alloc(script->arena, sizeof *step);
    step->given = *mail;
    step->given.to = arena_strdup(script->arena, mail->to);
    step->given.text = arena_strdup(script->arena, mail->text);
    *script->last_mail = step;
    script->last_mail = &step->next;
    pthread_mutex_unlock(&script->lock);
}

static bool fits(const struct mail_step *step, const struct exchange_mail *mail)
{
    const char *to = step->given.to;

    if (step->given.times >= 0 && step->used >= (step->given.times ? step->given.times : 1))
        return false;
    if (!to || !mail->to)
        return !to && !mail->to;
    return strcmp(to, "*") == 0 || strcmp(to, mail->to) == 0;
}

static void record(struct script *script, const struct exchange_mail *mail)
{
    struct mail_asked *asked = arena_alloc(script->arena, sizeof *asked);

    asked->mail = *mail;
    asked->mail.url = arena_strdup(script->arena, mail->url);
    asked->mail.user = arena_strdup(script->arena, mail->user);
    asked->mail.password = arena_strdup(script->arena, mail->password);
    asked->mail.bearer = arena_strdup(script->arena, mail->bearer);
    asked->mail.from = arena_strdup(script->arena, mail->from);
    asked->mail.to = arena_strdup(script->arena, mail->to);
    asked->mail.body.data = str_dup(script->arena, mail->body);
    *script->last_mailed = asked;
    script->last_mailed = &asked->next;
    script->mailed_count++;
}

static void play(struct arena *arena, const struct script_mail *step, int timeout_ms, struct exchange_reply *reply)
{
    reply->end = step->end;
    if (step->end == EXCHANGE_NOT_SENT) {
        err_set(&reply->err, ERR_UNAVAILABLE, "The other side refused the connection or cannot be reached.");
    } else if (step->after_ms > (timeout_ms > 0 ? timeout_ms : LIMIT_SEND_MS)) {
        reply->end = EXCHANGE_UNKNOWN;
        err_set(&reply->err, ERR_TIMEOUT, "The whole mail was handed to the server, but it did not answer in time.");
    } else if (step->end == EXCHANGE_UNKNOWN) {
        err_set(&reply->err, ERR_UNAVAILABLE,
                "The whole mail was handed to the server, but the connection ended before its answer.");
    } else {
        reply->status = step->status;
        reply->body = str_c(arena_strdup(arena, step->text ? step->text : ""));
    }
}

void script_mail_run(struct exchange *self, struct arena *arena, const struct exchange_mail *mail,
                     struct exchange_reply *reply)
{
    struct script *script = (struct script *)self;
    struct mail_step *step;

    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
    pthread_mutex_lock(&script->lock);
    record(script, mail);
    for (step = script->first_mail; step && !fits(step, mail); step = step->next)
        ;
    if (step)
        step->used++;
    else
        script->surprise_count++;
    pthread_mutex_unlock(&script->lock);
    if (step)
        play(arena, &step->given, mail->timeout_ms, reply);
    else
        err_set(&reply->err, ERR_INTERNAL, "The scripted peer expected no mail to %s.", mail->to ? mail->to : "nobody");
}

size_t script_mailed(struct script *script)
{
    size_t count;

    pthread_mutex_lock(&script->lock);
    count = script->mailed_count;
    pthread_mutex_unlock(&script->lock);
    return count;
}

const struct exchange_mail *script_mail_sent(struct script *script, size_t n)
{
    const struct mail_asked *asked;

    pthread_mutex_lock(&script->lock);
    for (asked = script->first_mailed; asked && n > 0; asked = asked->next)
        n--;
    pthread_mutex_unlock(&script->lock);
    return asked ? &asked->mail : NULL;
}

size_t script_mail_left(const struct script *script)
{
    size_t left = 0;

    for (const struct mail_step *step = script->first_mail; step; step = step->next) {
        int times = step->given.times > 0 ? step->given.times : 1;

        if (step->used < times)
            left += (size_t)(times - step->used);
    }
    return left;
}

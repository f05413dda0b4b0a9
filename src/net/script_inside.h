/* script_inside.h - what script.c and script_stream.c share. */
#pragma once

#include "net/script.h"

#include <pthread.h>

struct step;
struct asked;
struct mail_step;
struct mail_asked;
struct talk;

struct script {
    struct exchange exchange;
    pthread_mutex_t lock;
    struct arena *arena;
    struct step *first_step, **last_step;
    struct asked *first_asked, **last_asked;
    struct mail_step *first_mail, **last_mail;
    struct mail_asked *first_mailed, **last_mailed;
    struct talk *first_talk, **last_talk, *now_talk;
    bool kept;                      /* a stream was given back to be kept */
    size_t asked_count, mailed_count, surprise_count;
};

/* struct exchange's open(), and the lines of streams that were not spoken. */
struct stream *script_stream_open(struct exchange *self, const struct stream_request *request, struct err *err);
size_t script_stream_left(const struct script *script);

/* struct exchange's mail(), and the mails that were not sent. */
void script_mail_run(struct exchange *self, struct arena *arena, const struct exchange_mail *mail,
                     struct exchange_reply *reply);
size_t script_mail_left(const struct script *script);

/* trial.h - one call of a driver by a case: prepared, then perhaps changed, then run. And the
 * report of what is tested. */
#pragma once

#include "case_file.h"

struct buf;

/* Everything that a driver is given and what it gave back. Lives in the arena, but for the
 * script. */
struct trial {
    struct arena *arena;
    const struct channel_case *one;
    struct channel channel;
    struct script *script;
    struct send_job job;
    struct http_request request;
    struct webhook webhook;
    struct poll poll;
    struct send_attachment attachment;
    /* what came of it */
    enum send_outcome outcome;
    struct send_result result;
    int status;
    struct err err;
    struct events events;
    struct webhook_reply reply;
    struct str report, summary;
    struct exchange_reply fetched;
};

/* Prepare the call. False when the settings do not fit the driver's table: then `err` says why. */
bool trial_begin(struct trial *trial, struct arena *arena, const struct channel_driver *driver,
                 const struct channel_case *one);

/* Run it; once. */
void trial_run(struct trial *trial);

/* Free the script. */
void trial_end(struct trial *trial);

/* The pairs of a form's body sorted by name, names and values joined: what form signatures cover. */
struct str trial_form(struct arena *arena, struct str body);

/* Replace the scripted peer by one that answers everything with this step. */
void trial_peer(struct trial *trial, const struct script_step *step);

/* The same for mail. */
void trial_mail_peer(struct trial *trial, const struct script_mail *step);

/* Set a request header (added when it is new), and sign anew with this key, as the case says; `key`
 * NULL: the setting. */
void trial_header(struct trial *trial, const char *name, struct str value);
void trial_sign(struct trial *trial, const char *key);

/* Give a setting another value (absent: remove it). */
void trial_setting(struct trial *trial, const char *name, struct str value);

/* Append every text that the driver produced. */
void trial_texts(const struct trial *trial, struct buf *out);

/* A header of a mail that was submitted, unfolded; its body, decoded from quoted-printable, with LF. */
struct str trial_mail_header(struct arena *arena, struct str mail, const char *name);
struct str trial_mail_text(struct arena *arena, struct str mail);

/* Compare what came of it with what the case says; each difference is a problem(). */
void trial_verify(struct trial *trial);

/* --- The report: `ok NAME` and `not ok NAME` lines, before them what explains ----------------- */

void test_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
void test_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));
void test_end(void);

/* Tests that failed so far. */
int test_failures(void);

/* --- What holds for every driver -------------------------------------------------------------- */

/* Each runs over all cases of a driver (`seen` collects what it says, to be searched for
 * secrets). */
void check_sends(const struct channel_driver *driver, const struct channel_case *cases,
                 size_t count, struct buf *seen);
void check_mails(const struct channel_driver *driver, const struct channel_case *cases,
                 size_t count, struct buf *seen);
void check_receives(const struct channel_driver *driver, const struct channel_case *cases,
                    size_t count, struct buf *seen);

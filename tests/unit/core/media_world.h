/* media_world.h - a hub whose clock can be pushed, a channel kind that takes files and remembers them, and a scripted
 * way out: for the tests of files. */
#pragma once

#define FIXTURE_OWN_DRIVERS
#include "fixture.h"

#include "core/attachment.h"
#include "core/fetch.h"
#include "core/media.h"
#include "core/outbox.h"
#include "core/worker.h"
#include "net/script.h"

#include <ftw.h>
#include <stdatomic.h>
#include <time.h>

/* --- The clock --------------------------------------------------------------------------------------------------- */

static _Atomic int64_t pushed_ms;

static inline int64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000 + pushed_ms;
}

static inline int64_t mono_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000 + pushed_ms * 1000;
}

/* --- The channel kinds: "files" takes them, with short texts as captions; "words" does not ------------------------ */

#define HANDED_MAX 16

static struct handed {
    char text[100], name[200], type[100], url[300], data[100];
    int part, parts;
    bool is_file;
} handed[HANDED_MAX];
static int handed_count, fetches;
static enum err_code fetch_fails;       /* ERR_NONE: it gives the ref's own text */

static inline void keep(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", (int)(text.len < size ? text.len : size - 1), text.data ? text.data : "");
}

static inline enum send_outcome files_send(const struct channel *channel, const struct send_job *job,
                                           struct exchange *exchange, struct send_result *result)
{
    struct handed *one = &handed[handed_count++ % HANDED_MAX];

    (void)channel, (void)exchange;
    *one = (struct handed){ .part = job->part, .parts = job->parts, .is_file = job->attachment };
    keep(one->text, sizeof one->text, job->text);
    if (job->attachment) {
        keep(one->name, sizeof one->name, str_c(job->attachment->name));
        keep(one->type, sizeof one->type, str_c(job->attachment->type));
        keep(one->url, sizeof one->url, str_c(job->attachment->url));
        keep(one->data, sizeof one->data, job->attachment->data);
    }
    result->external_id = str_c(arena_printf(job->arena, "ext-%s", job->key));
    return SEND_DONE;
}

static inline int files_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                              struct exchange *exchange, struct exchange_reply *reply, struct err *err)
{
    (void)channel, (void)exchange;
    fetches++;
    if (fetch_fails)
        return err_set(err, fetch_fails, "The provider was asked to fail.");
    *reply = (struct exchange_reply){ .end = EXCHANGE_ANSWERED, .status = 200, .body = attachment->ref };
    return 0;
}

static const struct field own_settings[] = { { 0 } };
static const struct channel_driver files_driver = {
    .kind = "files", .title = "Files", .about = "Takes files.", .settings = own_settings, .text_max = 40,
    .caption_max = 10, .send = files_send, .fetch = files_fetch, .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA,
};
static const struct channel_driver words_driver = {
    .kind = "words", .title = "Words", .about = "Takes none.", .settings = own_settings, .text_max = 40,
    .send = files_send, .can = CHANNEL_CAN_TEXT,
};
const struct channel_driver *const channel_drivers[] = { &files_driver, &words_driver, NULL };
const struct agent_driver *const agent_drivers[] = { NULL };

/* --- The hub ----------------------------------------------------------------------------------------------------- */

static struct script *script;
static int64_t files_channel, words_channel;

static inline int media_setup(void **state)
{
    (void)state;
    pushed_ms = 0;
    clock_install(wall_ms, mono_us);
    setenv("MESSAGE_HUB_PUBLIC_URL", "https://hub.example.com/base/", 1);
    start_hub(1);
    script = script_new();
    fixture.hub.exchange = script_exchange(script);
    files_channel = add_channel(TENANT, "files", "files");
    words_channel = add_channel(TENANT, "words", "words");
    memset(handed, 0, sizeof handed);
    handed_count = fetches = 0;
    fetch_fails = ERR_NONE;
    return 0;
}

static inline int unlink_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

static inline int media_teardown(void **state)
{
    char folder[100];

    (void)state;
    snprintf(folder, sizeof folder, "%s/media", fixture.folder);
    nftw(folder, unlink_one, 8, FTW_DEPTH | FTW_PHYS);
    stop_hub();
    script_free(script);
    return 0;
}

#include "media_deeds.h"

/* imessage_poll.c - the catch-up query that brings what webhooks lost, files, and `channels test`.
 *
 * The cursor: "AT" and, after a dot, a mark of the last page, so that an unchanged page is not stored again and
 * again; or "AT+N/BASE" while pages follow: N rows of the moment AT were seen, what is older than BASE was seen
 * long ago. Times are the Mac's, in milliseconds. */
#include "channels/lib/imessage.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"

#include <stdio.h>
#include <string.h>

#define PAGE 100
#define RECEIPTS_BACK_MS (15 * 60 * 1000)   /* late receipts of what is older than the overlap */
#define HOLD_MS (2 * 60 * 1000)             /* how long a message waits for its files */
#define HOLD_WAIT_MS 2000
#define REFETCHES 5
#define CATCH_UP_S 120

struct position {
    int64_t at_ms, base_ms, seen;
    bool goes_on;
    struct str mark;
};

/* One round. */
struct round {
    const struct channel *channel;
    struct exchange *exchange;
    struct imessage_seen seen;
    struct position from, to;
    int64_t held_ms;                /* the oldest message that still waits for its files; 0: none */
    int refetches;
};

static bool read_position(struct str cursor, struct position *out)
{
    struct str rest = cursor, part;

    *out = (struct position){ 0 };
    if (!cursor.len)
        return false;
    if (memchr(cursor.data, '+', cursor.len)) {
        out->goes_on = true;
        return str_split(&rest, '+', &part) && str_int(part, 0, INT64_MAX / 2, &out->at_ms)
            && str_split(&rest, '/', &part) && str_int(part, 0, INT32_MAX, &out->seen)
            && str_int(rest, 0, INT64_MAX / 2, &out->base_ms);
    }
    if (!str_split(&rest, '.', &part) || !str_int(part, 0, INT64_MAX / 2, &out->at_ms))
        return false;
    out->base_ms = out->at_ms;
    out->mark = rest;
    return true;
}

static struct str write_position(struct arena *arena, const struct position *position)
{
    return str_c(position->goes_on ? arena_printf(arena, "%lld+%lld/%lld", (long long)position->at_ms,
                                                  (long long)position->seen, (long long)position->base_ms)
                                   : arena_printf(arena, "%lld%s%.*s", (long long)position->at_ms,
                                                  position->mark.len ? "." : "", (int)position->mark.len,
                                                  position->mark.len ? position->mark.data : ""));
}

/* The same rows, saying the same, have the same mark. */
static struct str mark_of(struct arena *arena, const struct json *rows)
{
    unsigned char hash[SIGN_HASH_BYTES];
    struct buf text;

    buf_init(&text, IMESSAGE_ANSWER_BYTES);
    json_dump(&text, rows);
    sign_sha256(buf_slice(&text), hash);
    buf_fini(&text);
    return str_c(arena_printf(arena, "%.16s", sign_hex(arena, hash, sizeof hash)));
}

static const struct json *query(struct round *round, const struct imessage_query *wanted, struct err *err)
{
    const struct json *rows;
    struct form form;

    imessage_query_begin(&form, round->seen.events->arena, round->channel, wanted);
    rows = imessage_ask(&form, round->exchange, err);
    if (rows && json_kind(rows) != JSON_KIND_ARRAY) {
        err_set(err, ERR_UNAVAILABLE, "The server's answer to a query has no list of messages.");
        return NULL;
    }
    return rows;
}

/* A new channel begins with what comes from now on, by the Mac's clock. */
static int begin_now(struct round *round, struct poll *poll, struct err *err)
{
    const struct imessage_query newest = { .limit = 1, .newest_first = true };
    const struct json *rows = query(round, &newest, err);
    int64_t at_ms = json_int(json_get(json_item(rows, 0), "dateCreated"), 0);

    if (!rows)
        return -1;
    round->to = (struct position){ .at_ms = at_ms > 0 ? at_ms + IMESSAGE_OVERLAP_MS : 0 };
    poll->cursor = write_position(round->seen.events->arena, &round->to);
    return 0;
}

/* The message anew, now with its files; or itself, held back until they are there. */
static const struct json *complete(struct round *round, const struct json *row)
{
    struct arena *arena = round->seen.events->arena;
    int64_t created_ms = json_int(json_get(row, "dateCreated"), 0);
    const struct json *again = NULL;
    struct err err = { 0 };
    struct form form;

    if (round->seen.updates_only || !imessage_is_incomplete(row))
        return row;
    if (round->refetches++ < REFETCHES) {
        imessage_begin(&form, arena, round->channel,
                       arena_printf(arena, "/message/%s?with=chats,attachments",
                                    http_encode(arena, json_text(json_get(row, "guid")))));
        again = imessage_ask(&form, round->exchange, &err);
        if (!again)
            round->refetches = REFETCHES;       /* a round has its time */
    }
    if (again && json_text(json_get(again, "guid")).len && !imessage_is_incomplete(again))
        return again;
    round->seen.as_it_is = round->seen.now_ms - created_ms >= HOLD_MS;
    if (!round->seen.as_it_is && (!round->held_ms || created_ms < round->held_ms))
        round->held_ms = created_ms;
    return row;
}

static int take(struct round *round, const struct json *rows, struct err *err)
{
    for (size_t i = 0; i < json_count(rows); i++) {
        const struct json *row = json_item(rows, i);
        int64_t created_ms = json_int(json_get(row, "dateCreated"), 0);

        round->seen.as_it_is = false;
        round->seen.updates_only = created_ms <= round->from.base_ms - IMESSAGE_OVERLAP_MS;
        if (imessage_events(&round->seen, complete(round, row), err) && err->code != ERR_MALFORMED)
            return -1;
        if (created_ms > round->to.at_ms) {
            round->to.at_ms = created_ms;
            round->to.seen = 0;
        }
        round->to.seen += created_ms == round->to.at_ms;
    }
    return 0;
}

/* Where the next round begins. */
static void move_on(struct round *round, struct poll *poll, const struct json *rows)
{
    struct arena *arena = round->seen.events->arena;
    bool is_full = json_count(rows) >= PAGE;

    if (is_full) {
        round->to.goes_on = true;
        poll->wait_ms = 0;
    } else if (round->to.at_ms < round->from.base_ms) {
        round->to.at_ms = round->from.base_ms;
    }
    if (round->held_ms) {
        round->to = (struct position){ .goes_on = true, .at_ms = round->held_ms };
        poll->wait_ms = HOLD_WAIT_MS;
    }
    round->to.base_ms = round->from.base_ms;
    if (!is_full && !round->held_ms)
        round->to.mark = mark_of(arena, rows);
    poll->cursor = write_position(arena, &round->to);
}

int imessage_poll(const struct channel *channel, struct poll *poll, struct exchange *exchange, struct events *events,
                  struct err *err)
{
    struct round round = { .channel = channel, .exchange = exchange, .seen = { .channel = channel, .events = events,
        .now_ms = poll->now_ms, .source = IMESSAGE_QUERIED } };
    struct imessage_query wanted = { .limit = PAGE };
    const struct json *rows;

    poll->wait_ms = (int)channel_number(channel, "catch_up_s", CATCH_UP_S) * 1000;
    if (!read_position(poll->cursor, &round.from))
        return begin_now(&round, poll, err);
    wanted.after_ms = round.from.goes_on ? round.from.at_ms : round.from.at_ms - RECEIPTS_BACK_MS;
    wanted.offset = round.from.goes_on ? (int)round.from.seen : 0;
    rows = query(&round, &wanted, err);
    if (!rows)
        return -1;
    if (!poll->is_start && !round.from.goes_on && json_count(rows) < PAGE
        && str_eq(mark_of(events->arena, rows), round.from.mark))
        return 0;
    round.to = (struct position){ .at_ms = round.from.goes_on ? round.from.at_ms : 0,
        .seen = round.from.goes_on ? round.from.seen : 0 };
    if (take(&round, rows, err))
        return -1;
    move_on(&round, poll, rows);
    return 0;
}

/* --- Files ------------------------------------------------------------------------------------------ */

int imessage_fetch(const struct channel *channel, const struct channel_attachment *attachment,
                   struct exchange *exchange, struct exchange_reply *reply, struct err *err)
{
    struct arena *arena = attachment->arena;
    const char *guid = http_encode(arena, attachment->ref);
    struct form form;

    imessage_begin(&form, arena, channel, arena_printf(arena, "/attachment/%s/download", guid));
    form.request.answer_max = LIMIT_MEDIA_BYTES;
    form_run(&form, exchange, LIMIT_SEND_MS, reply);
    if (reply->end == EXCHANGE_ANSWERED && reply->status == 200)
        return 0;
    if (reply->end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "The file could not be fetched: %s", reply->err.detail);
        return err_hint(err, "%s", reply->err.hint[0] ? reply->err.hint : "It is tried again by itself.");
    }
    if (reply->status != 404) {
        err_set(err, ERR_UNAVAILABLE, "The server answered with status %d instead of the file.", reply->status);
        return err_hint(err, "401: set the channel's password or key again. Else look at the server's log on the Mac.");
    }
    /* it may only not have come down from iCloud yet: the server knows it then */
    imessage_begin(&form, arena, channel, arena_printf(arena, "/attachment/%s", guid));
    if (!imessage_ask(&form, exchange, err))
        return -1;
    err_set(err, ERR_UNAVAILABLE, "The Mac does not have the file yet.");
    return err_hint(err, "It is tried again by itself; Messages on the Mac downloads it from iCloud.");
}

/* --- Probing ---------------------------------------------------------------------------------------- */

static bool has_event(const struct json *events, const char *name)
{
    for (size_t i = 0; i < json_count(events); i++) {
        struct str event = json_text(json_item(events, i));

        if (!event.len)
            event = json_text(json_get(json_item(events, i), "value"));
        if (str_is(event, "*") || str_is(event, name))
            return true;
    }
    return false;
}

/* Which events the server does not post to this channel's hook, as words; NULL: it posts all. */
static const char *missing_events(const struct channel *channel, struct arena *arena, const struct json *webhooks)
{
    static const char *const wanted[] = { "new-message", "updated-message", "message-send-error" };
    const char *missing = NULL;

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        bool found = false;

        for (size_t j = 0; j < json_count(webhooks) && !found; j++) {
            struct str url = json_text(json_get(json_item(webhooks, j), "url"));

            found = url.len && memmem(url.data, url.len, channel->hook, strlen(channel->hook))
                && has_event(json_get(json_item(webhooks, j), "events"), wanted[i]);
        }
        if (!found)
            missing = missing ? arena_printf(arena, "%s, %s", missing, wanted[i]) : wanted[i];
    }
    return missing;
}

static struct str summary_of(struct arena *arena, const struct json *info, const char *missing)
{
    int64_t clock_s = json_int(json_get(info, "macos_time_sync"), 0);

    if (!json_text(json_get(info, "detected_imessage")).len)
        return STR("The server answers, but found no iMessage account. Sign in to Messages on the Mac.");
    if (clock_s > 60 || clock_s < -60)
        return str_c(arena_printf(arena, "The server answers, but the Mac's clock is %lld s off: messages get lost. "
                                         "Set it by the network (System Settings, Date & Time).", (long long)clock_s));
    if (missing)
        return str_c(arena_printf(arena, "The server answers, but does not post to this channel's hook: %s. "
                                         "Messages come by the catch-up query alone until you register the hook.",
                                  missing));
    return STR("The server answers and posts its events to this channel.");
}

int imessage_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                   struct err *err)
{
    struct err no_list = { 0 };
    const struct json *info, *webhooks;
    const char *missing = NULL;
    struct form form;
    bool private_api;

    imessage_begin(&form, report->arena, channel, "/server/info");
    info = imessage_ask(&form, exchange, err);
    if (!info)
        return -1;
    private_api = json_bool(json_get(info, "private_api"), false)
        && json_bool(json_get(info, "helper_connected"), false);
    json_text_at(report->json, "server_version", json_text(json_get(info, "server_version")));
    json_text_at(report->json, "macos_version", json_text(json_get(info, "os_version")));
    json_text_at(report->json, "imessage_account", json_text(json_get(info, "detected_imessage")));
    json_bool_at(report->json, "private_api", private_api);
    json_cstr_at(report->json, "without_private_api",
                 private_api ? "" : "no reactions, edits, unsending, threads, typing or read marks");
    imessage_begin(&form, report->arena, channel, "/webhook");
    webhooks = imessage_ask(&form, exchange, &no_list);
    if (webhooks)
        missing = missing_events(channel, report->arena, webhooks);
    json_cstr_at(report->json, "webhooks_missing", !webhooks ? "unknown" : missing ? missing : "");
    report->summary = summary_of(report->arena, info, missing);
    return 0;
}

/* The mailbox: what came since the cursor, in the order of its UIDs, then IDLE. Folders are only examined, so that
 * nothing is marked as read. */
#include "channels/lib/mail.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/imap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WINDOW 10000            /* UIDs asked for at once */
#define WINDOWS 200             /* in one round */
#define ROUND_MAILS 20
#define ROUND_BYTES (8 * 1024 * 1024)
#define OPEN_MS 15000
#define IDLE_MAX_MS (9 * 60 * 1000)     /* shorter than what routers forget after */
#define SELDOM_MS (60 * 60 * 1000)
#define DAY_S 86400

struct folder {
    const char *name;
    bool is_sent;
    int64_t validity, uid;      /* of the cursor: everything up to `uid` was seen */
    int64_t next_uid, now_validity;     /* as the server says */
};

/* One round. */
struct round {
    const struct channel *channel;
    struct poll *poll;
    struct events *events;
    struct imap imap;
    struct folder inbox, sent;
    int64_t since_s, seen_s, fence_s;   /* older than since: not ours; newest seen; older than fence: history */
    int mails;
    size_t bytes;
    bool moved, more;           /* the cursor; there is more to fetch */
};

/* --- Cursor ----------------------------------------------------------------------------------- */

static void read_cursor(struct round *round)
{
    struct str rest = round->poll->cursor, word;
    int64_t *const numbers[] = { &round->since_s, &round->seen_s, &round->fence_s, &round->inbox.validity,
                                 &round->inbox.uid, &round->sent.validity, &round->sent.uid };
    int64_t values[7];
    size_t count = 0;

    while (rest.data && count < 7 && str_split(&rest, ' ', &word) && str_int(word, 0, INT64_MAX, &values[count]))
        count++;
    for (size_t i = 0; count == 7 && i < 7; i++)
        *numbers[i] = values[i];
    if (round->since_s == 0)
        round->since_s = round->seen_s = round->poll->now_ms / 1000;
}

static void write_cursor(struct round *round)
{
    round->poll->cursor = str_c(arena_printf(round->events->arena, "%lld %lld %lld %lld %lld %lld %lld",
        (long long)round->since_s, (long long)round->seen_s, (long long)round->fence_s,
        (long long)round->inbox.validity, (long long)round->inbox.uid, (long long)round->sent.validity,
        (long long)round->sent.uid));
}

/* --- Answers ---------------------------------------------------------------------------------- */

/* "OK [UIDNEXT 7] ..." */
static void take_select(void *arg, struct str response)
{
    struct folder *folder = arg;
    struct str what, word;
    int64_t number;

    imap_token(&response);
    what = imap_token(&response).text;
    if (what.len < 3 || what.data[0] != '[')
        return;
    what = (struct str){ what.data + 1, what.len - 2 };
    if (!str_split(&what, ' ', &word) || !str_int(what, 1, UINT32_MAX, &number))
        return;
    if (str_eq_nocase(word, STR("UIDVALIDITY")))
        folder->now_validity = number;
    else if (str_eq_nocase(word, STR("UIDNEXT")))
        folder->next_uid = number;
}

struct found {
    int64_t first, last, *uids;
    size_t count;
};

/* "SEARCH 5 9 7" */
static void take_search(void *arg, struct str response)
{
    struct found *found = arg;
    int64_t uid;

    if (!str_eq_nocase(imap_token(&response).text, STR("SEARCH")))
        return;
    while (found->count < WINDOW && str_int(imap_token(&response).text, 1, UINT32_MAX, &uid))
        if (uid >= found->first && uid <= found->last)
            found->uids[found->count++] = uid;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

struct fetched {
    struct round *round;
    const struct folder *folder;
    int64_t uid;
    bool done;
    int result;
    struct err *err;
};

/* "20-Nov-2026 18:42:26 +0100" in seconds; 0: not such a time. */
static int64_t time_of(struct arena *arena, struct str text)
{
    struct tm tm = { 0 };
    const char *end = strptime(str_dup(arena, str_trim(text)), "%d-%b-%Y %H:%M:%S", &tm);
    int hours = 0, minutes = 0;
    char sign = '+';
    time_t time = timegm(&tm);

    if (!end || time < 0)
        return 0;
    if (sscanf(end, " %c%2d%2d", &sign, &hours, &minutes) != 3)
        return time;
    return time - (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

static void add_mail(struct fetched *fetched, const struct mail_source *given)
{
    struct round *round = fetched->round;
    struct mail_source source = *given;
    int64_t received_s = given->received_ms / 1000;

    fetched->done = true;
    round->bytes += given->bytes.len;
    if (received_s && received_s < round->since_s - 60)
        return;                 /* before the channel's time */
    source.is_sent = fetched->folder->is_sent;
    source.is_history = received_s && received_s < round->fence_s;
    if (received_s > round->seen_s && received_s <= round->poll->now_ms / 1000 + DAY_S)
        round->seen_s = received_s;
    fetched->result = mail_event_add(round->channel, &source, round->events, fetched->err);
}

/* "3 FETCH (UID 7 RFC822.SIZE 99 INTERNALDATE "..." BODY[]<0> {99}...)" */
static void take_fetch(void *arg, struct str response)
{
    struct fetched *fetched = arg;
    struct mail_source source = { 0 };
    int64_t uid = 0;
    bool body = false;

    imap_token(&response);
    if (!str_eq_nocase(imap_token(&response).text, STR("FETCH")) || imap_token(&response).kind != IMAP_OPEN)
        return;
    for (;;) {
        struct imap_token name = imap_token(&response), value;

        if (name.kind != IMAP_ATOM)
            break;
        value = imap_token(&response);
        for (int depth = value.kind == IMAP_OPEN; depth > 0 && value.kind != IMAP_BAD && value.kind != IMAP_END; ) {
            value = imap_token(&response);      /* a list that was not asked for, FLAGS say */
            depth += (value.kind == IMAP_OPEN) - (value.kind == IMAP_CLOSE);
        }
        if (str_eq_nocase(name.text, STR("UID")))
            str_int(value.text, 1, UINT32_MAX, &uid);
        else if (str_eq_nocase(name.text, STR("RFC822.SIZE")))
            str_int(value.text, 0, INT64_MAX, &source.size);
        else if (str_eq_nocase(name.text, STR("INTERNALDATE")))
            source.received_ms = time_of(fetched->round->events->arena, value.text) * 1000;
        else if (name.text.len >= 5 && str_eq_nocase((struct str){ name.text.data, 5 }, STR("BODY["))) {
            body = value.kind == IMAP_STRING;
            source.bytes = value.text;
        }
    }
    if (body && uid == fetched->uid && !fetched->done)
        add_mail(fetched, &source);
}

/* --- Folders ---------------------------------------------------------------------------------- */

/* 1 open, 0 the server refuses it, -1 the session is over. */
static int examine(struct round *round, struct folder *folder, struct err *err)
{
    const char *name = imap_quote(round->events->arena, folder->name);
    int opened;

    if (!name)
        return err_set(err, ERR_INVALID, "A folder's name must be written in ASCII (modified UTF-7).");
    folder->next_uid = folder->now_validity = 0;
    round->imap.each = take_select;
    round->imap.arg = folder;
    opened = imap_command(&round->imap, err, "EXAMINE %s", name);
    if (opened == 1 && folder->now_validity == 0)
        return err_set(err, ERR_UNAVAILABLE, "The mail server numbers no mails (UIDVALIDITY) in %s.", folder->name);
    return opened;
}

/* Compare with the cursor. A folder that is new begins behind what it holds; one that was numbered anew is read again
 * from its beginning, and what was there before is history. */
static void settle(struct round *round, struct folder *folder)
{
    int64_t last = folder->next_uid > 0 ? folder->next_uid - 1 : 0;

    if (folder->validity == folder->now_validity)
        return;
    round->moved = true;
    if (folder->validity == 0) {
        folder->uid = last;
    } else {
        folder->uid = 0;
        round->fence_s = round->seen_s;
    }
    folder->validity = folder->now_validity;
}

static int search(struct round *round, struct found *found, struct err *err)
{
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov",
                                          "Dec" };
    time_t since = round->since_s - DAY_S;
    struct tm tm;
    int result;

    gmtime_r(&since, &tm);
    found->count = 0;
    round->imap.each = take_search;
    round->imap.arg = found;
    result = imap_command(&round->imap, err, "UID SEARCH UID %lld:%lld SINCE %d-%s-%d", (long long)found->first,
                          (long long)found->last, tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900);
    if (result == 0)
        return err_set(err, ERR_UNAVAILABLE, "The mail server refuses to search: %s", round->imap.said);
    qsort(found->uids, found->count, sizeof *found->uids, by_number);
    return result < 0 ? -1 : 0;
}

static int fetch(struct round *round, struct folder *folder, int64_t uid, struct err *err)
{
    struct fetched fetched = { .round = round, .folder = folder, .uid = uid, .err = err };
    int result;

    round->imap.each = take_fetch;
    round->imap.arg = &fetched;
    result = imap_command(&round->imap, err, "UID FETCH %lld (UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.%d>)",
                          (long long)uid, LIMIT_MAIL_BYTES);
    if (result == 0)
        return err_set(err, ERR_UNAVAILABLE, "The mail server refuses to hand over a mail: %s", round->imap.said);
    if (result < 0 || fetched.result)
        return -1;
    round->mails += fetched.done;
    return 0;
}

/* What came in one folder, as much as a round may hold. */
static int sync_folder(struct round *round, struct folder *folder, struct err *err)
{
    struct found found = { 0 };

    settle(round, folder);
    for (int i = 0; i < WINDOWS && folder->uid + 1 < folder->next_uid; i++) {
        if (!found.uids)        /* not before there is something: it lies idle as long as the round waits */
            found.uids = arena_array(round->events->arena, WINDOW, sizeof *found.uids);
        found.first = folder->uid + 1;
        found.last = folder->next_uid - 1 < folder->uid + WINDOW ? folder->next_uid - 1 : folder->uid + WINDOW;
        if (search(round, &found, err))
            return -1;
        for (size_t k = 0; k < found.count; k++) {
            if (round->mails >= ROUND_MAILS || round->bytes >= ROUND_BYTES) {
                round->more = true;
                return 0;
            }
            if (fetch(round, folder, found.uids[k], err))
                return -1;
            folder->uid = found.uids[k];
            round->moved = true;
        }
        folder->uid = found.last;
        round->moved = true;
    }
    round->more |= folder->uid + 1 < folder->next_uid;
    return 0;
}

/* --- Sessions --------------------------------------------------------------------------------- */

static struct stream *open_mailbox(const struct channel *channel, struct exchange *exchange, struct err *err)
{
    const char *user = channel_text(channel, "username");
    struct stream_request request = { .channel_id = channel->id, .tenant_id = channel->tenant_id,
        .url = channel_text(channel, "imap_url"), .user = user ? user : channel_text(channel, "address"),
        .password = channel_text(channel, "password"), .bearer = channel_text(channel, "token"),
        .plain = channel_flag(channel, "allow_plain"), .egress = EGRESS_CHANNEL, .timeout_ms = OPEN_MS };

    return exchange_open(exchange, &request, err);
}

/* Log in and open the first folder; a kept session that turns out to be dead is opened once more. */
static int begin(struct round *round, struct exchange *exchange, struct err *err)
{
    struct folder *first = round->sent.name ? &round->sent : &round->inbox;

    for (;;) {
        struct stream *stream = open_mailbox(round->channel, exchange, err);
        bool fresh;
        int opened;

        if (!stream)
            return -1;
        fresh = stream_is_fresh(stream);
        imap_init(&round->imap, stream);
        opened = examine(round, first, err);
        if (opened == 1)
            return 0;
        if (opened == 0 && first == &round->sent) {
            round->sent.name = NULL;        /* there is no such folder: channels test says so */
            return 0;
        }
        if (opened == 0)
            err_set(err, ERR_UNAVAILABLE, "The mail server refuses the folder %s: %s", first->name, round->imap.said);
        stream_release(stream, opened == 0);
        imap_fini(&round->imap);
        if (fresh || opened == 0)
            return -1;
        err_clear(err);
    }
}

/* Read the inbox, opened before or not. */
static int sync_inbox(struct round *round, bool open, struct err *err)
{
    int opened = open ? 1 : examine(round, &round->inbox, err);

    if (opened == 0)
        return err_set(err, ERR_UNAVAILABLE, "The mail server refuses the folder %s: %s", round->inbox.name,
                       round->imap.said);
    return opened < 0 ? -1 : sync_folder(round, &round->inbox, err);
}

static int sync_all(struct round *round, struct err *err)
{
    if (round->sent.name && sync_folder(round, &round->sent, err))
        return -1;
    return sync_inbox(round, round->inbox.now_validity != 0, err);
}

/* Idle; what is announced is fetched at once. */
static int wait_for_news(struct round *round, struct err *err)
{
    int timeout_ms = round->poll->timeout_ms < IDLE_MAX_MS ? round->poll->timeout_ms : IDLE_MAX_MS;
    int news = imap_idle(&round->imap, timeout_ms, err);

    round->poll->wait_ms = news == 2 ? (int)channel_number(round->channel, "poll_s", 60) * 1000 : 0;
    if (news == 1)
        news = sync_inbox(round, false, err);
    return news < 0 ? -1 : 0;
}

int mailbox_poll(const struct channel *channel, struct poll *poll, struct exchange *exchange, struct events *events,
                 struct err *err)
{
    struct round round = { .channel = channel, .poll = poll, .events = events,
        .inbox = { .name = channel_text(channel, "folder") },
        .sent = { .name = channel_text(channel, "sent_folder"), .is_sent = true } };
    int result;

    if (!channel_text(channel, "imap_url")) {
        poll->wait_ms = SELDOM_MS;
        return 0;
    }
    read_cursor(&round);
    if (begin(&round, exchange, err))
        return -1;
    result = sync_all(&round, err);
    if (result == 0 && !round.moved && !round.more)
        result = wait_for_news(&round, err);
    else
        poll->wait_ms = 0;
    stream_release(round.imap.stream, result == 0);
    imap_fini(&round.imap);
    if (round.moved)
        write_cursor(&round);
    /* what was fetched before a failure is kept; the next round meets the failure again if it lasts */
    return round.moved ? 0 : result;
}

/* --- Looking up and probing ------------------------------------------------------------------- */

static void take_any(void *arg, struct str response)
{
    int64_t uid;

    if (str_eq_nocase(imap_token(&response).text, STR("SEARCH")))
        *(bool *)arg |= str_int(imap_token(&response).text, 1, UINT32_MAX, &uid);
}

int mailbox_find(const struct channel *channel, const char *message_id, struct exchange *exchange,
                 struct arena *arena, struct err *err)
{
    bool found = false;
    const char *quoted = imap_quote(arena, message_id);
    struct events none = { .arena = arena };
    struct round round = { .channel = channel, .events = &none,
        .inbox = { .name = channel_text(channel, "sent_folder") } };
    int result;

    if (!channel_text(channel, "imap_url") || !round.inbox.name || !quoted)
        return err_set(err, ERR_NOT_FOUND, "No imap_url and sent_folder are set to look the mail up in.");
    if (begin(&round, exchange, err))
        return -1;
    round.imap.each = take_any;
    round.imap.arg = &found;
    result = imap_command(&round.imap, err, "UID SEARCH HEADER Message-ID %s", quoted);
    if (result == 0)
        err_set(err, ERR_UNAVAILABLE, "The mail server refuses to search: %s", round.imap.said);
    stream_release(round.imap.stream, result >= 0);
    imap_fini(&round.imap);
    return result < 1 ? -1 : found;
}

static void take_count(void *arg, struct str response)
{
    int64_t number;

    if (str_int(imap_token(&response).text, 0, UINT32_MAX, &number)
        && str_eq_nocase(imap_token(&response).text, STR("EXISTS")))
        *(int64_t *)arg = number;
}

static void take_capability(void *arg, struct str response)
{
    if (!str_eq_nocase(imap_token(&response).text, STR("CAPABILITY")))
        return;
    for (struct imap_token token = imap_token(&response); token.kind == IMAP_ATOM; token = imap_token(&response))
        if (str_eq_nocase(token.text, STR("IDLE")))
            *(bool *)arg = true;
}

static int probe_folder(struct imap *imap, struct arena *arena, const char *name, int64_t *count, struct err *err)
{
    const char *quoted = imap_quote(arena, name);

    imap->each = take_count;
    imap->arg = count;
    return quoted ? imap_command(imap, err, "EXAMINE %s", quoted) : 0;
}

int mailbox_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                  struct err *err)
{
    const char *folder = channel_text(channel, "folder"), *sent = channel_text(channel, "sent_folder");
    struct stream *stream = open_mailbox(channel, exchange, err);
    int64_t mails = 0, ignored = 0;
    bool idle = false;
    struct imap imap;
    int result;

    if (!stream)
        return -1;
    imap_init(&imap, stream);
    imap.each = take_capability;
    imap.arg = &idle;
    result = imap_command(&imap, err, "CAPABILITY");
    if (result >= 0)
        result = probe_folder(&imap, report->arena, folder, &mails, err);
    if (result == 0) {
        err_set(err, ERR_UNAVAILABLE, "The mail server refuses the folder %s: %s", folder, imap.said);
        err_hint(err, "Set folder to the name that the server uses.");
    }
    if (result == 1 && sent) {
        int there = probe_folder(&imap, report->arena, sent, &ignored, err);

        json_bool_at(report->json, "sent_folder", there == 1);
        result = there < 0 ? -1 : 1;
    }
    stream_release(stream, result >= 0);
    imap_fini(&imap);
    json_int_at(report->json, "mails", mails);
    json_bool_at(report->json, "idle", idle);
    return result == 1 ? 0 : -1;
}

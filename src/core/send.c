#include "core/send.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "core/channel.h"
#include "core/send_file.h"
#include "core/send_key.h"
#include "core/split.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define CODE_BYTES 64

/* One claimed send on its way. */
struct sending {
    struct hub *hub;
    struct arena *arena;
    struct queue_send send;         /* part and attempt_id move on */
    struct channel channel;
    const struct channel_driver *driver;
    struct split_plan plan;         /* the parts, as this channel splits text and files */
    struct send_files files;
    enum message_state settled;     /* the least that is known of all parts */
    struct str settled_code, settled_hint;
};

/* What one try gave. */
struct tried {
    enum send_outcome outcome;
    struct send_result result;
    bool is_lookup;
};

static struct queue_finish finish_of(const struct sending *s, enum queue_end end)
{
    return (struct queue_finish){ .item = { .kind = &queue_finish_kind }, .send = &s->send,
        .end = end,
        .now_ms = clock_ms(), .failures = s->send.failures };
}

static int submit(struct sending *s, struct queue_finish *finish, struct err *err)
{
    if (finish->moves && finish->change.to == MESSAGE_FAILED) {
        finish->audit_id = ids_next(s->hub->ids, err);
        if (finish->audit_id < 0)
            return -1;
    }
    finish->change.at_ms = finish->now_ms;
    return db_submit_wait(s->hub->db, &finish->item, err);
}

/* --- Ends without a try ----------------------------------------------------------------------- */

static void set_change(struct queue_finish *finish, enum message_state to, const char *code,
                       const char *hint)
{
    finish->moves = true;
    finish->change = (struct message_change){ .to = to, .error_code = str_c(code),
        .error_hint = str_c(hint) };
}

static int end_untried(struct sending *s, struct err *err)
{
    struct queue_finish finish = finish_of(s, QUEUE_REMOVE);

    switch (s->send.verdict) {
    case QUEUE_EXPIRED:
        set_change(&finish, MESSAGE_EXPIRED, "expired",
                   "It could not be sent before its expiry; send it again if it still matters.");
        break;
    case QUEUE_OPTED_OUT:
        set_change(&finish, MESSAGE_SUPPRESSED, "opted_out",
                   "The contact wants no more messages; who said so and when stands with the contact.");
        break;
    case QUEUE_READDRESSED:
        set_change(&finish, MESSAGE_FAILED, "address_changed",
                   "The contact has another address than when this was written; write a new "
                   "message if it is for them.");
        break;
    default:
        break;
    }
    return submit(s, &finish, err);
}

/* The channel itself cannot be used: no try was made. */
static int end_unusable(struct sending *s, struct str hint, struct err *err)
{
    struct queue_finish finish = finish_of(s, QUEUE_REMOVE);

    set_change(&finish, MESSAGE_FAILED, "channel_unusable", NULL);
    finish.change.error_hint = hint;
    finish.tried = (struct attempt){ .outcome = ATTEMPT_REFUSED, .code = STR("channel_unusable"),
        .detail = hint };
    return submit(s, &finish, err);
}

/* --- One try ---------------------------------------------------------------------------------- */

static struct str clean(struct arena *arena, struct str text, size_t max)
{
    if (!text.data || text.len == 0)
        return (struct str){ 0 };
    text = str_nfc(arena, text);
    if (text.len > max)
        text.len = str_utf8_prefix((struct str){ text.data, max });
    return text;
}

static const char thread_sql[] =
    "SELECT r.external_id, r.metadata FROM messages m LEFT JOIN messages r ON r.id = "
    "coalesce(m.reply_to_id, (SELECT i.id FROM messages i WHERE i.conversation_id = "
    "m.conversation_id AND i.direction = 0 AND i.position < m.position ORDER BY i.position DESC "
    "LIMIT 1)) WHERE m.tenant_id = $1 AND m.id = $2";

static struct str copy_of(struct arena *arena, struct str text)
{
    return text.data ? (struct str){ arena_copy(arena, text.data, text.len), text.len } : text;
}

/* What the message answers, for channels that write it into the message. Without it
 * the message still goes out. */
static void add_thread(struct sending *s, struct send_job *job)
{
    struct db_session *session;
    struct db_rows *rows;
    struct err err = { 0 };

    if (!(s->driver->can & CHANNEL_CAN_THREAD))
        return;
    session = db_read(s->hub->db, s->send.tenant_id, &err);
    rows = session ? db_query(session, thread_sql, DB_ARGS(db_int(s->send.tenant_id),
                                                          db_int(s->send.message_id)), &err) : NULL;
    if (rows && db_next(rows, &err) == 1) {
        job->thread_id = str_dup(s->arena, db_col_text(rows, 0));
        job->thread = copy_of(s->arena, db_col_text(rows, 1));
    }
    if (session)
        db_read_end(session);
}

/* How long one send of this driver may take. */
static int send_limit_ms(const struct channel_driver *driver)
{
    int limit_ms = driver->send_ms > 0 ? driver->send_ms : LIMIT_SEND_MS;

    return limit_ms < LIMIT_SEND_LONG_MS ? limit_ms : LIMIT_SEND_LONG_MS;
}

static struct send_job job_of(struct sending *s)
{
    char id[ID_TEXT_BYTES];
    int file;
    struct send_job job = { .arena = s->arena, .to = str_dup(s->arena, s->send.to),
        .part = (int)s->send.part,
        .parts = (int)s->plan.parts, .attempt = (int)s->send.attempt, .timeout_ms = send_limit_ms(s->driver),
        .metadata = s->send.metadata,
        .reply_to = s->send.part == 0 ? str_dup(s->arena, s->send.reply_to) : NULL };

    job.now_ms = clock_ms();
    job.is_automatic = s->send.origin == ORIGIN_RULE || s->send.origin == ORIGIN_AGENT
        || s->send.origin == ORIGIN_AUTO;
    add_thread(s, &job);
    if (s->send.conversation.len > 0)
        job.conversation = str_dup(s->arena, s->send.conversation);
    if (s->send.act_id) {
        job.act = s->send.act;
        job.target = str_dup(s->arena, s->send.target);
        job.text = s->send.text;
        snprintf(job.key, sizeof job.key, "%s-0", id_encode(id, ID_ACT, s->send.act_id));
        return job;
    }
    send_key(job.key, s->send.message_id, job.part, s->send.generation);
    job.text = split_plan_part(s->driver, &s->plan, s->send.text, (int)s->send.part, &file);
    job.attachment = file < 0 ? NULL : send_file_of(&s->files, file);
    return job;
}

/* A simulated peer is slow; nothing else asks for it. */
static void wait_as_told(const struct sending *s, int wait_ms)
{
    struct timespec wait;

    if (wait_ms <= 0 || s->hub->manual)
        return;
    if (wait_ms > LIMIT_SEND_MS)
        wait_ms = LIMIT_SEND_MS;
    wait = (struct timespec){ wait_ms / 1000, wait_ms % 1000 * 1000000L };
    nanosleep(&wait, NULL);
}

/* A look-up that knows no token may find an equal text: an id that another message, or another part of this one, has
 * already is no answer. */
static bool is_taken(struct sending *s, struct str external_id, struct err *err)
{
    struct db_session *session;
    int64_t others = 0;
    int failed;

    if (!external_id.len)
        return false;
    session = db_read(s->hub->db, s->send.tenant_id, err);
    if (!session)
        return true;
    failed = db_query_int(
        session,
        "SELECT (SELECT count(*) FROM messages WHERE tenant_id = $1 AND channel_id = $2 AND direction = 1 AND "
        "external_id = $3 AND id <> $4) + (SELECT count(*) FROM attempts WHERE tenant_id = $1 AND channel_id = $2 AND "
        "external_id = $3 AND (message_id <> $4 OR part <> $5))",
        DB_ARGS(db_int(s->send.tenant_id), db_int(s->send.channel_id), db_text(external_id),
                db_int(s->send.message_id), db_int(s->send.part)),
        0, &others, err);
    db_read_end(session);
    return failed || others > 0;
}

static enum send_outcome ask(struct sending *s, const struct send_job *job, struct send_result *result)
{
    enum send_outcome outcome = s->driver->lookup(&s->channel, job, s->hub->exchange, result);
    struct err err = { 0 };

    result->external_id = clean(s->arena, result->external_id, LIMIT_EXTERNAL_ID_BYTES);
    if (outcome != SEND_DONE || !is_taken(s, result->external_id, &err))
        return outcome;
    *result = (struct send_result){ .code = STR("ambiguous"),
        .hint = STR("The provider has an equal text to this contact that belongs to another message. Look at the "
                    "contact's phone, then resolve it as arrived or retry it.") };
    return SEND_UNSURE;
}

static struct tried try_once(struct sending *s)
{
    struct send_job job = job_of(s);
    struct tried tried = { 0 }, looked_up = { 0 };

    job.since_ms = clock_ms();
    tried.outcome = s->driver->send(&s->channel, &job, s->hub->exchange, &tried.result);
    wait_as_told(s, tried.result.wait_ms);
    if (tried.outcome != SEND_UNSURE || !s->driver->lookup || s->send.act_id)
        return tried;
    /* At once only a "yes" can be believed: what a provider lists may lag behind what it
     * accepted. */
    looked_up.outcome = ask(s, &job, &looked_up.result);
    return looked_up.outcome == SEND_DONE ? looked_up : tried;
}

static void clean_result(struct sending *s, struct send_result *result)
{
    result->external_id = clean(s->arena, result->external_id, LIMIT_EXTERNAL_ID_BYTES);
    result->code = clean(s->arena, result->code, CODE_BYTES);
    result->hint = clean(s->arena, result->hint, LIMIT_HINT_BYTES - 1);
    result->moved_to = clean(s->arena, result->moved_to, LIMIT_ADDRESS_BYTES);
}

/* The far side has fetched it: it says what became of it, or nobody knows. */
static bool pulled(const struct sending *s)
{
    return s->driver && s->driver->pulls && s->driver->pulls(&s->channel);
}

static struct retry_output decide(const struct sending *s, const struct tried *tried)
{
    struct retry_input input = { .outcome = tried->outcome, .failures = s->send.failures,
        .retry_after_s = tried->result.retry_after_s, .is_lookup = tried->is_lookup,
            .policy = s->send.policy,
        .throttled = tried->result.throttled || str_is(tried->result.code, "429"),
        .uncounted = s->send.probes && tried->result.channel_fault,
        .can_repeat = s->send.act_id || (s->driver && (s->driver->can & CHANNEL_CAN_REPEAT) && !pulled(s)),
        .can_look_up = !s->send.act_id && s->driver && s->driver->lookup && !pulled(s) };

    id_random(&input.roll, sizeof input.roll);
    return retry_send(&input);
}

/* --- Its result ------------------------------------------------------------------------------- */

static struct attempt attempt_of(const struct tried *tried)
{
    static const int outcomes[] = { [SEND_DONE] = ATTEMPT_DONE, [SEND_RETRY] = ATTEMPT_RETRY,
        [SEND_REFUSED] = ATTEMPT_REFUSED, [SEND_UNSURE] = ATTEMPT_UNSURE };

    return (struct attempt){ .outcome = outcomes[tried->outcome], .code = tried->result.code,
        .detail = tried->result.hint, .external_id = tried->result.external_id };
}

/* Of a message in parts the least is true: delivered means that every part was. */
static void settle(struct sending *s, const struct send_result *result)
{
    enum message_state now = result->settled ? result->settled : MESSAGE_SENT;

    if (now == MESSAGE_FAILED) {
        s->settled_code = result->code;
        s->settled_hint = split_hint(s->arena, s->send.part, s->plan.parts, result->hint);
    }
    if (s->send.part == 0 || now == MESSAGE_FAILED)
        s->settled = now;
    else if (s->settled != MESSAGE_FAILED && now < s->settled)
        s->settled = now;
}

/* What the answer said of one part of several, where it is more than that the provider has it; else 0. */
static enum message_state part_settled(const struct sending *s, const struct tried *tried)
{
    enum message_state settled = tried->result.settled;

    return s->plan.parts > 1 && (settled == MESSAGE_DELIVERED || settled == MESSAGE_READ) ? settled : 0;
}

static void set_done(struct sending *s, struct queue_finish *finish, const struct tried *tried)
{
    finish->part_done = true;
    finish->part_settled = part_settled(s, tried);
    if (tried->is_lookup && s->send.part + 1 < s->plan.parts) {
        finish->end = QUEUE_AGAIN;      /* that part is there; the others follow in their turn */
        finish->due_ms = finish->now_ms;
        set_change(finish, MESSAGE_QUEUED, "", "");
        return;
    }
    finish->end = QUEUE_REMOVE;
    set_change(finish, MESSAGE_SENT, "", "");
    finish->change.external_id = tried->result.external_id;
    finish->settled = s->settled == MESSAGE_SENT ? MESSAGE_RECEIVED : s->settled;
    finish->settled_code = s->settled_code;
    finish->settled_hint = s->settled_hint;
    finish->early_receipts = s->driver->can & CHANNEL_CAN_RECEIPT;
}

static void set_again(const struct sending *s, struct queue_finish *finish,
                      const struct retry_output *next)
{
    finish->end = QUEUE_AGAIN;
    finish->due_ms = finish->now_ms + next->wait_ms;
    if (s->send.expires_ms && finish->due_ms > s->send.expires_ms)
        finish->due_ms = s->send.expires_ms;        /* then it is taken up once more, to expire */
    set_change(finish, MESSAGE_QUEUED, NULL, NULL);
}

/* Fill in what follows from a try. */
static void conclude(struct sending *s, struct queue_finish *finish, const struct tried *tried)
{
    struct retry_output next = decide(s, tried);
    struct str code = tried->result.code, hint = tried->result.hint;

    finish->failures = next.failures;
    switch (next.step) {
    case RETRY_DONE:
        set_done(s, finish, tried);
        return;
    case RETRY_AGAIN:
        set_again(s, finish, &next);
        if (tried->result.throttled)
            finish->pause_until_ms = finish->now_ms + next.wait_ms;
        break;
    case RETRY_LOOK_UP:
        finish->end = QUEUE_LEAVE;
        finish->due_ms = finish->now_ms + next.wait_ms;
        set_change(finish, MESSAGE_UNKNOWN, NULL, NULL);
        break;
    case RETRY_HOLD:
        finish->end = QUEUE_HOLD;
        set_change(finish, MESSAGE_UNKNOWN, NULL, NULL);
        break;
    case RETRY_FAIL:
        finish->end = QUEUE_REMOVE;
        set_change(finish, MESSAGE_FAILED, NULL, NULL);
        break;
    }
    finish->change.error_code = code.len > 0 || !next.code ? code : str_c(next.code);
    finish->change.error_hint = hint.len > 0 || !next.hint ? hint : str_c(next.hint);
    if (next.step == RETRY_LOOK_UP || next.step == RETRY_HOLD)
        /* what to do weighs more than what was answered */
        finish->change.error_hint = str_c(next.hint);
    if (next.step == RETRY_FAIL)
        finish->change.error_hint = split_hint(s->arena, s->send.part, s->plan.parts, finish->change.error_hint);
    finish->moves = finish->change.to != (enum message_state)s->send.state;
}

static int store(struct sending *s, const struct tried *tried, struct err *err)
{
    struct queue_finish finish = finish_of(s, QUEUE_REMOVE);

    finish.tried = attempt_of(tried);
    finish.fault = tried->result.channel_fault;
    finish.opted_out = tried->result.opted_out;
    if (tried->result.moved_to.len > 0 && s->channel.driver) {
        finish.moved_given = tried->result.moved_to;
        finish.moved_to = s->send.contact_id ? channel_address(s->arena, &s->channel, tried->result.moved_to)
            : tried->result.moved_to;
    }
    finish.worked = !finish.fault && (tried->outcome == SEND_DONE ||
                                      tried->outcome == SEND_REFUSED);
    conclude(s, &finish, tried);
    return submit(s, &finish, err);
}

/* The part is there: open the next one's attempt before its first byte leaves. 1 go on, 0 the lease
 * was lost, -1. */
static int next_part(struct sending *s, const struct tried *tried, struct err *err)
{
    struct queue_finish finish = finish_of(s, QUEUE_NEXT_PART);

    finish.tried = attempt_of(tried);
    finish.part_done = true;
    finish.part_settled = part_settled(s, tried);
    finish.worked = true;
    finish.next_attempt_id = ids_next(s->hub->ids, err);
    if (finish.next_attempt_id < 0 || submit(s, &finish, err))
        return -1;
    s->send.part++;
    s->send.attempt_id = finish.next_attempt_id;
    s->send.faults = 0;
    return finish.done;
}

/* The part's file cannot go out now, or never: nothing was tried. */
static int end_without_file(struct sending *s, enum send_file_state state, struct err *err)
{
    struct queue_finish finish = finish_of(s, state == SEND_FILE_LOST ? QUEUE_REMOVE : QUEUE_AGAIN);
    const char *code = state == SEND_FILE_LOST ? "file_lost" : state == SEND_FILE_PENDING ? "file_pending" : "store";

    finish.due_ms = finish.now_ms + SEND_FILE_WAIT_MS;
    if (s->send.expires_ms && finish.due_ms > s->send.expires_ms)
        finish.due_ms = s->send.expires_ms;
    set_change(&finish, state == SEND_FILE_LOST ? MESSAGE_FAILED : MESSAGE_QUEUED, code, s->files.why.detail);
    finish.tried = (struct attempt){ .outcome = state == SEND_FILE_LOST ? ATTEMPT_REFUSED : ATTEMPT_RETRY,
        .code = str_c(code), .detail = str_c(s->files.why.detail) };
    return submit(s, &finish, err);
}

static int send_parts(struct sending *s, struct err *err)
{
    for (;;) {
        int file = (int)s->send.part - s->plan.texts, more;
        enum send_file_state state = file < 0 ? SEND_FILE_READY : send_file_open(s->hub, &s->files, file);
        struct tried tried;

        if (state != SEND_FILE_READY)
            return end_without_file(s, state, err);
        tried = try_once(s);
        send_file_close(&s->files);
        clean_result(s, &tried.result);
        if (tried.outcome == SEND_DONE)
            settle(s, &tried.result);
        if (tried.outcome != SEND_DONE || s->send.part + 1 >= s->plan.parts)
            return store(s, &tried, err);
        more = next_part(s, &tried, err);
        if (more != 1)
            return more;
    }
}

/* --- Looking up ------------------------------------------------------------------------------- */

/* The try in question, so that what is found out is written beside it. */
static int find_attempt(struct sending *s, int64_t *since_ms, struct err *err)
{
    struct db_session *session = db_read(s->hub->db, s->send.tenant_id, err);
    struct db_rows *rows;
    int found;

    if (!session)
        return -1;
    rows = db_query(session, "SELECT id, started_ms FROM attempts WHERE message_id = $1 AND part = $2 AND act_id IS "
                    "NULL ORDER BY id DESC LIMIT 1", DB_ARGS(db_int(s->send.message_id), db_int(s->send.part)), err);
    found = rows ? db_next(rows, err) : -1;
    if (found == 1) {
        s->send.attempt_id = db_col_int(rows, 0);
        *since_ms = db_col_int(rows, 1);
    }
    db_read_end(session);
    return found < 0 ? -1 : 0;
}

static int look_up(struct sending *s, struct err *err)
{
    struct tried tried = { .outcome = SEND_UNSURE, .is_lookup = true };
    int64_t since_ms = 0;

    if (find_attempt(s, &since_ms, err))
        return -1;
    if (s->driver->lookup) {
        struct send_job job = job_of(s);

        job.since_ms = since_ms;
        tried.outcome = ask(s, &job, &tried.result);
    }
    clean_result(s, &tried.result);
    s->settled = tried.result.settled ? tried.result.settled : MESSAGE_SENT;
    return store(s, &tried, err);
}

/* --- The entry points ------------------------------------------------------------------------- */

/* What its parts are. 1; 0 the message was ended because its channel cannot take them, -1. */
static int plan_parts(struct sending *s, struct err *err)
{
    if (s->send.act_id) {
        s->plan.parts = s->plan.texts = 1;
        return 1;
    }
    if (send_files_load(s->hub, s->arena, &s->send, &s->files, err))
        return -1;
    s->plan = split_plan(s->driver, s->send.text, s->files.count);
    if (s->send.part >= s->plan.parts)
        return end_unusable(s, STR("The message has fewer parts than were sent already."), err);
    if (s->files.count > 0 && !(s->driver->can & CHANNEL_CAN_MEDIA))
        return end_unusable(s, STR("The channel cannot send files. Send a link in the text, or choose another "
                                   "channel."), err);
    return 1;
}

/* 1 ready to send, 0 the message was ended because its channel cannot be used, -1. */
static int prepare(struct sending *s, struct err *err)
{
    int found = channel_load(s->hub->db, s->arena,
                             CHANNEL_ID(s->send.tenant_id, s->send.channel_id), &s->channel, err);

    if (found < 0 && err->code == ERR_UNAVAILABLE)
        return -1;
    if (found < 0)
        return end_unusable(s, str_c(arena_strdup(s->arena, err->detail)), err);
    if (found == 0 || !s->channel.driver->send)
        return end_unusable(s,
                            STR("The channel is gone, or its kind cannot send. Choose another "
                                "channel."), err);
    s->driver = s->channel.driver;
    return plan_parts(s, err);
}

int send_run(struct hub *hub, const struct queue_send *send, struct err *err)
{
    struct sending s = { .hub = hub, .arena = arena_new(0), .send = *send,
        .settled = MESSAGE_SENT };
    int result;

    if (send->verdict != QUEUE_SEND && send->verdict != QUEUE_LOOK_UP) {
        result = end_untried(&s, err);
    } else {
        result = prepare(&s, err);
        if (result == 1)
            result = send->verdict == QUEUE_SEND ? send_parts(&s, err) : look_up(&s, err);
    }
    arena_free(s.arena);
    return result;
}

int send_release(struct hub *hub, const struct queue_send *send, struct err *err)
{
    struct sending s = { .hub = hub, .send = *send };
    struct queue_finish finish = finish_of(&s, QUEUE_RELEASE);

    finish.due_ms = finish.now_ms;
    finish.tried = (struct attempt){ .outcome = ATTEMPT_RETRY, .code = STR("released"),
        .detail = STR("The worker stopped before it began.") };
    if (send->state == MESSAGE_SENDING)
        set_change(&finish, MESSAGE_QUEUED, NULL, NULL);
    return submit(&s, &finish, err);
}

int send_offer(struct hub *hub, const struct channel *channel, const struct queue_send *send, struct send_job *job,
               struct err *err)
{
    struct sending s = { .hub = hub, .arena = job->arena, .send = *send, .channel = *channel,
        .driver = channel->driver };
    int planned = plan_parts(&s, err);

    if (planned == 1)
        *job = job_of(&s);
    return planned;
}

int send_take_over(struct hub *hub, const struct queue_send *send, int64_t stale_ms,
                   struct err *err)
{
    struct sending s = { .hub = hub, .arena = arena_new(0), .send = *send };
    struct tried tried = { .outcome = SEND_UNSURE, .result = { .code = STR("lease_expired"),
        .hint = STR("The worker that sent it died or stood still before it had an answer.") } };
    struct queue_finish finish = finish_of(&s, QUEUE_RELEASE);
    int found = channel_load(hub->db, s.arena, CHANNEL_ID(send->tenant_id, send->channel_id),
                             &s.channel, err), result = -1;

    s.driver = found == 1 ? s.channel.driver : NULL;
    if (pulled(&s))
        tried.result = (struct send_result){ .code = STR("not_settled"),
            .hint = STR("It was handed to the far side, which never said what became of it.") };
    finish.stale_ms = stale_ms + 1;
    finish.due_ms = finish.now_ms;
    if (found >= 0 || err->code != ERR_UNAVAILABLE) {
        if (send->state == MESSAGE_SENDING) {
            finish.tried = attempt_of(&tried);
            conclude(&s, &finish, &tried);
        }
        result = submit(&s, &finish, err);
    }
    arena_free(s.arena);
    return result;
}

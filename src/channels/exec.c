/* exec.c - a channel whose driver is a program of the operator's, in any language: one JSON object per line, both ways.
 * docs/channels/exec.md is its contract; lib/lines.c speaks it. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/lines.h"

#include <string.h>

#define ANSWER_LINES 1000       /* read while one answer is waited for */
#define ROUND_EVENTS 200
#define AFTER_FIRST_MS 20       /* lines that come together are stored together */
#define PROBE_MS 10000
#define RESTART_WAIT_MS 2000

static const struct field settings[] = {
    { "program", FIELD_TEXT, FIELD_REQUIRED,
      "Name of the program in the folder that the operator allows (exec-folder, DATA/exec).", 1, 100, NULL, NULL, NULL,
      "my-channel" },
    { "arguments", FIELD_TEXTS, 0, "Its arguments.", 0, 20 },
    { "config", FIELD_OBJECT, 0, "JSON for the program, in its environment as CHANNEL_CONFIG.", 0, 8000 },
    { "secret", FIELD_TEXT, FIELD_SECRET, "A secret for the program, in its environment as CHANNEL_SECRET.", 1, 2000 },
    { 0 }
};

/* --- What is said to the program --------------------------------------------------------------- */

static struct str done(struct arena *arena, struct json_writer *writer)
{
    struct str json;

    json_object_end(writer);
    json = (struct str){ arena_copy(arena, writer->out->data, writer->out->len), writer->out->len };
    if (writer->out->overflow)
        json = (struct str){ 0 };
    buf_fini(writer->out);
    return json;
}

static void optional(struct json_writer *writer, const char *name, const char *text)
{
    if (text)
        json_cstr_at(writer, name, text);
}

static struct str send_line(const struct send_job *job)
{
    static const char *const acts[] = {
        [SEND_MESSAGE] = "message", [SEND_REACTION] = "reaction", [SEND_EDIT] = "edit", [SEND_DELETE] = "delete",
        [SEND_READ] = "read", [SEND_TYPING] = "typing",
    };
    struct json_writer writer;
    struct buf body;

    buf_init(&body, LINES_MAX_BYTES - 1);
    writer = json_writer(&body);
    json_object_begin(&writer);
    json_cstr_at(&writer, "op", "send");
    json_cstr_at(&writer, "id", job->key);
    json_cstr_at(&writer, "act", acts[job->act]);
    json_cstr_at(&writer, "to", job->to);
    optional(&writer, "group", job->conversation);
    optional(&writer, "target", job->target);
    optional(&writer, "reply_to", job->reply_to);
    json_text_at(&writer, "text", job->text.data ? job->text : STR(""));
    json_int_at(&writer, "part", job->part);
    json_int_at(&writer, "parts", job->parts);
    json_int_at(&writer, "attempt", job->attempt);
    if (job->attachment) {
        json_key(&writer, "file");
        json_object_begin(&writer);
        optional(&writer, "name", job->attachment->name);
        optional(&writer, "type", job->attachment->type);
        optional(&writer, "url", job->attachment->url);
        json_object_end(&writer);
    }
    if (job->metadata.len && job->metadata.len <= LIMIT_METADATA_BYTES) {
        json_key(&writer, "metadata");
        json_put_raw(&writer, job->metadata);
    }
    return done(job->arena, &writer);
}

static struct str simple_line(struct arena *arena, const char *op, const struct poll *poll)
{
    struct json_writer writer;
    struct buf body;

    buf_init(&body, LINES_MAX_BYTES - 1);
    writer = json_writer(&body);
    json_object_begin(&writer);
    json_cstr_at(&writer, "op", op);
    if (!poll)
        json_cstr_at(&writer, "id", op);
    if (poll)
        json_text_at(&writer, "cursor", poll->cursor);
    if (poll && poll->is_start)
        json_bool_at(&writer, "again", true);
    return done(arena, &writer);
}

/* --- Sending ---------------------------------------------------------------------------------- */

static enum send_outcome says(struct send_result *result, enum send_outcome outcome, const char *code,
                              const char *hint)
{
    result->code = str_c(code);
    result->hint = str_c(hint);
    return outcome;
}

static const char *sentence(struct arena *arena, const struct err *err)
{
    return arena_printf(arena, "%s%s%s", err->detail, err->hint[0] ? " " : "", err->hint);
}

/* What the program answered. An outcome that it cannot have is none: it may have been sent. */
static enum send_outcome judge(const struct send_job *job, const struct json *answer, struct send_result *result)
{
    static const struct {
        const char *word;
        enum send_outcome outcome;
    } words[] = { { "done", SEND_DONE }, { "retry", SEND_RETRY }, { "refused", SEND_REFUSED },
                  { "unsure", SEND_UNSURE } };
    struct str word = json_text(json_get(answer, "outcome")), moved = json_text(json_get(answer, "moved_to"));
    int64_t wait_s = json_int(json_get(answer, "retry_after_s"), 0);
    enum send_outcome outcome = SEND_UNSURE;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (str_is(word, words[i].word))
            outcome = words[i].outcome;
    result->external_id = json_text(json_get(answer, "external_id"));
    if (outcome == SEND_DONE && result->external_id.len <= LIMIT_EXTERNAL_ID_BYTES) {
        result->moved_to = moved.len <= LIMIT_ADDRESS_BYTES ? moved : (struct str){ 0 };
        return SEND_DONE;
    }
    result->external_id = (struct str){ 0 };
    result->code = json_text(json_get(answer, "code"));
    result->hint = json_text(json_get(answer, "hint"));
    if (!result->code.len)
        result->code = word.len ? word : STR("no_outcome");
    if (!result->hint.len)
        result->hint = STR("The program gives no reason; it should say one in `hint`.");
    result->retry_after_s = wait_s < 0 ? 0 : wait_s > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : (int)wait_s;
    result->throttled = outcome == SEND_RETRY && json_bool(json_get(answer, "throttled"), false);
    result->channel_fault = json_bool(json_get(answer, "channel_fault"), false);
    result->opted_out = outcome == SEND_REFUSED && json_bool(json_get(answer, "opted_out"), false);
    (void)job;
    return outcome == SEND_DONE ? SEND_UNSURE : outcome;
}

/* The line that answers `id`, other lines being left to poll(). NULL with err: none came. */
static const struct json *answer_to(struct lines *lines, const char *id, struct err *err)
{
    const struct json *json;

    for (int i = 0; i < ANSWER_LINES; i++) {
        int came = lines_read(lines, LIMIT_SEND_MS, &json, err);

        if (came < 0)
            return NULL;
        if (came == 0)
            break;
        if (str_is(json_text(json_get(json, "id")), id) && !json_get(json, "event"))
            return json;
        lines_leave(lines);
    }
    err_set(err, ERR_TIMEOUT, "The program did not answer in time.");
    err_hint(err, "Every \"op\" with an id needs a line with the same id.");
    return NULL;
}

static enum send_outcome exec_send(const struct channel *channel, const struct send_job *job,
                                   struct exchange *exchange, struct send_result *result)
{
    struct lines lines = { .arena = job->arena, .exchange = exchange };
    struct str line = send_line(job);
    const struct json *answer;
    struct err err = { 0 };

    if (!line.len)
        return says(result, SEND_REFUSED, "too_long", "The message does not fit into one line of 64 KiB.");
    if (job->attachment && !job->attachment->url)
        return says(result, SEND_REFUSED, "no_files", "Files are handed over as a URL: set public-url.");
    result->channel_fault = true;
    if (lines_begin(&lines, channel, job->timeout_ms, &err))
        return says(result, SEND_RETRY, "not_started", sentence(job->arena, &err));
    if (lines_say(&lines, line, &err)) {
        /* half a line is none: the program must not act on it */
        lines_end(&lines, false);
        return says(result, SEND_RETRY, "not_read", sentence(job->arena, &err));
    }
    answer = answer_to(&lines, job->key, &err);
    lines_end(&lines, answer != NULL);
    if (!answer)
        return says(result, SEND_UNSURE, "no_answer", sentence(job->arena, &err));
    result->channel_fault = false;
    return judge(job, answer, result);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static int exec_poll(const struct channel *channel, struct poll *poll, struct exchange *exchange,
                     struct events *events, struct err *err)
{
    struct lines lines = { .arena = events->arena, .exchange = exchange, .yields = true };
    const struct json *json;
    int came = 0;

    if (lines_begin(&lines, channel, poll->timeout_ms, err))
        return -1;
    if (lines_say(&lines, simple_line(events->arena, "poll", poll), err)) {
        lines_end(&lines, false);
        return -1;
    }
    poll->wait_ms = 0;
    while (events->count < ROUND_EVENTS) {
        came = lines_read(&lines, events->count ? AFTER_FIRST_MS : poll->timeout_ms, &json, err);
        if (came <= 0)
            break;
        if (lines_event(json, events, &poll->cursor, err)) {
            came = -1;
            break;
        }
    }
    lines_end(&lines, came >= 0);
    if (came >= 0)
        return 0;
    /* what it said before it ended counts; it is started anew a little later */
    poll->wait_ms = RESTART_WAIT_MS;
    return events->count ? 0 : -1;
}

/* --- Probing ---------------------------------------------------------------------------------- */

static int exec_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                      struct err *err)
{
    struct lines lines = { .arena = report->arena, .exchange = exchange };
    const struct json *answer;
    struct str summary;

    if (lines_begin(&lines, channel, PROBE_MS, err))
        return -1;
    if (lines_say(&lines, simple_line(report->arena, "probe", NULL), err)) {
        lines_end(&lines, false);
        return -1;
    }
    answer = answer_to(&lines, "probe", err);
    lines_end(&lines, answer != NULL);
    if (!answer)
        return -1;
    summary = json_text(json_get(answer, "summary"));
    json_cstr_at(report->json, "program", channel_text(channel, "program"));
    if (!json_bool(json_get(answer, "ok"), false)) {
        err_set(err, ERR_UNAVAILABLE, "The program says that it does not work: %.*s",
                (int)str_cut(summary, 300, false), summary.len ? summary.data : "no reason is given.");
        return err_hint(err, "That is the program's own word; see its documentation.");
    }
    report->summary = summary.len ? summary : STR("The program runs and answers.");
    return 0;
}

const struct channel_driver channel_exec = {
    .kind = "exec",
    .title = "A program of your own",
    .about = "A driver written in any language: a program that reads and writes JSON lines. The operator puts it into "
             "the folder of exec-folder.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_REACT | CHANNEL_CAN_EDIT
        | CHANNEL_CAN_DELETE | CHANNEL_CAN_READ | CHANNEL_CAN_TYPING | CHANNEL_CAN_GROUP | CHANNEL_CAN_RECEIPT,
    .text_max = 4096,
    .caption_max = 4096,
    .send = exec_send,
    .poll = exec_poll,
    .probe = exec_probe,
};

/* What holds for sending on every channel, whatever its case files say. */
#include "trial.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "core/split.h"

#include <string.h>

/* A text with everything that encodings trip over. */
#define TRICKY \
    "h\xc3\xa9llo \"w\xc3\xb6rld\" & 50% +1=2 <b> \\n \xf0\x9f\x91\x8b\xf0\x9f\x8f\xbd\nsecond " \
    "line; caf\xc3\xa9?"
#define JOB_MS 12345

/* A peer that fails in one way, and what must become of a send. */
struct fault {
    const char *name;
    struct script_step step;
    enum send_outcome send, lookup;
    bool is_fault;
};

static const struct fault faults[] = {
    { "429",
      { .status = 429, .headers = "Retry-After: 7\n", .body = "{}" },
      SEND_RETRY,
      SEND_UNSURE,
      false },
    { "500", { .status = 500, .body = "{}" }, SEND_UNSURE, SEND_UNSURE, true },
    { "502 of a proxy",
      { .status = 502, .body = "<html>bad gateway</html>" },
      SEND_UNSURE,
      SEND_UNSURE,
      true },
    { "401", { .status = 401, .body = "{}" }, SEND_REFUSED, SEND_UNSURE, true },
    { "403", { .status = 403, .body = "" }, SEND_REFUSED, SEND_UNSURE, true },
    { "302",
      { .status = 302, .headers = "Location: http://elsewhere.test/\n" },
      SEND_REFUSED,
      SEND_UNSURE,
      true },
    { "a reset", { .end = EXCHANGE_UNKNOWN }, SEND_UNSURE, SEND_UNSURE, true },
    { "a refused connection", { .end = EXCHANGE_NOT_SENT }, SEND_RETRY, SEND_UNSURE, true },
    { "a time-out",
      { .status = 200, .after_ms = 1000 * 1000, .body = "{}" },
      SEND_UNSURE,
      SEND_UNSURE,
      true },
};

static const struct channel_case *first_case(const struct channel_case *cases, size_t count,
                                             enum case_call call)
{
    for (size_t i = 0; i < count; i++)
        if (cases[i].call == call && cases[i].expected_count > 0)
            return &cases[i];
    return NULL;
}

/* Do the case files say that this driver's provider creates nothing when it answers 5xx? Where the answer has a code of
 * the provider's own, that code says so, not the status. */
static bool documents_5xx(const struct channel_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cases[i].call == CALL_SEND && cases[i].expected_count > 0 && cases[i].outcome
            && strcmp(cases[i].outcome, "retry") == 0)
            for (size_t j = 0; j < cases[i].expected_count; j++)
                if (cases[i].expected[j].step.status >= 500
                    && !(cases[i].expected[j].step.body && (strstr(cases[i].expected[j].step.body, "\"code\"")
                             || strstr(cases[i].expected[j].step.body, "\"error\":"))))
                    return true;
    return false;
}

static void verify_timeouts(const struct trial *trial)
{
    for (size_t i = 0; i < script_asked(trial->script); i++) {
        int timeout_ms = script_request(trial->script, i)->timeout_ms;

        if (timeout_ms < 1 || timeout_ms > trial->job.timeout_ms)
            test_problem("request %zu may take %d ms, the job has %d", i + 1, timeout_ms,
                         trial->job.timeout_ms);
    }
}

static void check_fault(const struct channel_driver *driver, const struct channel_case *one,
                        const struct fault *fault, bool not_created, struct buf *seen)
{
    struct arena *arena = arena_new(0);
    enum send_outcome wanted = one->call == CALL_SEND ? fault->send : fault->lookup;
    struct trial trial;

    if (not_created && fault->step.status >= 500 && one->call == CALL_SEND)
        wanted = SEND_RETRY;
    test_begin("channel %s: %s at %s", driver->kind, one->call == CALL_SEND ? "send" : "lookup",
               fault->name);
    if (trial_begin(&trial, arena, driver, one)) {
        trial.job.timeout_ms = JOB_MS;
        trial_peer(&trial, &fault->step);
        trial_run(&trial);
        if (script_asked(trial.script) == 0)
            test_problem("nothing was asked of the provider");
        if (trial.outcome != wanted)
            test_problem("outcome %d, wanted %d", trial.outcome, wanted);
        if (!trial.result.hint.len || !trial.result.code.len)
            test_problem("neither a code nor a hint says what to do");
        if (trial.result.channel_fault != fault->is_fault)
            test_problem("it is %sthe channel's fault", fault->is_fault ? "" : "not ");
        if (fault->step.status == 429
            && (trial.result.retry_after_s != 7 || !trial.result.throttled))
            test_problem("Retry-After: 7 became %d", trial.result.retry_after_s);
        verify_timeouts(&trial);
        trial_texts(&trial, seen);
    } else {
        test_problem("%s", trial.err.detail);
    }
    test_end();
    trial_end(&trial);
    arena_free(arena);
}

/* Is the text a value inside the JSON? */
static bool json_holds(const struct json *value, struct str text)
{
    const char *key;
    const struct json *member;
    void *position = NULL;

    if (json_kind(value) == JSON_KIND_STRING)
        return str_eq(json_text(value), text);
    for (size_t i = 0; json_kind(value) == JSON_KIND_ARRAY && i < json_count(value); i++)
        if (json_holds(json_item(value, i), text))
            return true;
    while (json_kind(value) == JSON_KIND_OBJECT && json_next(value, &position, &key, &member))
        if (json_holds(member, text))
            return true;
    return false;
}

static bool body_holds(struct arena *arena, struct str body, struct str text)
{
    const struct json *json = json_parse(arena, body, NULL);
    struct http_header *pairs;
    size_t count = 0;

    if (json)
        return json_holds(json, text);
    if (http_form(arena, body, &pairs, &count))
        for (size_t i = 0; i < count; i++)
            if (str_eq(pairs[i].value, text))
                return true;
    return body.len && memmem(body.data, body.len, text.data, text.len);
}

/* Send `text` to a peer that takes everything; the text must arrive as it is. */
static void check_unchanged(const struct channel_driver *driver, const struct channel_case *one,
                            struct str text)
{
    static const struct script_step yes = { .status = 200, .body = "{}" };
    struct arena *arena = arena_new(0);
    bool held = false, keyed = false;
    struct trial trial;

    if (trial_begin(&trial, arena, driver, one)) {
        trial.job.text = text;
        trial_peer(&trial, &yes);
        trial_run(&trial);
        for (size_t i = 0; i < script_asked(trial.script); i++) {
            const struct exchange_request *request = script_request(trial.script, i);

            held |= body_holds(arena, request->body, text);
            keyed |= strstr(request->url, trial.job.key) != NULL
                || (request->body.len
                    && memmem(request->body.data, request->body.len, trial.job.key,
                              strlen(trial.job.key)));
        }
        if (!held)
            test_problem("the text does not arrive as it was: %.*s",
                         (int)(text.len < 80 ? text.len : 80), text.data);
        if (driver->can & CHANNEL_CAN_REPEAT && !keyed)
            test_problem("the message's key is not handed on, yet the driver says that repeats are "
                         "harmless");
    } else {
        test_problem("%s", trial.err.detail);
    }
    trial_end(&trial);
    arena_free(arena);
}

/* The longest text and one more character make two parts, cut between characters, and together they
 * are the text. */
static void check_longest(const struct channel_driver *driver, const struct channel_case *one,
                          const char *character, size_t units)
{
    struct arena *arena = arena_new(0);
    struct str rest, part;
    size_t parts = 0, total = 0;
    struct buf text;

    buf_init(&text, driver->text_max * 8 + 64);
    for (size_t i = 0; i * units < driver->text_max; i++)
        buf_puts(&text, character);
    buf_puts(&text, character);
    rest = buf_slice(&text);
    while (split_next(driver, &rest, &part) && parts < 4) {
        size_t length =
            driver->can & CHANNEL_CAN_UTF16 ? str_utf16_length(part) : str_utf8_length(part);

        if (!str_utf8_valid(part))
            test_problem("part %zu is cut inside a character", parts + 1);
        if (length > driver->text_max)
            test_problem("part %zu has %zu units, at most %zu", parts + 1, length,
                         driver->text_max);
        if (one)
            check_unchanged(driver, one, part);
        total += part.len;
        parts++;
    }
    if (parts != 2 || total != text.len)
        test_problem("%zu parts with %zu bytes of %zu", parts, total, text.len);
    buf_fini(&text);
    arena_free(arena);
}

void check_sends(const struct channel_driver *driver, const struct channel_case *cases,
                 size_t count, struct buf *seen)
{
    const struct channel_case *send = first_case(cases, count, CALL_SEND);
    const struct channel_case *lookup = first_case(cases, count, CALL_LOOKUP);
    bool not_created = documents_5xx(cases, count);

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (send)
            check_fault(driver, send, &faults[i], not_created, seen);
        if (lookup)
            check_fault(driver, lookup, &faults[i], not_created, seen);
    }
    if (!driver->send)
        return;
    test_begin("channel %s: texts arrive unchanged", driver->kind);
    if (send)
        check_unchanged(driver, send, STR(TRICKY));
    test_end();
    test_begin("channel %s: the longest text and one more character are two parts", driver->kind);
    if (driver->text_max < 1)
        test_problem("text_max is not set");
    check_longest(driver, send, "a", 1);
    check_longest(driver, send, "\xf0\x9f\x98\x80", driver->can & CHANNEL_CAN_UTF16 ? 2 : 1);
    test_end();
}

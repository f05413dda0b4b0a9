#include "trial.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

static const char *const outcome_words[] = { "done", "retry", "refused", "unsure" };
static const char *const event_words[] = { "message", "own_message", "receipt", "edit",
                                           "delete",  "reaction",    "opt_out", "opt_in",
                                           "moved",   "ignored" };

static struct str number_text(struct arena *arena, int64_t number)
{
    return str_c(arena_printf(arena, "%lld", (long long)number));
}

static struct str flag_text(bool flag)
{
    return flag ? STR("yes") : STR("no");
}

/* A JSON value as a case writes it. */
static struct str json_word(struct arena *arena, const struct json *value)
{
    struct str out;
    struct buf text;

    if (!value)
        return (struct str){ 0 };
    if (json_kind(value) == JSON_KIND_STRING)
        return json_text(value);
    buf_init(&text, LIMIT_WEBHOOK_BYTES);
    json_dump(&text, value);
    out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    return out;
}

static void compare(const struct pair *pair, const char *where, struct str found)
{
    if (!case_fits(pair, found))
        test_problem("%s %.*s is \"%.*s\", wanted %s\"%.*s\"", where, STR_FMT(pair->name),
                     STR_FMT(found), pair->op == '~' ? "something with " : "",
                     STR_FMT(pair->value));
}

static void verify_json(const struct trial *trial, const struct pairs *wanted, const char *where,
                        struct str text)
{
    const struct json *json = wanted->count ? json_parse(trial->arena, text, NULL) : NULL;

    for (size_t i = 0; i < wanted->count; i++)
        compare(
            &wanted->items[i], where,
            json_word(trial->arena, json_at(json, str_dup(trial->arena, wanted->items[i].name))));
}

/* --- Requests that went out ------------------------------------------------------------------- */

static void verify_form(const struct trial *trial, const struct pairs *wanted, struct str body)
{
    struct http_header *pairs;
    size_t count = 0;

    if (!wanted->count)
        return;
    if (!http_form(trial->arena, body, &pairs, &count))
        test_problem("the body is no form: %.*s", STR_FMT(body));
    for (size_t i = 0; i < wanted->count; i++) {
        struct str found = { 0 };

        for (size_t j = 0; j < count; j++)
            if (str_eq(pairs[j].name, wanted->items[i].name))
                found = pairs[j].value;
        compare(&wanted->items[i], "form", found);
    }
}

/* One part of a multipart body: "file", "file.name", "file.type"; absent when there is none. */
static struct str part_value(struct arena *arena, const struct exchange_request *request, struct str wanted)
{
    struct str type = exchange_request_header(request, "Content-Type"), name, rest = request->body;
    const char *mark = type.data ? memmem(type.data, type.len, "boundary=", 9) : NULL;
    const char *boundary =
        mark ? arena_printf(arena, "--%.*s", (int)(type.data + type.len - mark - 9), mark + 9) : NULL;
    const char *head, *end, *stop;

    str_split(&wanted, '.', &name);
    while (boundary && rest.len && (head = memmem(rest.data, rest.len, boundary, strlen(boundary)))) {
        rest.len -= (size_t)(head + strlen(boundary) - rest.data);
        rest.data = head + strlen(boundary);
        stop = memmem(rest.data, rest.len, boundary, strlen(boundary));
        end = memmem(rest.data, rest.len, "\r\n\r\n", 4);
        if (!stop || !end || end > stop)
            break;
        head = arena_copy(arena, rest.data, (size_t)(end - rest.data));
        if (!strstr(head, arena_printf(arena, "; name=\"%.*s\"", STR_FMT(name))))
            continue;
        if (!wanted.data)
            return (struct str){ end + 4, (size_t)(stop - end) - 6 };
        mark = strstr(head, str_is(wanted, "name") ? "; filename=\"" : "Content-Type: ");
        mark = mark ? mark + (str_is(wanted, "name") ? 12 : 14) : NULL;
        return mark ? (struct str){ mark, strcspn(mark, "\"\r") } : (struct str){ 0 };
    }
    return (struct str){ 0 };
}

static void verify_requests(const struct trial *trial)
{
    size_t asked = script_asked(trial->script);

    for (size_t i = 0; i < trial->one->expected_count; i++) {
        const struct expected *expected = &trial->one->expected[i];
        const struct exchange_request *request = script_request(trial->script, i);

        if (!request) {
            test_problem("no request %s %s", http_method_name(expected->step.method),
                         expected->step.url);
            continue;
        }
        if (request->method != expected->step.method
            || strcmp(request->url, expected->step.url) != 0)
            test_problem("request %s %s, wanted %s %s", http_method_name(request->method),
                         request->url, http_method_name(expected->step.method), expected->step.url);
        for (size_t j = 0; j < expected->headers.count; j++)
            compare(&expected->headers.items[j], "header",
                    exchange_request_header(
                        request, str_dup(trial->arena, expected->headers.items[j].name)));
        verify_form(trial, &expected->form, request->body);
        verify_json(trial, &expected->json, "request", request->body);
        for (size_t j = 0; j < expected->parts.count; j++)
            compare(&expected->parts.items[j], "part",
                    part_value(trial->arena, request, expected->parts.items[j].name));
    }
    if (asked > trial->one->expected_count)
        test_problem("%zu requests, %zu expected", asked, trial->one->expected_count);
}

/* --- Mails that went out ---------------------------------------------------------------------- */

static struct str mail_value(const struct trial *trial, const struct exchange_mail *mail, struct str name)
{
    if (str_starts(name, "header."))
        return trial_mail_header(trial->arena, mail->body, str_dup(trial->arena, name) + 7);
    if (str_is(name, "text"))
        return trial_mail_text(trial->arena, mail->body);
    return str_is(name, "to") ? str_c(mail->to) : str_is(name, "from") ? str_c(mail->from)
        : str_is(name, "url") ? str_c(mail->url) : str_is(name, "user") ? str_c(mail->user)
        : str_is(name, "body") ? mail->body : (struct str){ 0 };
}

static void verify_mails(const struct trial *trial)
{
    size_t mailed = script_mailed(trial->script);

    for (size_t i = 0; i < trial->one->mail_count; i++) {
        const struct exchange_mail *mail = script_mail_sent(trial->script, i);
        const struct pairs *wanted = &trial->one->mails[i].pairs;

        if (!mail)
            test_problem("no mail %zu", i + 1);
        for (size_t j = 0; mail && j < wanted->count; j++)
            compare(&wanted->items[j], "mail", mail_value(trial, mail, wanted->items[j].name));
    }
    if (mailed > trial->one->mail_count)
        test_problem("%zu mails, %zu expected", mailed, trial->one->mail_count);
    if (script_left(trial->script) > 0 && trial->one->talk_count > 0)
        test_problem("%zu lines of the stream were not spoken", script_left(trial->script));
    if (script_surprises(trial->script) > 0)
        test_problem("the peer was asked what it did not expect");
}

/* --- What came of it -------------------------------------------------------------------------- */

static struct str outcome_value(const struct trial *trial, struct str name)
{
    const struct send_result *result = &trial->result;

    if (str_is(name, "id"))
        return result->external_id;
    if (str_is(name, "code"))
        return result->code;
    if (str_is(name, "hint"))
        return result->hint;
    if (str_is(name, "retry_after_s"))
        return number_text(trial->arena, result->retry_after_s);
    if (str_is(name, "wait_ms"))
        return number_text(trial->arena, result->wait_ms);
    if (str_is(name, "fault"))
        return flag_text(result->channel_fault);
    if (str_is(name, "throttled"))
        return flag_text(result->throttled);
    if (str_is(name, "opted_out"))
        return flag_text(result->opted_out);
    if (str_is(name, "moved_to"))
        return result->moved_to;
    if (str_is(name, "settled"))
        return result->settled ? str_c(message_state_words[result->settled]) : STR("no");
    test_problem("outcome has no attribute %.*s", STR_FMT(name));
    return (struct str){ 0 };
}

static void verify_outcome(const struct trial *trial)
{
    const struct channel_case *one = trial->one;

    if (!one->outcome)
        test_problem("the case says no outcome");
    else if (strcmp(outcome_words[trial->outcome], one->outcome) != 0)
        test_problem("outcome %s (%.*s: %.*s), wanted %s", outcome_words[trial->outcome],
                     STR_FMT(trial->result.code), STR_FMT(trial->result.hint), one->outcome);
    for (size_t i = 0; i < one->outcome_pairs.count; i++)
        compare(&one->outcome_pairs.items[i], "outcome",
                outcome_value(trial, one->outcome_pairs.items[i].name));
    if (trial->outcome != SEND_DONE && (!trial->result.code.len || !trial->result.hint.len))
        test_problem("what was not done needs a code and a hint");
}

/* file.name, file.type, file.ref, file.data, file.size of the first attachment; file2.name ... of the second. */
static struct str attachment_value(const struct trial *trial, const struct channel_event *event, struct str name)
{
    int64_t number = 1;
    struct str at;

    str_split(&name, '.', &at);
    if (at.len > 4)
        str_int((struct str){ at.data + 4, at.len - 4 }, 1, LIMIT_ATTACHMENTS, &number);
    if ((size_t)number > event->attachment_count)
        return (struct str){ 0 };
    const struct channel_attachment *file = &event->attachments[number - 1];
    if (str_is(name, "size"))
        return number_text(trial->arena, file->size);
    return str_is(name, "name") ? file->name : str_is(name, "type") ? file->type
        : str_is(name, "ref") ? file->ref : str_is(name, "data") ? file->data : (struct str){ 0 };
}

static struct str event_value(const struct trial *trial, const struct channel_event *event,
                              struct str name)
{
    const struct {
        const char *name;
        struct str value;
    } texts[] = {
        { "id", event->external_id },    { "address", event->address },   { "name", event->name },
        { "group", event->group },       { "text", event->text },         { "type", event->type },
        { "reply_to", event->reply_to }, { "metadata", event->metadata }, { "code", event->code },
        { "hint", event->hint },         { "key", event->key },           { "alias", event->aliases[0] },
        { "alias2", event->aliases[1] }, { "alias3", event->aliases[2] },
        { "segment", event->segment },
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (str_is(name, texts[i].name))
            return texts[i].value;
    if (str_is(name, "provider_ms"))
        return number_text(trial->arena, event->provider_ms);
    if (str_is(name, "segments"))
        return number_text(trial->arena, event->segments);
    if (str_is(name, "offset_min"))
        return number_text(trial->arena, event->offset_min);
    if (str_is(name, "history"))
        return flag_text(event->is_history);
    if (str_is(name, "automatic"))
        return flag_text(event->is_automatic);
    if (str_is(name, "state"))
        return str_c(message_state_words[event->state]);
    if (str_is(name, "files"))
        return number_text(trial->arena, (int64_t)event->attachment_count);
    if (str_starts(name, "file"))
        return attachment_value(trial, event, name);
    if (str_starts(name, "metadata."))
        return json_word(trial->arena, json_at(json_parse(trial->arena, event->metadata, NULL),
                                               str_dup(trial->arena, name) + 9));
    test_problem("an event has no attribute %.*s", STR_FMT(name));
    return (struct str){ 0 };
}

/* What is no message, and what our own token names. */
static bool may_be_unnumbered(const struct channel_event *event)
{
    return event->kind == CHANNEL_IGNORED || event->kind == CHANNEL_OPTED_OUT || event->kind == CHANNEL_OPTED_IN
        || event->kind == CHANNEL_MOVED || event->key.len > 0;
}

static void verify_events(const struct trial *trial)
{
    const struct channel_case *one = trial->one;

    if (trial->events.count != one->event_count)
        test_problem("%zu events, wanted %zu", trial->events.count, one->event_count);
    for (size_t i = 0; i < one->event_count && i < trial->events.count; i++) {
        const struct channel_event *event = &trial->events.items[i];

        if (strcmp(event_words[event->kind], one->events[i].kind) != 0)
            test_problem("event %zu is a %s, wanted %s", i + 1, event_words[event->kind],
                         one->events[i].kind);
        for (size_t j = 0; j < one->events[i].pairs.count; j++)
            compare(&one->events[i].pairs.items[j], "event",
                    event_value(trial, event, one->events[i].pairs.items[j].name));
        if (!may_be_unnumbered(event) && !event->external_id.len)
            test_problem("event %zu has no external id", i + 1);
    }
}

static void verify_answer(const struct trial *trial)
{
    const struct channel_case *one = trial->one;
    int status = trial->reply.status ? trial->reply.status : 200;
    int64_t wanted = 0;

    if (!one->answer)
        return;
    if (!str_int(str_c(one->answer), 100, 599, &wanted) || wanted != status)
        test_problem("answer %d, wanted %s", status, one->answer);
    for (size_t i = 0; i < one->answer_pairs.count; i++) {
        const struct pair *pair = &one->answer_pairs.items[i];

        if (str_is(pair->name, "body"))
            compare(pair, "answer", trial->reply.body);
        else if (str_is(pair->name, "type"))
            compare(pair, "answer", str_c(trial->reply.content_type));
        else
            compare(pair, "answer",
                    json_word(trial->arena,
                              json_at(json_parse(trial->arena, trial->reply.body, NULL),
                                      str_dup(trial->arena, pair->name))));
    }
}

static void verify_error(const struct trial *trial)
{
    const struct channel_case *one = trial->one;

    if (trial->status == 0) {
        test_problem("it went well, wanted the error %s", one->error);
        return;
    }
    if (strcmp(err_word(trial->err.code), one->error) != 0)
        test_problem("error %s (%s), wanted %s", err_word(trial->err.code), trial->err.detail,
                     one->error);
    for (size_t i = 0; i < one->error_pairs.count; i++) {
        const struct pair *pair = &one->error_pairs.items[i];

        compare(pair, "error",
                str_c(str_is(pair->name, "field")      ? trial->err.field
                          : str_is(pair->name, "hint") ? trial->err.hint
                                                       : trial->err.detail));
    }
}

static void verify_fetched(const struct trial *trial)
{
    const struct channel_case *one = trial->one;

    if (!one->fetched || !str_is(number_text(trial->arena, trial->fetched.status), one->fetched))
        test_problem("fetched with status %d, wanted %s", trial->fetched.status,
                     one->fetched ? one->fetched : "one");
    for (size_t i = 0; i < one->fetched_pairs.count; i++)
        compare(&one->fetched_pairs.items[i], "fetched",
                str_is(one->fetched_pairs.items[i].name, "body") ? trial->fetched.body
                                                                 : exchange_header(&trial->fetched, "Content-Type"));
}

void trial_verify(struct trial *trial)
{
    const struct channel_case *one = trial->one;

    verify_requests(trial);
    verify_mails(trial);
    if (one->call == CALL_SEND || one->call == CALL_LOOKUP) {
        verify_outcome(trial);
        return;
    }
    if (one->error) {
        verify_error(trial);
        return;
    }
    if (trial->status < 0)
        test_problem("error %s: %s %s", err_word(trial->err.code), trial->err.detail,
                     trial->err.hint);
    if (one->call == CALL_RECEIVE || one->call == CALL_POLL)
        verify_events(trial);
    if (one->cursor && !str_is(trial->poll.cursor, one->cursor))
        test_problem("cursor \"%.*s\", wanted \"%s\"", STR_FMT(trial->poll.cursor), one->cursor);
    if (one->call == CALL_FETCH)
        verify_fetched(trial);
    verify_answer(trial);
    for (size_t i = 0; i < one->report_pairs.count; i++)
        if (str_is(one->report_pairs.items[i].name, "summary"))
            compare(&one->report_pairs.items[i], "report", trial->summary);
        else {
            struct pairs single = { .items = { one->report_pairs.items[i] }, .count = 1 };

            verify_json(trial, &single, "report", trial->report);
        }
}

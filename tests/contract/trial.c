#include "trial.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 40

/* --- Report ----------------------------------------------------------------------------------- */

static char test_name[200];
static int test_problems, failures;

void test_begin(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(test_name, sizeof test_name, format, args);
    va_end(args);
    test_problems = 0;
}

void test_problem(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("  %s: ", test_name);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    test_problems++;
}

void test_end(void)
{
    printf("%s %s\n", test_problems ? "not ok" : "ok", test_name);
    failures += test_problems > 0;
}

int test_failures(void)
{
    return failures;
}

/* --- Preparing -------------------------------------------------------------------------------- */

/* act= target= conversation=, and the part that is a file: file= type= data= url= */
static void begin_act(struct trial *trial)
{
    static const char *const acts[] = { "message", "reaction", "edit", "delete", "read", "typing" };
    const struct pairs *given = &trial->one->given;
    struct str act = case_value(given, "act"), file = case_value(given, "file");

    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
        if (str_is(act, acts[i]))
            trial->job.act = (enum send_act)i;
    trial->job.target = str_dup(trial->arena, case_value(given, "target"));
    trial->job.conversation = str_dup(trial->arena, case_value(given, "conversation"));
    if (!file.data)
        return;
    trial->attachment = (struct send_attachment){ .name = str_dup(trial->arena, file),
        .type = str_dup(trial->arena, case_value(given, "type")), .data = case_value(given, "data"),
        .url = str_dup(trial->arena, case_value(given, "url")) };
    trial->job.attachment = &trial->attachment;
    if (!case_value(given, "text").data)
        trial->job.text = STR("");
}

static void begin_job(struct trial *trial)
{
    const struct pairs *given = &trial->one->given;
    struct str text = case_value(given, "text"), to = case_value(given, "to");
    struct str key = case_value(given, "key"), reply_to = case_value(given, "reply_to");
    int64_t attempt = 1, timeout_ms = 30000, part = 0, parts = 1;

    str_int(case_value(given, "attempt"), 1, 1000, &attempt);
    str_int(case_value(given, "timeout_ms"), 1, 1000000, &timeout_ms);
    str_int(case_value(given, "part"), 0, 1000, &part);
    str_int(case_value(given, "parts"), 1, 1000, &parts);
    trial->job = (struct send_job){
        .arena = trial->arena,
        .to = to.data ? str_dup(trial->arena, to) : "+15550002",
        .text = text.data ? text : STR("hello"),
        .part = (int)part,
        .parts = (int)parts,
        .attempt = (int)attempt,
        .reply_to = str_dup(trial->arena, reply_to),
        .timeout_ms = (int)timeout_ms,
        .now_ms = trial->one->now_ms,
        .is_automatic = str_is(case_value(given, "automatic"), "yes"),
        .metadata = case_value(given, "metadata"),
        .thread = case_value(given, "thread"),
        .thread_id = str_dup(trial->arena, case_value(given, "thread_id")),
    };
    snprintf(trial->job.key, sizeof trial->job.key, "%s",
             key.data ? str_dup(trial->arena, key) : "key-0001");
    clock_parse(case_value(given, "since"), &trial->job.since_ms, NULL);
    begin_act(trial);
    trial->poll = (struct poll){ .cursor = case_value(given, "cursor"), .now_ms = trial->one->now_ms,
        .is_start = str_is(case_value(given, "start"), "yes"), .timeout_ms = (int)timeout_ms };
}

static void begin_request(struct trial *trial)
{
    const struct inbound *inbound = &trial->one->inbound;
    struct str path = str_c(inbound->target), query = { 0 };
    const char *mark = path.data ? memchr(path.data, '?', path.len) : NULL;

    if (mark) {
        query = (struct str){ mark + 1, path.len - (size_t)(mark + 1 - path.data) };
        path.len = (size_t)(mark - path.data);
    }
    if (path.len == 1)
        path.len = 0;
    trial->request = (struct http_request){
        .method = inbound->method,
        .raw_query = query,
        .arena = trial->arena,
        .path =
            str_c(arena_printf(trial->arena, "/hooks/%s%.*s", trial->channel.hook, STR_FMT(path))),
        .headers = arena_array(trial->arena, HEADERS_MAX, sizeof(struct http_header)),
    };
    trial->request.raw_path = trial->request.path;
    if (query.data
        && !http_form(trial->arena, query, &trial->request.query, &trial->request.query_count))
        test_problem("the query is no form");
    for (size_t i = 0; i < inbound->headers.count; i++)
        trial->request.headers[trial->request.header_count++] = (struct http_header){
            inbound->headers.items[i].name, inbound->headers.items[i].value,
        };
    trial->request.body = inbound->body.data ? inbound->body : STR("");
    trial->webhook = (struct webhook){ &trial->request, path, trial->one->now_ms };
    trial_sign(trial, NULL);
}

static bool begin_settings(struct trial *trial, const struct channel_driver *driver)
{
    const struct pairs *given = &trial->one->settings;

    field_begin(trial->arena, driver->settings, &trial->channel.settings);
    for (size_t i = 0; i < given->count; i++)
        if (field_set_text(trial->arena, &trial->channel.settings,
                           str_dup(trial->arena, given->items[i].name), given->items[i].value,
                           &trial->err)
            < 0)
            return false;
    return field_finish(trial->arena, &trial->channel.settings, &trial->err) == 0;
}

bool trial_begin(struct trial *trial, struct arena *arena, const struct channel_driver *driver,
                 const struct channel_case *one)
{
    *trial = (struct trial){ .arena = arena, .one = one };
    trial->channel = (struct channel){ .id = 7,
                                       .tenant_id = 1,
                                       .kind = driver->kind,
                                       .name = "test",
                                       .hook = "hook-0123456789",
                                       .region = one->region,
                                       .public_url = strcmp(one->public_url, "-") ? one->public_url : NULL,
                                       .driver = driver };
    if (!begin_settings(trial, driver))
        return false;
    begin_job(trial);
    begin_request(trial);
    trial->events.arena = arena;
    trial->script = script_new();
    for (size_t i = 0; i < one->expected_count; i++)
        script_add(trial->script, &one->expected[i].step);
    for (size_t i = 0; i < one->mail_count; i++)
        script_add_mail(trial->script, &one->mails[i].step);
    for (size_t i = 0; i < one->talk_count; i++)
        script_add_line(trial->script, one->talk[i].line, one->talk[i].text);
    return true;
}

void trial_end(struct trial *trial)
{
    script_free(trial->script);
    trial->script = NULL;
}

void trial_peer(struct trial *trial, const struct script_step *step)
{
    script_free(trial->script);
    trial->script = script_new();
    for (int method = 0; method < HTTP_METHODS; method++) {
        struct script_step any = *step;

        any.method = (enum http_method)method;
        any.url = "*";
        any.times = -1;
        script_add(trial->script, &any);
    }
}

void trial_mail_peer(struct trial *trial, const struct script_mail *step)
{
    struct script_mail any = *step;

    script_free(trial->script);
    trial->script = script_new();
    any.to = "*";
    any.times = -1;
    script_add_mail(trial->script, &any);
}

void trial_header(struct trial *trial, const char *name, struct str value)
{
    struct http_request *request = &trial->request;
    size_t at = 0;

    while (at < request->header_count && !str_eq_nocase(request->headers[at].name, str_c(name)))
        at++;
    if (at == request->header_count && request->header_count++ == HEADERS_MAX - 1)
        test_problem("too many headers");
    request->headers[at] = (struct http_header){ str_c(name), value };
}

/* Everything that is not a whole escape stands for itself. */
static struct str decoded(struct arena *arena, struct str text)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t length = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte;
        bool escape = text.data[i] == '%' && i + 2 < text.len
            && sign_unhex((struct str){ text.data + i + 1, 2 }, &byte, 1);

        out[length++] = escape ? (char)byte : text.data[i] == '+' ? ' ' : text.data[i];
        i += escape ? 2 : 0;
    }
    return (struct str){ out, length };
}

static int compare(struct str a, struct str b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b)
{
    const struct http_header *first = a, *second = b;
    int order = compare(first->name, second->name);

    return order ? order : compare(first->value, second->value);
}

struct str trial_form(struct arena *arena, struct str body)
{
    struct http_header *pairs = arena_array(arena, LIMIT_HEADER_COUNT, sizeof *pairs);
    struct str rest = body, pair, name, joined;
    size_t count = 0;
    struct buf out;

    while (count < LIMIT_HEADER_COUNT && str_split(&rest, '&', &pair)) {
        if (!pair.len)
            continue;
        name = pair;
        str_split(&pair, '=', &name);
        pairs[count++] = (struct http_header){ decoded(arena, name),
                                               decoded(arena, pair.data ? pair : STR("")) };
    }
    qsort(pairs, count, sizeof *pairs, by_name);
    buf_init(&out, LIMIT_WEBHOOK_BYTES);
    for (size_t i = 0; i < count; i++) {
        buf_str(&out, pairs[i].name);
        buf_str(&out, pairs[i].value);
    }
    joined = (struct str){ arena_copy(arena, out.data ? out.data : "", out.len), out.len };
    buf_fini(&out);
    return joined;
}

static void add_signed(struct trial *trial, const char *part, struct buf *all)
{
    const struct http_request *request = &trial->request;

    if (strncmp(part, "header:", 7) == 0)
        buf_str(all, http_header(request, part + 7));
    else if (strncmp(part, "text:", 5) == 0)
        buf_puts(all, part + 5);
    else if (strcmp(part, "url") == 0)
        buf_printf(all, "%s%.*s%s%.*s", trial->one->public_url, STR_FMT(request->raw_path),
                   request->raw_query.data ? "?" : "", STR_FMT(request->raw_query));
    else if (strcmp(part, "form") == 0)
        buf_str(all, trial_form(trial->arena, request->body));
    else
        buf_str(all, request->body);
}

void trial_sign(struct trial *trial, const char *key)
{
    const struct signature *signature = &trial->one->inbound.signature;
    unsigned char mac[SIGN_HASH_BYTES];
    const char *value;
    struct buf all;

    if (!signature->setting)
        return;
    if (!key)
        key = channel_text(&trial->channel, signature->setting);
    if (!key)
        return;
    buf_init(&all, LIMIT_WEBHOOK_BYTES * 2);
    for (size_t i = 0; i < signature->part_count; i++)
        add_signed(trial, signature->parts[i], &all);
    if (signature->as && strcmp(signature->as, "sha1-base64") == 0) {
        sign_hmac_sha1(str_c(key), buf_slice(&all), mac);
        value = sign_base64(trial->arena, mac, SIGN_SHA1_BYTES);
    } else {
        sign_hmac_sha256(str_c(key), buf_slice(&all), mac);
        value = sign_hex(trial->arena, mac, sizeof mac);
        if (signature->as && strcmp(signature->as, "sha256=hex") == 0)
            value = arena_printf(trial->arena, "sha256=%s", value);
        else if (signature->as && strcmp(signature->as, "sha256-base64") == 0)
            value = sign_base64(trial->arena, mac, sizeof mac);
    }
    buf_fini(&all);
    trial_header(trial, signature->header, str_c(value));
}

void trial_setting(struct trial *trial, const char *name, struct str value)
{
    struct fields *fields = &trial->channel.settings;
    struct err err = { 0 };

    if (value.data) {
        if (field_set_text(trial->arena, fields, name, value, &err) < 0)
            test_problem("setting %s: %s", name, err.detail);
        return;
    }
    for (size_t i = 0; i < fields->count; i++)
        if (strcmp(fields->table[i].name, name) == 0)
            fields->values[i] = (struct value){ 0 };
}

/* --- Running ---------------------------------------------------------------------------------- */

static void run_probe(struct trial *trial)
{
    struct json_writer writer;
    struct probe_report report = { .arena = trial->arena, .json = &writer };
    struct buf json;

    buf_init(&json, LIMIT_EXCHANGE_BYTES);
    writer = json_writer(&json);
    json_object_begin(&writer);
    trial->status = trial->channel.driver->probe(&trial->channel, script_exchange(trial->script),
                                                 &report, &trial->err);
    json_object_end(&writer);
    trial->report = (struct str){ arena_copy(trial->arena, json.data, json.len), json.len };
    trial->summary = report.summary;
    buf_fini(&json);
}

static void run_fetch(struct trial *trial, struct exchange *exchange)
{
    const struct pairs *given = &trial->one->given;
    struct channel_attachment attachment = { .name = case_value(given, "name"),
        .type = case_value(given, "type"), .ref = case_value(given, "ref"), .arena = trial->arena };

    str_int(case_value(given, "size"), 0, INT64_MAX, &attachment.size);
    trial->fetched.body = STR("");
    trial->status = trial->channel.driver->fetch(&trial->channel, &attachment, exchange, &trial->fetched, &trial->err);
}

void trial_run(struct trial *trial)
{
    const struct channel_driver *driver = trial->channel.driver;
    struct exchange *exchange = script_exchange(trial->script);

    switch (trial->one->call) {
    case CALL_SEND:
        trial->outcome = driver->send(&trial->channel, &trial->job, exchange, &trial->result);
        break;
    case CALL_LOOKUP:
        trial->outcome = driver->lookup(&trial->channel, &trial->job, exchange, &trial->result);
        break;
    case CALL_RECEIVE:
        trial->status = driver->receive(&trial->channel, &trial->webhook, &trial->events,
                                        &trial->reply, &trial->err);
        break;
    case CALL_POLL:
        trial->status =
            driver->poll(&trial->channel, &trial->poll, exchange, &trial->events, &trial->err);
        break;
    case CALL_PROBE:
        run_probe(trial);
        break;
    case CALL_FETCH:
        run_fetch(trial, exchange);
        break;
    default:
        break;
    }
}

static void add_text(struct buf *out, struct str text)
{
    buf_str(out, text);
    buf_putc(out, '\n');
}

void trial_texts(const struct trial *trial, struct buf *out)
{
    add_text(out, trial->result.external_id);
    add_text(out, trial->result.code);
    add_text(out, trial->result.hint);
    add_text(out, str_c(trial->err.field));
    add_text(out, str_c(trial->err.detail));
    add_text(out, str_c(trial->err.hint));
    add_text(out, trial->report);
    add_text(out, trial->summary);
    add_text(out, trial->reply.body);
    add_text(out, trial->poll.cursor);
    for (size_t i = 0; i < trial->events.count; i++) {
        const struct channel_event *event = &trial->events.items[i];

        add_text(out, event->external_id);
        add_text(out, event->address);
        add_text(out, event->name);
        add_text(out, event->group);
        add_text(out, event->text);
        add_text(out, event->metadata);
        add_text(out, event->code);
        add_text(out, event->hint);
    }
}

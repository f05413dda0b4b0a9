#include "channels/lib/lines.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

#include <string.h>

#define READY_LINES 100         /* before it says that it is ready */

static const char *variable(struct arena *arena, const char *name, const char *value)
{
    return arena_printf(arena, "%s=%s", name, value ? value : "");
}

/* The program's words, and all that it is told of its channel: another setting is another program. */
static struct stream_request request_of(struct arena *arena, const struct channel *channel, int timeout_ms,
                                        bool yields)
{
    const struct value *arguments = field_get(&channel->settings, "arguments");
    size_t count = arguments ? arguments->count : 0;
    const char **argv = arena_array(arena, count + 2, sizeof *argv), **envp = arena_array(arena, 6, sizeof *envp);

    argv[0] = channel_text(channel, "program");
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = str_dup(arena, arguments->texts[i]);
    envp[0] = "PATH=/usr/local/bin:/usr/bin:/bin";
    envp[1] = "LANG=C.UTF-8";
    envp[2] = variable(arena, "CHANNEL_NAME", channel->name);
    envp[3] = variable(arena, "CHANNEL_CONFIG", channel_text(channel, "config"));
    envp[4] = variable(arena, "CHANNEL_SECRET", channel_text(channel, "secret"));
    return (struct stream_request){ .channel_id = channel->id, .tenant_id = channel->tenant_id, .argv = argv,
                                    .envp = envp, .yields = yields, .timeout_ms = timeout_ms };
}

static int wait_ready(struct lines *lines, struct err *err)
{
    const struct json *json;
    int came;

    for (int i = 0; i < READY_LINES; i++) {
        came = lines_read(lines, LIMIT_SEND_MS, &json, err);
        if (came < 0) {
            err_set(err, ERR_UNAVAILABLE, "The program ended before it was ready.");
            return err_hint(err, "Run it by hand with CHANNEL_CONFIG in its environment; its first line must be "
                                 "{\"event\":\"ready\"}.");
        }
        if (came == 0)
            break;
        if (str_is(json_text(json_get(json, "event")), "ready"))
            return 0;
    }
    err_set(err, ERR_TIMEOUT, "The program does not say that it is ready.");
    return err_hint(err, "Its first line must be {\"event\":\"ready\"}, with its output not buffered.");
}

int lines_begin(struct lines *lines, const struct channel *channel, int timeout_ms, struct err *err)
{
    const struct stream_request request = request_of(lines->arena, channel, timeout_ms / 2, lines->yields);

    lines->stream = exchange_open(lines->exchange, &request, err);
    if (!lines->stream)
        return -1;
    lines->until_us = stream_until_us(timeout_ms / 2);
    buf_init(&lines->line, LINES_MAX_BYTES);
    buf_init(&lines->others, LINES_MAX_BYTES);
    if (!stream_is_fresh(lines->stream) || wait_ready(lines, err) == 0)
        return 0;
    lines_end(lines, false);
    return -1;
}

int lines_say(struct lines *lines, struct str json, struct err *err)
{
    char *line = arena_alloc(lines->arena, json.len + 1);

    memcpy(line, json.data, json.len);
    line[json.len] = '\n';
    return stream_write(lines->stream, (struct str){ line, json.len + 1 }, stream_left_ms(lines->until_us), err);
}

int lines_read(struct lines *lines, int timeout_ms, const struct json **json, struct err *err)
{
    int left = stream_left_ms(lines->until_us);
    int came = stream_line(lines->stream, &lines->line, timeout_ms < left ? timeout_ms : left, err);

    *json = NULL;
    if (came == 1 && lines->line.len)
        *json = json_parse_lenient(lines->arena, buf_slice(&lines->line), NULL);
    return came;
}

void lines_leave(struct lines *lines)
{
    buf_add(&lines->others, lines->line.data, lines->line.len);
    buf_putc(&lines->others, '\n');
}

void lines_end(struct lines *lines, bool keep)
{
    struct err err = { 0 };

    /* what cannot be kept must not be passed over: a new program is asked for all behind the cursor */
    if (lines->others.overflow || (lines->others.len && stream_unread(lines->stream, buf_slice(&lines->others), &err)))
        keep = false;
    stream_release(lines->stream, keep);
    buf_fini(&lines->line);
    buf_fini(&lines->others);
}

/* --- Events ----------------------------------------------------------------------------------- */

static enum message_state state_of(struct str word)
{
    return str_is(word, "sent")    ? MESSAGE_SENT
        : str_is(word, "delivered") ? MESSAGE_DELIVERED
        : str_is(word, "read")      ? MESSAGE_READ
        : str_is(word, "failed")    ? MESSAGE_FAILED
                                    : 0;
}

/* A type that the hub has, or none: what else a program writes is a text. */
static struct str type_of(struct str type)
{
    struct str rest = STR(MESSAGE_TYPES), one;

    while (type.len && str_split(&rest, '|', &one))
        if (str_eq(one, type))
            return type;
    return (struct str){ 0 };
}

/* What the kind of event cannot be without. */
static bool is_whole(const struct channel_event *event)
{
    switch (event->kind) {
    case CHANNEL_MESSAGE:
    case CHANNEL_OWN_MESSAGE:
        return event->external_id.len && event->address.len && (event->text.len || event->attachment_count);
    case CHANNEL_RECEIPT:
        return event->state && (event->external_id.len || event->key.len);
    case CHANNEL_EDIT:
        return event->external_id.len && event->text.len;
    case CHANNEL_DELETE:
        return event->external_id.len;
    case CHANNEL_REACTION:
        return event->external_id.len && event->address.len;
    case CHANNEL_MOVED:
        return event->address.len && event->text.len;
    default:
        return event->address.len;
    }
}

/* Text as clock_parse takes it, or a number of seconds or milliseconds. */
static void read_time(struct arena *arena, const struct json *json, struct channel_event *event)
{
    struct str text = json_text(json);
    int offset_min = 0;

    if (json_kind(json) == JSON_KIND_INT)
        text = str_c(arena_printf(arena, "%lld", (long long)json_int(json, 0)));
    if (clock_parse(text, &event->provider_ms, &offset_min))
        event->offset_min = offset_min;
    else
        event->provider_ms = 0;
}

static bool read_event(struct arena *arena, const struct json *json, struct channel_event *event,
                       struct channel_attachment *file)
{
    static const char *const kinds[] = {
        [CHANNEL_MESSAGE] = "message", [CHANNEL_OWN_MESSAGE] = "own_message", [CHANNEL_RECEIPT] = "receipt",
        [CHANNEL_EDIT] = "edit", [CHANNEL_DELETE] = "delete", [CHANNEL_REACTION] = "reaction",
        [CHANNEL_OPTED_OUT] = "opted_out", [CHANNEL_OPTED_IN] = "opted_in", [CHANNEL_MOVED] = "moved",
    };
    struct str kind = json_text(json_get(json, "event"));
    size_t at = 0;

    while (at < sizeof kinds / sizeof kinds[0] && !str_is(kind, kinds[at]))
        at++;
    *file = (struct channel_attachment){ .name = json_text(json_at(json, "file.name")),
                                         .type = json_text(json_at(json, "file.type")),
                                         .ref = json_text(json_at(json, "file.url")) };
    *event = (struct channel_event){
        .kind = (enum channel_event_kind)at,
        .external_id = json_text(json_get(json, "id")),
        .address = json_text(json_get(json, "address")),
        .aliases = { json_text(json_get(json, "alias")) },
        .name = json_text(json_get(json, "name")),
        .group = json_text(json_get(json, "group")),
        .text = json_text(json_get(json, "text")),
        .type = type_of(json_text(json_get(json, "type"))),
        .reply_to = json_text(json_get(json, "reply_to")),
        .is_history = json_bool(json_get(json, "history"), false),
        .is_automatic = json_bool(json_get(json, "automatic"), false),
        .attachments = file,
        .attachment_count = file->ref.len ? 1 : 0,
        .state = state_of(json_text(json_get(json, "state"))),
        .key = json_text(json_get(json, "key")),
        .code = json_text(json_get(json, "code")),
        .hint = json_text(json_get(json, "hint")),
    };
    read_time(arena, json_get(json, "time"), event);
    return at < sizeof kinds / sizeof kinds[0] && is_whole(event);
}

/* An answer whose call waits no more says what became of the message all the same. */
static bool read_late(const struct json *json, struct channel_event *event)
{
    struct str outcome = json_text(json_get(json, "outcome"));

    *event = (struct channel_event){
        .kind = CHANNEL_RECEIPT,
        .key = json_text(json_get(json, "id")),
        .external_id = json_text(json_get(json, "external_id")),
        .state = str_is(outcome, "done") ? MESSAGE_SENT : str_is(outcome, "refused") ? MESSAGE_FAILED : 0,
        .code = json_text(json_get(json, "code")),
        .hint = json_text(json_get(json, "hint")),
    };
    return event->key.len && event->state;
}

int lines_event(const struct json *json, struct events *events, struct str *cursor, struct err *err)
{
    struct str moved = json_text(json_get(json, "cursor"));
    struct channel_attachment file;
    struct channel_event event;

    if (moved.len)
        *cursor = str_c(str_dup(events->arena, moved));
    if (!read_event(events->arena, json, &event, &file) && !read_late(json, &event))
        event = (struct channel_event){ .kind = CHANNEL_IGNORED };
    return events_add(events, &event, err);
}

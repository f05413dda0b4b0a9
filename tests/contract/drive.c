/* One driver against a real peer, without a hub: what its poll() gives, as JSON lines, for the tests of channels.
 *
 *   drive KIND poll ROUNDS CURSOR name=value...     polls so often, 3 s each at most; then {"cursor":"..."}
 *   drive KIND hold COUNT - name=value...           one round on each of COUNT channels, whose sessions are kept; then
 *                                                   {"first_kib":...,"each_kib":...}: the process's memory
 *   drive KIND probe 1 - name=value...              what `channels test` would say */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/channel.h"
#include "net/client.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUND_MS 3000

static bool anywhere(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    (void)arg, (void)tenant_id, (void)address, (void)port;
    return true;
}

static int say(struct str detail, const char *hint)
{
    fprintf(stderr, "drive: %.*s %s\n", STR_FMT(detail), hint);
    return 1;
}

static void print_line(struct buf *text)
{
    printf("%.*s\n", (int)text->len, text->data);
    fflush(stdout);
}

static void print_event(const struct channel_event *event)
{
    static const char *const kinds[] = { "message", "own_message", "receipt", "edit", "delete", "reaction", "opt_out",
                                         "opt_in", "moved", "ignored" };
    struct json_writer json;
    struct buf text;

    buf_init(&text, LIMIT_ANSWER_BYTES);
    json = json_writer(&text);
    json_object_begin(&json);
    json_cstr_at(&json, "event", kinds[event->kind]);
    json_text_at(&json, "external_id", event->external_id);
    json_text_at(&json, "address", event->address);
    json_text_at(&json, "name", event->name);
    json_text_at(&json, "text", event->text);
    json_text_at(&json, "reply_to", event->reply_to);
    json_text_at(&json, "key", event->key);
    json_text_at(&json, "code", event->code);
    json_text_at(&json, "hint", event->hint);
    json_cstr_at(&json, "state", message_state_words[event->state]);
    json_bool_at(&json, "is_automatic", event->is_automatic);
    json_bool_at(&json, "is_history", event->is_history);
    json_int_at(&json, "files", (int64_t)event->attachment_count);
    for (size_t i = 0; i < event->attachment_count && i < 1; i++) {
        json_text_at(&json, "file_name", event->attachments[i].name);
        json_int_at(&json, "file_size", (int64_t)event->attachments[i].data.len);
    }
    json_key(&json, "metadata");
    json_put_raw(&json, event->metadata.len ? event->metadata : STR("{}"));
    json_object_end(&json);
    print_line(&text);
    buf_fini(&text);
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0;

    malloc_trim(0);
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static int poll_rounds(const struct channel *channel, struct exchange *exchange, int rounds, const char *cursor)
{
    struct str at = strcmp(cursor, "-") == 0 ? (struct str){ 0 } : str_c(cursor);

    for (int i = 0; i < rounds; i++) {
        struct events events = { .arena = arena_new(0) };
        struct poll poll = { .cursor = at, .now_ms = clock_ms(), .is_start = i == 0, .timeout_ms = ROUND_MS };
        struct err err = { 0 };

        if (channel->driver->poll(channel, &poll, exchange, &events, &err))
            return say(str_c(err.detail), err.hint);
        for (size_t k = 0; k < events.count; k++)
            print_event(&events.items[k]);
        at = str_c(mem_strdup(str_dup(events.arena, poll.cursor)));
        printf("{\"cursor\":\"%s\"}\n", at.data);
        fflush(stdout);
        arena_free(events.arena);
    }
    return 0;
}

static int hold(struct channel *channel, struct exchange *exchange, int count)
{
    long first = 0;

    for (int i = 0; i < count; i++) {
        struct events events = { .arena = arena_new(0) };
        struct err err = { 0 };

        /* the first round finds where the mailbox ends, the second waits there */
        struct poll poll = { .now_ms = clock_ms(), .timeout_ms = 1 };

        channel->id = i + 1;
        for (int k = 0; k < 2; k++)
            if (channel->driver->poll(channel, &poll, exchange, &events, &err))
                return say(str_c(err.detail), err.hint);
        arena_free(events.arena);
        if (i == 0)
            first = resident_kib();
    }
    printf("{\"first_kib\":%ld,\"each_kib\":%.1f}\n", first,
           count > 1 ? (double)(resident_kib() - first) / (count - 1) : 0.0);
    return 0;
}

static int probe(const struct channel *channel, struct exchange *exchange, struct arena *arena)
{
    struct json_writer json;
    struct probe_report report = { .arena = arena, .json = &json };
    struct err err = { 0 };
    struct buf text;
    int failed;

    buf_init(&text, LIMIT_ANSWER_BYTES);
    json = json_writer(&text);
    json_object_begin(&json);
    failed = channel->driver->probe(channel, exchange, &report, &err);
    json_text_at(&json, "summary", report.summary);
    json_object_end(&json);
    if (failed)
        return say(str_c(err.detail), err.hint);
    print_line(&text);
    buf_fini(&text);
    return 0;
}

static const struct channel_driver *find(const char *kind)
{
    for (const struct channel_driver *const *driver = channel_drivers; *driver; driver++)
        if (strcmp((*driver)->kind, kind) == 0)
            return *driver;
    return NULL;
}

static int set_up(struct arena *arena, struct channel *channel, char **settings)
{
    struct err err = { 0 };

    field_begin(arena, channel->driver->settings, &channel->settings);
    for (; *settings; settings++) {
        char *equals = strchr(*settings, '=');

        if (!equals || field_set_text(arena, &channel->settings, str_dup(arena, (struct str){ *settings,
            (size_t)(equals - *settings) }), str_c(equals + 1), &err) < 0)
            return say(str_c(*settings), err.detail);
    }
    return field_finish(arena, &channel->settings, &err) ? say(str_c(err.detail), err.hint) : 0;
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct channel channel = { .id = 1, .tenant_id = 1, .name = "drive", .hook = "hook", .region = "US" };
    struct client *client;
    int result;

    if (argc < 5 || !(channel.driver = find(argv[1])))
        return say(STR("KIND poll|hold|probe COUNT CURSOR name=value..."), "");
    channel.kind = argv[1];
    if (set_up(arena, &channel, argv + 5))
        return 1;
    client = client_new(anywhere, NULL);
    if (strcmp(argv[2], "poll") == 0)
        result = poll_rounds(&channel, client_exchange(client), atoi(argv[3]), argv[4]);
    else if (strcmp(argv[2], "hold") == 0)
        result = hold(&channel, client_exchange(client), atoi(argv[3]));
    else
        result = probe(&channel, client_exchange(client), arena);
    client_free(client);
    arena_free(arena);
    return result;
}

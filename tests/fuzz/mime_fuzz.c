/* Any bytes as a mail: it is read within its limits, everything comes out as valid text, and what it means for a
 * mailbox can be stored. */
#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "channels/lib/mail.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct str text, size_t max)
{
    if (text.len > max || (text.len && !str_utf8_valid(text)))
        abort();
}

static void check_mail(struct arena *arena, struct str bytes)
{
    struct err err = { 0 };
    struct mime_mail mail;

    if (mime_read(arena, bytes, &mail, &err)) {
        if (!err.detail[0])
            abort();
        return;
    }
    check_text(mail.text, LIMIT_TEXT_BYTES);
    check_text(mail.subject, LIMIT_JSON_BYTES);
    check_text(mail.from.address, LIMIT_ADDRESS_BYTES);
    if (mail.file_count > LIMIT_ATTACHMENTS || mail.person_count > MIME_PEOPLE || mail.header_count > MIME_HEADERS
        || mail.reference_count > MIME_REFERENCES)
        abort();
    for (size_t i = 0; i < mail.header_count; i++)
        if (memchr(mail.headers[i].value.data ? mail.headers[i].value.data : "", '\n', mail.headers[i].value.len))
            abort();
}

static void check_event(struct arena *arena, struct str bytes)
{
    static const struct field settings[] = {
        { "address", FIELD_TEXT, 0, "", 3, 320, NULL, "help@hub.test" }, { 0 }
    };
    static const struct channel_driver driver = { .kind = "email", .settings = settings };
    struct channel channel = { .id = 1, .tenant_id = 1, .kind = "email", .driver = &driver };
    struct mail_source source = { .bytes = bytes, .size = (int64_t)bytes.len, .received_ms = 1719045971000 };
    struct events events = { .arena = arena };
    struct err err = { 0 };

    field_begin(arena, settings, &channel.settings);
    if (field_finish(arena, &channel.settings, &err) || mail_event_add(&channel, &source, &events, &err)
        || events.count == 0)
        abort();
    for (size_t i = 0; i < events.count; i++) {
        const struct channel_event *event = &events.items[i];

        check_text(event->text, LIMIT_TEXT_BYTES * 3);
        check_text(event->external_id, LIMIT_EXTERNAL_ID_BYTES);
        if (event->kind == CHANNEL_MESSAGE && (!event->external_id.len || !event->address.len || !event->text.len
            || event->metadata.len > LIMIT_METADATA_BYTES || !json_parse(arena, event->metadata, &err)))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct str bytes = { (const char *)data, size };

    check_mail(arena, bytes);
    check_event(arena, bytes);
    mime_html_text(arena, mime_text_decode(arena, bytes, "utf-8", LIMIT_TEXT_BYTES));
    mime_text_flowed(arena, mime_text_lines(arena, bytes), size & 1);
    arena_free(arena);
    return 0;
}

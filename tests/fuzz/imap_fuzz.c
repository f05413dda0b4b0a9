/* Any bytes as what a mail server says: tokens end and stay inside of it, and a whole poll against such a server ends
 * with an error or with events. */
#include "base/arena.h"
#include "channels/lib/imap.h"
#include "channels/lib/mail.h"
#include "net/script.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tokens(struct str bytes)
{
    struct str rest = bytes;

    for (size_t i = 0; i <= bytes.len; i++) {
        struct imap_token token = imap_token(&rest);

        if (token.kind == IMAP_END || token.kind == IMAP_BAD)
            return;
        if (token.text.data < bytes.data || token.text.data + token.text.len > bytes.data + bytes.len)
            abort();
    }
    abort();        /* more tokens than bytes */
}

/* Each line is said when the driver has written one more. */
static void check_poll(struct arena *arena, struct str bytes)
{
    extern const struct channel_driver channel_email;
    struct channel channel = { .id = 1, .tenant_id = 1, .kind = "email", .driver = &channel_email };
    struct poll poll = { .cursor = STR("1719045971 1719045971 0 7 41 0 0"), .now_ms = 1719045971000, .timeout_ms = 1 };
    struct script *script = script_new();
    struct events events = { .arena = arena };
    struct str rest = bytes, part;
    struct err err = { 0 };

    field_begin(arena, channel_email.settings, &channel.settings);
    field_set_text(arena, &channel.settings, "address", STR("help@hub.test"), &err);
    field_set_text(arena, &channel.settings, "imap_url", STR("imaps://mail.test"), &err);
    if (field_finish(arena, &channel.settings, &err))
        abort();
    while (str_split(&rest, '\1', &part)) {
        script_add_line(script, SCRIPT_EXPECT, STR("*"));
        script_add_line(script, SCRIPT_SAY, part);
    }
    if (channel_email.poll(&channel, &poll, script_exchange(script), &events, &err) && !err.detail[0])
        abort();
    script_free(script);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(0);
    struct str bytes = { (const char *)data, size };

    check_tokens(bytes);
    check_poll(arena, bytes);
    arena_free(arena);
    return 0;
}

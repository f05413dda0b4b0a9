#include "channels/lib/mime.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <gmime/gmime.h>
#include <string.h>

#define SUBJECT_MAX 900

/* One line for a header: what would end it is a space. */
static const char *line_of(struct arena *arena, struct str text, size_t max)
{
    char *copy;

    if (text.len > max)
        text.len = str_utf8_prefix((struct str){ text.data, max });
    copy = arena_copy(arena, text.data ? text.data : "", text.len);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
            copy[i] = ' ';
    return copy;
}

/* Ids hold no white space and no brackets: others are left out rather than repaired. */
static bool is_id(const char *id)
{
    return id && *id && strlen(id) <= LIMIT_EXTERNAL_ID_BYTES && !strpbrk(id, " \t\r\n<>");
}

static GMimeObject *text_part(struct arena *arena, struct str text)
{
    struct str lines = mime_text_lines(arena, text.data ? text : STR(""));
    GMimeStream *memory = g_mime_stream_mem_new_with_buffer(lines.data, lines.len);
    GMimeDataWrapper *wrapper = g_mime_data_wrapper_new_with_stream(memory, GMIME_CONTENT_ENCODING_DEFAULT);
    GMimePart *part = g_mime_part_new_with_type("text", "plain");

    g_mime_object_set_content_type_parameter(GMIME_OBJECT(part), "charset", "utf-8");
    g_mime_part_set_content(part, wrapper);
    g_mime_part_set_content_encoding(part, GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
    g_object_unref(wrapper);
    g_object_unref(memory);
    return GMIME_OBJECT(part);
}

/* "type/subtype" of plain characters, or octets. */
static void set_type(struct arena *arena, GMimePart *part, const char *type)
{
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&-^_.+";
    size_t major = type ? strspn(type, token) : 0, minor;
    GMimeContentType *content;

    if (major == 0 || type[major] != '/' || (minor = strspn(type + major + 1, token)) == 0
        || type[major + 1 + minor] != '\0' || strncasecmp(type, "multipart/", 10) == 0
        || strncasecmp(type, "message/", 8) == 0)
        return;
    content = g_mime_content_type_new(str_dup(arena, (struct str){ type, major }), type + major + 1);
    g_mime_object_set_content_type(GMIME_OBJECT(part), content);
    g_object_unref(content);
}

static GMimeObject *file_part(struct arena *arena, const struct send_attachment *file)
{
    GMimeStream *memory = g_mime_stream_mem_new_with_buffer(file->data.data ? file->data.data : "", file->data.len);
    GMimeDataWrapper *wrapper = g_mime_data_wrapper_new_with_stream(memory, GMIME_CONTENT_ENCODING_DEFAULT);
    GMimePart *part = g_mime_part_new_with_type("application", "octet-stream");

    set_type(arena, part, file->type);
    g_mime_part_set_content(part, wrapper);
    g_mime_part_set_content_encoding(part, GMIME_CONTENT_ENCODING_BASE64);
    g_mime_object_set_disposition(GMIME_OBJECT(part), GMIME_DISPOSITION_ATTACHMENT);
    if (file->name && *file->name)
        g_mime_part_set_filename(part, line_of(arena, str_c(file->name), LIMIT_NAME_BYTES));
    g_object_unref(wrapper);
    g_object_unref(memory);
    return GMIME_OBJECT(part);
}

static GMimeObject *body_of(struct arena *arena, const struct mime_draft *draft)
{
    GMimeMultipart *mixed;
    GMimeObject *part;

    if (!draft->file)
        return text_part(arena, draft->text);
    mixed = g_mime_multipart_new_with_subtype("mixed");
    if (draft->text.len > 0) {
        part = text_part(arena, draft->text);
        g_mime_multipart_add(mixed, part);
        g_object_unref(part);
    }
    part = file_part(arena, draft->file);
    g_mime_multipart_add(mixed, part);
    g_object_unref(part);
    return GMIME_OBJECT(mixed);
}

static void add_thread(struct arena *arena, GMimeObject *message, const struct mime_draft *draft)
{
    struct buf all;

    if (!is_id(draft->in_reply_to))
        return;
    g_mime_object_set_header(message, "In-Reply-To", arena_printf(arena, "<%s>", draft->in_reply_to), NULL);
    buf_init(&all, (MIME_REFERENCES + 2) * (LIMIT_EXTERNAL_ID_BYTES + 4));
    for (size_t i = 0; i < draft->reference_count; i++) {
        const char *id = str_dup(arena, draft->references[i]);

        if (is_id(id) && strcmp(id, draft->in_reply_to) != 0)
            buf_printf(&all, "<%s> ", id);
    }
    buf_printf(&all, "<%s>", draft->in_reply_to);
    g_mime_object_set_header(message, "References", all.data, NULL);
    buf_fini(&all);
}

static void add_headers(struct arena *arena, GMimeMessage *message, const struct mime_draft *draft)
{
    GDateTime *date = g_date_time_new_from_unix_utc(draft->date_ms / 1000);
    GMimeObject *object = GMIME_OBJECT(message);

    g_mime_message_add_mailbox(message, GMIME_ADDRESS_TYPE_FROM,
                               draft->from_name ? line_of(arena, str_c(draft->from_name), LIMIT_NAME_BYTES) : NULL,
                               line_of(arena, str_c(draft->from), LIMIT_ADDRESS_BYTES));
    g_mime_message_add_mailbox(message, GMIME_ADDRESS_TYPE_TO, NULL,
                               line_of(arena, str_c(draft->to), LIMIT_ADDRESS_BYTES));
    g_mime_message_set_subject(message, line_of(arena, draft->subject, SUBJECT_MAX), "utf-8");
    if (date) {
        g_mime_message_set_date(message, date);
        g_date_time_unref(date);
    }
    if (is_id(draft->message_id))
        g_mime_message_set_message_id(message, draft->message_id);
    add_thread(arena, object, draft);
    g_mime_object_set_header(object, "MIME-Version", "1.0", NULL);
    if (draft->is_automatic) {
        g_mime_object_set_header(object, "Auto-Submitted", "auto-replied", NULL);
        g_mime_object_set_header(object, "X-Auto-Response-Suppress", "All", NULL);
    }
}

/* The library wrote LF, and nothing but encoded text between them. */
static struct str with_crlf(struct arena *arena, const GByteArray *bytes)
{
    struct str out;
    struct buf text;

    buf_init(&text, (size_t)bytes->len * 2 + 16);
    for (guint i = 0; i < bytes->len; i++) {
        if (bytes->data[i] == '\n' && (i == 0 || bytes->data[i - 1] != '\r'))
            buf_putc(&text, '\r');
        buf_putc(&text, (char)bytes->data[i]);
    }
    if (text.len == 0 || text.data[text.len - 1] != '\n')
        buf_puts(&text, "\r\n");
    out = (struct str){ arena_copy(arena, text.data, text.len), text.len };
    buf_fini(&text);
    return out;
}

struct str mime_write(struct arena *arena, const struct mime_draft *draft)
{
    GMimeStream *memory;
    GMimeMessage *message;
    GMimeObject *body;
    struct str out;

    mime_start();
    memory = g_mime_stream_mem_new();
    message = g_mime_message_new(TRUE);
    body = body_of(arena, draft);
    add_headers(arena, message, draft);
    g_mime_message_set_mime_part(message, body);
    g_mime_object_write_to_stream(GMIME_OBJECT(message), NULL, memory);
    out = with_crlf(arena, g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(memory)));
    g_object_unref(body);
    g_object_unref(message);
    g_object_unref(memory);
    return out;
}

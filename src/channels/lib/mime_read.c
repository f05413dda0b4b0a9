#include "channels/lib/mime.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <gmime/gmime.h>
#include <string.h>

/* Every nested part needs a line that says what it is. Above so many the library is not given the body: it calls itself
 * for each depth, and compares every line with every open boundary. */
#define TYPES_MAX 600
#define HEADER_VALUE_MAX 8192
#define REPORT_MAX (64 * 1024)
#define TEXT_GAP "\n\n"

/* One mail while it is read. */
struct reading {
    struct arena *arena;
    struct mime_mail *mail;
    struct buf text;
    int parts;
    size_t file_bytes;
};

void mime_start(void)
{
    static gsize started;

    if (g_once_init_enter(&started)) {
        g_mime_init();
        g_once_init_leave(&started, 1);
    }
}

/* The library's text, valid and in one line; absent for NULL. */
static struct str line_of(struct arena *arena, const char *text, size_t max)
{
    struct str out = str_trim(str_c(text));
    char *copy;

    if (!text)
        return (struct str){ 0 };
    if (out.len > max)
        out.len = max;
    out = str_nfc(arena, out);
    copy = arena_copy(arena, out.data ? out.data : "", out.len);
    for (size_t i = 0; i < out.len; i++)
        if ((unsigned char)copy[i] < ' ' || copy[i] == 0x7f)
            copy[i] = ' ';
    return str_trim((struct str){ copy, out.len });
}

/* --- Headers ---------------------------------------------------------------------------------- */

static void read_headers(struct reading *reading, GMimeObject *object)
{
    GMimeHeaderList *list = g_mime_object_get_header_list(object);
    int count = g_mime_header_list_get_count(list);
    struct mime_mail *mail = reading->mail;

    mail->headers = arena_array(reading->arena, MIME_HEADERS, sizeof *mail->headers);
    for (int i = 0; i < count && mail->header_count < MIME_HEADERS; i++) {
        GMimeHeader *header = g_mime_header_list_get_header_at(list, i);

        mail->headers[mail->header_count++] = (struct mime_header){
            line_of(reading->arena, g_mime_header_get_name(header), LIMIT_NAME_BYTES),
            line_of(reading->arena, g_mime_header_get_value(header), HEADER_VALUE_MAX) };
    }
}

static bool is_address(struct str text)
{
    const char *at = text.len ? memrchr(text.data, '@', text.len) : NULL;

    if (!at || at == text.data || at + 1 == text.data + text.len || text.len > LIMIT_ADDRESS_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] <= ' ' || strchr("<>\"\\,;:()", text.data[i]))
            return false;
    return true;
}

static struct str domain_lower(struct arena *arena, struct str address)
{
    char *copy = arena_copy(arena, address.data, address.len);
    size_t at = (size_t)((const char *)memrchr(address.data, '@', address.len) - address.data);

    for (; at < address.len; at++)
        if (copy[at] >= 'A' && copy[at] <= 'Z')
            copy[at] |= 32;
    return (struct str){ copy, address.len };
}

/* The mailboxes of a list, those of groups too, into `people`. */
static void read_people(struct reading *reading, InternetAddressList *list, bool copies, int depth)
{
    struct mime_mail *mail = reading->mail;
    int count = list ? internet_address_list_length(list) : 0;

    for (int i = 0; i < count && mail->person_count < MIME_PEOPLE; i++) {
        InternetAddress *one = internet_address_list_get_address(list, i);
        struct str address;

        if (INTERNET_ADDRESS_IS_GROUP(one)) {
            if (depth < MIME_DEPTH)
                read_people(reading, internet_address_group_get_members(INTERNET_ADDRESS_GROUP(one)), copies,
                            depth + 1);
            continue;
        }
        address = line_of(reading->arena, internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(one)),
                          LIMIT_ADDRESS_BYTES + 1);
        if (is_address(address))
            mail->people[mail->person_count++] = (struct mime_address){
                line_of(reading->arena, internet_address_get_name(one), LIMIT_NAME_BYTES),
                domain_lower(reading->arena, address), copies };
    }
}

static void read_addresses(struct reading *reading, GMimeMessage *message)
{
    struct mime_mail *mail = reading->mail;

    mail->people = arena_array(reading->arena, MIME_PEOPLE, sizeof *mail->people);
    read_people(reading, g_mime_message_get_from(message), false, 0);
    if (mail->person_count == 0)
        read_people(reading, g_mime_message_get_sender(message), false, 0);
    if (mail->person_count > 0)
        mail->from = mail->people[0];
    mail->person_count = 0;
    mail->people = arena_array(reading->arena, MIME_PEOPLE, sizeof *mail->people);
    read_people(reading, g_mime_message_get_to(message), false, 0);
    read_people(reading, g_mime_message_get_cc(message), true, 0);
}

static struct str id_of(struct arena *arena, const char *id)
{
    struct str text = line_of(arena, id, LIMIT_EXTERNAL_ID_BYTES + 1);

    return text.len == 0 || text.len > LIMIT_EXTERNAL_ID_BYTES ? (struct str){ 0 } : text;
}

static void add_reference(struct mime_mail *mail, struct str id)
{
    if (!id.data)
        return;
    if (mail->reference_count == MIME_REFERENCES) {
        memmove(mail->references + 1, mail->references + 2, (MIME_REFERENCES - 2) * sizeof mail->references[0]);
        mail->reference_count--;
    }
    mail->references[mail->reference_count++] = id;
}

static void read_ids(struct reading *reading, GMimeMessage *message)
{
    struct mime_mail *mail = reading->mail;
    const char *text = g_mime_object_get_header(GMIME_OBJECT(message), "References");
    GMimeReferences *list = text ? g_mime_references_parse(NULL, text) : NULL;

    mail->message_id = id_of(reading->arena, g_mime_message_get_message_id(message));
    for (int i = 0; list && i < g_mime_references_length(list); i++)
        add_reference(mail, id_of(reading->arena, g_mime_references_get_message_id(list, i)));
    if (list)
        g_mime_references_free(list);
    text = g_mime_object_get_header(GMIME_OBJECT(message), "In-Reply-To");
    list = text ? g_mime_references_parse(NULL, text) : NULL;
    if (list && g_mime_references_length(list) > 0)
        mail->in_reply_to = id_of(reading->arena, g_mime_references_get_message_id(list, 0));
    if (list)
        g_mime_references_free(list);
}

static void read_date(struct mime_mail *mail, GMimeMessage *message)
{
    GDateTime *date = g_mime_message_get_date(message);
    int64_t seconds = date ? g_date_time_to_unix(date) : 0;

    if (seconds <= 0 || seconds > 253402300799LL)
        return;
    mail->date_ms = seconds * 1000;
    mail->offset_min = g_date_time_get_utc_offset(date) / (60 * 1000000LL);
}

/* --- Parts ------------------------------------------------------------------------------------ */

/* What the part holds, decoded; in the arena. */
static struct str content_of(struct arena *arena, GMimeObject *object, size_t max, bool *whole)
{
    GMimeDataWrapper *wrapper = GMIME_IS_PART(object) ? g_mime_part_get_content(GMIME_PART(object)) : NULL;
    GMimeStream *memory = g_mime_stream_mem_new();
    struct str out = STR("");
    GByteArray *bytes;

    if (wrapper)
        g_mime_data_wrapper_write_to_stream(wrapper, memory);
    else if (!GMIME_IS_PART(object))
        g_mime_object_write_to_stream(object, NULL, memory);
    bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(memory));
    *whole = bytes->len <= max;
    if (bytes->len > 0)
        out = (struct str){ arena_copy(arena, bytes->data, bytes->len < max ? bytes->len : max),
                            bytes->len < max ? bytes->len : max };
    g_object_unref(memory);
    return out;
}

static struct str type_of(struct arena *arena, GMimeObject *object)
{
    GMimeContentType *type = g_mime_object_get_content_type(object);
    const char *major = type ? g_mime_content_type_get_media_type(type) : NULL;
    const char *minor = type ? g_mime_content_type_get_media_subtype(type) : NULL;

    return line_of(arena, arena_printf(arena, "%s/%s", major ? major : "application", minor ? minor : "octet-stream"),
                   LIMIT_NAME_BYTES);
}

static bool is_type(GMimeObject *object, const char *major, const char *minor)
{
    GMimeContentType *type = g_mime_object_get_content_type(object);

    return type && g_mime_content_type_is_type(type, major, minor);
}

static void add_file(struct reading *reading, GMimeObject *object, const char *name)
{
    struct mime_mail *mail = reading->mail;
    struct channel_attachment file = {
        .type = GMIME_IS_MESSAGE(object) ? STR("message/rfc822") : type_of(reading->arena, object),
        .name = line_of(reading->arena, name, LIMIT_NAME_BYTES) };
    bool whole = false;

    if (mail->file_count < LIMIT_ATTACHMENTS)
        file.data = content_of(reading->arena, object, LIMIT_MEDIA_BYTES, &whole);
    if (!whole) {
        mail->left_out++;
        return;
    }
    file.size = (int64_t)file.data.len;
    mail->files[mail->file_count++] = file;
}

static void add_text(struct reading *reading, GMimeObject *object)
{
    struct arena *arena = reading->arena;
    const char *format = g_mime_object_get_content_type_parameter(object, "format");
    const char *delsp = g_mime_object_get_content_type_parameter(object, "delsp");
    bool html = is_type(object, "text", "html"), whole;
    struct str text = content_of(arena, object, LIMIT_TEXT_BYTES * 4, &whole);

    text = mime_text_decode(arena, text, g_mime_object_get_content_type_parameter(object, "charset"),
                            LIMIT_TEXT_BYTES * 4);
    text = mime_text_lines(arena, text);
    if (html)
        text = mime_html_text(arena, text);
    else if (format && g_ascii_strcasecmp(format, "flowed") == 0)
        text = mime_text_flowed(arena, text, delsp && g_ascii_strcasecmp(delsp, "yes") == 0);
    text = str_trim(text);
    if (text.len == 0)
        return;
    if (reading->text.len > 0)
        buf_puts(&reading->text, TEXT_GAP);
    if (text.len > reading->text.max - reading->text.len)
        text.len = str_utf8_prefix((struct str){ text.data, reading->text.max - reading->text.len });
    buf_str(&reading->text, text);
}

/* Parts of reports that are for programs; true: it was one. */
static bool read_report(struct reading *reading, GMimeObject *object)
{
    struct mime_mail *mail = reading->mail;
    bool whole;

    if (is_type(object, "message", "delivery-status") || is_type(object, "message", "global-delivery-status"))
        mail->status = content_of(reading->arena, object, REPORT_MAX, &whole);
    else if (is_type(object, "message", "feedback-report"))
        mail->feedback = content_of(reading->arena, object, REPORT_MAX, &whole);
    else if (is_type(object, "message", "disposition-notification"))
        mail->is_read_report = true;
    else if (is_type(object, "text", "rfc822-headers"))
        mail->returned = content_of(reading->arena, object, REPORT_MAX, &whole);
    else
        return false;
    return true;
}

static void read_leaf(struct reading *reading, GMimeObject *object, bool files_only)
{
    const char *name = GMIME_IS_PART(object) ? g_mime_part_get_filename(GMIME_PART(object)) : NULL;
    const char *disposition = g_mime_object_get_disposition(object);
    bool attached = disposition && g_ascii_strcasecmp(disposition, "attachment") == 0, whole;

    if (read_report(reading, object))
        return;
    if (GMIME_IS_MESSAGE_PART(object)) {
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));

        if (!reading->mail->returned.data && inner)
            reading->mail->returned = content_of(reading->arena, GMIME_OBJECT(inner), REPORT_MAX, &whole);
        if (inner)
            add_file(reading, GMIME_OBJECT(inner), "message.eml");
    } else if (!attached && !name && (is_type(object, "text", "plain") || is_type(object, "text", "html"))) {
        if (!files_only)
            add_text(reading, object);
    } else if (GMIME_IS_PART(object)) {
        add_file(reading, object, name);
    }
}

/* Which child of a multipart/alternative is read as the text: the plain one, else the last that is not a file. */
static int choose(GMimeMultipart *multipart, int count)
{
    int chosen = -1;

    for (int i = 0; i < count; i++) {
        GMimeObject *child = g_mime_multipart_get_part(multipart, i);

        if (is_type(child, "text", "plain"))
            return i;
        if (is_type(child, "text", "html") || GMIME_IS_MULTIPART(child))
            chosen = i;
    }
    return chosen;
}

static void read_part(struct reading *reading, GMimeObject *object, bool files_only, int depth)
{
    GMimeMultipart *multipart;
    int count, chosen;

    if (reading->parts++ >= MIME_PARTS || depth > MIME_DEPTH) {
        reading->mail->is_complex = true;
        return;
    }
    if (!GMIME_IS_MULTIPART(object)) {
        read_leaf(reading, object, files_only);
        return;
    }
    multipart = GMIME_MULTIPART(object);
    count = g_mime_multipart_get_count(multipart);
    chosen = is_type(object, "multipart", "alternative") ? choose(multipart, count) : -1;
    for (int i = 0; i < count && reading->parts <= MIME_PARTS; i++)
        read_part(reading, g_mime_multipart_get_part(multipart, i), files_only || (chosen >= 0 && i != chosen),
                  depth + 1);
    reading->mail->is_complex |= reading->parts > MIME_PARTS;
}

/* --- The whole mail --------------------------------------------------------------------------- */

static bool is_too_deep(struct str bytes)
{
    static const char word[] = "content-type";
    int found = 0;

    for (size_t i = 0; i + sizeof word - 1 <= bytes.len && found <= TYPES_MAX; i++)
        if ((bytes.data[i] | 32) == 'c' && g_ascii_strncasecmp(bytes.data + i, word, sizeof word - 1) == 0)
            found++;
    return found > TYPES_MAX;
}

/* Up to and with the empty line. */
static struct str head_of(struct str bytes)
{
    for (size_t i = 0; i + 1 < bytes.len; i++)
        if (bytes.data[i] == '\n' && (bytes.data[i + 1] == '\n' || (i + 2 < bytes.len && bytes.data[i + 1] == '\r'
                                                                     && bytes.data[i + 2] == '\n')))
            return (struct str){ bytes.data, i + 2 };
    return bytes;
}

static GMimeMessage *parse(struct str bytes)
{
    static const char *charsets[] = { "utf-8", "windows-1252", NULL };
    GMimeStream *memory = g_mime_stream_mem_new_with_buffer(bytes.data, bytes.len);
    GMimeParser *parser = g_mime_parser_new_with_stream(memory);
    GMimeParserOptions *options = g_mime_parser_options_new();
    GMimeMessage *message;

    g_mime_parser_options_set_fallback_charsets(options, charsets);
    message = g_mime_parser_construct_message(parser, options);
    g_mime_parser_options_free(options);
    g_object_unref(parser);
    g_object_unref(memory);
    return message;
}

/* Lone CR as line ends: old programs, and the library knows only LF. */
static struct str with_lines(struct arena *arena, struct str bytes)
{
    const char *lf = memchr(bytes.data, '\n', bytes.len);

    return lf || !memchr(bytes.data, '\r', bytes.len) ? bytes : mime_text_lines(arena, bytes);
}

int mime_read(struct arena *arena, struct str bytes, struct mime_mail *mail, struct err *err)
{
    struct reading reading = { .arena = arena, .mail = mail };
    GMimeMessage *message;
    GMimeObject *body;

    *mail = (struct mime_mail){ 0 };
    mime_start();
    if (bytes.len == 0)
        return err_set(err, ERR_MALFORMED, "The mail is empty.");
    bytes = with_lines(arena, bytes);
    mail->is_complex = is_too_deep(bytes);
    message = parse(mail->is_complex ? head_of(bytes) : bytes);
    if (!message)
        return err_set(err, ERR_MALFORMED, "The bytes are no mail: no header line begins them.");
    mail->files = arena_array(arena, LIMIT_ATTACHMENTS, sizeof *mail->files);
    buf_init(&reading.text, LIMIT_TEXT_BYTES);
    read_headers(&reading, GMIME_OBJECT(message));
    read_addresses(&reading, message);
    read_ids(&reading, message);
    read_date(mail, message);
    mail->subject = line_of(arena, g_mime_message_get_subject(message), LIMIT_JSON_BYTES);
    body = g_mime_message_get_mime_part(message);
    if (body && !mail->is_complex)
        read_part(&reading, body, false, 0);
    mail->text = (struct str){ arena_copy(arena, reading.text.data ? reading.text.data : "", reading.text.len),
                               reading.text.len };
    buf_fini(&reading.text);
    g_object_unref(message);
    return 0;
}

struct str mime_header_of(const struct mime_mail *mail, const char *name)
{
    for (size_t i = 0; i < mail->header_count; i++)
        if (str_eq_nocase(mail->headers[i].name, str_c(name)))
            return mail->headers[i].value.data ? mail->headers[i].value : STR("");
    return (struct str){ 0 };
}

struct str mime_field(struct arena *arena, struct str lines, const char *name)
{
    struct str rest = lines, line, value = { 0 };

    while (lines.len > 0 && str_split(&rest, '\n', &line)) {
        bool folded = line.len > 0 && (line.data[0] == ' ' || line.data[0] == '\t');

        if (value.data && !folded)
            break;
        if (value.data) {
            value = str_c(arena_printf(arena, "%.*s %.*s", STR_FMT(value), STR_FMT(str_trim(line))));
            continue;
        }
        if (str_trim(line).len == 0)
            break;
        if (!folded && line.len > strlen(name) && line.data[strlen(name)] == ':'
            && str_eq_nocase((struct str){ line.data, strlen(name) }, str_c(name)))
            value = str_trim((struct str){ line.data + strlen(name) + 1, line.len - strlen(name) - 1 });
    }
    return value.data ? line_of(arena, str_dup(arena, value), HEADER_VALUE_MAX) : value;
}

#include "base/sniff.h"

#include "base/arena.h"

#include <string.h>

#define ZIP_LOOK 8192               /* names of the parts of an office document stand in the first entries */
#define TEXT_LOOK 4096
#define UNKNOWN "application/octet-stream"

/* `magic` at `offset`; and, where `more` is given, that somewhere in the next `within` bytes. */
struct mark {
    size_t offset, length;
    const char *magic, *more;
    size_t within;
    const char *type;
};

#define AT(offset, magic, type) { offset, sizeof(magic) - 1, magic, NULL, 0, type }
#define AND(magic, more, within, type) { 0, sizeof(magic) - 1, magic, more, within, type }

static const struct mark marks[] = {
    AT(0, "\xff\xd8\xff", "image/jpeg"),
    AT(0, "\x89PNG\r\n\x1a\n", "image/png"),
    AT(0, "GIF87a", "image/gif"),
    AT(0, "GIF89a", "image/gif"),
    AND("RIFF", "WEBPVP8", 15, "image/webp"),
    AND("RIFF", "WAVEfmt ", 16, "audio/wav"),
    AND("RIFF", "AVI LIST", 16, "video/x-msvideo"),
    AT(0, "II*\0", "image/tiff"),
    AT(0, "MM\0*", "image/tiff"),
    AT(0, "\0\0\1\0", "image/x-icon"),
    AT(4, "ftypheic", "image/heic"),
    AT(4, "ftypheix", "image/heic"),
    AT(4, "ftypmif1", "image/heif"),
    AT(4, "ftypavif", "image/avif"),
    AT(4, "ftypM4A ", "audio/mp4"),
    AT(4, "ftypM4B ", "audio/mp4"),
    AT(4, "ftypqt  ", "video/quicktime"),
    AT(4, "ftyp3gp", "video/3gpp"),
    AT(4, "ftyp3g2", "video/3gpp2"),
    AT(4, "ftyp", "video/mp4"),
    AND("\x1a\x45\xdf\xa3", "webm", 64, "video/webm"),
    AND("\x1a\x45\xdf\xa3", "matroska", 64, "video/x-matroska"),
    AT(0, "\0\0\1\xba", "video/mpeg"),
    AND("OggS", "\x80theora", 64, "video/ogg"),
    AT(0, "OggS", "audio/ogg"),
    AT(0, "fLaC", "audio/flac"),
    AT(0, "#!AMR-WB\n", "audio/amr-wb"),
    AT(0, "#!AMR\n", "audio/amr"),
    AT(0, "caff\0", "audio/x-caf"),
    AT(0, "MThd\0\0\0\6", "audio/midi"),
    AT(0, "ID3", "audio/mpeg"),
    AT(0, "\xff\xfb", "audio/mpeg"),
    AT(0, "\xff\xf3", "audio/mpeg"),
    AT(0, "\xff\xf2", "audio/mpeg"),
    AT(0, "\xff\xf1", "audio/aac"),
    AT(0, "\xff\xf9", "audio/aac"),
    AT(0, "%PDF-", "application/pdf"),
    AND("PK\3\4", "word/", ZIP_LOOK, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    AND("PK\3\4", "xl/", ZIP_LOOK, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    AND("PK\3\4", "ppt/", ZIP_LOOK, "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    AND("PK\3\4", "mimetypeapplication/vnd.oasis.opendocument.text", 100, "application/vnd.oasis.opendocument.text"),
    AND("PK\3\4", "mimetypeapplication/vnd.oasis.opendocument.spreadsheet", 100,
        "application/vnd.oasis.opendocument.spreadsheet"),
    AND("PK\3\4", "mimetypeapplication/vnd.oasis.opendocument.presentation", 100,
        "application/vnd.oasis.opendocument.presentation"),
    AND("PK\3\4", "mimetypeapplication/epub+zip", 100, "application/epub+zip"),
    AT(0, "PK\3\4", "application/zip"),
    AT(0, "PK\5\6", "application/zip"),
    AT(0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    AT(0, "{\\rtf", "application/rtf"),
    AT(0, "\x1f\x8b\x08", "application/gzip"),
    AT(0, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    AT(0, "Rar!\x1a\7", "application/vnd.rar"),
    AT(0, "BEGIN:VCARD", "text/vcard"),
    AT(0, "BEGIN:VCALENDAR", "text/calendar"),
};

static bool fits(const struct mark *mark, struct str data)
{
    size_t end = mark->offset + mark->length, room;

    if (data.len < end || memcmp(data.data + mark->offset, mark->magic, mark->length) != 0)
        return false;
    room = data.len - end < mark->within ? data.len - end : mark->within;
    return !mark->more || memmem(data.data + end, room, mark->more, strlen(mark->more));
}

/* A header of a bitmap says how long the file is; two letters alone begin many texts. */
static bool is_bitmap(struct str data)
{
    const unsigned char *at = (const unsigned char *)data.data;

    return data.len > 26 && at[0] == 'B' && at[1] == 'M'
        && ((size_t)at[2] | (size_t)at[3] << 8 | (size_t)at[4] << 16 | (size_t)at[5] << 24) == data.len;
}

/* UTF-8 without control characters; the last character may be cut by how far we look. */
static bool is_text(struct str data)
{
    size_t whole = data.len > TEXT_LOOK ? TEXT_LOOK : data.len, valid;

    data.len = whole;
    valid = str_utf8_prefix(data);
    if (whole == 0 || valid + (whole == TEXT_LOOK ? 4 : 1) <= whole)
        return false;
    for (size_t i = 0; i < valid; i++) {
        unsigned char c = (unsigned char)data.data[i];

        if ((c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1b) || c == 0x7f)
            return false;
    }
    return true;
}

const char *sniff_type(struct str data)
{
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (fits(&marks[i], data))
            return marks[i].type;
    if (is_bitmap(data))
        return "image/bmp";
    return is_text(data) ? "text/plain" : UNKNOWN;
}

bool sniff_is_shown(const char *type)
{
    static const char *const images[] = { "image/jpeg", "image/png", "image/gif", "image/webp" };

    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        if (strcmp(type, images[i]) == 0)
            return true;
    return strncmp(type, "audio/", 6) == 0 || strncmp(type, "video/", 6) == 0;
}

/* --- Names ------------------------------------------------------------------------------------------------------- */

/* The first ending of a type is the one that is given; a type without any keeps what it comes with. */
static const char *const endings[][2] = {
    { "image/jpeg", "jpg" }, { "image/jpeg", "jpeg" }, { "image/png", "png" }, { "image/gif", "gif" },
    { "image/webp", "webp" }, { "image/tiff", "tiff" }, { "image/tiff", "tif" }, { "image/x-icon", "ico" },
    { "image/heic", "heic" }, { "image/heif", "heif" }, { "image/avif", "avif" }, { "image/bmp", "bmp" },
    { "audio/wav", "wav" }, { "audio/mp4", "m4a" }, { "audio/ogg", "ogg" }, { "audio/ogg", "oga" },
    { "audio/ogg", "opus" }, { "audio/flac", "flac" }, { "audio/amr-wb", "awb" }, { "audio/amr", "amr" },
    { "audio/x-caf", "caf" }, { "audio/midi", "mid" }, { "audio/mpeg", "mp3" }, { "audio/aac", "aac" },
    { "video/x-msvideo", "avi" }, { "video/quicktime", "mov" }, { "video/3gpp", "3gp" }, { "video/3gpp2", "3g2" },
    { "video/mp4", "mp4" }, { "video/mp4", "m4v" }, { "video/webm", "webm" }, { "video/x-matroska", "mkv" },
    { "video/mpeg", "mpg" }, { "video/ogg", "ogv" }, { "application/pdf", "pdf" },
    { "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx" },
    { "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx" },
    { "application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx" },
    { "application/vnd.oasis.opendocument.text", "odt" }, { "application/vnd.oasis.opendocument.spreadsheet", "ods" },
    { "application/vnd.oasis.opendocument.presentation", "odp" }, { "application/epub+zip", "epub" },
    { "application/rtf", "rtf" }, { "application/gzip", "gz" }, { "application/gzip", "tgz" },
    { "application/x-7z-compressed", "7z" }, { "application/vnd.rar", "rar" }, { "text/vcard", "vcf" },
    { "text/calendar", "ics" }, { "application/zip", "zip" }, { "text/plain", "txt" },
    { "text/plain", "csv" }, { "text/plain", "json" }, { "text/plain", "md" }, { "text/plain", "log" },
    { "application/x-ole-storage", "doc" }, { "application/x-ole-storage", "xls" },
    { "application/x-ole-storage", "ppt" }, { "application/x-ole-storage", "msg" },
};

const char *sniff_ending(const char *type)
{
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (strcmp(endings[i][0], type) == 0)
            return endings[i][1];
    return "bin";
}

static bool has_ending(const char *name, const char *type)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof endings / sizeof endings[0]; i++)
        if (strcmp(endings[i][0], type) == 0 && str_eq_nocase(str_c(dot + 1), str_c(endings[i][1])))
            return true;
    return false;
}

/* Marks that turn the direction of text, so that "gpj.exe" reads as "exe.jpg", and other invisible ones. */
static size_t invisible(const unsigned char *at, size_t left)
{
    bool format = left >= 3 && at[0] == 0xe2 && at[1] == 0x80 && ((at[2] >= 0x8b && at[2] <= 0x8f)
                                                                  || (at[2] >= 0xa8 && at[2] <= 0xae));
    bool isolate = left >= 3 && at[0] == 0xe2 && at[1] == 0x81 && at[2] >= 0xa0 && at[2] <= 0xaf;
    bool mark = left >= 3 && at[0] == 0xef && at[1] == 0xbb && at[2] == 0xbf;

    if (format || isolate || mark)
        return 3;
    return left >= 2 && ((at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xd8 && at[1] == 0x9c)) ? 2 : 0;
}

static struct str last_part(struct str given)
{
    size_t from = 0;

    for (size_t i = 0; i < given.len; i++)
        if (given.data[i] == '/' || given.data[i] == '\\')
            from = i + 1;
    return (struct str){ given.data ? given.data + from : "", given.len - from };
}

static char *clean(struct arena *arena, struct str part)
{
    char *name = arena_alloc(arena, part.len + 1);
    size_t length = 0;

    for (size_t i = 0; i < part.len; i++) {
        const unsigned char *at = (const unsigned char *)part.data + i;
        size_t skipped = invisible(at, part.len - i);

        if (skipped)
            i += skipped - 1;
        else if (*at < ' ' || *at == 0x7f || strchr("<>:\"|?*;%", *at))
            name[length++] = '_';
        else if (length > 0 || (*at != '.' && *at != ' ' && *at != '-'))
            name[length++] = (char)*at;
    }
    while (length > 0 && (name[length - 1] == '.' || name[length - 1] == ' '))
        length--;
    name[length] = '\0';
    return name;
}

const char *sniff_name(struct arena *arena, struct str given, const char *type)
{
    char *name = clean(arena, last_part(str_nfc(arena, given)));
    const char *ending = sniff_ending(type ? type : UNKNOWN);
    struct str cut = str_c(name);
    bool fitting = !type || has_ending(name, type) || (strcmp(type, UNKNOWN) == 0 && strchr(name, '.'));
    const char *dot = strrchr(name, '.');

    if (cut.len == 0)
        return type ? arena_printf(arena, "file.%s", ending) : "file";
    if (fitting && cut.len <= SNIFF_NAME_BYTES)
        return name;
    if (fitting && dot && strlen(dot + 1) < 8) {
        ending = dot + 1;
        cut.len = (size_t)(dot - name);
    }
    if (cut.len > SNIFF_NAME_BYTES - 10)
        cut.len = str_utf8_prefix((struct str){ name, SNIFF_NAME_BYTES - 10 });
    return !type && !dot ? arena_printf(arena, "%.*s", STR_FMT(cut))
                         : arena_printf(arena, "%.*s.%s", STR_FMT(cut), ending);
}

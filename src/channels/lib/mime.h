/* mime.h - mail as plain data: read from and written as RFC 5322 bytes. GMime and GLib stand behind it (mime*.c only).
 * Everything read is hostile: depth, parts and bytes have ceilings, texts come out as valid UTF-8. */
#pragma once

#include "core/channel.h"

#define MIME_DEPTH 20
#define MIME_PARTS 500
#define MIME_HEADERS 200
#define MIME_REFERENCES 21      /* the first and the last twenty */
#define MIME_PEOPLE 50          /* of To and Cc */

struct mime_header {
    struct str name, value;     /* the value decoded, in one line */
};

struct mime_address {
    struct str name, address;   /* the domain in lower case, the part before it as it is */
    bool is_copy;               /* of Cc */
};

/* A mail that was read. Everything lives in the arena, absent slices where there is nothing. Ids stand without their
 * angle brackets. */
struct mime_mail {
    struct mime_header *headers;
    size_t header_count;
    struct mime_address from, *people;
    size_t person_count;
    struct str message_id, in_reply_to, subject;
    struct str references[MIME_REFERENCES];
    size_t reference_count;
    int64_t date_ms, offset_min;            /* 0: none, or not a date */
    struct str text;                        /* of the text parts, HTML turned into text; at most LIMIT_TEXT_BYTES */
    struct channel_attachment *files;
    size_t file_count, left_out;            /* left_out: files over LIMIT_ATTACHMENTS or LIMIT_MEDIA_BYTES */
    struct str status;                      /* of a delivery report: its machine-readable part */
    struct str feedback;                    /* of a complaint: the same */
    struct str returned;                    /* header lines of the mail that a report is about */
    bool is_read_report;
    bool is_complex;                        /* more parts or deeper than MIME_*: what lies beyond was not read */
};

/* Set the library up; the others do it by themselves. */
void mime_start(void);

/* Read one mail. -1 with ERR_MALFORMED: these bytes are no mail. */
int mime_read(struct arena *arena, struct str bytes, struct mime_mail *mail, struct err *err);

/* The first header of that name (ASCII case ignored), or the absent slice. */
struct str mime_header_of(const struct mime_mail *mail, const char *name);

/* A field of header lines as they stand in reports ("Action: failed"), unfolded; in the arena. Ends at an empty
 * line. */
struct str mime_field(struct arena *arena, struct str lines, const char *name);

/* What is to be written. Texts may hold anything: line breaks in what becomes a header are taken out. */
struct mime_draft {
    const char *from_name, *from, *to;      /* the name may be NULL */
    const char *message_id, *in_reply_to;   /* without angle brackets; the second may be NULL */
    const struct str *references;
    size_t reference_count;
    struct str subject, text;
    const struct send_attachment *file;     /* or NULL */
    int64_t date_ms;
    bool is_automatic;                      /* says so, so that no machine answers */
};

/* The mail as RFC 5322 text with CRLF, 7 bit throughout; in the arena. */
struct str mime_write(struct arena *arena, const struct mime_draft *draft);

/* --- Texts (mime_text.c, mime_html.c; no library) ----------------------------------------------------------------- */

/* Bytes in a charset as valid UTF-8. Aliases of mail programs are known; a charset that is absent, unknown or wrong is
 * taken as UTF-8, else as windows-1252; what still does not fit becomes U+FFFD. At most `max` bytes; in the arena. */
struct str mime_text_decode(struct arena *arena, struct str bytes, const char *charset, size_t max);

/* Every line ending as LF, no NUL; in the arena. */
struct str mime_text_lines(struct arena *arena, struct str text);

/* The paragraphs of format=flowed text with LF line ends (RFC 3676); in the arena. */
struct str mime_text_flowed(struct arena *arena, struct str text, bool delete_space);

/* HTML as text: blocks become lines, links keep their address, scripts and styles vanish; in the arena. */
struct str mime_html_text(struct arena *arena, struct str html);

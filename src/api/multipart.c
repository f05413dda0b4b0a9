#include "api/multipart.h"

#include <stdio.h>
#include <string.h>

#define BOUNDARY_BYTES 70           /* RFC 2046 */
#define PARTS_MAX 32

bool multipart_is(struct str content_type)
{
    struct str rest = content_type, type;

    return str_split(&rest, ';', &type) && str_eq_nocase(str_trim(type), STR("multipart/form-data"));
}

/* A parameter of a header: name="value" or name=value. The absent slice when there is none. */
static struct str parameter(struct str header, const char *name)
{
    size_t at = 0, name_len = strlen(name);

    while (at < header.len && header.data[at] != ';')
        at++;
    while (at < header.len) {
        struct str key, value;
        size_t from = ++at;

        while (at < header.len && header.data[at] != '=' && header.data[at] != ';')
            at++;
        key = str_trim((struct str){ header.data + from, at - from });
        if (at >= header.len || header.data[at] == ';')
            continue;
        from = ++at;
        if (at < header.len && header.data[at] == '"') {
            from = ++at;
            while (at < header.len && header.data[at] != '"')
                at += header.data[at] == '\\' && at + 1 < header.len ? 2 : 1;
            value = (struct str){ header.data + from, at - from };
            while (at < header.len && header.data[at] != ';')
                at++;
        } else {
            while (at < header.len && header.data[at] != ';')
                at++;
            value = str_trim((struct str){ header.data + from, at - from });
        }
        if (key.len == name_len && str_eq_nocase(key, (struct str){ name, name_len }))
            return value;
    }
    return (struct str){ 0 };
}

static int broken(struct err *err, const char *how)
{
    err_set(err, ERR_MALFORMED, "The body is not a form with parts: %s.", how);
    return err_hint(err, "Send the file's bytes as the body, or: curl -F file=@PATH");
}

/* Cut the header lines off a part and keep its Content-Disposition. */
static bool read_head(struct str *part, struct str *disposition)
{
    const char *end = memmem(part->data, part->len, "\r\n\r\n", 4);
    struct str head, line;

    *disposition = (struct str){ 0 };
    if (!end)
        return false;
    head = (struct str){ part->data, (size_t)(end - part->data) };
    part->len -= head.len + 4;
    part->data = end + 4;
    while (str_split(&head, '\n', &line)) {
        struct str name;

        if (str_split(&line, ':', &name) && line.data && str_eq_nocase(str_trim(name), STR("Content-Disposition")))
            *disposition = str_trim(line);
    }
    return true;
}

/* The next part between two boundaries; `rest` moves behind it. 1, 0 the form has ended, -1. */
static int next_part(struct str *rest, struct str mark, struct str *part)
{
    const char *end;

    if (rest->len >= 2 && memcmp(rest->data, "--", 2) == 0)
        return 0;
    if (rest->len < 2 || memcmp(rest->data, "\r\n", 2) != 0)
        return -1;
    end = memmem(rest->data, rest->len, mark.data, mark.len);
    if (!end)
        return -1;
    *part = (struct str){ rest->data + 2, end > rest->data + 2 ? (size_t)(end - rest->data - 2) : 0 };
    rest->len -= (size_t)(end - rest->data) + mark.len;
    rest->data = end + mark.len;
    return 1;
}

int multipart_read(struct str content_type, struct str body, struct multipart_file *out, struct err *err)
{
    struct str boundary = parameter(content_type, "boundary"), rest = body, part, mark;
    char text[BOUNDARY_BYTES + 8];
    int more = 1;

    *out = (struct multipart_file){ 0 };
    if (boundary.len == 0 || boundary.len > BOUNDARY_BYTES)
        return broken(err, "its Content-Type names no boundary of 1 to 70 characters");
    mark = (struct str){ text, (size_t)snprintf(text, sizeof text, "\r\n--%.*s", STR_FMT(boundary)) };
    if (rest.len < mark.len - 2 || memcmp(rest.data, mark.data + 2, mark.len - 2) != 0)
        return broken(err, "it does not begin with its boundary");
    rest.data += mark.len - 2;
    rest.len -= mark.len - 2;
    for (int i = 0; i < PARTS_MAX; i++) {
        struct str disposition, name;

        more = next_part(&rest, mark, &part);
        if (more <= 0)
            break;
        if (!read_head(&part, &disposition))
            return broken(err, "one of its parts has no header");
        name = parameter(disposition, "filename");
        if (name.data || str_is(parameter(disposition, "name"), "file")) {
            *out = (struct multipart_file){ part, name };
            return 0;
        }
    }
    if (more < 0)
        return broken(err, "it ends in the middle of a part");
    err_field(err, "file", "No part of the form is a file.");
    return err_hint(err, "Send it as a part called \"file\": curl -F file=@PATH");
}

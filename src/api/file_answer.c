#include "api/file_answer.h"

#include "base/arena.h"
#include "base/id.h"
#include "base/sniff.h"

#include <string.h>

int file_range(struct str header, int64_t size, int64_t *from, int64_t *length)
{
    struct str rest = header, unit, first, last;
    int64_t end = size - 1;

    if (!header.data || !str_split(&rest, '=', &unit) || !rest.data || !str_eq_nocase(str_trim(unit), STR("bytes"))
        || memchr(rest.data, ',', rest.len))
        return 0;
    last = str_trim(rest);
    if (!str_split(&last, '-', &first) || !last.data)
        return 0;
    if (first.len == 0) {           /* the last so many bytes */
        if (!str_int(last, 0, INT64_MAX, length))
            return 0;
        *length = *length < size ? *length : size;
        *from = size - *length;
        return *length > 0 ? 1 : -1;
    }
    if (!str_int(first, 0, INT64_MAX, from) || (last.len > 0 && (!str_int(last, 0, INT64_MAX, &end) || end < *from)))
        return 0;
    if (*from >= size)
        return -1;
    if (end > size - 1)
        end = size - 1;
    *length = end - *from + 1;
    return 1;
}

static void add_headers(struct op_call *call, const struct media *media, struct str name)
{
    struct http_response *response = &call->response;
    const char *type = call->response.content_type;
    const char *plain = arena_printf(call->arena, "%s.%s", id_text(call->arena, ID_MEDIA, media->id),
                                     sniff_ending(type));
    const char *shown = name.len > 0 ? sniff_name(call->arena, name, type) : plain;

    http_respond_header(response, call->arena, "Content-Disposition",
                        arena_printf(call->arena, "%s; filename=\"%s\"; filename*=UTF-8''%s",
                                     sniff_is_shown(type) ? "inline" : "attachment", plain,
                                     http_encode(call->arena, str_c(shown))));
    http_respond_header(response, call->arena, "Content-Security-Policy", "sandbox; default-src 'none'");
    http_respond_header(response, call->arena, "Cross-Origin-Resource-Policy", "same-origin");
    http_respond_header(response, call->arena, "Cache-Control", "private, max-age=86400, immutable");
    http_respond_header(response, call->arena, "Accept-Ranges", "bytes");
    http_respond_header(response, call->arena, "ETag", arena_printf(call->arena, "\"%.*s\"", STR_FMT(media->hash)));
}

enum op_done file_answer(struct op_call *call, const struct media *media, struct str name, struct err *err)
{
    struct http_file *file = arena_alloc(call->arena, sizeof *file);
    int64_t from = 0, length = media->size;
    int ranged = file_range(http_header(call->request, "Range"), media->size, &from, &length);
    int fd;

    if (ranged < 0) {
        call->response.status = 416;
        http_respond_header(&call->response, call->arena, "Content-Range",
                            arena_printf(call->arena, "bytes */%lld", (long long)media->size));
        return OP_DONE;
    }
    fd = media_open(call->hub, media, !ranged, err);
    if (fd < 0)
        return OP_FAILED;
    *file = (struct http_file){ .fd = fd, .from = (uint64_t)from, .length = (uint64_t)length };
    call->response.file = file;
    call->response.status = ranged ? 206 : 200;
    call->response.content_type = str_dup(call->arena, media->type);
    add_headers(call, media, name);
    if (ranged)
        http_respond_header(&call->response, call->arena, "Content-Range",
                            arena_printf(call->arena, "bytes %lld-%lld/%lld", (long long)from,
                                         (long long)(from + length - 1), (long long)media->size));
    return OP_DONE;
}

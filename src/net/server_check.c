/* What the HTTP library would repair is refused here (DESIGN.md 9). */
#include "base/arena.h"
#include "base/limits.h"
#include "net/server_inside.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

int refuse(struct refusal *why, int status, const char *detail, const char *hint)
{
    enum err_code code = ERR_MALFORMED;

    if (status == 413 || status == 414 || status == 431)
        code = ERR_TOO_LARGE;
    else if (status == 408)
        code = ERR_TIMEOUT;
    else if (status == 501)
        code = ERR_METHOD;
    else if (status == 503)
        code = ERR_UNAVAILABLE;
    why->status = status;
    err_set(&why->err, code, "%s", detail);
    return err_hint(&why->err, "%s", hint);
}

static bool is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!is_token_char((unsigned char)text.data[i]))
            return false;
    return text.len > 0;
}

static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

/* Letters, digits and what names, ports and bracketed addresses need. */
static bool is_host(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._:[]", c)))
            return false;
    }
    return true;
}

static struct str tail(struct str text, size_t from)
{
    return (struct str){ text.data + from, text.len - from };
}

/* "http://host/path" is "/path" when that host is the one in Host. */
static int strip_authority(struct str *target, struct str host, struct refusal *why)
{
    size_t scheme = str_starts(*target, "http://") ? 7 : str_starts(*target, "https://") ? 8 : 0;
    size_t end = scheme;

    if (!scheme)
        return 0;
    while (end < target->len && target->data[end] != '/' && target->data[end] != '?')
        end++;
    if (!host.data || !str_eq_nocase((struct str){ target->data + scheme, end - scheme }, host))
        return refuse(why, 400, "The request target names another host than the Host header.",
                      "Send the path alone, such as GET /livez.");
    *target = tail(*target, end);
    return 0;
}

int check_target(struct http_request *request, struct str target, struct str host, struct refusal *why)
{
    struct str path = target;
    const char *mark;

    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.data[i] <= ' ' || (unsigned char)target.data[i] >= 0x7f || target.data[i] == '#')
            return refuse(why, 400, "The request target holds a byte that must be percent-encoded.",
                          "Encode spaces, control characters, '#' and everything outside ASCII as %XX.");
    if (strip_authority(&path, host, why) != 0)
        return -1;
    mark = path.len ? memchr(path.data, '?', path.len) : NULL;
    if (mark) {
        request->raw_query = (struct str){ mark + 1, path.len - (size_t)(mark + 1 - path.data) };
        path.len = (size_t)(mark - path.data);
    }
    if (path.len == 0 && target.len > 0 && target.data[0] != '?')
        path = STR("/");
    if (!str_starts(path, "/"))
        return refuse(why, 400, "The request target is not a path.", "Begin it with a slash.");
    request->raw_path = path;
    if (!http_decode(request->arena, path, false, &request->path) || !str_utf8_valid(request->path))
        return refuse(why, 400, "The path has a broken percent escape, a NUL or bytes that are not UTF-8.",
                      "Encode the path as UTF-8 and escape it once.");
    if (request->raw_query.data &&
        !http_form(request->arena, request->raw_query, &request->query, &request->query_count))
        return refuse(why, 400, "The query has a broken percent escape, a NUL or too many parameters.",
                      "Encode each parameter as UTF-8 and escape it once.");
    for (size_t i = 0; i < request->query_count; i++)
        if (!str_utf8_valid(request->query[i].name) || !str_utf8_valid(request->query[i].value))
            return refuse(why, 400, "A query parameter is not valid UTF-8.", "Encode it as UTF-8 and escape it once.");
    return 0;
}

/* The library forgives bare LF, folded lines, NUL, an empty name (which ends its header) and more, and does not tell.
 * But it parses in place: names and values point into what was received, with NUL over colons and line ends. So the
 * lines must follow each other without a gap from the request line to the blank line; where they do not, something was
 * repaired. Known to hold for this version only; later ones can be told to be strict themselves. */
#define LAYOUT_VERSION "0.9.75"

struct header_walk {
    struct http_request *request;
    const char *expected;       /* where the next line must begin */
    bool repaired;
};

static bool is_line_end(const char *at)
{
    return at[0] == '\0' && at[1] == '\0';
}

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t value_len)
{
    struct header_walk *walk = cls;
    struct http_request *request = walk->request;
    struct http_header *header = &request->headers[request->header_count++];
    const char *colon = name + name_len;

    (void)kind;
    if (name != walk->expected || value <= colon || !is_line_end(value + value_len))
        walk->repaired = true;
    for (const char *at = colon + 1; !walk->repaired && at < value; at++)
        walk->repaired = *at != ' ' && *at != '\t';
    walk->expected = value + value_len + 2;
    header->name = (struct str){ arena_copy(request->arena, name, name_len), name_len };
    header->value = (struct str){ arena_copy(request->arena, value, value_len), value_len };
    /* The library does not trim the end, and so takes "chunked " for a body without one: that must stay visible. */
    if (!str_eq_nocase(header->name, STR("Transfer-Encoding")))
        header->value = str_trim(header->value);
    return MHD_YES;
}

static int read_headers(struct http_exchange *exchange, const struct request_line *line, struct refusal *why)
{
    struct http_request *request = &exchange->request;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int count = MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, NULL, NULL);
    size_t size = info ? info->header_size : 0;
    struct header_walk walk = { .request = request, .expected = line->version + strlen(line->version) + 2 };

    if (count > LIMIT_HEADER_COUNT)
        return refuse(why, 431, "The request has more than 100 headers.", "Send fewer headers.");
    if (size > LIMIT_HEADER_BYTES)
        return refuse(why, 431, "The request's headers are larger than 12 KiB.",
                      "Send smaller headers; data belongs into the body.");
    walk.repaired = line->target != line->method + strlen(line->method) + 1 ||
                    line->version != line->target + exchange->connection->target_len + 1 ||
                    !is_line_end(line->version + strlen(line->version));
    request->headers = arena_array(request->arena, (size_t)count, sizeof *request->headers);
    MHD_get_connection_values_n(exchange->mhd, MHD_HEADER_KIND, add_header, &walk);
    if (walk.expected + 2 != line->method + size)
        walk.repaired = true;
    if (walk.repaired && strcmp(MHD_get_version(), LAYOUT_VERSION) == 0)
        return refuse(why, 400, "The request's header is not well formed.",
                      "End each line with CR LF, do not fold lines, send no NUL, no empty name and single spaces.");
    for (size_t i = 0; i < request->header_count; i++) {
        if (!is_token(request->headers[i].name))
            return refuse(why, 400, "A header's name holds a character that is not allowed.",
                          "Names are letters, digits and !#$%&'*+-.^_`|~, directly followed by the colon.");
        if (has_control(request->headers[i].value))
            return refuse(why, 400, "A header's value holds a control character.", "Remove it.");
    }
    return 0;
}

static size_t count_header(const struct http_request *request, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < request->header_count; i++)
        count += str_eq_nocase(request->headers[i].name, str_c(name));
    return count;
}

/* How the body is framed must have one reading only, or a proxy before us reads another one. */
static int check_framing(struct http_exchange *exchange, bool http_1_0, struct refusal *why)
{
    struct http_request *request = &exchange->request;
    size_t lengths = count_header(request, "Content-Length"), codings = count_header(request, "Transfer-Encoding");
    struct str expect = http_header(request, "Expect");

    if (lengths > 1 || codings > 1 || (lengths && codings))
        return refuse(why, 400, "The request says more than once how long its body is.",
                      "Send one Content-Length, or Transfer-Encoding: chunked, never both.");
    /* Compared as received: the library takes anything else, even a trailing space, for a body that never ends. */
    if (codings && (http_1_0 || !str_eq_nocase(http_header(request, "Transfer-Encoding"), STR("chunked"))))
        return refuse(why, 400, "This transfer coding is not understood.",
                      "Use Content-Length, or Transfer-Encoding: chunked with HTTP/1.1.");
    exchange->length = codings ? -1 : 0;
    if (lengths && !str_int(http_header(request, "Content-Length"), 0, INT64_MAX, &exchange->length))
        return refuse(why, 400, "Content-Length is not a number.", "Send the body's length in bytes, digits only.");
    if (exchange->length > 0 && (uint64_t)exchange->length > exchange->body_max)
        return refuse(why, 413, "The body is larger than this server takes.",
                      "Send less at once: several smaller batches.");
    if (expect.data && !str_eq_nocase(expect, STR("100-continue")))
        return refuse(why, 417, "Only \"100-continue\" can be expected.", "Drop the Expect header.");
    return 0;
}

static void set_request_id(struct http_exchange *exchange)
{
    struct http_request *request = &exchange->request;
    struct http_server *server = exchange->server;
    struct str given = http_header(request, "X-Request-Id");
    bool clean = given.len > 0 && given.len < sizeof request->request_id;
    uint64_t mixed;

    for (size_t i = 0; clean && i < given.len; i++)
        clean = is_token_char((unsigned char)given.data[i]) && !strchr("!#$%&'*^`|~", given.data[i]);
    if (clean) {
        memcpy(request->request_id, given.data, given.len);
        return;
    }
    /* splitmix64: distinct for 2^64 requests, and says nothing about their number. */
    mixed = server->request_seed + 0x9e3779b97f4a7c15ULL *
            atomic_fetch_add_explicit(&server->request_number, 1, memory_order_relaxed);
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
    mixed ^= mixed >> 31;
    for (int i = 0; i < 16; i++)
        request->request_id[i] = "0123456789abcdef"[mixed >> (60 - 4 * i) & 15];
}

int check_request(struct http_exchange *exchange, const struct request_line *line, struct refusal *why)
{
    struct http_request *request = &exchange->request;
    struct connection *connection = exchange->connection;
    const struct http_options *options = &exchange->server->options;
    bool http_1_0 = strcmp(line->version, "HTTP/1.0") == 0;
    struct str host;
    size_t hosts;
    int headers = read_headers(exchange, line, why);

    set_request_id(exchange);
    if (headers != 0)
        return -1;
    if (!http_1_0 && strcmp(line->version, "HTTP/1.1") != 0)
        return refuse(why, 505, "This version of HTTP is not spoken here.", "Use HTTP/1.1.");
    exchange->http_1_0 = http_1_0;
    hosts = count_header(request, "Host");
    host = http_header(request, "Host");
    if (hosts > 1 || (hosts == 0 && !http_1_0) || !is_host(host))
        return refuse(why, 400, "The request needs exactly one valid Host header.",
                      "Send the host and port that you connected to.");
    request->method = http_method_find(str_c(line->method));
    if (request->method == HTTP_METHODS)
        return refuse(why, 501, "This method is not known here.",
                      "Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.");
    if (connection->target_len > LIMIT_URL_BYTES)
        return refuse(why, 414, "The request target is longer than 8 KiB.", "Send a shorter path and query.");
    if (!connection->target)
        return refuse(why, 400, "The request has no target.", "Send a path, such as GET /livez HTTP/1.1.");
    if (check_target(request, (struct str){ arena_copy(request->arena, connection->target, connection->target_len),
                                            connection->target_len }, host, why) != 0)
        return -1;
    exchange->body_max = options->body_max_of ? options->body_max_of(options->arg, request) : options->body_max;
    return check_framing(exchange, http_1_0, why);
}

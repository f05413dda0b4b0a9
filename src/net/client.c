#include "net/client.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "net/client_address.h"
#include "net/client_inside.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_HANDLE_US (30 * 1000000LL)
#define CONNECTIONS_PER_HANDLE 4L
#define KEEP_ALIVE_S 4L         /* common servers close after 5 s: a race with that close would end as "unknown" */

/* One exchange while it runs. */
struct transfer {
    struct client_guard guard;
    struct arena *arena;
    const struct exchange_request *request;
    CURL *easy;
    CURLU *url;
    struct curl_slist *lines;
    struct buf head;            /* "Name: value" lines of the last header block */
    struct buf body;
    size_t header_count;
    bool head_ended;            /* by its empty line: the library takes a head that broke off for a whole answer */
    bool too_large;
};

/* --- Before a request -------------------------------------------------------------------------- */

/* Runs right before a request is written, also on a kept connection, whose address the operator may no longer allow.
 * And the library repeats by itself what got no answer on a kept connection: the peer may have acted on it, so that is
 * stopped once a byte was written. */
static int before_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    struct transfer *transfer = arg;
    struct in6_addr address;
    long written = 0;

    (void)local;
    (void)local_port;
    curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &written);
    if (written > 0 || !client_address_parse(peer, &address) ||
        !client_guard_allows(&transfer->guard, &address, peer_port))
        return CURL_PREREQFUNC_ABORT;
    return CURL_PREREQFUNC_OK;
}

/* --- The request ------------------------------------------------------------------------------ */

static int set_url(struct transfer *transfer, struct err *err)
{
    static const char *const schemes[] = { "http", "https", NULL };

    transfer->url = client_guard_url(transfer->request->url, schemes);
    if (transfer->url)
        return 0;
    err_set(err, ERR_INVALID, "The address of the request is not a valid http or https URL.");
    return err_hint(err, "Write it like https://example.com/path, at most %d bytes.", LIMIT_URL_BYTES);
}

/* Headers may come from a tenant's settings: nothing in them may start another header, or change the framing. */
static bool header_clean(const struct http_header *header)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const ours[] = { "Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect", "TE",
                                        "Upgrade" };

    if (header->name.len == 0)
        return false;
    for (size_t i = 0; i < header->name.len; i++) {
        if (!memchr(token, header->name.data[i], sizeof token - 1))
            return false;
    }
    for (size_t i = 0; i < header->value.len; i++) {
        unsigned char byte = (unsigned char)header->value.data[i];

        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (str_eq_nocase(header->name, str_c(ours[i])))
            return false;
    }
    return true;
}

static void add_line(struct transfer *transfer, const char *line)
{
    struct curl_slist *lines = curl_slist_append(transfer->lines, line);

    if (!lines)
        mem_exhausted(strlen(line));
    transfer->lines = lines;
}

static int set_headers(struct transfer *transfer, struct err *err)
{
    const struct exchange_request *request = transfer->request;
    bool typed = false;

    if (request->header_count > LIMIT_HEADER_COUNT)
        return err_set(err, ERR_INVALID, "The request has more than %d headers.", LIMIT_HEADER_COUNT);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        struct str value = str_trim(header->value);

        if (!header_clean(header)) {
            err_set(err, ERR_INVALID, "A header of the request is not allowed.");
            return err_hint(err, "Use letters, digits and '-' in names, no line breaks in values, and leave Host, "
                                 "Connection and the length to the hub.");
        }
        typed = typed || str_eq_nocase(header->name, STR("Content-Type"));
        if (value.len > 0)
            add_line(transfer, arena_printf(transfer->arena, "%.*s: %.*s", STR_FMT(header->name), STR_FMT(value)));
        else
            add_line(transfer, arena_printf(transfer->arena, "%.*s;", STR_FMT(header->name)));
    }
    if (!typed)
        add_line(transfer, "Content-Type:");    /* no invented form type */
    add_line(transfer, "Expect:");
    return 0;
}

static void set_method(struct transfer *transfer)
{
    const struct exchange_request *request = transfer->request;
    CURL *easy = transfer->easy;

    if (request->method == HTTP_HEAD) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (request->body.len > 0 || request->method == HTTP_POST || request->method == HTTP_PUT ||
        request->method == HTTP_PATCH) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.len ? request->body.data : "");
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, http_method_name(request->method));
}

/* --- The answer ------------------------------------------------------------------------------- */

static size_t take_header(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    struct str line = str_trim((struct str){ data, size * count });

    if (transfer->body.len > 0)
        return size * count;        /* a trailer is no header */
    if (str_starts(line, "HTTP/")) {
        buf_clear(&transfer->head);     /* what came before was an interim answer */
        transfer->header_count = 0;
        transfer->head_ended = false;
        return size * count;
    }
    if (line.len == 0) {
        transfer->head_ended = true;
        return size * count;
    }
    buf_str(&transfer->head, line);
    buf_putc(&transfer->head, '\n');
    transfer->too_large = transfer->head.overflow || ++transfer->header_count > LIMIT_HEADER_COUNT;
    return transfer->too_large ? 0 : size * count;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;

    buf_add(&transfer->body, data, size * count);
    transfer->too_large = transfer->body.overflow;
    return transfer->too_large ? 0 : size * count;
}

static void fill_answer(struct transfer *transfer, struct exchange_reply *reply)
{
    struct str rest = buf_slice(&transfer->head), line, name;

    reply->headers = arena_array(transfer->arena, transfer->header_count, sizeof *reply->headers);
    rest.data = arena_copy(transfer->arena, rest.data ? rest.data : "", rest.len);
    while (reply->header_count < transfer->header_count && str_split(&rest, '\n', &line)) {
        struct http_header *header = &reply->headers[reply->header_count];

        if (!str_split(&line, ':', &name) || !line.data)
            continue;
        header->name = str_trim(name);
        header->value = str_trim(line);
        reply->header_count++;
    }
    reply->body.len = transfer->body.len;
    reply->body.data = arena_copy(transfer->arena, transfer->body.data ? transfer->body.data : "", transfer->body.len);
    reply->retry_after_s = exchange_retry_after_s(exchange_header(reply, "Retry-After"), clock_ms());
}

static void explain_unknown(const struct transfer *transfer, CURLcode code, struct err *err)
{
    if (transfer->too_large)
        err_set(err, ERR_TOO_LARGE, "The request was sent, but its answer is larger than what is read of one.");
    else if (code == CURLE_OPERATION_TIMEDOUT)
        err_set(err, ERR_TIMEOUT, "The request was sent, but no complete answer came in time.");
    else if (code == CURLE_PARTIAL_FILE)
        err_set(err, ERR_UNAVAILABLE, "The request was sent, but its answer broke off.");
    else if (code == CURLE_OK || code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL)
        err_set(err, ERR_UNAVAILABLE, "The request was sent, but what came back is not an HTTP answer.");
    else
        err_set(err, ERR_UNAVAILABLE, "The request was sent, but the connection ended before its answer.");
}

static void classify(struct transfer *transfer, CURLcode code, struct exchange_reply *reply)
{
    long written = 0, status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &written);
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status >= 200 && transfer->head_ended) {
        reply->end = EXCHANGE_ANSWERED;
        reply->status = (int)status;
        fill_answer(transfer, reply);
    } else if (written > 0) {
        reply->end = EXCHANGE_UNKNOWN;
        explain_unknown(transfer, code, &reply->err);
    } else {
        client_guard_explain(&transfer->guard, code, &reply->err);
    }
}

/* --- Handles ---------------------------------------------------------------------------------- */

static CURL *handle_take(struct client *client, const struct exchange_request *request)
{
    CURL *easy = NULL;

    pthread_mutex_lock(&client->lock);
    for (size_t i = client->idle_count; i-- > 0 && !easy; ) {
        struct idle *idle = &client->idle[i];

        if (idle->tenant_id != request->tenant_id || idle->egress != request->egress)
            continue;
        easy = idle->easy;
        client->idle_count--;
        memmove(idle, idle + 1, (client->idle_count - i) * sizeof *idle);
    }
    pthread_mutex_unlock(&client->lock);
    if (!easy)
        easy = curl_easy_init();
    if (!easy)
        mem_exhausted(0);
    return easy;
}

/* Keep the handle; the oldest ones leave when they are too many or too old. */
static void handle_keep(struct client *client, const struct exchange_request *request, CURL *easy)
{
    struct idle idle = { easy, request->tenant_id, request->egress, clock_mono_us() };
    CURL *leaving[IDLE_HANDLES];
    size_t count = 0;

    pthread_mutex_lock(&client->lock);
    while (count < client->idle_count && (client->idle_count - count == IDLE_HANDLES ||
                                          idle.since_us - client->idle[count].since_us > IDLE_HANDLE_US)) {
        leaving[count] = client->idle[count].easy;
        count++;
    }
    client->idle_count -= count;
    memmove(client->idle, client->idle + count, client->idle_count * sizeof client->idle[0]);
    client->idle[client->idle_count++] = idle;
    pthread_mutex_unlock(&client->lock);
    for (size_t i = 0; i < count; i++)
        curl_easy_cleanup(leaving[i]);
}

static int stop_when_interrupted(void *arg, curl_off_t to_get, curl_off_t got, curl_off_t to_put, curl_off_t put)
{
    (void)arg, (void)to_get, (void)got, (void)to_put, (void)put;
    return exchange_interrupted();
}

static void set_signing(struct transfer *transfer, const struct exchange_aws *aws)
{
    curl_easy_setopt(transfer->easy, CURLOPT_AWS_SIGV4,
                     arena_printf(transfer->arena, "aws:amz:%s:%s", aws->region, aws->service));
    curl_easy_setopt(transfer->easy, CURLOPT_USERNAME, aws->key);
    curl_easy_setopt(transfer->easy, CURLOPT_PASSWORD, aws->secret);
}

static void set_options(struct transfer *transfer)
{
    int timeout_ms = transfer->request->timeout_ms;
    CURL *easy = transfer->easy;

    if (timeout_ms <= 0)
        timeout_ms = LIMIT_SEND_MS;
    if (timeout_ms > LIMIT_SEND_LONG_MS)
        timeout_ms = LIMIT_SEND_LONG_MS;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_CURLU, transfer->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    client_guard_set(&transfer->guard, easy);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_MAXCONNECTS, CONNECTIONS_PER_HANDLE);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, KEEP_ALIVE_S);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "message-hub/" HUB_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->lines);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, stop_when_interrupted);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    if (transfer->request->aws)
        set_signing(transfer, transfer->request->aws);
    set_method(transfer);
}

static void run(struct exchange *self, struct arena *arena, const struct exchange_request *request,
                struct exchange_reply *reply)
{
    struct client *client = (struct client *)self;
    struct transfer transfer = { .guard = { .client = client, .egress = request->egress,
        .tenant_id = request->tenant_id }, .arena = arena, .request = request };

    client_guard_init();
    *reply = (struct exchange_reply){ .end = EXCHANGE_NOT_SENT };
    buf_init(&transfer.head, LIMIT_EXCHANGE_BYTES);
    buf_init(&transfer.body, request->answer_max ? request->answer_max : LIMIT_EXCHANGE_BYTES);
    if (set_url(&transfer, &reply->err) == 0 && set_headers(&transfer, &reply->err) == 0) {
        transfer.easy = handle_take(client, request);
        set_options(&transfer);
        classify(&transfer, curl_easy_perform(transfer.easy), reply);
        curl_easy_reset(transfer.easy);     /* it keeps no pointer into this frame */
        handle_keep(client, request, transfer.easy);
    }
    buf_fini(&transfer.head);
    buf_fini(&transfer.body);
    curl_slist_free_all(transfer.lines);
    curl_url_cleanup(transfer.url);
}

struct client *client_new(client_allows *allows, void *arg)
{
    struct client *client = mem_alloc(sizeof *client);

    signal(SIGPIPE, SIG_IGN);       /* the TLS library writes to connections that may be gone */
    client->exchange.run = run;
    client->exchange.mail = client_mail;
    client->exchange.open = client_stream_open;
    client->allows = allows;
    client->arg = arg;
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->turned, NULL);
    return client;
}

void client_programs(struct client *client, const char *folder)
{
    free(client->programs);
    client->programs = folder ? mem_strdup(folder) : NULL;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    client_stream_close_all(client);
    for (size_t i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i].easy);
    X509_STORE_free(client->store);
    pthread_cond_destroy(&client->turned);
    pthread_mutex_destroy(&client->lock);
    free(client->programs);
    free(client);
}

struct exchange *client_exchange(struct client *client)
{
    return &client->exchange;
}

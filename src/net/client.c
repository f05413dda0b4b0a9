#include "net/client.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "net/client_address.h"

#include <curl/curl.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define IDLE_HANDLES 32
#define IDLE_HANDLE_US (30 * 1000000LL)
#define CONNECTIONS_PER_HANDLE 4L
#define KEEP_ALIVE_S 4L         /* common servers close after 5 s: a race with that close would end as "unknown" */

/* A handle between two exchanges. It keeps connections, TLS sessions and resolved names, so it never changes tenants
 * nor egress class. */
struct idle {
    CURL *easy;
    int64_t tenant_id;
    enum egress egress;
    int64_t since_us;
};

struct client {
    struct exchange exchange;
    client_allows *allows;
    void *arg;
    pthread_mutex_t lock;
    X509_STORE *store;                  /* read at the first TLS connection: a megabyte and 20 ms */
    struct idle idle[IDLE_HANDLES];     /* oldest first */
    size_t idle_count;
};

/* One exchange while it runs. */
struct transfer {
    struct client *client;
    struct arena *arena;
    const struct exchange_request *request;
    CURL *easy;
    CURLU *url;
    struct curl_slist *lines;
    struct buf head;            /* "Name: value" lines of the last header block */
    struct buf body;
    size_t header_count;
    bool head_ended;            /* by its empty line: the library takes a head that broke off for a whole answer */
    bool refused;               /* an address was denied */
    bool too_large;
};

/* --- Addresses -------------------------------------------------------------------------------- */

static bool may_reach(struct transfer *transfer, const struct in6_addr *address, int port)
{
    const struct client *client = transfer->client;
    const struct exchange_request *request = transfer->request;
    struct in6_addr plain = client_address_unwrap(address);

    if (client_address_public(address) && !client_address_own(address))
        return true;
    if (request->egress == EGRESS_CHANNEL && client->allows &&
        client->allows(client->arg, request->tenant_id, &plain, port))
        return true;
    transfer->refused = true;
    return false;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct in6_addr target;
    int port;

    if (purpose != CURLSOCKTYPE_IPCXN || !client_address_of(&address->addr, &target, &port) ||
        !may_reach(arg, &target, port))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

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
    if (written > 0 || !client_address_parse(peer, &address) || !may_reach(transfer, &address, peer_port))
        return CURL_PREREQFUNC_ABORT;
    return CURL_PREREQFUNC_OK;
}

static X509_STORE *read_store(void)
{
    X509_STORE *store = X509_STORE_new();

    if (!store)
        mem_exhausted(0);
    X509_STORE_set_default_paths(store);
    return store;
}

static CURLcode share_store(CURL *easy, void *ssl_ctx, void *arg)
{
    struct client *client = ((struct transfer *)arg)->client;

    (void)easy;
    pthread_mutex_lock(&client->lock);
    if (!client->store)
        client->store = read_store();
    pthread_mutex_unlock(&client->lock);
    SSL_CTX_set1_cert_store(ssl_ctx, client->store);
    return CURLE_OK;
}

/* --- The request ------------------------------------------------------------------------------ */

/* Host without a trailing dot, no user, password or fragment; http and https only. */
static int set_url(struct transfer *transfer, struct err *err)
{
    const char *url = transfer->request->url;
    char *scheme = NULL, *host = NULL;
    bool good = false;

    transfer->url = curl_url();
    if (!transfer->url)
        mem_exhausted(0);
    if (url && strlen(url) <= LIMIT_URL_BYTES && curl_url_set(transfer->url, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(transfer->url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(transfer->url, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        size_t length = strlen(host);

        while (length > 0 && host[length - 1] == '.')
            host[--length] = '\0';
        good = length > 0 && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
               curl_url_set(transfer->url, CURLUPART_HOST, host, 0) == CURLUE_OK;
        curl_url_set(transfer->url, CURLUPART_USER, NULL, 0);
        curl_url_set(transfer->url, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(transfer->url, CURLUPART_OPTIONS, NULL, 0);
        curl_url_set(transfer->url, CURLUPART_FRAGMENT, NULL, 0);
    }
    curl_free(scheme);
    curl_free(host);
    if (good)
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

static void explain_unsent(CURLcode code, struct err *err)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        err_set(err, ERR_UNAVAILABLE, "The name of the other side could not be resolved.");
        err_hint(err, "Check the host name, and this machine's DNS.");
        break;
    case CURLE_OPERATION_TIMEDOUT:
        err_set(err, ERR_TIMEOUT, "No connection to the other side in time; nothing was sent.");
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        err_set(err, ERR_UNAVAILABLE, "The other side's certificate is not valid for its name; nothing was sent.");
        err_hint(err, "It must be signed by an authority that this machine trusts.");
        break;
    case CURLE_SSL_CONNECT_ERROR:
        err_set(err, ERR_UNAVAILABLE, "TLS could not be agreed with the other side; nothing was sent.");
        break;
    case CURLE_COULDNT_CONNECT:
        err_set(err, ERR_UNAVAILABLE, "The other side refused the connection or cannot be reached.");
        break;
    default:
        err_set(err, ERR_UNAVAILABLE, "The exchange ended before anything was sent: %s.", curl_easy_strerror(code));
    }
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
    } else if (transfer->refused) {
        err_set(&reply->err, ERR_FORBIDDEN, "The address of the request is not one that may be reached.");
        err_hint(&reply->err, "Public addresses only; an operator can allow a channel's own host.");
    } else {
        explain_unsent(code, &reply->err);
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

static void set_options(struct transfer *transfer)
{
    int timeout_ms = transfer->request->timeout_ms;
    CURL *easy = transfer->easy;

    if (timeout_ms <= 0 || timeout_ms > LIMIT_SEND_MS)
        timeout_ms = LIMIT_SEND_MS;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_CURLU, transfer->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);     /* or a slow name server would hold us past the deadline */
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_MAXCONNECTS, CONNECTIONS_PER_HANDLE);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, KEEP_ALIVE_S);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "message-hub/" HUB_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->lines);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);       /* nothing of its own: share_store gives the one store */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, share_store);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, transfer);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, stop_when_interrupted);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    set_method(transfer);
}

static void global_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        mem_exhausted(0);
}

static void run(struct exchange *self, struct arena *arena, const struct exchange_request *request,
                struct exchange_reply *reply)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct client *client = (struct client *)self;
    struct transfer transfer = { .client = client, .arena = arena, .request = request };

    pthread_once(&once, global_init);       /* here, because a hub without peers never needs it */
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
    client->allows = allows;
    client->arg = arg;
    pthread_mutex_init(&client->lock, NULL);
    return client;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    for (size_t i = 0; i < client->idle_count; i++)
        curl_easy_cleanup(client->idle[i].easy);
    X509_STORE_free(client->store);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

struct exchange *client_exchange(struct client *client)
{
    return &client->exchange;
}

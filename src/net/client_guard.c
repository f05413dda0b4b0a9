#include "net/client_inside.h"

#include "base/arena.h"
#include "base/limits.h"
#include "net/client_address.h"

#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

bool client_guard_allows(struct client_guard *guard, const struct in6_addr *address, int port)
{
    const struct client *client = guard->client;
    struct in6_addr plain = client_address_unwrap(address);

    if (client_address_public(address) && !client_address_own(address))
        return true;
    if (guard->egress == EGRESS_CHANNEL && client->allows &&
        client->allows(client->arg, guard->tenant_id, &plain, port))
        return true;
    guard->refused = true;
    return false;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct client_guard *guard = arg;

    if (purpose != CURLSOCKTYPE_IPCXN || !client_address_of(&address->addr, &guard->address, &guard->port) ||
        !client_guard_allows(guard, &guard->address, guard->port))
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
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
    struct client *client = ((struct client_guard *)arg)->client;

    (void)easy;
    pthread_mutex_lock(&client->lock);
    if (!client->store)
        client->store = read_store();
    pthread_mutex_unlock(&client->lock);
    SSL_CTX_set1_cert_store(ssl_ctx, client->store);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS);    /* an idle session holds no 34 KiB of them */
    return CURLE_OK;
}

void client_guard_set(struct client_guard *guard, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);     /* or a slow name server would hold us past the deadline */
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);       /* nothing of its own: share_store gives the one store */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, share_store);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, guard);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, guard);
}

void client_guard_explain(const struct client_guard *guard, CURLcode code, struct err *err)
{
    if (guard->refused) {
        err_set(err, ERR_FORBIDDEN, "The address of the request is not one that may be reached.");
        err_hint(err, "Public addresses only; an operator can allow a channel's own host.");
        return;
    }
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
    case CURLE_USE_SSL_FAILED:
        err_set(err, ERR_UNAVAILABLE, "The server offers no encryption (STARTTLS); nothing was sent.");
        err_hint(err, "Use its port with TLS from the start (smtps://host:465, imaps://host:993), or allow plain.");
        break;
    case CURLE_LOGIN_DENIED:
        err_set(err, ERR_UNAVAILABLE, "The server refuses the user name or the password.");
        err_hint(err, "Many providers want an app password or a token instead of the account's password.");
        break;
    case CURLE_COULDNT_CONNECT:
        err_set(err, ERR_UNAVAILABLE, "The other side refused the connection or cannot be reached.");
        break;
    default:
        err_set(err, ERR_UNAVAILABLE, "The exchange ended before anything was sent: %s.", curl_easy_strerror(code));
    }
}

/* Host without a trailing dot. */
static bool set_host(CURLU *url, char *host)
{
    size_t length = strlen(host);

    while (length > 0 && host[length - 1] == '.')
        host[--length] = '\0';
    return length > 0 && curl_url_set(url, CURLUPART_HOST, host, 0) == CURLUE_OK;
}

CURLU *client_guard_url(const char *text, const char *const *schemes)
{
    static const CURLUPart dropped[] = { CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_FRAGMENT };
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL;
    bool good = false;

    if (!url)
        mem_exhausted(0);
    if (text && strlen(text) <= LIMIT_URL_BYTES && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
        for (; *schemes && !good; schemes++)
            good = strcmp(scheme, *schemes) == 0;
        good = good && set_host(url, host);
        for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
            curl_url_set(url, dropped[i], NULL, 0);
    }
    curl_free(scheme);
    curl_free(host);
    if (good)
        return url;
    curl_url_cleanup(url);
    return NULL;
}

static void global_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        mem_exhausted(0);
}

void client_guard_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, global_init);
}

/* TLS: certificates are verified, and a refusal comes before any request byte. */
#include "base/arena.h"
#include "net/client.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

struct tls_peer {
    SSL_CTX *ctx;
    int listener, port, max_version;
    pthread_t thread;
    atomic_int requests;
};

static EVP_PKEY *key;
static char bundle[] = "/tmp/client-tls-XXXXXX";

/* A self-signed certificate for one name of the form "IP:127.0.0.1" or "DNS:name", valid from `from_s` for an hour. */
static X509 *certificate(const char *name, long from_s)
{
    X509 *cert = X509_new();
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, name);
    X509_NAME *subject = X509_get_subject_name(cert);

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
    X509_gmtime_adj(X509_getm_notAfter(cert), from_s + 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"test peer", -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void *serve(void *arg)
{
    struct tls_peer *peer = arg;
    int fd;

    while ((fd = accept(peer->listener, NULL, NULL)) >= 0) {
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        SSL *ssl = SSL_new(peer->ctx);
        char request[4096];

        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) {
            atomic_fetch_add(&peer->requests, 1);
            SSL_write(ssl, answer, sizeof answer - 1);
            SSL_shutdown(ssl);
        }
        SSL_free(ssl);
        close(fd);
    }
    return NULL;
}

static void tls_start(struct tls_peer *peer, X509 *cert)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;

    peer->ctx = SSL_CTX_new(TLS_server_method());
    if (peer->max_version)
        SSL_CTX_set_max_proto_version(peer->ctx, peer->max_version);
    SSL_CTX_set_security_level(peer->ctx, 0);
    SSL_CTX_use_certificate(peer->ctx, cert);
    SSL_CTX_use_PrivateKey(peer->ctx, key);
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(peer->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(peer->listener, 8), 0);
    assert_int_equal(getsockname(peer->listener, (struct sockaddr *)&address, &size), 0);
    peer->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
}

static void tls_stop(struct tls_peer *peer)
{
    shutdown(peer->listener, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
    SSL_CTX_free(peer->ctx);
}

static bool yes(void *arg, int64_t tenant_id, const struct in6_addr *address, int port)
{
    (void)arg, (void)tenant_id, (void)address, (void)port;
    return true;
}

/* What one exchange with a peer of that certificate gives; `trusted` puts it in the machine's trust. */
static struct exchange_reply against(struct tls_peer *peer, X509 *cert, bool trusted, int times)
{
    struct arena *arena = arena_new(0);
    struct exchange_request request = { .method = HTTP_POST, .body = STR("secret"), .egress = EGRESS_CHANNEL,
                                        .timeout_ms = 5000 };
    struct exchange_reply reply = { 0 };
    struct client *client;
    FILE *file = fopen(bundle, "w");

    assert_non_null(file);
    if (trusted)
        PEM_write_X509(file, cert);
    fclose(file);
    client = client_new(yes, NULL);
    tls_start(peer, cert);
    request.url = arena_printf(arena, "https://127.0.0.1:%d/", peer->port);
    for (int i = 0; i < times; i++)
        client_exchange(client)->run(client_exchange(client), arena, &request, &reply);
    tls_stop(peer);
    client_free(client);
    arena_free(arena);
    X509_free(cert);
    return reply;
}

static void a_trusted_certificate_is_answered(void **state)
{
    struct tls_peer peer = { 0 };

    (void)state;
    assert_int_equal(against(&peer, certificate("IP:127.0.0.1", 0), true, 3).end, EXCHANGE_ANSWERED);
    assert_int_equal(atomic_load(&peer.requests), 3);
}

static void refused(struct tls_peer *peer, X509 *cert, bool trusted)
{
    struct exchange_reply reply = against(peer, cert, trusted, 1);

    assert_int_equal(reply.end, EXCHANGE_NOT_SENT);
    assert_int_equal(reply.err.code, ERR_UNAVAILABLE);
    assert_int_equal(atomic_load(&peer->requests), 0);
}

static void everything_else_is_refused_before_a_byte(void **state)
{
    (void)state;
    refused(&(struct tls_peer){ 0 }, certificate("IP:127.0.0.1", 0), false);
    refused(&(struct tls_peer){ 0 }, certificate("DNS:example.com", 0), true);
    refused(&(struct tls_peer){ 0 }, certificate("IP:127.0.0.1", -7200), true);
    refused(&(struct tls_peer){ 0 }, certificate("IP:127.0.0.1", 7200), true);
    refused(&(struct tls_peer){ .max_version = TLS1_1_VERSION }, certificate("IP:127.0.0.1", 0), true);
}

static int begin(void **state)
{
    int fd = mkstemp(bundle);

    (void)state;
    key = EVP_EC_gen("P-256");
    setenv("SSL_CERT_FILE", bundle, 1);
    return fd < 0 || close(fd) != 0 || !key;
}

static int end(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    return unlink(bundle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trusted_certificate_is_answered),
        cmocka_unit_test(everything_else_is_refused_before_a_byte),
    };

    return cmocka_run_group_tests(tests, begin, end);
}

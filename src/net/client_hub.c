#include "net/client_hub.h"

#include "base/arena.h"

#include <curl/curl.h>
#include <string.h>

struct transfer {
    const struct hub_call *call;
    struct hub_answer *answer;
    CURL *curl;
};

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t length = size * count;
    long status = 0;

    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &status);
    if (transfer->call->each && status >= 200 && status < 300)
        return transfer->call->each(transfer->call->arg, (struct str){ data, length }) ? 0 : length;
    buf_add(&transfer->answer->body, data, length);
    return transfer->answer->body.overflow ? 0 : length;
}

static struct curl_slist *request_headers(struct arena *arena, const struct hub_call *call)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");

    if (call->body.data)
        list = curl_slist_append(list, arena_printf(arena, "Content-Type: %s",
                                                    call->content_type ? call->content_type : "application/json"));
    if (call->key)
        list = curl_slist_append(list, arena_printf(arena, "Authorization: Bearer %s", call->key));
    if (call->idempotency_key)
        list = curl_slist_append(list, arena_printf(arena, "Idempotency-Key: %s", call->idempotency_key));
    if (call->tenant)
        list = curl_slist_append(list, arena_printf(arena, "X-Hub-Tenant: %s", call->tenant));
    return list;
}

static int unreachable(const struct hub_call *call, CURLcode code, struct err *err)
{
    err_set(err, ERR_UNAVAILABLE, "Cannot reach the hub at %s: %s.", call->socket ? call->socket : call->url,
            curl_easy_strerror(code));
    if (call->socket)
        return err_hint(err, "Is `message-hub serve` running with this data folder? Else name the hub with --url.");
    return err_hint(err, "Check --url or MESSAGE_HUB_URL, and that the hub is running.");
}

int hub_call(const struct hub_call *call, struct hub_answer *answer, struct err *err)
{
    struct arena *arena = arena_new(0);
    CURL *curl = curl_easy_init();
    struct transfer transfer = { call, answer, curl };
    struct curl_slist *headers = request_headers(arena, call);
    const char *base = call->socket ? "http://hub" : call->url;
    size_t base_length = strlen(base);
    long status = 0;
    CURLcode code;

    buf_init(&answer->body, LIMIT_ANSWER_BYTES);
    while (base_length && base[base_length - 1] == '/')
        base_length--;
    curl_easy_setopt(curl, CURLOPT_URL, arena_printf(arena, "%.*s%s", (int)base_length, base, call->path));
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, http_method_name(call->method));
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);      /* a stream may be silent for hours, or dead */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)LIMIT_CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
    if (call->socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, call->socket);
    if (call->body.data) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
    }
    code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    answer->status = (int)status;
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && call->each))
        unreachable(call, code, err);
    arena_free(arena);
    return code == CURLE_OK || (code == CURLE_WRITE_ERROR && call->each) ? 0 : -1;
}

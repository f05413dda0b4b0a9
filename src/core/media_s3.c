/* Files in an S3 bucket, or in what speaks like one: PUT, GET, DELETE of one object each, signed by the exchange. A
 * bucket in a private network needs an egress_allow row of every tenant, like any other private address. */
#include "core/media_store.h"

#include "base/arena.h"
#include "base/sign.h"
#include "core/config.h"

static int explain(const char *what, const struct exchange_reply *reply, struct err *err)
{
    if (reply->end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "The media bucket did not %s a file: %s", what, reply->err.detail);
        return err_hint(err, "Check media-s3-url; a private address needs: message-hub egress add NETWORK.");
    }
    err_set(err, ERR_UNAVAILABLE, "The media bucket did not %s a file: it answered %d.", what, reply->status);
    return err_hint(err, "Check media-s3-region, media-s3-key and media-s3-secret, and what that key may do.");
}

static int ask(struct hub *hub, struct arena *arena, const struct media_place *place, struct exchange_request request,
               struct exchange_reply *reply)
{
    const struct exchange_aws aws = {
        .service = "s3", .region = config_text(hub->config, "media-s3-region"),
        .key = config_text(hub->config, "media-s3-key"), .secret = config_text(hub->config, "media-s3-secret") };
    struct str root = str_c(place->root);
    unsigned char hash[SIGN_HASH_BYTES];
    struct http_header header = { .name = STR("x-amz-content-sha256") };

    while (root.len > 0 && root.data[root.len - 1] == '/')
        root.len--;
    sign_sha256(request.body.data ? request.body : STR(""), hash);
    header.value = str_c(sign_hex(arena, hash, sizeof hash));
    request.url = arena_printf(arena, "%.*s/%.2s/%s", STR_FMT(root), place->name, place->name);
    request.headers = &header;
    request.header_count = 1;
    request.egress = EGRESS_CHANNEL;
    request.timeout_ms = LIMIT_SEND_MS;
    request.aws = aws.key && aws.secret ? &aws : NULL;
    *reply = (struct exchange_reply){ 0 };
    hub->exchange->run(hub->exchange, arena, &request, reply);
    return reply->end == EXCHANGE_ANSWERED ? reply->status : -1;
}

int media_bucket_put(struct hub *hub, struct arena *arena, const struct media_place *place, struct str data,
               struct err *err)
{
    struct exchange_reply reply;
    int status = ask(hub, arena, place, (struct exchange_request){ .method = HTTP_PUT, .body = data }, &reply);

    return status >= 200 && status < 300 ? 0 : explain("take", &reply, err);
}

int media_bucket_get(struct hub *hub, struct arena *arena, const struct media_place *place, struct str *data,
               struct err *err)
{
    const struct exchange_request request = { .method = HTTP_GET, .answer_max = LIMIT_MEDIA_BYTES };
    struct exchange_reply reply;
    int status = ask(hub, arena, place, request, &reply);

    *data = reply.body;
    if (status == 404)
        return err_set(err, ERR_NOT_FOUND, "The media bucket does not have the file.");
    return status == 200 ? 0 : explain("give", &reply, err);
}

int media_bucket_remove(struct hub *hub, struct arena *arena, const struct media_place *place, struct err *err)
{
    struct exchange_reply reply;
    int status = ask(hub, arena, place, (struct exchange_request){ .method = HTTP_DELETE }, &reply);

    return (status >= 200 && status < 300) || status == 404 ? 0 : explain("remove", &reply, err);
}

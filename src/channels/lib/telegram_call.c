/* Calls of the Bot API that are no send, and `channels test`. */
#include "channels/lib/telegram.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sign.h"

#include <string.h>

#define PROBE_MS (LIMIT_CONNECT_MS * 2)
#define TOKEN_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_-"

void telegram_begin(struct form *form, struct arena *arena, const struct channel *channel, const char *method)
{
    const char *token = channel_text(channel, "token"), *part = token ? token : "";

    /* whatever is no token must not lead the request elsewhere */
    if (part[strspn(part, TOKEN_CHARACTERS)])
        part = http_encode(arena, str_c(part));
    form_begin(form, arena, channel, channel_text(channel, "base_url"), arena_printf(arena, "/bot%s/%s", part, method));
}

const char *telegram_secret(struct arena *arena, const struct channel *channel)
{
    const char *secret = channel_text(channel, "secret_token"), *token = channel_text(channel, "token");
    unsigned char mac[SIGN_HASH_BYTES];

    if (secret && *secret)
        return secret;
    if (!token || !*token)
        return NULL;
    sign_hmac_sha256(str_c(token), str_c(arena_printf(arena, "webhook of %s", channel->hook)), mac);
    return sign_hex(arena, mac, sizeof mac);
}

bool telegram_says(struct arena *arena, struct str description, const char *words)
{
    return description.len && strcasestr(str_dup(arena, description), words);
}

int telegram_failed(const struct form *form, const struct exchange_reply *reply, struct err *err)
{
    const struct json *answer = form_answer(form, reply);
    struct str said = json_text(json_get(answer, "description"));

    if (reply->end != EXCHANGE_ANSWERED) {
        err_set(err, ERR_UNAVAILABLE, "Telegram does not answer: %s", reply->err.detail);
        return err_hint(err, "%s", reply->err.hint[0] ? reply->err.hint : "Does this machine reach the internet?");
    }
    if (answer && (reply->status == 401 || reply->status == 404)) {
        err_set(err, ERR_UNAVAILABLE, "Telegram does not know the bot's token.");
        return err_hint(err, "Copy the token again from @BotFather (/mybots, API Token), and set it in the channel.");
    }
    if (reply->status == 409 && telegram_says(form->arena, said, "webhook")) {
        err_set(err, ERR_UNAVAILABLE, "A webhook is set for this bot, so it cannot be polled.");
        return err_hint(err, "It is removed at the next round; if another program set it, give that one a bot of its "
                             "own, or set mode=webhook here.");
    }
    if (reply->status == 409) {
        err_set(err, ERR_UNAVAILABLE, "Another program polls this bot.");
        return err_hint(err, "Stop the other one, or make a bot of its own for it with @BotFather.");
    }
    err_set(err, ERR_UNAVAILABLE, "Telegram answered with status %d: %.*s", reply->status,
            (int)str_cut(said, 200, false), said.len ? said.data : "");
    return err_hint(err, "%s", answer ? "It is tried again by itself." : "Is base_url that of the Bot API?");
}

/* One call of the probe: `result` of the answer, or NULL with err. */
static const struct json *ask(struct form *form, struct exchange *exchange, struct err *err)
{
    struct exchange_reply reply;
    const struct json *answer;

    form_run(form, exchange, PROBE_MS, &reply);
    answer = form_answer(form, &reply);
    if (reply.end == EXCHANGE_ANSWERED && reply.status == 200 && json_bool(json_get(answer, "ok"), false))
        return json_get(answer, "result");
    telegram_failed(form, &reply, err);
    return NULL;
}

/* --- The webhook ------------------------------------------------------------------------------ */

static const char *wanted_url(struct arena *arena, const struct channel *channel)
{
    return arena_printf(arena, "%s/hooks/%s", channel->public_url, channel->hook);
}

static int set_webhook(const struct channel *channel, struct exchange *exchange, struct arena *arena, struct err *err)
{
    struct json_writer writer;
    const struct json *done;
    struct form form;
    struct buf body;

    telegram_begin(&form, arena, channel, "setWebhook");
    buf_init(&body, LIMIT_URL_BYTES * 2);
    writer = json_writer(&body);
    json_object_begin(&writer);
    json_cstr_at(&writer, "url", wanted_url(arena, channel));
    json_cstr_at(&writer, "secret_token", telegram_secret(arena, channel));
    json_key(&writer, "allowed_updates");
    json_put_raw(&writer, STR(TELEGRAM_UPDATES));
    json_object_end(&writer);
    form_json(&form, buf_slice(&body));
    buf_fini(&body);
    done = ask(&form, exchange, err);
    if (done)
        return 0;
    return err_hint(err, "Telegram takes public https URLs with the ports 443, 80, 88 and 8443: check public-url.");
}

static void add_summary(struct probe_report *report, const char *text)
{
    report->summary = str_c(arena_printf(report->arena, "%.*s%s%s", STR_FMT(report->summary),
                                         report->summary.len ? " " : "", text));
}

static void report_errors(const struct channel *channel, const struct json *info, struct probe_report *report)
{
    struct str error = json_text(json_get(info, "last_error_message"));

    json_int_at(report->json, "pending_updates", json_int(json_get(info, "pending_update_count"), 0));
    json_text_at(report->json, "last_error", error);
    if (json_int(json_get(info, "last_error_date"), 0) > 0)
        json_time_at(report->json, "last_error_at", json_int(json_get(info, "last_error_date"), 0) * 1000);
    if (error.len && !str_is(json_text(json_get(info, "url")), ""))
        add_summary(report, arena_printf(report->arena,
                                         "The last delivery failed (%.*s): is %s reachable from outside?",
                                         (int)str_cut(error, 150, false), error.data,
                                         channel->public_url ? channel->public_url : "the URL"));
}

static int check_webhook(const struct channel *channel, struct exchange *exchange, const struct json *info,
                         struct probe_report *report, struct err *err)
{
    struct str url = json_text(json_get(info, "url"));

    if (!channel->public_url) {
        err_set(err, ERR_INVALID, "The hub does not know how it is reached from outside, so no webhook can be set.");
        return err_hint(err, "Set public-url to its https address, or the channel's mode to poll, which needs none.");
    }
    /* always: whether the secret is still the right one cannot be asked for */
    if (set_webhook(channel, exchange, report->arena, err))
        return -1;
    add_summary(report, str_is(url, wanted_url(report->arena, channel))
                            ? "Telegram posts to this channel's hook."
                            : "The webhook was set: Telegram posts to this channel's hook from now on.");
    report_errors(channel, info, report);
    return 0;
}

int telegram_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                   struct err *err)
{
    const struct json *bot, *info;
    struct form form;

    telegram_begin(&form, report->arena, channel, "getMe");
    bot = ask(&form, exchange, err);
    if (!bot)
        return -1;
    telegram_begin(&form, report->arena, channel, "getWebhookInfo");
    info = ask(&form, exchange, err);
    if (!info)
        return -1;
    json_text_at(report->json, "bot", json_text(json_get(bot, "username")));
    json_int_at(report->json, "bot_id", json_int(json_get(bot, "id"), 0));
    json_bool_at(report->json, "reads_all_group_messages",
                 json_bool(json_get(bot, "can_read_all_group_messages"), false));
    json_text_at(report->json, "webhook", json_text(json_get(info, "url")));
    report->summary = str_c(arena_printf(report->arena, "The token is that of @%.*s.",
                                         STR_FMT(json_text(json_get(bot, "username")))));
    if (strcmp(channel_text(channel, "mode"), "webhook") == 0)
        return check_webhook(channel, exchange, info, report, err);
    add_summary(report, json_text(json_get(info, "url")).len
                            ? "A webhook is set elsewhere; it is removed when the channel is polled next."
                            : "It is polled.");
    report_errors(channel, info, report);
    return 0;
}

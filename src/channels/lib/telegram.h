/* telegram.h - the Bot API of Telegram (core.telegram.org/bots/api): what the driver's files share. */
#pragma once

#include "channels/lib/form.h"

struct json;

/* Updates that are asked for, as a JSON array: without it Telegram leaves reactions out. */
#define TELEGRAM_UPDATES                                                                        \
    "[\"message\",\"edited_message\",\"channel_post\",\"edited_channel_post\",\"my_chat_member\"," \
    "\"message_reaction\"]"

/* One kind of file in a message: the member that holds it, what the hub calls the message, and what stands in for a
 * name and a type that Telegram does not give. */
struct telegram_file {
    const char *member, *type, *name, *media_type;
};

/* Begin a call of a method ("sendMessage"). The bot's token stands in the URL, so no URL may ever be shown. */
void telegram_begin(struct form *form, struct arena *arena, const struct channel *channel, const char *method);

/* A message's number is unique within its chat only: "-1001234:17" is the external id. telegram_split takes it apart;
 * false when it is none. */
struct str telegram_id(struct arena *arena, int64_t chat, int64_t message);
bool telegram_split(struct str id, int64_t *chat, int64_t *message);

/* The events of one update. -1 with ERR_MALFORMED when it is no update. What has nothing to store becomes
 * CHANNEL_IGNORED. */
int telegram_update(const struct json *update, struct events *events, struct err *err);

/* What the bot's webhook is proven with: the setting, or, where it is absent, made from the token and the hook. NULL
 * without a token. */
const char *telegram_secret(struct arena *arena, const struct channel *channel);

/* Does `description`, what Telegram says of a failure, contain these words, whatever their case? */
bool telegram_says(struct arena *arena, struct str description, const char *words);

/* What went wrong with a call that is no send, as an error for people, never with the token in it. Returns -1. */
int telegram_failed(const struct form *form, const struct exchange_reply *reply, struct err *err);

/* `channels test`, and the webhook set where the settings ask for one. */
int telegram_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                   struct err *err);

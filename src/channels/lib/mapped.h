/* mapped.h - a channel whose settings say how its provider speaks: what webhook.c and its receiving half share. */
#pragma once

#include "channels/lib/form.h"

struct json;
struct json_writer;

/* A JSON string or whole number as text in the arena; absent for anything else. */
struct str mapped_text(struct arena *arena, const struct json *value);

/* What stands at the path that a setting names ("message.from.id"); absent without the setting or the value. */
struct str mapped_at(struct arena *arena, const struct channel *channel, const char *setting, const struct json *json);

/* A key of an object that somebody else named: escaped like a text, which json_key does not do. */
void mapped_key(struct json_writer *writer, struct str name);

/* receive() of the driver: signature, then the members that the settings name. */
int mapped_receive(const struct channel *channel, const struct webhook *webhook, struct events *events,
                   struct webhook_reply *reply, struct err *err);

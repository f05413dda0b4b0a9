/* find.h - what several operations look up before they work: the channel that is meant, the message
 * that is named, an address in the form that is matched. Every wrong input is refused with the field
 * it came in. */
#pragma once

#include "api/op.h"
#include "core/channel.h"
#include "core/message.h"

/* The channel that the text field `field` names, by name or public id. ERR_NOT_FOUND with the field
 * when there is none. In the call's arena. */
int find_channel(struct op_call *call, const char *field, struct channel *out, struct err *err);

/* Where a device or program hands in when it names no channel: the channel of the key's device, else
 * the first enabled one of kind android, else the first enabled one. Remembered for a second. */
int find_channel_in(struct op_call *call, struct channel *out, struct err *err);

/* Where a text to an address leaves when no channel is named: the only enabled one that can send, the
 * sandbox left out where there is another. ERR_INVALID for "channel" when several could. */
int find_channel_out(struct op_call *call, struct channel *out, struct err *err);

/* The address in the text field `field` as the channel matches it. ERR_INVALID with an example when
 * nothing can be sent there. */
int find_address(struct op_call *call, const struct channel *channel, const char *field, struct str *out,
                 struct err *err);

/* The tenant's message `id`, read in a session of its own. ERR_NOT_FOUND. */
int find_message(struct op_call *call, int64_t id, struct message *out, struct err *err);

/* The same for an id given in the field `field` of the body, which the error then names; 0 is left
 * alone. */
int find_named_message(struct op_call *call, const char *field, struct message *out, struct err *err);

/* ERR_NOT_FOUND that names the field: "There is no <what> <text>." */
int find_nothing(struct op_call *call, const char *field, const char *what, struct err *err);

/* channel_default.h - channels that the configuration makes: TWILIO_ACCOUNT_SID and its like set, the channel is there
 * at the next start. */
#pragma once

#include "base/err.h"

struct hub;

/* For each driver whose `defaults` the configuration has, add the first tenant's channel named like the kind, or bring
 * its settings up to date; what else was changed there stays. Called by hub_open. ERR_INVALID: a value does not fit
 * the driver's settings; the hint names where it came from. A part of what is needed alone, and a channel of another
 * kind that has the name, are logged and passed over. */
int channel_default_apply(struct hub *hub, struct err *err);

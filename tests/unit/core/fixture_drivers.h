/* fixture_drivers.h - channel kinds for tests, which never leave the process. */
#pragma once

#include "core/agent.h"
#include "core/channel.h"

#ifndef FIXTURE_OWN_DRIVERS     /* a test that defines it brings its own */

static const struct field test_settings[] = { { 0 } };

static inline enum send_outcome test_send(const struct channel *channel, const struct send_job *job,
                                          struct exchange *exchange, struct send_result *result)
{
    (void)channel, (void)job, (void)exchange, (void)result;
    return SEND_DONE;
}

static const struct channel_driver test_sms = {
    .kind = "sms", .title = "Test SMS", .about = "A phone that is not there.",
    .settings = test_settings, .text_max = 1600, .send = test_send,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_RECEIPT | CHANNEL_SMS | CHANNEL_PHONE_ADDRESS,
};
static const struct channel_driver test_plain = {
    .kind = "plain", .title = "Test plain", .about = "Addresses as they are.",
    .settings = test_settings, .text_max = 40, .send = test_send, .can = CHANNEL_CAN_TEXT,
};
static const struct channel_driver test_mute = {
    .kind = "mute", .title = "Test mute", .about = "Cannot send.", .settings = test_settings,
};
const struct channel_driver *const channel_drivers[] = { &test_sms, &test_plain, &test_mute, NULL };
const struct agent_driver *const agent_drivers[] = { NULL };

#endif

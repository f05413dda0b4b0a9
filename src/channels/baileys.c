/* baileys.c - WhatsApp as a linked device, through the bridge in bridges/whatsapp-baileys: the hub hands over what is
 * to be sent and takes in what comes (docs/bridges.md). */
#include "base/arena.h"
#include "base/json.h"
#include "core/channel.h"

static const struct field settings[] = { { 0 } };

static bool baileys_pulls(const struct channel *channel)
{
    (void)channel;
    return true;
}

static int baileys_probe(const struct channel *channel, struct exchange *exchange, struct probe_report *report,
                         struct err *err)
{
    (void)exchange;
    (void)err;
    json_bool_at(report->json, "bridge_needed", true);
    report->summary = str_c(arena_printf(report->arena, "The bridge speaks for this channel: "
                                         "`message-hub channels pair "
                                         "%s` shows its state and what pairs it.", channel->name));
    return 0;
}

const struct channel_driver channel_baileys = {
    .kind = "baileys",
    .title = "WhatsApp (linked device)",
    .about = "A personal or business WhatsApp account as a linked device, against WhatsApp's terms: at your own risk. "
             "Needs the bridge in bridges/whatsapp-baileys and a phone that scans a code.",
    .settings = settings,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_REPLY | CHANNEL_CAN_REACT | CHANNEL_CAN_EDIT | CHANNEL_CAN_DELETE
        | CHANNEL_CAN_READ | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_REPEAT | CHANNEL_CAN_GROUP | CHANNEL_OPT_OUT,
    .text_max = 4096,
    .limits = { .per_hour = 200, .per_day = 1000, .spacing_ms = 3000, .new_per_day = 10, .warmup_days = 14 },
    .pulls = baileys_pulls,
    .probe = baileys_probe,
};

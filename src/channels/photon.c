/* photon.c - iMessage through a server of Photon's, which speaks BlueBubbles' API with a key of its own. What it
 * does stands in lib/imessage*.c. */
#include "channels/lib/imessage.h"

static const struct field settings[] = {
    { "base_url", FIELD_URL, FIELD_REQUIRED, "The line's address, without a path (IMESSAGE_ENDPOINT).", 0, 0, NULL,
      NULL, NULL, "https://line.example.com" },
    { "api_key", FIELD_TEXT, FIELD_SECRET, "The line's key (IMESSAGE_API_KEY). Absent: the server asks for none.",
      1, 500 },
    { "secret", FIELD_TEXT, FIELD_SECRET,
      "What the registered webhook carries as ?secret=, beside the hook's own unguessable path. Absent: nothing.",
      6, 200 },
    { "catch_up_s", FIELD_INT, 0,
      "How often to ask for messages, in seconds; without a webhook they come by this alone.", 5, 3600,
      NULL, "15" },
    { "history_after_s", FIELD_INT, 0, "What arrives more than so many seconds after it was written is stored and not "
      "answered: iCloud brings old messages.", 60, 604800, NULL, "3600" },
    { 0 }
};

static const struct channel_default defaults[] = {
    { "base_url", "imessage-endpoint" },
    { "api_key", "imessage-api-key" },
    { 0 }
};

const struct channel_driver channel_photon = {
    .kind = "photon",
    .title = "iMessage (Photon)",
    .about = "iMessage through a hosted line of Photon, or a server that speaks its API. Needs the line's address "
             "and key.",
    .settings = settings,
    .defaults = defaults,
    .can = CHANNEL_CAN_TEXT | CHANNEL_CAN_MEDIA | CHANNEL_CAN_REPLY | CHANNEL_CAN_REACT | CHANNEL_CAN_EDIT
        | CHANNEL_CAN_RECEIPT | CHANNEL_CAN_DELETE | CHANNEL_CAN_READ | CHANNEL_CAN_TYPING | CHANNEL_CAN_GROUP
        | CHANNEL_PHONE_ADDRESS,
    .text_max = 20000,
    .limits = { .per_hour = 50, .per_day = 500, .spacing_ms = 1000, .new_per_day = 40, .warmup_days = 14 },
    .send_ms = IMESSAGE_FILE_MS + IMESSAGE_ASK_MS,
    .parallel = 1,
    .send = imessage_send,
    .receive = imessage_receive,
    .poll = imessage_poll,
    .fetch = imessage_fetch,
    .lookup = imessage_lookup,
    .probe = imessage_probe,
};

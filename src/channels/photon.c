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
    IMESSAGE_DRIVER,
};

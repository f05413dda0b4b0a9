/* bluebubbles.c - iMessage through a Mac that runs the BlueBubbles server. What it does stands in lib/imessage*.c. */
#include "channels/lib/imessage.h"

static const struct field settings[] = {
    { "base_url", FIELD_URL, FIELD_REQUIRED, "Where the BlueBubbles server listens, without a path.", 0, 0, NULL, NULL,
      NULL, "http://mac.local:1234" },
    { "password", FIELD_TEXT, FIELD_REQUIRED | FIELD_SECRET, "The server's password (BlueBubbles, Connection).",
      1, 200 },
    { "secret", FIELD_TEXT, FIELD_SECRET,
      "What the registered webhook carries as ?secret=, beside the hook's own unguessable path. Absent: nothing.",
      6, 200 },
    { "method", FIELD_ENUM, 0,
      "How the Mac sends: apple-script works everywhere, private-api is faster and needs the server's private API.",
      0, 0,
      "apple-script|private-api", "apple-script" },
    { "service", FIELD_ENUM, 0, "The service of a chat with somebody new.", 0, 0, "iMessage|SMS", "iMessage" },
    { "catch_up_s", FIELD_INT, 0, "How often to ask for what webhooks lost, in seconds.", 5, 3600, NULL, "120" },
    { "history_after_s", FIELD_INT, 0, "What arrives more than so many seconds after it was written is stored and not "
      "answered: iCloud brings old messages.", 60, 604800, NULL, "3600" },
    { 0 }
};

const struct channel_driver channel_bluebubbles = {
    .kind = "bluebubbles",
    .title = "iMessage (BlueBubbles)",
    .about = "iMessage and SMS through a Mac that runs the BlueBubbles server. Needs its address and password; "
             "reactions, edits and the like need its private API.",
    .settings = settings,
    IMESSAGE_DRIVER,
};

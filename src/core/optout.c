#include "core/optout.h"

#include "core/channel.h"

/* Compared with str_fold'ed text: lower case, no punctuation or quotes around. */
static const char *const stop_words[] = { "stop", "stopall", "stop all", "unsubscribe", "cancel",
    "end", "quit", "revoke",
    "optout", "opt out", "opt-out", "arret", "arr\xc3\xaat", "alto", "parar", "baja", "stopp",
        "abmelden", "sair",
    "annulla", NULL };
static const char *const start_words[] = { "start", "unstop", "optin", "opt in", "opt-in", NULL };
static const char *const help_words[] = { "help", "info", NULL };

bool optout_applies(const struct channel_driver *driver)
{
    return driver && (driver->can & (CHANNEL_SMS | CHANNEL_OPT_OUT));
}

static bool among(struct str word, const char *const *words)
{
    while (*words)
        if (str_is(word, *words++))
            return true;
    return false;
}

enum optout_word optout_word(struct arena *arena, struct str text, bool opted_out)
{
    struct str word = text.len <= 64 ? str_fold(arena, text) : (struct str){ 0 };

    if (among(word, stop_words))
        return OPTOUT_STOP;
    if (among(word, start_words) || (opted_out && str_is(word, "yes")))
        return OPTOUT_START;
    return among(word, help_words) ? OPTOUT_HELP : OPTOUT_NONE;
}

struct str optout_text(enum optout_word word)
{
    switch (word) {
    case OPTOUT_STOP:
        return STR("You are unsubscribed and will receive no more messages. Reply START to "
                   "subscribe again.");
    case OPTOUT_START:
        return STR("You are subscribed again. Reply STOP to unsubscribe, HELP for help.");
    case OPTOUT_HELP:
        return STR("Reply STOP to unsubscribe, START to subscribe. A person reads what you write "
                   "here.");
    case OPTOUT_NONE:
        break;
    }
    return (struct str){ 0 };
}

struct str optout_metadata(void)
{
    return STR("{\"confirms\":\"opt_out\"}");
}

bool optout_confirms(int64_t origin, struct str metadata)
{
    return origin == ORIGIN_AUTO && str_eq(metadata, optout_metadata());
}

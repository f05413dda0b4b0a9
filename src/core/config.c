#include "core/config.h"

#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_FILE_BYTES (64 * 1024)

const struct field config_fields[] = {
    { "data", FIELD_TEXT, 0, "Folder of the database, the master key and the socket; made with 0700.", 1, 4000, NULL,
      "data", NULL, "/var/lib/message-hub" },
    { "config", FIELD_TEXT, 0, "Configuration file with `name = value` lines.", 1, 4000, NULL, NULL, NULL, NULL },
    { "listen", FIELD_TEXT, 0,
      "Address and port of the HTTP server; port 0 takes a free one, `none` listens on the socket "
      "only.",
      1, 200, NULL, "127.0.0.1:8080", NULL, "0.0.0.0:8080" },
    { "socket", FIELD_TEXT, 0, "Unix socket of the command line; default DATA/hub.sock.", 1, 100, NULL, NULL, NULL,
      NULL },
    { "database-url", FIELD_TEXT, FIELD_SECRET, "sqlite:PATH or postgresql://...; default sqlite:DATA/hub.db.", 1,
      2000, NULL, NULL, NULL, "postgresql://hub@localhost/hub" },
    { "master-key", FIELD_TEXT, FIELD_SECRET, "64 hex digits; default: the file DATA/master.key, made at first start.",
      64, 64, NULL, NULL, NULL, NULL },
    { "public-url", FIELD_URL, 0, "How the hub is reached from outside; printed in links and given to providers.", 0,
      500, NULL, NULL, NULL, "https://hub.example.com" },
    { "media-s3-url", FIELD_URL, 0,
      "Keep files in this S3 bucket instead of DATA/media: bucket URL, maybe with a prefix.", 0, 500, NULL, NULL, NULL,
      "https://bucket.s3.eu-central-1.amazonaws.com/hub" },
    { "media-s3-region", FIELD_TEXT, 0, "Region of that bucket, as its signatures name it.", 1, 60, NULL, "us-east-1",
      NULL, NULL },
    { "media-s3-key", FIELD_TEXT, 0, "Access key id for that bucket.", 1, 200, NULL, NULL, NULL, NULL },
    { "media-s3-secret", FIELD_TEXT, FIELD_SECRET, "Secret access key for that bucket.", 1, 500, NULL, NULL, NULL,
      NULL },
    { "exec-folder", FIELD_TEXT, 0, "Folder of the programs that exec channels may start; default DATA/exec.", 1, 4000,
      NULL, NULL, NULL, "/usr/local/lib/message-hub" },
    { "allowed-origins", FIELD_TEXTS, 0, "Web origins that may open WebSockets, besides the hub's own.", 0, 50, NULL,
      NULL, NULL, "https://inbox.example.com" },
    { "log-level", FIELD_ENUM, 0, "Least level that is logged.", 0, 0, "debug|info|warn|error", "info", NULL, NULL },
    { "log-format", FIELD_ENUM, 0, "One line per event.", 0, 0, "text|json", "text", NULL, NULL },
    { "workers", FIELD_INT, 0, "Threads that run operations; 0: one more than cores, at most 8.", 0, 256, NULL, "0",
      NULL, NULL },
    { "event-threads", FIELD_INT, 0, "Threads that read and write sockets; 0: one per core, at most 4.", 0, 64, NULL,
      "0", NULL, NULL },
    { "send-workers", FIELD_INT, 0, "Messages handed to providers at the same time; one channel gets an eighth.", 1,
      LIMIT_SEND_WORKERS, NULL, "64", NULL, NULL },
    { "db-readers", FIELD_INT, 0, "Connections that read.", 1, 64, NULL, "4", NULL, NULL },
    { "connections-per-address", FIELD_INT, 0, "Open connections one address may hold.", 1, 1000000, NULL, "10000",
      NULL, NULL },
    { "dev-no-auth", FIELD_BOOL, 0, "Every call from loopback is an admin. Refused on any other address.", 0, 0, NULL,
      "false", NULL, NULL },
    { "imessage-endpoint", FIELD_URL, 0, "Default base_url of iMessage channels.", 0, 500, NULL, NULL, NULL, NULL },
    { "imessage-api-key", FIELD_TEXT, FIELD_SECRET, "Default key of iMessage channels.", 1, 500, NULL, NULL, NULL,
      NULL },
    { "photon-api-key", FIELD_TEXT, FIELD_SECRET, "Agent key of `message-hub mcp`.", 1, 500, NULL, NULL, NULL, NULL },
    { "photon-backend-url", FIELD_URL, 0, "Hub that the classifier role serves.", 0, 500, NULL, NULL, NULL, NULL },
    { "openrouter-api-key", FIELD_TEXT, FIELD_SECRET, "Default key of OpenAI-compatible agents.", 1, 500, NULL, NULL,
      NULL, NULL },
    { "llm-model", FIELD_TEXT, 0, "Default model of OpenAI-compatible agents.", 1, 200, NULL, NULL, NULL, NULL },
    { "twilio-account-sid", FIELD_TEXT, 0,
      "Account of the channel `twilio`, which is made when this and the token are set.", 1, 100, NULL, NULL,
      NULL, NULL },
    { "twilio-auth-token", FIELD_TEXT, FIELD_SECRET, "Auth token of the channel `twilio`.", 1, 200, NULL, NULL, NULL,
      NULL },
    { "twilio-phone-number", FIELD_TEXT, 0, "Sender of the channel `twilio`.", 1, 40, NULL, NULL, NULL, NULL },
    { "twilio-messaging-service-sid", FIELD_TEXT, 0, "Messaging Service of the channel `twilio`.", 1, 100, NULL, NULL,
      NULL, NULL },
    { "whatsapp-access-token", FIELD_TEXT, FIELD_SECRET, "Access token of the channel `whatsapp`.", 1, 1000, NULL,
      NULL, NULL, NULL },
    { "whatsapp-phone-number-id", FIELD_TEXT, 0,
      "Phone number id of the channel `whatsapp`, which is made when this and the token are set.", 1, 40, NULL, NULL,
      NULL, NULL },
    { "whatsapp-app-secret", FIELD_TEXT, FIELD_SECRET, "App secret of the channel `whatsapp`.", 1, 200, NULL, NULL,
      NULL, NULL },
    { "whatsapp-verify-token", FIELD_TEXT, FIELD_SECRET, "Verify token of the channel `whatsapp`.", 1, 200, NULL, NULL,
      NULL, NULL },
    { 0 }
};

/* Older environment names (FEATURES 187-191); every setting also has MESSAGE_HUB_<NAME>. */
static const struct {
    const char *setting, *env;
} older_names[] = {
    { "database-url", "DATABASE_URL" },
    { "imessage-endpoint", "IMESSAGE_ENDPOINT" },
    { "imessage-api-key", "IMESSAGE_API_KEY" },
    { "photon-api-key", "PHOTON_API_KEY" },
    { "photon-backend-url", "PHOTON_BACKEND_URL" },
    { "openrouter-api-key", "OPENROUTER_API_KEY" },
    { "llm-model", "LLM_MODEL" },
    { "twilio-account-sid", "TWILIO_ACCOUNT_SID" },
    { "twilio-auth-token", "TWILIO_AUTH_TOKEN" },
    { "twilio-phone-number", "TWILIO_PHONE_NUMBER" },
    { "twilio-messaging-service-sid", "TWILIO_MESSAGING_SERVICE_SID" },
    { "whatsapp-access-token", "WHATSAPP_ACCESS_TOKEN" },
    { "whatsapp-phone-number-id", "WHATSAPP_PHONE_NUMBER_ID" },
    { "whatsapp-app-secret", "WHATSAPP_APP_SECRET" },
    { "whatsapp-verify-token", "WHATSAPP_VERIFY_TOKEN" },
};

#define SETTINGS (sizeof config_fields / sizeof config_fields[0] - 1)

struct config {
    struct fields fields;
    enum config_origin origins[SETTINGS];
    const char *details[SETTINGS];
};

static int setting_find(const char *name, size_t length)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (strlen(config_fields[i].name) == length && !memcmp(config_fields[i].name, name, length))
            return (int)i;
    return -1;
}

static const char *setting_nearest(const char *word)
{
    const char *names[SETTINGS + 1] = { 0 };

    for (size_t i = 0; i < SETTINGS; i++)
        names[i] = config_fields[i].name;
    return field_nearest(word, names);
}

/* One layer being read into a configuration. */
struct layer {
    struct arena *arena;
    struct config *config;
    enum config_origin origin;
    struct err *err;
};

static int set(struct layer *layer, int index, struct str value, const char *detail)
{
    struct err *err = layer->err;

    if (field_set_text(layer->arena, &layer->config->fields, config_fields[index].name, value, err)) {
        char reason[LIMIT_DETAIL_BYTES];

        snprintf(reason, sizeof reason, "%s", err->detail);
        err_field(err, config_fields[index].name, "%s (from %s)", reason, detail);
        return err_hint(err, "%s", config_fields[index].help);
    }
    layer->config->origins[index] = layer->origin;
    layer->config->details[index] = detail;
    return 0;
}

static char *env_name(struct arena *arena, const char *setting)
{
    char *name = arena_printf(arena, "MESSAGE_HUB_%s", setting);

    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    return name;
}

static int read_environment(struct arena *arena, struct config *config, struct err *err)
{
    struct layer layer = { arena, config, CONFIG_ENV, err };

    for (size_t i = 0; i < sizeof older_names / sizeof older_names[0]; i++) {
        const char *value = getenv(older_names[i].env);
        int index = setting_find(older_names[i].setting, strlen(older_names[i].setting));

        assert(index >= 0);
        if (value && *value && set(&layer, index, str_c(value), older_names[i].env))
            return -1;
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *name = env_name(arena, config_fields[i].name);
        const char *value = getenv(name);

        if (value && *value && set(&layer, (int)i, str_c(value), name))
            return -1;
    }
    return 0;
}

/* A line "name = value": quotes around the value are taken off; an older environment name works as a name, so that an
 * .env file of the older stacks is understood. */
static int read_line(struct layer *layer, struct str line, const char *where)
{
    struct err *err = layer->err;
    struct str name, value = line;
    int index = -1;

    line = str_trim(line);
    if (!line.len || line.data[0] == '#')
        return 0;
    value = line;
    if (!str_split(&value, '=', &name) || !value.data) {
        err_set(err, ERR_INVALID, "%s: not a line of the form name = value.", where);
        return err_hint(err, "Write for example: listen = 127.0.0.1:8080");
    }
    name = str_trim(name);
    value = str_trim(value);
    if (value.len >= 2 && (value.data[0] == '"' || value.data[0] == '\'') && value.data[value.len - 1] == value.data[0])
        value = (struct str){ value.data + 1, value.len - 2 };
    index = setting_find(name.data, name.len);
    for (size_t i = 0; index < 0 && i < sizeof older_names / sizeof older_names[0]; i++)
        if (str_is(name, older_names[i].env))
            index = setting_find(older_names[i].setting, strlen(older_names[i].setting));
    for (size_t i = 0; index < 0 && i < SETTINGS; i++)
        if (str_is(name, env_name(layer->arena, config_fields[i].name)))
            index = (int)i;
    if (index < 0 && strstr(where, ".env:") == where)
        return 0;   /* an .env file is shared with other programs */
    if (index < 0) {
        const char *nearest = setting_nearest(str_dup(layer->arena, name));

        err_set(err, ERR_INVALID, "%s: unknown setting \"%.*s\".", where, STR_FMT(name));
        return err_hint(err, nearest ? "Did you mean \"%s\"?" : "`message-hub config show` lists all settings.%s",
                        nearest ? nearest : "");
    }
    return set(layer, index, value, where);
}

/* Reads one file; `required` says whether its absence is an error. */
static int read_file(struct arena *arena, struct config *config, const char *path, bool required, struct err *err)
{
    struct layer layer = { arena, config, CONFIG_FILE, err };
    FILE *file = fopen(path, "re");
    char *text = arena_alloc(arena, CONFIG_FILE_BYTES + 1);
    struct str rest, line;
    size_t length;
    int number = 0;

    if (!file) {
        if (!required && (errno == ENOENT || errno == ENOTDIR))
            return 0;
        err_set(err, ERR_INVALID, "Cannot read the configuration file %s: %s.", path, strerror(errno));
        return err_hint(err, "Name a readable file with --config or MESSAGE_HUB_CONFIG.");
    }
    length = fread(text, 1, CONFIG_FILE_BYTES + 1, file);
    fclose(file);
    if (length > CONFIG_FILE_BYTES)
        return err_set(err, ERR_TOO_LARGE, "The configuration file %s is larger than 64 KiB.", path);
    rest = (struct str){ text, length };
    while (str_split(&rest, '\n', &line))
        if (read_line(&layer, line, arena_printf(arena, "%s:%d", path, ++number)))
            return -1;
    return 0;
}

/* One word of the command line that may be a setting: 1 taken, 0 it is none, -1 wrong. `next` is the word behind it
 * (may be NULL); `*took_next` says whether that was its value. */
static int read_flag(struct layer *layer, const char *word, const char *next, bool *took_next)
{
    const char *name = word + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : next;
    bool no = !strncmp(name, "no-", 3);
    int index = setting_find(name, equals ? (size_t)(equals - name) : strlen(name));

    *took_next = false;
    if (index < 0 && no && (index = setting_find(name + 3, strlen(name + 3))) >= 0
        && config_fields[index].type == FIELD_BOOL)
        return set(layer, index, STR("false"), word) ? -1 : 1;
    if (index < 0)
        return 0;
    if (!equals && config_fields[index].type == FIELD_BOOL)
        value = "true";
    else if (!value)
        return err_set(layer->err, ERR_INVALID, "--%s needs a value.", config_fields[index].name);
    else
        *took_next = !equals;
    return set(layer, index, str_c(value), arena_printf(layer->arena, "--%s", config_fields[index].name)) ? -1 : 1;
}

/* Takes "--name=value", "--name value", "--name" and "--no-name" (flags) out of the words. */
static int read_flags(struct arena *arena, const struct config_words *words, struct config *config,
                      struct config_words *rest, struct err *err)
{
    struct layer layer = { arena, config, CONFIG_FLAG, err };

    rest->words = arena_array(arena, (size_t)words->count + 1, sizeof *rest->words);
    rest->count = 0;
    for (int i = 0; i < words->count; i++) {
        bool took_next = false;
        int taken = 0;

        if (!strncmp(words->words[i], "--", 2))
            taken = read_flag(&layer, words->words[i], i + 1 < words->count ? words->words[i + 1] : NULL, &took_next);
        if (taken < 0)
            return -1;
        if (!taken)
            rest->words[rest->count++] = words->words[i];
        i += took_next;
    }
    return 0;
}

/* The layers are read from strongest to weakest to find the file, then applied from weakest to strongest. */
int config_load(struct arena *arena, struct config_words *words, struct config **out, struct err *err)
{
    struct config *probe = arena_alloc(arena, sizeof *probe);
    struct config *config = arena_alloc(arena, sizeof *config);
    struct config_words rest;
    const char *file, *data;

    field_begin(arena, config_fields, &probe->fields);
    if (read_environment(arena, probe, err) || read_flags(arena, words, probe, &rest, err))
        return -1;
    file = config_text(probe, "config");
    data = config_text(probe, "data");
    field_begin(arena, config_fields, &config->fields);
    if (read_file(arena, config, ".env", false, err))
        return -1;
    if (file ? read_file(arena, config, file, true, err)
             : read_file(arena, config, arena_printf(arena, "%s/message-hub.conf", data ? data : "data"), false, err))
        return -1;
    if (read_environment(arena, config, err) || read_flags(arena, words, config, &rest, err)
        || field_finish(arena, &config->fields, err))
        return -1;
    *out = config;
    *words = rest;
    return 0;
}

const char *config_text(const struct config *config, const char *name)
{
    return field_cstr(&config->fields, name);
}

const struct value *config_value(const struct config *config, const char *name)
{
    return field_get(&config->fields, name);
}

int64_t config_number(const struct config *config, const char *name)
{
    return field_number(&config->fields, name, 0);
}

bool config_flag(const struct config *config, const char *name)
{
    return field_flag(&config->fields, name);
}

enum config_origin config_origin_of(const struct config *config, const char *name, const char **detail)
{
    int index = setting_find(name, strlen(name));

    assert(index >= 0);
    if (detail)
        *detail = config->details[index];
    return config->origins[index];
}

#include "core/channel.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "db/db.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SLOTS 512                   /* cached look-ups; a colliding one takes the place */
#define AGE_US (1000 * 1000)        /* the longest that a change elsewhere stays unseen */

/* A row, before its driver has looked at it. */
struct stored {
    int64_t id, tenant_id, state;
    const char *kind, *name, *hook, *region;
    struct str settings;            /* the driver's settings with the secrets, one JSON object */
};

/* A look-up and its answer. */
struct slot {
    struct arena *arena;            /* NULL: empty */
    const char *key;
    struct channel channel;
    int64_t loaded_us;
};

static struct slot slots[SLOTS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int64_t quiet_until_us;
static unsigned char install_key[SIGN_KEY_BYTES];
static char install_url[LIMIT_URL_BYTES];

bool channel_sends(const struct channel_driver *driver)
{
    return driver && (driver->send || driver->pulls);
}

const struct channel_driver *channel_driver_find(struct str kind)
{
    for (const struct channel_driver *const *driver = channel_drivers; *driver; driver++)
        if (str_is(kind, (*driver)->kind))
            return *driver;
    return NULL;
}

const char *channel_text(const struct channel *channel, const char *name)
{
    return field_cstr(&channel->settings, name);
}

int64_t channel_number(const struct channel *channel, const char *name, int64_t fallback)
{
    return field_number(&channel->settings, name, fallback);
}

bool channel_flag(const struct channel *channel, const char *name)
{
    return field_flag(&channel->settings, name);
}

/* --- Cache ------------------------------------------------------------------------------------ */

static size_t slot_of(const char *key)
{
    uint32_t hash = 2166136261u;

    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 16777619u;
    return hash % SLOTS;
}

static struct channel channel_copy(struct arena *arena, const struct channel *channel)
{
    struct channel copy = *channel;

    copy.kind = arena_strdup(arena, channel->kind);
    copy.name = arena_strdup(arena, channel->name);
    copy.hook = arena_strdup(arena, channel->hook);
    copy.region = arena_strdup(arena, channel->region);
    copy.settings = *field_copy(arena, &channel->settings);
    return copy;
}

static bool cache_get(const char *key, struct arena *arena, struct channel *out)
{
    struct slot *slot = &slots[slot_of(key)];
    bool found;

    pthread_mutex_lock(&slots_lock);
    found =
        slot->arena && strcmp(slot->key, key) == 0 && clock_mono_us() - slot->loaded_us < AGE_US;
    if (found)
        *out = channel_copy(arena, &slot->channel);
    pthread_mutex_unlock(&slots_lock);
    return found;
}

/* `started_us` is when the row was asked for: what changed since must not be hidden by what was
 * read before. */
static void cache_put(const char *key, const struct channel *channel, int64_t started_us)
{
    struct slot *slot = &slots[slot_of(key)];

    pthread_mutex_lock(&slots_lock);
    if (started_us >= atomic_load(&quiet_until_us)) {
        if (slot->arena)
            arena_reset(slot->arena);
        else
            slot->arena = arena_new(1024);
        slot->key = arena_strdup(slot->arena, key);
        slot->channel = channel_copy(slot->arena, channel);
        slot->loaded_us = started_us;
    }
    pthread_mutex_unlock(&slots_lock);
}

static void empty(int64_t quiet_us)
{
    pthread_mutex_lock(&slots_lock);
    atomic_store(&quiet_until_us, clock_mono_us() + quiet_us);
    for (size_t i = 0; i < SLOTS; i++) {
        arena_free(slots[i].arena);
        slots[i] = (struct slot){ 0 };
    }
    pthread_mutex_unlock(&slots_lock);
}

void channel_forget(void)
{
    empty(0);
}

void channel_touch(struct db_session *tx)
{
    empty(AGE_US);      /* the commit is still to come; until then a reader sees the old row */
    db_notify(tx, "channels", "");
}

/* --- Secrets ---------------------------------------------------------------------------------- */

void channel_install(const unsigned char seal_key[SIGN_KEY_BYTES])
{
    memcpy(install_key, seal_key, SIGN_KEY_BYTES);
    empty(0);
}

void channel_publish(const char *public_url)
{
    size_t length = public_url ? strlen(public_url) : 0;

    while (length > 0 && public_url[length - 1] == '/')
        length--;
    assert(length < sizeof install_url);
    memcpy(install_url, public_url ? public_url : "", length);
    install_url[length] = 0;
}

static const char *seal_context(struct arena *arena, int64_t id)
{
    return arena_printf(arena, "channels.secrets:%lld", (long long)id);
}

int channel_unseal(struct arena *arena, int64_t id, struct str sealed, struct str *secrets,
                   struct err *err)
{
    if (!sealed.data) {
        *secrets = STR("{}");
        return 0;
    }
    *secrets = sign_unseal(arena, install_key, sealed, seal_context(arena, id), err);
    return secrets->data ? 0 : -1;
}

struct str channel_seal(struct arena *arena, int64_t id, struct str secrets)
{
    return sign_seal(arena, install_key, secrets, seal_context(arena, id));
}

/* --- Rows ------------------------------------------------------------------------------------- */

/* Members that the driver still has a row for; what an older version stored is passed over. */
static void add_known(struct json_writer *writer, const struct field *table,
                      const struct json *object)
{
    for (const struct field *field = table; field->name; field++) {
        const struct json *value = json_get(object, field->name);
        struct buf text;

        if (json_kind(value) == JSON_KIND_NULL)
            continue;
        buf_init(&text, LIMIT_SETTINGS_BYTES);
        json_dump(&text, value);
        json_key(writer, field->name);
        json_put_raw(writer, buf_slice(&text));
        buf_fini(&text);
    }
}

static int join_settings(struct arena *arena, struct stored *stored, struct str plain,
                         struct str sealed, struct err *err)
{
    const struct channel_driver *driver = channel_driver_find(str_c(stored->kind));
    const struct json *settings, *secrets;
    struct json_writer writer;
    struct str opened;
    struct buf out;

    if (!driver) {
        err_set(err, ERR_INVALID,
                "Channel \"%s\" is of the kind \"%s\", which this build does not have.",
                stored->name, stored->kind);
        return err_hint(err, "Disable the channel, or run a version that has this kind.");
    }
    if (channel_unseal(arena, stored->id, sealed, &opened, err) < 0)
        return -1;
    settings = json_parse(arena, plain, err);
    secrets = settings ? json_parse(arena, opened, err) : NULL;
    if (!secrets)
        return -1;
    buf_init(&out, 2 * LIMIT_SETTINGS_BYTES);
    writer = json_writer(&out);
    json_object_begin(&writer);
    add_known(&writer, driver->settings, settings);
    add_known(&writer, driver->settings, secrets);
    json_object_end(&writer);
    stored->settings = (struct str){ arena_copy(arena, out.data, out.len), out.len };
    buf_fini(&out);
    return 0;
}

static int read_row(struct arena *arena, const struct db_rows *rows, struct stored *out,
                    struct err *err)
{
    *out = (struct stored){
        .id = db_col_int(rows, 0),
        .tenant_id = db_col_int(rows, 1),
        .state = db_col_int(rows, 2),
        .kind = str_dup(arena, db_col_text(rows, 3)),
        .name = str_dup(arena, db_col_text(rows, 4)),
        .hook = str_dup(arena, db_col_text(rows, 5)),
        .region = str_dup(arena, db_col_text(rows, 6)),
    };
    return join_settings(arena, out, db_col_text(rows, 7), db_col_text(rows, 8), err);
}

/* What a driver sees of a row. */
static int view(struct arena *arena, const struct stored *stored, struct channel *out,
                struct err *err)
{
    const struct json *settings = json_parse(arena, stored->settings, err);

    *out = (struct channel){
        .id = stored->id,
        .tenant_id = stored->tenant_id,
        .kind = stored->kind,
        .name = stored->name,
        .hook = stored->hook,
        .region = stored->region,
        .driver = channel_driver_find(str_c(stored->kind)),
        .state = stored->state,
        .public_url = install_url[0] ? install_url : NULL,
    };
    assert(out->driver);
    return settings ? field_read_json(arena, out->driver->settings, settings, &out->settings, err)
                    : -1;
}

#define SELECT_CHANNEL \
    "SELECT c.id, c.tenant_id, c.state, c.kind, c.name, c.hook, COALESCE(c.region, t.region), " \
    "c.settings, c.secrets " \
    "FROM channels c JOIN tenants t ON t.id = c.tenant_id "

/* A look-up: how it is cached, and how it is asked. */
struct lookup {
    const char *key;
    int64_t tenant_id;              /* 0: all tenants */
    const char *sql;
    struct db_value args[2];
    size_t count;
};

static int find(struct db *db, struct arena *arena, const struct lookup *lookup,
                struct channel *out, struct err *err)
{
    const char *key = arena_printf(arena, "%p %s", (void *)db, lookup->key);
    int64_t started_us = clock_mono_us();
    struct db_session *session;
    struct stored stored;
    struct db_rows *rows;
    int found = -1;

    if (cache_get(key, arena, out))
        return 1;
    session = db_read(db, lookup->tenant_id, err);
    if (!session)
        return -1;
    rows = db_query(session, lookup->sql, lookup->args, lookup->count, err);
    if (rows)
        found = db_next(rows, err);
    if (found == 1 && read_row(arena, rows, &stored, err) < 0)
        found = -1;
    db_read_end(session);
    if (found == 1 && view(arena, &stored, out, err) < 0)
        found = -1;
    if (found == 1)
        cache_put(key, out, started_us);
    return found;
}

static int load_by_id(struct db *db, struct arena *arena, struct channel_ref ref, struct channel *out, struct err *err)
{
    const struct lookup lookup = {
        arena_printf(arena, "id %lld %lld", (long long)ref.tenant_id, (long long)ref.id), ref.tenant_id,
        SELECT_CHANNEL "WHERE c.tenant_id = $1 AND c.id = $2", { db_int(ref.tenant_id), db_int(ref.id) }, 2,
    };

    return find(db, arena, &lookup, out, err);
}

int channel_load(struct db *db, struct arena *arena, struct channel_ref ref, struct channel *out, struct err *err)
{
    const struct lookup lookup = {
        arena_printf(arena, "name %lld %.*s", (long long)ref.tenant_id, STR_FMT(ref.name)), ref.tenant_id,
        SELECT_CHANNEL "WHERE c.tenant_id = $1 AND c.name = $2", { db_int(ref.tenant_id), db_text(ref.name) }, 2,
    };
    int found = 0;

    if (!ref.name.data)
        return load_by_id(db, arena, ref, out, err);
    if (id_decode(ID_CHANNEL, ref.name, &ref.id))
        found = load_by_id(db, arena, ref, out, err);
    if (found != 0 || !str_utf8_valid(ref.name))
        return found;
    return find(db, arena, &lookup, out, err);
}

int channel_by_hook(struct db *db, struct arena *arena, struct str hook, struct channel *out,
                    struct err *err)
{
    const struct lookup lookup = {
        arena_printf(arena, "hook %.*s", STR_FMT(hook)),
        0,
        SELECT_CHANNEL "WHERE c.hook = $1",
        { db_text(hook) },
        1,
    };

    if (!hook.len || hook.len > LIMIT_NAME_BYTES || !str_utf8_valid(hook))
        return 0;
    return find(db, arena, &lookup, out, err);
}

/* The ids of a kind's channels; returns how many, or -1. */
static int list_kind(struct db *db, const char *kind, struct channel_ref *refs, struct err *err)
{
    struct db_session *session = db_read(db, 0, err);
    struct db_rows *rows;
    int count = 0, found;

    if (!session)
        return -1;
    rows = db_query(session, "SELECT tenant_id, id FROM channels WHERE kind = $1 AND state = 0 ORDER BY id LIMIT $2",
                    DB_ARGS(db_cstr(kind), db_int(LIMIT_ALIAS_CHANNELS)), err);
    found = rows ? db_next(rows, err) : -1;
    for (; found == 1 && count < LIMIT_ALIAS_CHANNELS; found = db_next(rows, err))
        refs[count++] = CHANNEL_ID(db_col_int(rows, 0), db_col_int(rows, 1));
    db_read_end(session);
    return found < 0 ? -1 : count;
}

int channel_each(struct db *db, const struct channel_walk *walk, struct err *err)
{
    struct channel_ref refs[LIMIT_ALIAS_CHANNELS];
    int count = list_kind(db, walk->kind, refs, err), result = count < 0 ? -1 : 0;

    for (int i = 0; i < count && result == 0; i++) {
        struct channel channel;
        int found = channel_load(db, walk->arena, refs[i], &channel, err);

        if (found < 0 && err->code != ERR_INVALID)
            return -1;
        if (found == 1)
            result = walk->take(walk->arg, &channel, err);
    }
    return result;
}

#include "core/hub.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/embedded.h"
#include "base/id.h"
#include "base/json.h"
#include "base/log.h"
#include "core/channel.h"
#include "core/channel_default.h"
#include "core/channel_edit.h"
#include "core/config.h"
#include "core/event.h"
#include "core/key.h"
#include "core/recent.h"
#include "core/secret.h"
#include "core/tenant.h"
#include "db/migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINK_HOURS 24

/* --- Hooks of the database --------------------------------------------------------------------------------- */

static void committed(void *arg)
{
    wake_signal(((struct hub *)arg)->wake);
}

static void notified(void *arg, const char *channel, const char *payload)
{
    struct hub *hub = arg;

    (void)payload;
    if (!*channel || !strcmp(channel, "channels"))
        channel_forget();
    wake_signal(hub->wake);
}

static void slow(void *arg, const char *phase, int64_t elapsed_us, size_t items)
{
    (void)arg;
    log_warn("slow commit", LOG_T("phase", phase), LOG_N("elapsed_ms", elapsed_us / 1000), LOG_N("items", items));
}

/* --- Opening ----------------------------------------------------------------------------------------------- */

static const char *data_folder(const struct hub *hub)
{
    const char *folder = hub->config ? config_text(hub->config, "data") : NULL;

    return folder ? folder : "data";
}

static int make_folder(const char *folder, struct err *err)
{
    struct stat status;

    if (mkdir(folder, 0700) == 0 || (errno == EEXIST && stat(folder, &status) == 0 && S_ISDIR(status.st_mode)))
        return 0;
    err_set(err, ERR_INTERNAL, "Cannot make the data folder %s: %s.", folder, strerror(errno));
    return err_hint(err, "Make it yourself, owned by this user with mode 0700, or choose another with --data.");
}

static int open_database(struct hub *hub, struct arena *arena, struct err *err)
{
    static const char *const channels[] = { "events", "channels", "inbound_rows", NULL };
    const char *url = hub->config ? config_text(hub->config, "database-url") : NULL;
    struct db_options options = {
        .url = url ? url : arena_printf(arena, "sqlite:%s/hub.db", data_folder(hub)),
        .readers = hub->config ? (int)config_number(hub->config, "db-readers") : 0,
        .manual = hub->manual,
        .hooks = { event_stamp, committed, notified, slow, hub },
        .listen = channels,
    };

    hub->db = db_open(&options, err);
    return hub->db ? migrate(hub->db, migrations, NULL, err) : -1;
}

static int open_keys(struct hub *hub, struct arena *arena, struct err *err)
{
    const char *given = hub->config ? config_text(hub->config, "master-key") : NULL;
    const char *path = arena_printf(arena, "%s/master.key", data_folder(hub));
    unsigned char master[SIGN_KEY_BYTES], ids[SIGN_KEY_BYTES];
    int known = secret_known(hub->db, err);

    if (known < 0 || secret_load(str_c(given), path, !known, master, err) < 0 || secret_check(hub->db, master, err) < 0)
        return -1;
    sign_derive(master, "id", ids);
    sign_derive(master, "seal", hub->seal_key);
    sign_derive(master, "keys", hub->token_key);
    sign_derive(master, "cursor", hub->cursor_key);
    sign_derive(master, "media", hub->media_key);
    sign_derive(master, "log", hub->log_key);
    explicit_bzero(master, sizeof master);
    id_install_key(ids);
    channel_install(hub->seal_key);
    channel_publish(hub->config ? config_text(hub->config, "public-url") : NULL);
    return 0;
}

/* --- First start ------------------------------------------------------------------------------------------- */

struct first {
    struct arena *arena;
    int64_t now_ms, epoch, channel_id;
    const char *hub_id;
    const struct json *no_settings;
    struct key_draft link;
    bool done;                      /* this process made it */
};

static int store_fact(struct db_session *tx, const char *name, const char *value, struct err *err)
{
    return (int)db_exec(tx, "INSERT INTO hub (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                        DB_ARGS(db_cstr(name), db_cstr(value)), err);
}

/* Of several nodes that start at once, the one whose hub_id stays does the rest. */
static int first_tx(struct db_session *tx, void *arg, struct err *err)
{
    struct first *first = arg;
    const struct tenant tenant = { .id = TENANT_DEFAULT, .name = STR("default"), .region = STR("US"),
                                   .time_zone = STR("UTC"), .created_ms = first->now_ms };
    struct channel_edit sandbox = channel_edit(first->arena, TENANT_DEFAULT, first->channel_id, first->now_ms);
    int stored = store_fact(tx, "hub_id", first->hub_id, err);

    first->done = stored == 1;
    if (stored < 1)
        return stored;
    sandbox.kind = sandbox.name = STR("sandbox");
    sandbox.settings = first->no_settings;
    if (store_fact(tx, "epoch", arena_printf(first->arena, "%lld", (long long)first->epoch), err) < 0 ||
        tenant_add(tx, &tenant, err) < 0 || key_add(tx, &first->link, err) < 0)
        return -1;
    return channel_driver_find(STR("sandbox")) ? channel_add(tx, &sandbox, err) : 0;
}

static int first_start(struct hub *hub, struct arena *arena, struct err *err)
{
    const struct key wanted = { .tenant_id = TENANT_DEFAULT, .kind = KEY_LINK, .scopes = SCOPE_ALL,
                                .name = STR("first start"), .expires_ms = clock_ms() + LINK_HOURS * 3600000LL };
    struct first first = { .arena = arena, .now_ms = clock_ms(), .epoch = 1 + id_random_below(INT32_MAX) };
    unsigned char hub_id[16];

    id_random(hub_id, sizeof hub_id);
    first.hub_id = sign_hex(arena, hub_id, sizeof hub_id);
    first.no_settings = json_parse(arena, STR("{}"), err);
    first.channel_id = ids_next(hub->ids, err);
    if (!first.no_settings || first.channel_id < 0 || key_draw(hub, arena, &wanted, &first.link, err) < 0)
        return -1;
    if (db_write(hub->db, first_tx, &first, err) < 0)
        return -1;
    if (first.done)
        snprintf(hub->link, sizeof hub->link, "%s", first.link.token);
    return 0;
}

/* 1 and the epoch; 0 on an empty database. */
static int read_epoch(struct hub *hub, struct err *err)
{
    struct db_session *session = db_read(hub->db, 0, err);
    struct db_rows *rows;
    int found;

    if (!session)
        return -1;
    rows = db_query(session, "SELECT value FROM hub WHERE name = 'epoch'", DB_NO_ARGS, err);
    found = rows ? db_next(rows, err) : -1;
    if (found == 1 && !str_int(db_col_text(rows, 0), 1, INT64_MAX, &hub->epoch))
        found = err_set(err, ERR_INTERNAL, "The epoch stored in table hub is no number.");
    db_read_end(session);
    return found;
}

static int open_facts(struct hub *hub, struct arena *arena, struct err *err)
{
    int known = read_epoch(hub, err);

    if (known == 0) {
        if (first_start(hub, arena, err) < 0)
            return -1;
        known = read_epoch(hub, err);
    }
    if (known == 0)
        return err_set(err, ERR_INTERNAL, "The first start stored no epoch.");
    if (known == 1)
        event_install(hub->cursor_key, hub->epoch);
    return known < 0 ? -1 : 0;
}

static void name_node(struct hub *hub)
{
    unsigned char salt[4];
    char host[20] = "node";

    gethostname(host, sizeof host - 1);
    id_random(salt, sizeof salt);
    snprintf(hub->node, sizeof hub->node, "%s:%ld:%02x%02x%02x%02x", host, (long)getpid() % 1000000000L,
             salt[0], salt[1], salt[2], salt[3]);
}

static int open_all(struct hub *hub, struct arena *arena, struct err *err)
{
    if (make_folder(data_folder(hub), err) < 0 || open_database(hub, arena, err) < 0 || open_keys(hub, arena, err) < 0)
        return -1;
    hub->ids = ids_open(hub->db, err);
    return hub->ids && open_facts(hub, arena, err) == 0 ? channel_default_apply(hub, err) : -1;
}

int hub_open(struct hub *hub, struct err *err)
{
    struct arena *arena = arena_new(0);
    int result;

    hub->wake = wake_new();
    hub->recent = recent_new();
    hub->started_ms = clock_ms();
    name_node(hub);
    result = open_all(hub, arena, err);
    arena_free(arena);
    if (result < 0)
        hub_close(hub);
    return result;
}

void hub_close(struct hub *hub)
{
    ids_close(hub->ids);
    if (hub->db)
        db_close(hub->db);
    recent_free(hub->recent);
    wake_free(hub->wake);
    explicit_bzero(hub->seal_key, sizeof hub->seal_key);
    explicit_bzero(hub->token_key, sizeof hub->token_key);
    hub->ids = NULL;
    hub->db = NULL;
    hub->recent = NULL;
    hub->wake = NULL;
}

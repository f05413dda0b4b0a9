#include "stored.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "core/channel_edit.h"
#include "core/event.h"
#include "db/migrate.h"
#include "trial.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARKER "S3CRET-marker"
#define NOW_MS 1719045971000

static int add_tenant(struct db_session *tx, void *arg, struct err *err)
{
    (void)arg;
    return db_exec(tx, "INSERT INTO tenants (id, name, created_ms) VALUES (1, 'one', 0)",
                   DB_NO_ARGS, err)
            < 0
        ? -1
        : 0;
}

static struct db *open_database(struct arena *arena, char *folder, struct err *err)
{
    static const unsigned char key[SIGN_KEY_BYTES] = "a key for the drivers contract";
    struct db_options options = { .hooks = { .stamp = event_stamp }, .readers = 1 };
    struct db *db;

    if (!mkdtemp(folder)) {
        err_set(err, ERR_INTERNAL, "no temporary folder");
        return NULL;
    }
    options.url = arena_printf(arena, "sqlite:%s/hub.db", folder);
    db = db_open(&options, err);
    if (db && (migrate(db, migrations, NULL, err) < 0 || db_write(db, add_tenant, NULL, err) < 0)) {
        db_close(db);
        db = NULL;
    }
    channel_install(key);
    return db;
}

static void remove_folder(const char *folder)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    char path[512];

    while (directory && (entry = readdir(directory))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (directory)
        closedir(directory);
    rmdir(folder);
}

static void put_setting(struct json_writer *writer, const struct value *value)
{
    json_key(writer, value->field->name);
    if (value->field->type == FIELD_INT)
        json_put_int(writer, value->number);
    else if (value->field->type == FIELD_BOOL)
        json_put_bool(writer, value->number != 0);
    else if (value->field->type == FIELD_OBJECT)
        json_put_raw(writer, value->text);
    else
        json_put_text(writer, value->field->flags & FIELD_SECRET ? STR(MARKER) : value->text);
}

/* The case's settings, every secret set to the marker, as a client would write them. */
static const struct json *settings_of(struct arena *arena, const struct channel_driver *driver,
                                      const struct channel_case *one)
{
    struct json_writer writer;
    const struct json *out;
    struct trial trial;
    struct buf text;

    if (!trial_begin(&trial, arena, driver, one)) {
        test_problem("%s", trial.err.detail);
        return NULL;
    }
    for (const struct field *field = driver->settings; field->name; field++)
        if (field->flags & FIELD_SECRET)
            trial_setting(&trial, field->name, STR(MARKER));
    buf_init(&text, LIMIT_SETTINGS_BYTES);
    writer = json_writer(&text);
    json_object_begin(&writer);
    for (size_t i = 0; i < trial.channel.settings.count; i++)
        if (trial.channel.settings.values[i].field)
            put_setting(&writer, &trial.channel.settings.values[i]);
    json_object_end(&writer);
    out = json_parse(arena, buf_slice(&text), &trial.err);
    buf_fini(&text);
    trial_end(&trial);
    return out;
}

static void want_no_marker(struct str text, const char *where)
{
    if (text.len && memmem(text.data, text.len, MARKER, strlen(MARKER)))
        test_problem("a secret stands in %s", where);
}

/* The row as it is stored and as it is shown. */
static void check_row(struct arena *arena, const struct channel_driver *driver,
                      const struct channel_row *row)
{
    struct json_writer writer;
    struct buf json;

    buf_init(&json, LIMIT_JSON_BYTES);
    writer = json_writer(&json);
    channel_row_json(&writer, arena, row);
    want_no_marker(buf_slice(&json), "what is shown");
    want_no_marker(row->settings, "the column settings");
    want_no_marker(row->secrets, "the column secrets, unsealed");
    for (const struct field *field = driver->settings; field->name; field++)
        if (field->flags & FIELD_SECRET
            && !memmem(json.data, json.len, field->name, strlen(field->name)))
            test_problem("it is not shown that %s is set", field->name);
    if (!json_parse(arena, buf_slice(&json), NULL))
        test_problem("what is shown is no JSON: %.*s", STR_FMT(buf_slice(&json)));
    buf_fini(&json);
}

static void check_loaded(const struct channel_driver *driver, const struct json *given,
                         const struct channel *channel)
{
    if (channel->driver != driver)
        test_problem("it is loaded as another kind");
    for (const struct field *field = driver->settings; field->name; field++) {
        const struct json *wanted = json_get(given, field->name);

        if (json_kind(wanted) == JSON_KIND_STRING
            && !str_eq(field_text(&channel->settings, field->name), json_text(wanted)))
            test_problem("setting %s is loaded as \"%.*s\"", field->name,
                         STR_FMT(field_text(&channel->settings, field->name)));
        if (json_kind(wanted) == JSON_KIND_INT
            && channel_number(channel, field->name, -1) != json_int(wanted, -2))
            test_problem("setting %s is loaded as another number", field->name);
    }
}

static void check_in(struct db *db, struct arena *arena, const struct channel_driver *driver,
                     const struct json *given)
{
    struct channel_edit edit = channel_edit(arena, 1, 42, NOW_MS);
    struct channel channel;
    struct err err = { 0 };

    edit.kind = str_c(driver->kind);
    edit.settings = given;
    if (db_write(db, channel_add, &edit, &err) < 0) {
        test_problem("it is not added: %s %s", err.detail, err.hint);
        return;
    }
    check_row(arena, driver, &edit.row);
    if (channel_by_hook(db, arena, edit.row.hook, &channel, &err) != 1)
        test_problem("its hook does not find it: %s", err.detail);
    else
        check_loaded(driver, given, &channel);
    edit = channel_edit(arena, 1, 42, NOW_MS + 1);
    edit.name = STR("renamed");
    if (db_write(db, channel_update, &edit, &err) < 0)
        test_problem("it is not renamed: %s", err.detail);
    else if (channel_load(db, arena, CHANNEL_NAME(1, STR("renamed")), &channel, &err) != 1)
        test_problem("its new name does not find it: %s", err.detail);
    else
        check_loaded(driver, given, &channel);
}

void check_stored(const struct channel_driver *driver, const struct channel_case *one)
{
    char folder[] = "/tmp/channel-test.XXXXXX";
    struct arena *arena = arena_new(0);
    struct err err = { 0 };
    const struct json *given;
    struct db *db;

    test_begin("channel %s: stored sealed, shown without secrets, loaded as given", driver->kind);
    db = open_database(arena, folder, &err);
    given = settings_of(arena, driver, one);
    if (!db)
        test_problem("no database: %s", err.detail);
    else if (given)
        check_in(db, arena, driver, given);
    if (db)
        db_close(db);
    channel_forget();
    remove_folder(folder);
    test_end();
    arena_free(arena);
}

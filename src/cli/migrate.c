#include "db/migrate.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/folder.h"
#include "cli/lib/print.h"
#include "cli/lib/settings.h"
#include "core/config.h"
#include "db/db.h"

#include <stdio.h>
#include <unistd.h>

static const char usage[] = "migrate [--data DIR] [--database-url URL]";

static int apply(struct arena *arena, const struct config *config, struct err *err)
{
    struct db_options options = { .url = config_text(config, "database-url"), .manual = true };
    struct db *db;
    int applied = 0, failed;

    if (!options.url)
        options.url = arena_printf(arena, "sqlite:%s/hub.db", config_text(config, "data"));
    db = db_open(&options, err);
    if (!db)
        return -1;
    failed = migrate(db, migrations, &applied, err);
    if (!failed)
        printf("%d applied, the schema is %d.\n", applied, migrate_version(db, err));
    db_close(db);
    return failed;
}

static int run_migrate(int argc, char **argv)
{
    static const char *const known[] = { NULL };
    struct arena *arena = arena_new(0);
    struct config *config;
    struct config_words rest;
    struct err err = { 0 };
    int lock = -1, status = settings_read(arena, argc, argv, &config, &rest);

    if (!status && rest.count)
        status = settings_unknown(rest.words[0], known, usage);
    if (!status && ((lock = folder_open(config, &err)) < 0 || apply(arena, config, &err)))
        status = print_failure(&err);
    if (lock >= 0)
        close(lock);
    arena_free(arena);
    return status;
}

const struct command command_migrate = {
    .name = "migrate",
    .summary = "Bring the database to this program's schema (serve does it too).",
    .usage = usage,
    .help = "  message-hub migrate\n  message-hub migrate --database-url postgresql://hub@localhost/hub\n",
    .run = run_migrate,
};

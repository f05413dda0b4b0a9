#include "db/migrate.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/folder.h"
#include "cli/lib/print.h"
#include "core/config.h"
#include "db/db.h"

#include <stdio.h>
#include <unistd.h>

static const char usage[] = "migrate [--data DIR] [--database-url URL]";

static int run_migrate(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct db_options options = { 0 };
    struct config *config;
    struct err err = { 0 };
    struct db *db = NULL;
    int applied = 0, lock = -1, status = 0;
    struct config_words words = { argv + 1, argc - 1 };

    if (config_load(arena, &words, &config, &err)) {
        status = print_failure(&err);
    } else if (words.count) {
        status = print_usage(usage, "Unknown word \"%s\".", words.words[0]);
    } else if ((lock = folder_open(config, &err)) < 0) {
        status = print_failure(&err);
    } else {
        options.url = config_text(config, "database-url");
        if (!options.url)
            options.url = arena_printf(arena, "sqlite:%s/hub.db", config_text(config, "data"));
        options.manual = true;
        db = db_open(&options, &err);
        if (!db || migrate(db, migrations, &applied, &err))
            status = print_failure(&err);
        else
            printf("%d applied, the schema is %d.\n", applied, migrate_version(db, &err));
    }
    if (db)
        db_close(db);
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

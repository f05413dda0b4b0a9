#include "core/seed.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/lib/folder.h"
#include "cli/lib/print.h"
#include "cli/lib/settings.h"
#include "core/config.h"
#include "core/hub.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "seed-data [--messages N] [--seed N] [--data DIR] [--database-url URL]";

static void tell(void *arg, int64_t done, int64_t wanted)
{
    (void)arg;
    fprintf(stderr, "\r%lld of %lld messages", (long long)done, (long long)wanted);
}

static int fill(struct hub *hub, const struct seed_plan *plan, struct err *err)
{
    const struct seed_progress progress = { tell, NULL };
    struct seed_result result;

    if (seed_fill(hub, plan, isatty(STDERR_FILENO) ? &progress : NULL, &result, err))
        return -1;
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    printf("%lld messages in %lld conversations on %lld channels, %lld messages/s\n", (long long)result.messages,
           (long long)result.conversations, (long long)result.channels,
           (long long)(result.messages * 1000 / (result.elapsed_ms ? result.elapsed_ms : 1)));
    return 0;
}

/* "--messages N" and "--seed N". */
static int read_plan(int count, char **words, struct seed_plan *plan)
{
    static const char *const names[] = { "--messages", "--seed", NULL };

    for (int i = 0; i < count; i += 2) {
        int64_t number = 0;
        bool known = !strcmp(words[i], "--messages") || !strcmp(words[i], "--seed");

        if (!known)
            return settings_unknown(words[i], names, usage);
        if (i + 1 == count || !str_int(str_c(words[i + 1]), 1, 100000000, &number))
            return print_usage(usage, "%s needs a number from 1 to 100000000.", words[i]);
        if (words[i][2] == 'm')
            plan->messages = number;
        else
            plan->number = (uint64_t)number;
    }
    return 0;
}

static int run_seed_data(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    struct seed_plan plan = { .tenant_id = 1, .messages = 1000, .number = 1, .now_ms = clock_ms() };
    struct config *config;
    struct hub hub = { 0 };
    struct err err = { 0 };
    struct config_words rest;
    int lock = -1, status = settings_read(arena, argc, argv, &config, &rest);

    log_set_level(LOG_ERROR);
    if (!status)
        status = read_plan(rest.count, rest.words, &plan);
    if (!status && (lock = folder_open(config, &err)) < 0)
        status = print_failure(&err);
    hub.config = config;
    if (!status && (hub_open(&hub, &err) || fill(&hub, &plan, &err)))
        status = print_failure(&err);
    if (hub.link[0])
        printf("one-time admin key: %s\n", hub.link);
    if (hub.db)
        hub_close(&hub);
    if (lock >= 0)
        close(lock);
    arena_free(arena);
    return status;
}

const struct command command_seed_data = {
    .name = "seed-data",
    .summary = "Fill a stopped hub with a realistic set of messages.",
    .usage = usage,
    .help = "For tests and demonstrations: people of several countries, several channels, ninety days of\n"
            "messages. The same --seed gives the same set.\n\n"
            "  message-hub seed-data --messages 100000\n"
            "  message-hub seed-data --messages 1000 --seed 7 --data /tmp/demo\n",
    .run = run_seed_data,
};

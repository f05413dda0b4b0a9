/* The contract of channel drivers, over every driver there is: its case files (case_file.h says how
 * they are written) and what nobody has to remember. PART_ARG=<kind> runs one kind; --corpus DIR
 * writes the webhooks as seeds for the fuzzer. */
#include "trial.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stored.h"

#define FILES_MAX 64
#define CASES_MAX 400
#define SEEN_MAX (64 * 1024 * 1024)

/* A driver's cases, of all its files. */
struct cases {
    struct arena *arena;
    struct channel_case *items;
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t list_files(struct arena *arena, const char *folder, const char **files)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    size_t count = 0;

    while (directory && (entry = readdir(directory)) && count < FILES_MAX) {
        size_t length = strlen(entry->d_name);

        if (length > 5 && strcmp(entry->d_name + length - 5, ".case") == 0)
            files[count++] = arena_printf(arena, "%s/%s", folder, entry->d_name);
    }
    if (directory)
        closedir(directory);
    qsort(files, count, sizeof *files, by_name);
    return count;
}

static void read_cases(const struct channel_driver *driver, const char *root, struct cases *out)
{
    const char *folder = arena_printf(out->arena, "%s/%s", root, driver->kind), *files[FILES_MAX];
    size_t count = list_files(out->arena, folder, files);

    out->items = arena_array(out->arena, CASES_MAX, sizeof *out->items);
    for (size_t i = 0; i < count; i++) {
        struct channel_case *cases;
        struct err err = { 0 };
        int read = case_file_read(out->arena, files[i], &cases, &err);

        test_begin("channel %s: file %s", driver->kind, strrchr(files[i], '/') + 1);
        if (read < 0)
            test_problem("%s", err.detail);
        else if (read == 0 || out->count + (size_t)read > CASES_MAX)
            test_problem("%d cases; 1 to %d in all", read, CASES_MAX);
        else
            memcpy(out->items + out->count, cases, (size_t)read * sizeof *cases);
        out->count += read > 0 ? (size_t)read : 0;
        test_end();
    }
}

/* --- The driver's row ------------------------------------------------------------------------- */

static void check_facts(const struct channel_driver *driver, const struct cases *cases)
{
    const struct {
        const char *name;
        bool has;
    } functions[] = {
        { "", true },
        { "send", driver->send != NULL },
        { "lookup", driver->lookup != NULL },
        { "receive", driver->receive != NULL },
        { "poll", driver->poll != NULL },
        { "probe", driver->probe != NULL },
        { "fetch", driver->fetch != NULL },
    };

    test_begin("channel %s: says what it is", driver->kind);
    if (!driver->title || !driver->about || !driver->settings)
        test_problem("title, about and settings are needed");
    for (const struct field *field = driver->settings; field && field->name; field++)
        if (!field->help || !*field->help)
            test_problem("setting %s has no help", field->name);
    if (driver->can & CHANNEL_CAN_TEXT && !driver->send && !driver->pulls)
        test_problem("CHANNEL_CAN_TEXT without send");
    test_end();
    for (int call = CALL_SEND; call < CALLS; call++) {
        bool found = false;

        for (size_t i = 0; i < cases->count; i++)
            found |= cases->items[i].call == (enum case_call)call;
        if (!functions[call].has && !found)
            continue;
        test_begin("channel %s: %s has cases", driver->kind, functions[call].name);
        if (!found)
            test_problem("no case in tests/channels/%s calls %s", driver->kind,
                         functions[call].name);
        if (!functions[call].has)
            test_problem("a case calls %s, which the driver does not have", functions[call].name);
        test_end();
    }
}

/* Each required setting, left out, is named. */
static void check_required(const struct channel_driver *driver, const struct cases *cases)
{
    test_begin("channel %s: missing settings are named", driver->kind);
    for (const struct field *field = driver->settings; field->name; field++) {
        struct fields fields;
        struct err err = { 0 };

        if (!(field->flags & FIELD_REQUIRED) || cases->count == 0)
            continue;
        field_begin(cases->arena, driver->settings, &fields);
        for (size_t i = 0; i < cases->items[0].settings.count; i++) {
            const struct pair *pair = &cases->items[0].settings.items[i];

            if (!str_is(pair->name, field->name))
                field_set_text(cases->arena, &fields, str_dup(cases->arena, pair->name),
                               pair->value, &err);
        }
        if (field_finish(cases->arena, &fields, &err) == 0)
            test_problem("without %s it is content", field->name);
        else if (strcmp(err.field, field->name) != 0 || !err.hint[0])
            test_problem("without %s it complains about \"%s\": %s", field->name, err.field,
                         err.detail);
    }
    test_end();
}

/* --- Cases ------------------------------------------------------------------------------------ */

static bool has_function(const struct channel_driver *driver, enum case_call call)
{
    switch (call) {
    case CALL_SEND: return driver->send;
    case CALL_LOOKUP: return driver->lookup;
    case CALL_RECEIVE: return driver->receive;
    case CALL_POLL: return driver->poll;
    case CALL_PROBE: return driver->probe;
    case CALL_FETCH: return driver->fetch;
    default: return false;
    }
}

static void run_case(const struct channel_driver *driver, const struct channel_case *one,
                     struct buf *seen)
{
    struct arena *arena = arena_new(0);
    struct trial trial = { .arena = arena };

    test_begin("channel %s: %s", driver->kind, one->name);
    if (one->call == CALL_NONE) {
        test_problem("%s:%d: calls nothing", one->file, one->line);
    } else if (!has_function(driver, one->call)) {
        test_problem("%s:%d: the driver has no such function", one->file, one->line);
    } else if (!trial_begin(&trial, arena, driver, one)) {
        test_problem("%s:%d: %s %s", one->file, one->line, trial.err.detail, trial.err.hint);
    } else {
        trial_run(&trial);
        trial_verify(&trial);
        trial_texts(&trial, seen);
        trial_end(&trial);
    }
    test_end();
    arena_free(arena);
}

/* Every case once more with secrets that can be found anywhere, and a peer that fails: none of them
 * is said. */
static void check_secrets_stay(const struct channel_driver *driver, const struct cases *cases,
                               struct buf *seen)
{
    static const struct script_step refusal = { .status = 400, .body = "{\"message\":\"no\"}" };
    struct arena *arena = arena_new(0);

    test_begin("channel %s: secrets are not said", driver->kind);
    for (size_t i = 0; i < cases->count; i++)
        for (int failing = 0; failing < 2; failing++) {
            struct trial trial;

            arena_reset(arena);
            if (!has_function(driver, cases->items[i].call)
                || !trial_begin(&trial, arena, driver, &cases->items[i]))
                continue;
            for (const struct field *field = driver->settings; field->name; field++)
                if (field->flags & FIELD_SECRET)
                    trial_setting(&trial, field->name, STR("S3CRET-marker"));
            trial_sign(&trial, NULL);
            if (failing)
                trial_peer(&trial, &refusal);
            trial_run(&trial);
            trial_texts(&trial, seen);
            trial_end(&trial);
        }
    if (seen->overflow)
        test_problem("more was said than could be searched");
    if (seen->len && memmem(seen->data, seen->len, "S3CRET-marker", 13))
        test_problem("a secret stands in a result, error, event, answer or report");
    test_end();
    arena_free(arena);
}

/* --- Program ---------------------------------------------------------------------------------- */

static void run_driver(const struct channel_driver *driver, const char *root)
{
    struct cases cases = { .arena = arena_new(0) };
    struct buf seen;

    buf_init(&seen, SEEN_MAX);
    read_cases(driver, root, &cases);
    check_facts(driver, &cases);
    check_required(driver, &cases);
    for (size_t i = 0; i < cases.count; i++)
        run_case(driver, &cases.items[i], &seen);
    check_sends(driver, cases.items, cases.count, &seen);
    check_mails(driver, cases.items, cases.count, &seen);
    if (driver->receive)
        check_receives(driver, cases.items, cases.count, &seen);
    buf_clear(&seen);
    seen.overflow = false;
    check_secrets_stay(driver, &cases, &seen);
    if (cases.count > 0)
        check_stored(driver, &cases.items[0]);
    buf_fini(&seen);
    arena_free(cases.arena);
}

/* A webhook as tests/fuzz/webhook_fuzz.c reads it. */
static void write_seed(const struct channel_driver *driver, const struct channel_case *one,
                       const char *path)
{
    FILE *file = fopen(path, "wb");

    if (!file)
        return;
    fprintf(file, "%s %s %s\n", driver->kind, http_method_name(one->inbound.method),
            one->inbound.target);
    for (size_t i = 0; i < one->inbound.headers.count; i++)
        fprintf(file, "%.*s: %.*s\n", STR_FMT(one->inbound.headers.items[i].name),
                STR_FMT(one->inbound.headers.items[i].value));
    if (one->inbound.signature.setting)
        fprintf(file, "%s: 0\n", one->inbound.signature.header);
    fprintf(file, "\n%.*s", STR_FMT(one->inbound.body));
    fclose(file);
}

static int write_corpus(const char *root, const char *folder)
{
    for (const struct channel_driver *const *driver = channel_drivers; *driver; driver++) {
        struct cases cases = { .arena = arena_new(0) };
        int number = 0;

        read_cases(*driver, root, &cases);
        for (size_t i = 0; i < cases.count; i++)
            if (cases.items[i].call == CALL_RECEIVE)
                write_seed(
                    *driver, &cases.items[i],
                    arena_printf(cases.arena, "%s/%s-%02d", folder, (*driver)->kind, ++number));
        arena_free(cases.arena);
    }
    return test_failures() ? 1 : 0;
}

/* What the drivers log is searched too: they may not say a word there. */
static int silence(const char *path)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
        before = dup(STDERR_FILENO);

    if (file >= 0) {
        dup2(file, STDERR_FILENO);
        close(file);
    }
    return before;
}

static void check_silent(const char *path, int before)
{
    off_t said;

    fflush(stderr);
    said = lseek(STDERR_FILENO, 0, SEEK_END);
    dup2(before, STDERR_FILENO);
    close(before);
    test_begin("channels: drivers log nothing");
    if (said > 0)
        test_problem("%lld bytes on stderr, see %s", (long long)said, path);
    else
        unlink(path);
    test_end();
}

int main(int argc, char **argv)
{
    const char *root = argc > 1 && argv[1][0] != '-' ? argv[1] : "tests/channels";
    const char *only = getenv("PART_ARG"), *folder = getenv("TMPDIR");
    char log[256];
    int before, ran = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0)
        return write_corpus("tests/channels", argv[2]);
    snprintf(log, sizeof log, "%s/channel-test.%d.log", folder ? folder : "/tmp", (int)getpid());
    before = silence(log);
    for (const struct channel_driver *const *driver = channel_drivers; *driver; driver++)
        if (!only || !*only || strcmp(only, (*driver)->kind) == 0) {
            run_driver(*driver, root);
            ran++;
        }
    check_silent(log, before);
    if (ran == 0)
        printf("not ok channel %s: there is no such driver\n", only ? only : "");
    return test_failures() || ran == 0 ? 1 : 0;
}

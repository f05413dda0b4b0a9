#include "cli/lib/remote.h"

#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/call.h"
#include "cli/lib/print.h"
#include "cli/lib/stream.h"
#include "cli/lib/usage.h"

#include <string.h>
#include <unistd.h>

#define VERBS_MAX 256

const struct op *remote_next(struct verb_position *position)
{
    for (; op_tables[position->table]; position->table++, position->row = 0)
        while (position->row < op_tables[position->table]->count) {
            const struct op *op = &op_tables[position->table]->ops[position->row++];

            if (op->cli && !(op->flags & OP_ALIAS))
                return op;
        }
    return NULL;
}

/* How many words of argv the verb takes; 0 when it is another one. */
static int words_matched(const char *verb, int argc, char **argv)
{
    struct str rest = str_c(verb), word;
    int count = 0;

    while (str_split(&rest, ' ', &word)) {
        if (count >= argc || !str_is(word, argv[count]))
            return 0;
        count++;
    }
    return count;
}

const struct op *remote_find(int argc, char **argv, int *words)
{
    struct verb_position position = { 0 };
    const struct op *op, *best = NULL;

    *words = 0;
    while ((op = remote_next(&position))) {
        int count = words_matched(op->cli, argc, argv);

        if (count > *words) {
            best = op;
            *words = count;
        }
    }
    return best;
}

static bool is_below(const char *verb, struct str noun)
{
    return !strncmp(verb, noun.data, noun.len) && (verb[noun.len] == ' ' || !verb[noun.len]);
}

const char *remote_verbs_of(struct arena *arena, struct str noun, const struct op *except)
{
    struct verb_position position = { 0 };
    const struct op *op;
    const char *found = NULL;

    while ((op = remote_next(&position)))
        if (op != except && is_below(op->cli, noun))
            found = found ? arena_printf(arena, "%s, %s", found, op->cli) : op->cli;
    return found;
}

/* The verb or command nearest to what was typed, below a word when that is one (`noun` absent: all). */
static const char *nearest_verb(const char *typed, struct str noun)
{
    const char *names[VERBS_MAX + 1] = { 0 };
    struct verb_position position = { 0 };
    const struct op *op;
    size_t count = 0;

    for (const struct command *const *command = commands; !noun.data && *command && count < VERBS_MAX; command++)
        names[count++] = (*command)->name;
    while ((op = remote_next(&position)) && count < VERBS_MAX)
        if (!noun.data || is_below(op->cli, noun))
            names[count++] = op->cli;
    return field_nearest(typed, names);
}

int remote_unknown(int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    bool two = argc > 1 && argv[1][0] != '-';
    const char *typed = two ? arena_printf(arena, "%s %s", argv[0], argv[1]) : argv[0];
    const char *below = remote_verbs_of(arena, str_c(argv[0]), NULL), *nearest;
    struct err err = { 0 };
    int status;

    nearest = nearest_verb(typed, below ? str_c(argv[0]) : (struct str){ 0 });
    if (!nearest && two && !below) {
        typed = argv[0];
        nearest = nearest_verb(typed, (struct str){ 0 });
    }
    err_set(&err, ERR_INVALID, "There is no command \"%s\".", typed);
    if (argv[0][0] == '-')
        err_hint(&err, "The command comes first, its flags behind it: message-hub help");
    else if (nearest)
        err_hint(&err, "Did you mean `message-hub %s`?", nearest);
    else if (below)
        err_hint(&err, "There are: %s", below);
    else
        err_hint(&err, "`message-hub help` lists all commands.");
    status = print_failure(&err);
    arena_free(arena);
    return status;
}

/* `channels ad`: a word behind a noun that takes none is more likely a mistyped verb than an argument. */
static bool is_mistyped(const struct op *op, int words, int argc, char **argv)
{
    struct arena *arena = arena_new(0);
    bool mistyped = false;

    if (argc > words && !op->cli_args && argv[words][0] != '-')
        mistyped = nearest_verb(arena_printf(arena, "%s %s", op->cli, argv[words]), str_c(op->cli));
    arena_free(arena);
    return mistyped;
}

static int run_verb(const struct op *op, const struct config_words *words)
{
    struct arena *arena = arena_new(0);
    struct request request;
    struct target target;
    struct err err = { 0 };
    int status = 0;

    if (request_read(arena, op, words, &request, &err))
        status = print_failure(&err);
    else if (request.help)
        usage_page(op);
    else if (target_find(arena, &request.target, &target, &err))
        status = print_failure(&err);
    else if (op->flags & OP_STREAM)
        status = stream_follow(arena, &request, &target);
    else if (request.from_stdin)
        status = call_lines(arena, &request, words, &target);
    else
        status = call_run(arena, &request, &target);
    arena_free(arena);
    return status;
}

int remote_main(int argc, char **argv)
{
    int words;
    const struct op *op = remote_find(argc, argv, &words);
    struct arena *arena;

    if (op && !is_mistyped(op, words, argc, argv)) {
        const struct config_words rest = { argv + words, argc - words };

        return run_verb(op, &rest);
    }
    if (!op && !strchr(argv[0], '/') && argv[0][0] != '-') {
        const char *word = argv[0];

        arena = arena_new(0);
        argv[0] = arena_printf(arena, "message-hub-%s", word);
        execvp(argv[0], argv);
        argv[0] = (char *)word;
        arena_free(arena);
    }
    return remote_unknown(argc, argv);
}

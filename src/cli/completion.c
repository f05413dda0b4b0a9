#include "base/arena.h"
#include "cli/command.h"
#include "cli/lib/flags.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"
#include "core/config.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "completion bash|zsh|fish";

/* The first line of a summary as a fish string: no quote of its own. */
static void put_quoted(const char *text)
{
    putchar('\'');
    for (; *text; text++)
        printf(*text == '\'' ? "\\'" : "%c", *text);
    putchar('\'');
}

static void put_choices(const struct field *field)
{
    for (const char *at = field->choices; *at; at++)
        putchar(*at == '|' ? ' ' : *at);
}

/* All flags of a verb, with a blank before each. */
static void put_flags(const struct op *op)
{
    const struct shared_flag *flag;
    struct arena *arena = arena_new(0);
    size_t position = 0;

    for (const struct field *field = op->fields; field && field->name; field++)
        printf(" %s", flags_name(arena, field));
    while ((flag = flags_shared(op, &position)))
        printf(" --%s", flag->name);
    arena_free(arena);
}

static void put_settings(void)
{
    for (const struct field *field = config_fields; field->name; field++)
        printf(" --%s", field->name);
}

/* Verbs, one a line; flags by verb, the longest verb first found wins; choices by verb and flag. */
static void bash_tables(void)
{
    struct verb_position position = { 0 };
    struct arena *arena = arena_new(0);
    const struct op *op;

    fputs("_message_hub_verbs='", stdout);
    for (const struct command *const *command = commands; *command; command++)
        puts((*command)->name);
    fputs("completion bash\ncompletion zsh\ncompletion fish\n"
          "config show\nconfig check\nconfig get\nconfig set\n", stdout);
    while ((op = remote_next(&position)))
        puts(op->cli);
    puts("'\ndeclare -gA _message_hub_flags=(");
    for (const struct command *const *command = commands; *command; command++) {
        printf("['%s']='--help", (*command)->name);
        put_settings();
        puts("'");
    }
    position = (struct verb_position){ 0 };
    while ((op = remote_next(&position))) {
        printf("['%s']='", op->cli);
        put_flags(op);
        puts("'");
    }
    puts(")\ndeclare -gA _message_hub_choices=(");
    position = (struct verb_position){ 0 };
    while ((op = remote_next(&position)))
        for (const struct field *field = op->fields; field && field->name; field++)
            if (field->type == FIELD_ENUM) {
                printf("['%s %s']='", op->cli, flags_name(arena, field));
                put_choices(field);
                puts("'");
            }
    puts(")");
    arena_free(arena);
}

static const char bash_function[] =
    "_message_hub() {\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= line= words= entry word at\n"
    "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
    "        word=${COMP_WORDS[at]}\n"
    "        [[ $word == -* ]] && break\n"
    "        line+=\"${line:+ }$word\"\n"
    "        [[ -n ${_message_hub_flags[$line]} ]] && verb=$line\n"
    "    done\n"
    "    entry=\"$verb $before\"\n"
    "    if [[ $current == -* ]]; then\n"
    "        words=${_message_hub_flags[$verb]}\n"
    "    elif [[ -n ${_message_hub_choices[$entry]} ]]; then\n"
    "        words=${_message_hub_choices[$entry]}\n"
    "    elif [[ $before != -* ]]; then\n"
    "        while IFS= read -r entry; do\n"
    "            [[ \"$entry \" == \"$line${line:+ }\"* && $entry != \"$line\" ]] || continue\n"
    "            entry=${entry#\"$line\"}\n"
    "            entry=${entry# }\n"
    "            words+=\" ${entry%% *}\"\n"
    "        done <<< \"$_message_hub_verbs\"\n"
    "    fi\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\" | sort -u))\n"
    "}\n"
    "complete -o default -F _message_hub message-hub\n";

static void bash(void)
{
    bash_tables();
    fputs(bash_function, stdout);
}

/* A condition: the first word, and for verbs of two words the second, have been typed. */
static void fish_condition(const char *verb)
{
    const char *space = strchr(verb, ' ');

    if (space)
        printf("'__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s'", (int)(space - verb), verb,
               space + 1);
    else
        printf("'__fish_seen_subcommand_from %s'", verb);
}

static void fish_verb(struct arena *arena, const struct op *op)
{
    const char *space = strchr(op->cli, ' ');
    const struct shared_flag *flag;
    size_t position = 0;

    if (space)
        printf("complete -c message-hub -n '__fish_seen_subcommand_from %.*s' -f -a %s -d ", (int)(space - op->cli),
               op->cli, space + 1);
    else
        printf("complete -c message-hub -n __fish_use_subcommand -f -a %s -d ", op->cli);
    put_quoted(op->summary);
    putchar('\n');
    for (const struct field *field = op->fields; field && field->name; field++) {
        fputs("complete -c message-hub -n ", stdout);
        fish_condition(op->cli);
        printf(" -l %s -d ", flags_name(arena, field) + 2);
        put_quoted(field->help);
        if (field->type == FIELD_ENUM) {
            fputs(" -x -a '", stdout);
            put_choices(field);
            putchar('\'');
        }
        putchar('\n');
    }
    while ((flag = flags_shared(op, &position))) {
        fputs("complete -c message-hub -n ", stdout);
        fish_condition(op->cli);
        printf(" -l %s -d ", flag->name);
        put_quoted(flag->help);
        putchar('\n');
    }
}

static void fish(void)
{
    struct verb_position position = { 0 };
    struct arena *arena = arena_new(0);
    const struct op *op;

    for (const struct command *const *command = commands; *command; command++) {
        printf("complete -c message-hub -n __fish_use_subcommand -f -a %s -d ", (*command)->name);
        put_quoted((*command)->summary);
        putchar('\n');
    }
    puts("complete -c message-hub -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n"
         "complete -c message-hub -n '__fish_seen_subcommand_from config' -f -a 'show check get set'");
    for (const struct field *field = config_fields; field->name; field++) {
        printf("complete -c message-hub -n '__fish_seen_subcommand_from serve migrate seed-data config' -l %s -d ",
               field->name);
        put_quoted(field->help);
        putchar('\n');
    }
    while ((op = remote_next(&position)))
        fish_verb(arena, op);
    arena_free(arena);
}

static int run_completion(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "bash"))
        bash();
    else if (argc == 2 && !strcmp(argv[1], "zsh")) {
        puts("autoload -U +X bashcompinit && bashcompinit");
        bash();
    } else if (argc == 2 && !strcmp(argv[1], "fish"))
        fish();
    else
        return print_usage(usage, "Name your shell.");
    return 0;
}

const struct command command_completion = {
    .name = "completion",
    .summary = "Print the completion script of a shell.",
    .usage = usage,
    .help = "  message-hub completion bash > /etc/bash_completion.d/message-hub\n"
            "  message-hub completion fish > ~/.config/fish/completions/message-hub.fish\n",
    .run = run_completion,
};

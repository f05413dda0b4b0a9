#include "cli/command.h"
#include "cli/lib/print.h"
#include "cli/lib/remote.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "completion bash|zsh|fish";

static void verbs(const char *separator)
{
    struct verb_position position = { 0 };
    const struct op *op;

    for (const struct command *const *command = commands; *command; command++)
        printf("%s%s", (*command)->name, separator);
    while ((op = remote_next(&position)))
        printf("%s%s", op->cli, separator);
}

/* The flags of one verb, and of all. */
static void flags(const struct op *op)
{
    for (const struct field *field = op->fields; field && field->name; field++) {
        fputs(" --", stdout);
        for (const char *at = field->name; *at; at++)
            putchar(*at == '_' ? '-' : *at);
    }
    fputs(" --json --url --key --profile --help", stdout);
}

static void bash(void)
{
    struct verb_position position = { 0 };
    const struct op *op;

    puts("_message_hub() {\n    local line=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\" current=\"${COMP_WORDS[COMP_CWORD]}\" words\n"
         "    if [[ $current == -* ]]; then\n        case \"$line \" in");
    while ((op = remote_next(&position))) {
        printf("        \"%s \"*) words=\"", op->cli);
        flags(op);
        puts("\" ;;");
    }
    puts("        esac\n    else\n        words=$(printf '%s\\n' \"$_message_hub_verbs\" | awk -v l=\"$line\" -v n=\"$COMP_CWORD\" \\\n"
         "            '{ if (l == \"\" || index($0, l \" \") == 1) { split($0, w, \" \"); print w[n] } }')\n    fi\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}");
    fputs("_message_hub_verbs='", stdout);
    verbs("\n");
    puts("'\ncomplete -F _message_hub message-hub");
}

static void fish(void)
{
    struct verb_position position = { 0 };
    const struct op *op;

    for (const struct command *const *command = commands; *command; command++)
        printf("complete -c message-hub -n __fish_use_subcommand -f -a %s -d \"%s\"\n", (*command)->name,
               (*command)->summary);
    while ((op = remote_next(&position))) {
        const char *space = strchr(op->cli, ' ');

        if (space)
            printf("complete -c message-hub -n '__fish_seen_subcommand_from %.*s' -f -a %s -d \"%s\"\n",
                   (int)(space - op->cli), op->cli, space + 1, op->summary);
        else
            printf("complete -c message-hub -n __fish_use_subcommand -f -a %s -d \"%s\"\n", op->cli, op->summary);
    }
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

#!/usr/bin/env bash
# The rules of CONTRIBUTING.md that a script can check, and proof that each of these scripts can fail.
. "$(dirname "$0")/common.sh"

check "includes look down" tools/floors
check "sizes and habits" tools/limits
check "one SQL text for both databases" tools/sql-check
check "the ceilings of the benchmark run our statements" benchmarks/run --check

tracked() { git ls-files --cached --others --exclude-standard -z; }

no_leftovers() { ! tracked | xargs -0 grep -nIE '\b(TO''DO|FIX''ME|XX''X)\b' --; }
check "no notes of unfinished work" no_leftovers

# A path of the machine that something was written on works nowhere else.
no_machine_paths() {
    local path found=0
    for path in "$root" "$HOME"; do
        case $path in
        /*/*) tracked | xargs -0 grep -nIF -- "$path" && found=1 ;;
        esac
    done
    tracked | xargs -0 grep -nIE -- '"resolved": *"http' && found=1
    return $found
}
check "no machine paths, no download addresses" no_machine_paths

shell_parses() {
    local file status=0
    while IFS= read -r -d '' file; do
        case $(head -c 30 "$file" | head -n 1) in
        '#!'*bash*) bash -n "$file" || status=1 ;;
        '#!'*/sh*) sh -n "$file" || status=1 ;;
        esac
    done < <(tracked)
    return $status
}
check "shell scripts parse" shell_parses

# --- The controls: each check names what was planted for it -----------------------------------------------------------
tree=$scratch/tree
mkdir -p "$tree"/src/{base,db/migrations,net,core,channels,api} "$tree"/tests/unit

# planted NAME TOOL EXPECTED - the tool fails on the tree and says this
planted() {
    if "tools/$2" "$tree" >"$scratch/output" 2>&1 || ! grep -qF -- "$3" "$scratch/output"; then
        cat "$scratch/output"
        not_ok "control: $1"
    else
        ok "control: $1"
    fi
}

printf '#include "core/message.h"\n' >"$tree/src/base/up.c"
printf '#include "net/http.h"\n' >"$tree/src/db/side.c"
printf '#include "api/op.h"\n' >"$tree/src/channels/side.c"
printf '#include "message.h"\n' >"$tree/src/core/bare.c"
planted "an include that looks up" floors "src/base/up.c:1: base must not include core/message.h"
planted "an include between db and net" floors "src/db/side.c:1: db must not include net/http.h"
planted "an include between channels and api" floors "src/channels/side.c:1: channels must not include api/op.h"
planted "an include without a floor" floors "src/core/bare.c:1: \"message.h\" does not name its floor"

{
    printf 'static int long_one(int a, int b, int c, int d, int e, int f)\n{\n'
    for _ in $(seq 70); do printf '    a++;\n'; done
    printf '    strcpy(a, b);\n    goto out;\nout:\n'
    printf '    return sqlite3_step(a) + PQexec(b) + curl_easy_init() + MHD_stop();\n}\n'
    printf 'int same_line(void) {\n    return 0;\n}\n'
    printf '/* %s */\n' "$(printf 'x%.0s' $(seq 130))"
    for _ in $(seq 600); do printf '\n'; done
} >"$tree/src/core/large.c"
{
    printf '/* large.h */\n\nint bare(void);\n\n/* Says it. */\nint said(void);\nint in_its_group(void);\n'
    printf 'int too_many(int a, int b, int c, int d, int e, int f);\n'
    for _ in $(seq 150); do printf '\n'; done
} >"$tree/src/core/large.h"
{
    printf 'static int asked_for(int a, int b, int c, int d, int e, int f)\n{\n    return 0;\n}\n\n'
    printf 'static int wraps(int a, int b, int c, int d, int e, int f)\n{\n    return 0;\n}\n\n'
    printf 'int start(void)\n{\n    return MHD_start(asked_for) + wraps(1, 2, 3, 4, 5, 6);\n}\n'
} >"$tree/src/net/server.c"
printf 'int own_time(void)\n{\n    return sleep(1);\n}\n' >"$tree/src/channels/own.c"
printf '/* Empty. */\n' >"$tree/src/core/job_handler.c"
planted "a long function" limits "long_one has 77 lines, at most 70"
planted "many parameters" limits "long_one has 6 parameters, at most 5"
planted "many parameters that no library asks for" limits "wraps has 6 parameters, at most 5"
planted "many parameters of a prototype" limits "too_many has more than 5 parameters"
planted "a banned call" limits "strcpy is banned"
planted "a goto elsewhere" limits "goto out: only to done"
planted "a brace behind its function" limits "brace stands on its own line"
planted "a wide line" limits "136 columns, at most 120"
planted "a long file" limits "src/core/large.c:681: 681 lines, at most 600"
planted "a long header" limits "header of 158 lines, at most 150"
planted "a prototype without contract" limits "src/core/large.h:3: bare has no contract comment"
planted "SQLite elsewhere" limits "sqlite3_step belongs into src/db/sqlite*"
planted "libpq elsewhere" limits "PQexec belongs into src/db/postgres*"
planted "libcurl elsewhere" limits "curl_easy_init belongs into src/net/client*"
planted "the HTTP library elsewhere" limits "MHD_stop belongs into src/net/server*"
planted "a channel with a clock" limits "sleep: a channel owns no thread and no time"
planted "a vague name" limits "job_handler.c:1: name what is in it instead"
if grep -E 'said|in_its_group|asked_for' <(tools/limits "$tree"); then
    not_ok "control: what is right is left alone"
else
    ok "control: what is right is left alone"
fi

cat >"$tree/src/core/sql.c" <<'END'
const char *a = "SELECT id FROM messages WHERE tenant_id = $2 "
                "AND id = $1";
const char *b = "SELECT id::text FROM messages WHERE id = $1 AND created_ms < now()";
const char *c = "INSERT INTO a (b) SELECT b FROM c ON CONFLICT DO NOTHING";
const char *d = "UPDATE a SET b = true WHERE c = $1 AND d = '::' AND e = $3";
const char *e = "SELECT id FROM messages WHERE tenant_id = $1 AND key = '$9' AND other = $2 AND again = $1";
const char *f = " AND c.id < ?";
const char *g = "SELECT id FROM messages WHERE id = ?";
END
printf 'const char *sql = "DELETE FROM messages WHERE id = $1";\n' >"$tree/src/api/sql.c"
printf -- '-- now() in a comment\nCREATE TABLE a (at BIGINT DEFAULT now());\n' >"$tree/src/db/migrations/0001_a.sql"
planted "parameters out of order" sql-check "src/core/sql.c:1: first uses come as \$2, \$1"
planted "a gap in the parameters" sql-check "src/core/sql.c:5: first uses come as \$1, \$3"
planted "a PostgreSQL cast" sql-check "src/core/sql.c:3: ::"
planted "the database's clock" sql-check "src/core/sql.c:3: now()"
planted "an ambiguous ON CONFLICT" sql-check "src/core/sql.c:4: INSERT .. SELECT"
planted "a boolean" sql-check "src/core/sql.c:5: = true"
planted "a nameless parameter" sql-check "src/core/sql.c:8: ?: the parameters"
planted "SQL in api" sql-check "src/api/sql.c:1: SQL stands in core and db only"
planted "the database's clock in a migration" sql-check "0001_a.sql:2: now()"
if grep 'sql.c:[67]' <(tools/sql-check "$tree"); then
    not_ok "control: good statements and pieces are left alone"
else
    ok "control: good statements and pieces are left alone"
fi

#!/usr/bin/env bash
# The program from outside: the command line as a user meets it, and a server being started, stopped and watched, on
# SQLite and on a PostgreSQL that this part starts itself. `./test e2e/serve` runs one of them.
. "$(dirname "$0")/common.sh"

build test
export HUB_BINARY=$root/build-test/message-hub
tests=$(dirname "$0")/../e2e

# e2e_tests PATTERN - each is a program that prints its lines; one that ends without a word has failed
e2e_tests() {
    local file status
    for file in "$tests"/${1:-*}_test.py; do
        without_aslr python3 -B "$file" >"$scratch/e2e" 2>&1
        status=$?
        cat "$scratch/e2e"
        if [ "$status" != 0 ] && ! grep -q '^not ok ' "$scratch/e2e"; then
            not_ok "e2e: $(basename "$file") ended with status $status"
        fi
    done
}

if [ -n "${HUB_TEST_DB:-}" ]; then
    e2e_tests serve | sed 's/^\(not \)\{0,1\}ok /&PostgreSQL: /'
    exit
fi

# Both spend most of their time waiting: PostgreSQL's turn runs beside the others and speaks after them.
postgres=
case ${1:-serve} in
serve*)
    tools/with-postgres "$0" >"$scratch/postgres" 2>&1 &
    postgres=$!
    ;;
esac
e2e_tests "${1:-*}"
if [ -n "$postgres" ]; then
    wait "$postgres" || not_ok "e2e: PostgreSQL ended with status $?"
    cat "$scratch/postgres"
fi

#!/usr/bin/env bash
# The API from outside, on SQLite and on a PostgreSQL that this part starts itself: a test made from /openapi.json, the
# operations on messages, bad input. `./test api/openapi` runs one of them.
. "$(dirname "$0")/common.sh"

build test
export HUB_BINARY=$root/build-test/message-hub

# api_tests PATTERN - each is a program that prints its lines; one that ends without a word has failed
api_tests() {
    local file
    for file in tests/api/${1:-*}_test.py; do
        without_aslr python3 -B "$file" >"$scratch/api" 2>&1
        local status=$?
        cat "$scratch/api"
        if [ "$status" != 0 ] && ! grep -q '^not ok ' "$scratch/api"; then
            not_ok "api: $(basename "$file") ended with status $status"
        fi
    done
}

if [ -n "${HUB_TEST_DB:-}" ]; then
    api_tests "${1:-*}" | sed 's/^\(not \)\{0,1\}ok /&PostgreSQL: /'
else
    api_tests "${1:-*}"
    tools/with-postgres "$0" "${1:-*}" || not_ok "api: PostgreSQL"
fi

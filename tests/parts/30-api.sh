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

api_tests "${1:-*}"
export -f api_tests without_aslr ok not_ok
export scratch
tools/with-postgres bash -c 'api_tests "$1"' - "${1:-*}" || not_ok "api: PostgreSQL"

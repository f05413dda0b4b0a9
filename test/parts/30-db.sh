#!/usr/bin/env bash
# Every unit test that opens a database, again on a PostgreSQL that this part starts itself.
. "$(dirname "$0")/common.sh"

build test
export -f unit_tests without_aslr ok not_ok
export scratch
tools/with-postgres bash -c 'unit_tests build-test "db postgres" "${1:-^(db|core|channels|api)_}"' - "${1:-}" ||
    not_ok "db: PostgreSQL"

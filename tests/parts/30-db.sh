#!/usr/bin/env bash
# Every unit test that may open a database, again on a PostgreSQL that this part starts itself.
. "$(dirname "$0")/common.sh"

build test
# shellcheck disable=SC2016
tools/with-postgres bash -c '. "$1"; unit_tests build-test "db postgres" "$2"' - \
    "$root/tests/parts/common.sh" "${1:-^(db|core|channels|api|cli)_}" || not_ok "db: PostgreSQL"

#!/usr/bin/env bash
# The unit tests, on SQLite where they need a database.
. "$(dirname "$0")/common.sh"

build test
unit_tests build-test unit "${1:-.}"

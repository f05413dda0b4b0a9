#!/usr/bin/env bash
# The unit tests under the sanitizers, for memory and undefined behaviour, then for data races; then the hub itself
# built so, under mixed load on both databases. `./test sanitizers/PATTERN` runs the unit programs that it fits,
# `./test sanitizers/live` the loaded hub.
. "$(dirname "$0")/common.sh"
export PYTHONDONTWRITEBYTECODE=1

wanted=${1:-}
seconds=${LIVE_SECONDS:-${TEST_LONG:+120}}
seconds=${seconds:-8}
suppressions=second_deadlock_stack=1:suppressions=$root/tests/tsan.supp
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

# live KIND - the loaded hub of one build, on SQLite and on a PostgreSQL of its own; for TSan with all it has to say
live() {
    local program
    for program in "" tools/with-postgres; do
        HUB_BINARY=$root/build-$1/message-hub TSAN_OPTIONS=$suppressions without_aslr \
            $program python3 tests/harness/live.py "$seconds" 1 >"$scratch/live" 2>&1
        local status=$?
        cat "$scratch/live"
        [ "$status" = 0 ] || grep -q '^not ok ' "$scratch/live" || not_ok "live $1 ended with status $status"
    done
}

for kind in asan tsan; do
    build "$kind"
    if [ "$wanted" != live ]; then
        TSAN_OPTIONS=halt_on_error=1:$suppressions unit_tests "build-$kind" "$kind" "${wanted:-.}"
    fi
    if [ -z "$wanted" ] || [ "$wanted" = live ]; then
        live "$kind"
    fi
done

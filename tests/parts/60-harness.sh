#!/usr/bin/env bash
# The harnesses that decide the shape, in their short form; each carries a control that must fail.
. "$(dirname "$0")/common.sh"
export PYTHONDONTWRITEBYTECODE=1

build release message-hub
export HUB_BINARY=$root/build/message-hub
wanted=${1:-}

if [ -z "$wanted" ] || [ "$wanted" = kill ]; then
    python3 tests/harness/kill.py "$([ -n "$TEST_LONG" ] && echo 1000 || echo 200)" || true
fi
if [ -z "$wanted" ] || [ "$wanted" = kill-postgres ]; then
    tools/with-postgres python3 tests/harness/kill.py "${KILLS_POSTGRES:-40}" | sed 's/ok kill/ok kill on PostgreSQL:/'
fi
if [ -z "$wanted" ] || [ "$wanted" = rows ]; then
    tools/with-postgres python3 tests/harness/rows.py || true
fi
if [ -z "$wanted" ] || [ "$wanted" = media ]; then
    python3 tests/harness/media.py "$([ -n "$TEST_LONG" ] && echo 1000 || echo 12)" || true
fi
# These wait more than they work, so they do it at once; the one that keeps time has the machine to itself.
for name in unsure poll person; do
    if [ -z "$wanted" ] || [ "$wanted" = $name ]; then
        arguments=()
        [ $name = unsure ] && [ -n "$TEST_LONG" ] && arguments=(10000 6)
        python3 "tests/harness/$name.py" "${arguments[@]}" >"$scratch/$name" 2>&1 &
    fi
done
wait
for name in unsure poll person; do
    [ ! -e "$scratch/$name" ] || cat "$scratch/$name"
done
if [ -z "$wanted" ] || [ "$wanted" = throttle ]; then
    python3 tests/harness/throttle.py || true
fi

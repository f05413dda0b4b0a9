#!/usr/bin/env bash
# Every tests/fuzz/NAME_fuzz.c for FUZZ_SECONDS (15; 600 in the long run), from the seeds in tests/fuzz/corpus/NAME.
# What a run finds stays in build-asan/corpus, so that the next one goes on from there; the input of a crash is kept in
# build-log/fuzz.
. "$(dirname "$0")/common.sh"

seconds=${FUZZ_SECONDS:-${TEST_LONG:+600}}
seconds=${seconds:-15}
artifacts=$root/build-log/fuzz
build asan
mkdir -p "$artifacts"

# fuzz PROGRAM SECONDS - one fuzzer; its last lines when it found something
fuzz() {
    local name=${1%_fuzz}
    local corpus=build-asan/corpus/$name seeds=tests/fuzz/corpus/$name log=$artifacts/$name.log
    mkdir -p "$corpus"
    [ -d "$seeds" ] || seeds=
    if without_aslr "build-asan/$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$artifacts/$name-" "$corpus" $seeds >"$log" 2>&1; then
        ok "fuzz $name $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs"
    else
        { tail -n 60 "$log"; not_ok "fuzz $name"; } >"$scratch/fuzz.$name" 2>&1
        cat "$scratch/fuzz.$name"
    fi
}
export -f fuzz without_aslr ok not_ok
export artifacts scratch

for file in tests/fuzz/${1:-*}_fuzz.c; do
    [ -e "$file" ] && basename "$file" .c
done | xargs -r -P "$(nproc)" -I{} bash -c 'fuzz "$@"' - {} "$seconds"

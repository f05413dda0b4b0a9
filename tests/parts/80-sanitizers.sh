#!/usr/bin/env bash
# The unit tests under the sanitizers: memory and undefined behaviour, then data races.
. "$(dirname "$0")/common.sh"

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
build asan
unit_tests build-asan asan "${1:-.}"
build tsan
unit_tests build-tsan tsan "${1:-.}"

#!/usr/bin/env bash
# The contract of channel drivers over every driver and its case files; `./test channels/KIND` for one kind.
. "$(dirname "$0")/common.sh"

build test tests/contract/channel_test
PART_ARG=${1:-${PART_ARG:-}} build-test/tests/contract/channel_test tests/channels
[ $? -lt 2 ] || not_ok "channels: the program ended early"

# The proof that it can fail: a driver whose case files are gone is not content.
mkdir "$scratch/empty"
negative() { ! build-test/tests/contract/channel_test "$scratch/empty"; }
check "channels: a driver without case files fails" negative

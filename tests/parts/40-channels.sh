#!/usr/bin/env bash
# The contract of channel drivers over every driver and its case files, then each driver against a peer that others
# wrote (tests/channels/KIND/*_test.py; what comes from npm stands in that folder's package.json).
# `./test channels/KIND` for one kind.
. "$(dirname "$0")/common.sh"

kind=${1:-${PART_ARG:-}}
build test
export HUB_BINARY=$root/build-test/message-hub
PART_ARG=$kind build-test/tests/contract/channel_test tests/channels
[ $? -lt 2 ] || not_ok "channels: the program ended early"

# The proof that it can fail: a driver whose case files are gone is not content.
mkdir "$scratch/empty"
negative() { ! build-test/tests/contract/channel_test "$scratch/empty"; }
check "channels: a driver without case files fails" negative

# peer_tests FILE - a program that prints its lines; one that ends without a word has failed
peer_tests() {
    local folder status
    folder=$(dirname "$1")
    if [ -e "$folder/package.json" ] && ! tools/setup npm "$folder"; then
        not_ok "channels: the packages of $folder"
        return
    fi
    timeout --kill-after=10 300 python3 -B "$1" >"$scratch/peer" 2>&1
    status=$?
    cat "$scratch/peer"
    if [ "$status" != 0 ] && ! grep -q '^not ok ' "$scratch/peer"; then
        not_ok "channels: $1 ended with status $status"
    fi
}

for file in tests/channels/${kind:-*}/*_test.py; do
    if [ -e "$file" ]; then peer_tests "$file"; fi
done

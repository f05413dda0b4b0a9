# common.sh - what the parts share; each begins with `. "$(dirname "$0")/common.sh"`.
#
# A part prints `ok NAME` or `not ok NAME` for everything it tests, and before it, on lines of its own, what explains a
# failure. What follows the slash in `./test PART/MEMBER` is its first argument. TEST_LONG is set for the long runs.
# shellcheck shell=bash
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/message-hub-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export TEST_LONG=${TEST_LONG:-}

ok() { printf 'ok %s\n' "$*"; }
not_ok() { printf 'not ok %s\n' "$*"; }

# check NAME COMMAND... - one test: ok when the command succeeds, else its output and not ok
check() {
    local name=$1
    shift
    if "$@" >"$scratch/output" 2>&1; then
        ok "$name"
    else
        head -c 20000 "$scratch/output"
        not_ok "$name"
    fi
}

# build KIND [TARGET...] - as tools/setup build; a build that fails ends the part as one failed test
build() {
    tools/setup build "$@" 2>&1 || { not_ok "build $*"; exit 1; }
}

# without_aslr COMMAND... - the sanitizers' shadow memory collides with the most random layouts of newer kernels
without_aslr() {
    if setarch "$(uname -m)" -R true 2>/dev/null; then
        setarch "$(uname -m)" -R "$@"
    else
        "$@"
    fi
}

# unit_tests FOLDER PREFIX [PATTERN] - run a build's unit tests, those whose name the pattern fits; a line per test case
unit_tests() {
    local folder=$1 prefix=$2 pattern=${3:-.} chosen
    mapfile -t chosen < <(meson test -C "$folder" --no-rebuild --suite unit --list 2>/dev/null |
        sed 's/.* \/ //; s/^.*://' | grep -E "$pattern")
    if [ ${#chosen[@]} = 0 ]; then
        not_ok "$prefix no unit test fits $pattern"
        return
    fi
    without_aslr meson test -C "$folder" --no-rebuild --num-processes 2 --suite unit "${chosen[@]}" \
        >"$scratch/meson" 2>&1
    tools/unit-report "$folder/meson-logs/testlog.json" "$prefix" ||
        { cat "$scratch/meson"; not_ok "$prefix report"; }
}

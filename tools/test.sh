#!/usr/bin/env bash
# Builds into DIR and runs everything that is quick; further arguments go to meson setup. Every stage
# counts its cases; the last line is their sum.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$1
shift
passed=0
failed=0

build() {
    if [[ -f $dir/build.ninja ]]; then
        meson configure "$dir" -Dtests=true "$@" >/dev/null
    else
        meson setup "$dir" -Dtests=true "$@" >/dev/null
    fi
    ninja -C "$dir" --quiet
}

# Runs a stage whose output has a line "N passed, N failed"; one that has none counts as one case.
stage() {
    local name=$1 log status=0 line
    shift
    echo "== $name"
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    line=$(grep -E '^([a-z0-9]+: )?[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1 || true)
    rm -f "$log"
    if [[ $line =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        [[ $status -eq 0 || ${BASH_REMATCH[2]} -gt 0 ]] || failed=$((failed + 1))
    elif [[ $status -eq 0 ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}

tools/install-packages.sh test
tests/e2e/clients/install.sh
build "$@"
stage "unit, Redis, simulation, fuzz corpora, layers" tools/meson_test.py "$dir"
stage "golden, row by row" tests/golden/rows.py tests/golden/*/
stage golden tests/golden/run.py "$dir/golden" tests/golden/*/
stage "golden requests, mangled" "$dir/valid" 1 50000 tests/golden/*/*.json
stage "golden streams, cut and disturbed" "$dir/recut" tests/golden/*/*.json
stage "types of the official clients" build/clients/venv/bin/python tests/types/run.py "$dir/golden" tests/golden/*/
stage "streams through the official clients" tests/types/replay.py "$dir/golden" build/clients tests/golden/*/
stage "end to end" tests/e2e/run.py "$dir/ccproxy"

echo
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]

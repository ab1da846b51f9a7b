#!/usr/bin/env bash
# Builds the fuzzers with clang into DIR and runs each for SECONDS, from the corpus in the tree. Inputs
# that reach new code are kept in DIR/corpus for the next run; one that breaks something is left in DIR,
# and ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$1
seconds=$2
[[ -f $dir/build.ninja ]] ||
    CC=${CC:-clang-14} meson setup "$dir" -Dfuzz=true -Db_sanitize=address,undefined \
        -Db_lundef=false >/dev/null
ninja -C "$dir" --quiet

for fuzzer in "$dir"/fuzz_*; do
    [[ -f $fuzzer && -x $fuzzer ]] || continue
    name=${fuzzer##*/fuzz_}
    dict=()
    [[ ! -f fuzz/$name.dict ]] || dict=("-dict=fuzz/$name.dict")
    mkdir -p "$dir/corpus/$name"
    echo "== $name"
    "$fuzzer" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -print_final_stats=0 \
        -verbosity=0 -artifact_prefix="$dir/" "${dict[@]}" "$dir/corpus/$name" "fuzz/corpus/$name"
done

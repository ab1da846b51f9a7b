#!/usr/bin/env bash
# The linters: clang-format, clang as a second compiler, clang-tidy and cppcheck. Silent when content.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$1
tools/install-packages.sh test
mapfile -t all < <(git ls-files -co --exclude-standard 'src/*.[ch]' 'tests/*.[ch]' 'fuzz/*.[ch]')
mapfile -t units < <(git ls-files -co --exclude-standard 'src/*.c')

clang-format-14 --dry-run --Werror "${all[@]}"

[[ -f $dir/build.ninja ]] || CC=clang-14 meson setup "$dir" -Dtests=true -Dwerror=true >/dev/null
ninja -C "$dir" --quiet

printf '%s\n' "${units[@]}" |
    xargs -P "$(nproc)" -n 4 clang-tidy-14 --quiet -p "$dir" 2> >(grep -v 'warnings generated' >&2)

cppcheck --quiet --error-exitcode=1 --enable=warning,portability,performance --inline-suppr \
    --std=c11 -j "$(nproc)" -Isrc -I"$dir" --suppress=missingIncludeSystem \
    --suppress=returnDanglingLifetime src # clang-tidy judges that better

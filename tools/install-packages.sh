#!/usr/bin/env bash
# Installs what Debian 12 has and this machine lacks: `build` for the program, `test` for everything
# else that the suite and the linters use, `bench` for the benchmarks. Says nothing when nothing is
# missing.
set -euo pipefail

build=(gcc libc6-dev make meson ninja-build pkg-config python3
       ca-certificates libssl-dev libc-ares-dev libhiredis-dev libseccomp-dev
       libnghttp2-dev libpq-dev libsqlite3-dev libyaml-dev)
test=(libcmocka-dev clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev cppcheck
      chromium-headless-shell curl git haproxy nghttp2-client nghttp2-proxy openssl postgresql
      procps prometheus python3-venv redis-server sslscan testssl.sh)
bench=(nghttp2-client nghttp2-proxy nginx-light openssl redis-server util-linux)

# Whichever Node.js is there will do, from Debian's 18 on.
command -v node >/dev/null || test+=(nodejs)
command -v npm >/dev/null || test+=(npm)
! command -v nginx >/dev/null || bench=(nghttp2-client nghttp2-proxy openssl redis-server util-linux)

case "${1:-}" in
build) wanted=("${build[@]}") ;;
test) wanted=("${build[@]}" "${test[@]}") ;;
bench) wanted=("${build[@]}" "${bench[@]}") ;;
*)
    echo "usage: $0 build|test|bench" >&2
    exit 2
    ;;
esac

missing=()
for package in "${wanted[@]}"; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *"ok installed" ]] ||
        missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"

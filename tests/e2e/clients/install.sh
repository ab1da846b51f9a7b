#!/usr/bin/env bash
# Puts the official clients into build/clients: a Python environment and a node_modules, with the
# versions that requirements.txt and package.json pin. Does nothing when they are there already.
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

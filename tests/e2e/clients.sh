#!/usr/bin/env bash
# Installs the client libraries that test_clients_*.py use, into build/clients; nothing to do when they
# are those that requirements.txt and node/package.json name. What cannot be installed here is said, and
# its tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=$PWD/tests/e2e
there=$PWD/build/clients
mkdir -p "$there"
exec 9>"$there/lock"
flock 9

python_clients() {
    local dir=$there/venv
    cmp -s "$here/requirements.txt" "$dir/installed" && return
    rm -rf "$dir"
    python3 -m venv "$dir" &&
        "$dir/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
            -r "$here/requirements.txt" &&
        cp "$here/requirements.txt" "$dir/installed"
}

node_clients() {
    local dir=$there/node
    cmp -s "$here/node/package.json" "$dir/installed" && return
    command -v npm >/dev/null || return
    rm -rf "$dir"
    mkdir -p "$dir" &&
        cp "$here/node/package.json" "$dir/" &&
        npm --prefix "$dir" install --no-package-lock --no-audit --no-fund --silent &&
        cp "$here/node/package.json" "$dir/installed"
}

status=0
python_clients || { echo "clients: no Python libraries; their tests are skipped" >&2; status=1; }
node_clients || { echo "clients: no Node.js libraries; their tests are skipped" >&2; status=1; }
exit $status

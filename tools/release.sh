#!/usr/bin/env bash
# Builds DIR/ccproxy as it is meant to be run: once to count what it does between load and the
# simulator, and again with its code laid out by that count.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$1
scratch=$(mktemp -d)
chmod 777 "$scratch" # workers that were root write their counts as CCPROXY_USER
trap '{ kill -KILL $upstream $server; wait; } 2>/dev/null; rm -rf "$scratch"' EXIT
upstream=
server=

# Where the process listens that writes to this log.
address_in() {
    until grep -q '"event":"ready"' "$2"; do
        kill -0 "$1" || { cat "$2" >&2; exit 1; }
        sleep 0.05
    done
    sed -n 's/.*"event":"ready".*"address":"\([^"]*\)".*/\1/p' "$2"
}

request() {
    local body='{"model":"gpt-4o","stream":'$1',"max_completion_tokens":256,"messages":[{"role":"system","content":"You are brief."},'
    body+='{"role":"user","content":"Say \"hello\" to the world.\n"}]'$2'}'
    printf 'POST /v1/chat/completions HTTP/1.1\r\nHost: train\r\nContent-Type: application/json\r\n'
    printf 'Authorization: Bearer sk-train-0123456789\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body"
}

train() {
    local tools=',"tools":[{"type":"function","function":{"name":"get_weather","description":"Of a city.","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]'
    local log=$scratch/log address

    "$dir/ccproxy" simulate --port 0 >/dev/null 2>"$log.upstream" &
    upstream=$!
    address=$(address_in $upstream "$log.upstream")
    env GCOV_PREFIX="$scratch/counts" CCPROXY_SANDBOX=false CCPROXY_HOST=127.0.0.1 CCPROXY_PORT=0 \
        ANTHROPIC_API_KEY=sk-ant-train ANTHROPIC_BASE_URL="http://$address" CCPROXY_WORKERS=1 \
        CCPROXY_API_KEYS=train:sk-train-0123456789 CCPROXY_RATE_LIMIT_RPM=100000000 \
        CCPROXY_RATE_LIMIT_TPM=1000000000000 CCPROXY_CONCURRENT_REQUESTS=1000 \
        "$dir/ccproxy" >/dev/null 2>"$log" &
    server=$!
    address=$(address_in $server "$log")
    for kind in "false 8000" "true 2000" "false 2000 $tools" "true 2000 $tools"; do
        read -r stream requests more <<<"$kind"
        request "$stream" "$more" >"$scratch/request"
        "$dir/load" --to "$address" --request "$scratch/request" --requests "$requests" >/dev/null
    done
    kill "$server"
    wait "$server" # counts are written when it ends; the simulator's sandbox would not let it
}

build() {
    [[ -f $dir/build.ninja ]] || meson setup "$dir" -Dtests=false >/dev/null
    meson configure "$dir" -Db_pgo="$1" >/dev/null
    meson setup --reconfigure "$dir" >/dev/null
    ninja -C "$dir" --quiet "${@:2}"
}

build generate ccproxy load
train
# Counts stand below the scratch folder by the full path of the object they are of.
cp -r "$scratch/counts$(realpath "$dir")/." "$dir"
build use ccproxy

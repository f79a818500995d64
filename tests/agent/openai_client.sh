#!/usr/bin/env bash
# tests/agent/openai_client.sh REGISTRY BUILD_FOLDER -- DGQ COMMAND WORDS
# Clients that know nothing of us: OpenAI's npm package, pinned and installed into the build folder, and curl.
set -euo pipefail
registry=$1 modules=$2/openai; shift 3
version=6.9.1
here=$(dirname "$(readlink -f "$0")")
not_covered() { echo "not covered: OpenAI's client ($1)" | tee -a "${DGQ_NOT_COVERED:-/dev/null}"; }

work=$(mktemp -d)
trap 'kill -TERM ${agent:-} 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
: > "$work/log" # the shell may look before the agent has begun
"$@" agent demo --registry "$registry" --listen 127.0.0.1:0 --log-json 2> "$work/log" &
agent=$!
for _ in $(seq 600); do
  port=$(sed -n 's/.*"event":"listening".*"port":\([0-9]*\).*/\1/p' "$work/log")
  [ -z "$port" ] || break
  kill -0 $agent || { cat "$work/log"; exit 1; }
  sleep 0.1
done
base=http://127.0.0.1:$port

if command -v curl > /dev/null; then
  curl -sSf "$base/v1/models" | grep -q '"id":"demo"'
  curl -sSf "$base/v1/chat/completions" -d '{"messages": [{"role": "user", "content": "The old king"}], "max_tokens": 5}' |
    grep -q '"object":"chat.completion"'
  curl -sSfN "$base/v1/chat/completions" \
    -d '{"messages": [{"role": "user", "content": "The old king"}], "max_tokens": 5, "stream": true}' | tail -n 2 | grep -q '^data: \[DONE\]'
  echo "curl: models, chat, stream"
else
  not_covered "curl is missing"
fi

if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
  not_covered "node and npm are missing"
elif [ "$(cat "$modules/version" 2> /dev/null)" != $version ] &&
  ! { mkdir -p "$modules" && timeout 120 npm install --fetch-retries=1 --no-save --no-audit --no-fund --prefix "$modules" openai@$version > "$work/npm" 2>&1 &&
    echo $version > "$modules/version"; }; then
  not_covered "npm could not install openai@$version"
else
  cp "$here/openai_client.mjs" "$modules/client.mjs" # where node finds the package
  node "$modules/client.mjs" "$base/v1"
fi

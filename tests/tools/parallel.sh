#!/usr/bin/env bash
# tests/tools/parallel.sh SOURCE_FOLDER DGQ - the GNU parallel lines of docs/QUANTIZER.md: their version is that of a single run.
# Skips where GNU parallel is missing.
set -euo pipefail
source=$1 dgq=$2
if ! parallel --version 2>/dev/null | grep -q "GNU parallel"; then
  echo "not covered: parts with GNU parallel (install parallel)"
  [ -z "${DGQ_NOT_COVERED:-}" ] || echo "parts with GNU parallel (install parallel)" >> "$DGQ_NOT_COVERED"
  exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export PATH=$(dirname "$dgq"):$PATH HOME=$dir  # parallel writes a folder there
awk '/^```bash parallel/ {on = 1; next} /^```/ {on = 0} on' "$source/docs/QUANTIZER.md" > "$dir/parts.sh"
[ -s "$dir/parts.sh" ] || { echo "docs/QUANTIZER.md shows no lines for GNU parallel"; exit 1; }
export MODEL=$source/models/demo WORK=$dir/work NAME=demo DGQ_REGISTRY=$dir/parallel.db OPTIONS="--recipe fast --calibration-tokens 512"
bash -eu "$dir/parts.sh"
dgq quantize "$MODEL" $OPTIONS --name demo --registry "$dir/single.db" > /dev/null
version() { sqlite3 "$dir/$1.db" 'SELECT hex(digest) FROM version'; }
[ "$(version parallel)" = "$(version single)" ] || { echo "the version differs from that of a single run"; exit 1; }
echo "four parts made the version of a single run"

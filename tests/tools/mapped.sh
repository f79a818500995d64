#!/usr/bin/env bash
# tests/tools/mapped.sh DGQ REGISTRY MODEL - mapped means mapped: while the model runs, its layer files are read-only shared
# mappings with no private copy, anonymous memory stays under 48 MiB plus the KV cache, and a second process shares the pages.
set -euo pipefail
dgq=$1 registry=$2 model=$3
limit_kib=$((48 * 1024))
context=512

start() { "$dgq" run "$model" "Once upon a time" --registry "$registry" --context $context --tokens 400 --greedy >/dev/null 2>&1 & }
# total PID FIELD: KiB of FIELD over the mappings of layer files.
total() { awk -v field="$2:" '/^[0-9a-f]+-[0-9a-f]+ /{layer = /\.layers\//} layer && $1 == field {sum += $2} END {print sum + 0}' "/proc/$1/smaps"; }
writable() { grep -E '\.layers/' "/proc/$1/maps" | grep -cv ' r--s ' || true; }

start; first=$!
start; second=$!
trap 'kill $first $second 2>/dev/null || true' EXIT
for _ in $(seq 200); do  # until both run with everything they touch
  [ "$(total $first Rss)" -gt 0 ] && [ "$(total $second Rss)" -gt 0 ] && break
  sleep 0.05
done
sleep 0.5
rss=$(total $first Rss) shared=$(total $first Shared_Clean) private_dirty=$(total $first Private_Dirty)
anonymous=$(awk '$1 == "Anonymous:" {print $2}' "/proc/$first/smaps_rollup")
echo "layer files: $rss KiB resident, $shared KiB shared, $private_dirty KiB private and dirty, $(writable $first) writable or private mappings"
echo "anonymous memory of the process: $anonymous KiB (limit $limit_kib + KV cache)"
[ "$rss" -gt 0 ]
[ "$private_dirty" -eq 0 ]
[ "$(writable $first)" -eq 0 ]
[ "$((shared * 10))" -ge "$((rss * 9))" ]   # the second process has touched (nearly) the same pages
kv_kib=$((context * 12 * 4 * 2 * (64 + 4) / 1024))   # the largest model here: 12 layers, 4 kv heads of 64, K and V, int8 + scale
[ "$anonymous" -le "$((limit_kib + kv_kib))" ]

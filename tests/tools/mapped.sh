#!/usr/bin/env bash
# tests/tools/mapped.sh REGISTRY SOURCE_FOLDER SHARED_FOLDER -- DGQ
# Mapped means mapped: while a model runs, its layer files are read-only shared mappings without private copies, anonymous
# memory stays under 48 MiB plus the KV cache, and a second process shares the pages. Runs `eval` (44M) where shared has it.
set -euo pipefail
registry=$1 source=$2 shared=$3 dgq=$5
model=demo
if [ -d "$shared/models/eval" ]; then
  model=eval
  "$dgq" quantize "$shared/models/eval" --registry "$registry" --name eval --recipe fast --calibration-tokens 512 >/dev/null 2>&1
else
  echo "not covered: mapped memory of the 44M model (needs shared/models/eval)" | tee -a "${DGQ_NOT_COVERED:-/dev/null}"
fi
limit_kib=$((48 * 1024)) context=1024
# The largest model here: 12 layers, 4 kv heads of 64, K and V, int8 and one float scale.
kv_kib=$((context * 12 * 4 * 2 * (64 + 4) / 1024))

work=$(mktemp -d)
# start SEED: runs the model until it has written text, and so has read every weight; then holds it there.
start() {
  "$dgq" run "$model" "Once upon a time" --registry "$registry" --tokens 1000 --ignore-eos --seed "$1" >"$work/$1" 2>&1 &
  pid=$!
  for _ in $(seq 2000); do
    [ ! -s "$work/$1" ] || break
    sleep 0.01
  done
  kill -STOP $pid || { cat "$work/$1"; return 1; }
}
# layers PID FIELD: KiB of FIELD over the mappings of layer files.
layers() {
  awk -v field="$2:" '/^[0-9a-f]+-[0-9a-f]+ /{layer = /\.layers\//} layer && $1 == field {sum += $2} END {print sum + 0}' "/proc/$1/smaps"
}

trap 'kill -KILL ${first:-} ${second:-} 2>/dev/null || true; rm -rf "$work"' EXIT
start 1; first=$pid
start 2; second=$pid
rss=$(layers $first Rss) shared_clean=$(layers $first Shared_Clean)
private=$(($(layers $first Private_Dirty) + $(layers $first Anonymous)))
writable=$(grep '\.layers/' "/proc/$first/maps" | grep -cv ' r--s ' || true)
anonymous=$(awk '$1 == "Anonymous:" {print $2}' "/proc/$first/smaps_rollup")
echo "$model: layer files $rss KiB resident, $shared_clean KiB shared, $private KiB private, $writable mappings not read-only and shared"
echo "anonymous memory of the process: $anonymous KiB (limit $limit_kib + $kv_kib of KV cache)"
[ "$rss" -gt 0 ]
[ "$private" -eq 0 ]
[ "$writable" -eq 0 ]
[ "$((shared_clean * 10))" -ge "$((rss * 9))" ]
[ "$anonymous" -le "$((limit_kib + kv_kib))" ]

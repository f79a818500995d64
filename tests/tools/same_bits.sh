#!/usr/bin/env bash
# tests/tools/same_bits.sh REGISTRY ISA... -- DGQ COMMAND WORDS
# The logits of a fixed prompt hash to the same value with every ISA given, with 1 and 2 threads, and to the value that
# another build wrote beside the registry (REGISTRY.hash), if one did.
set -euo pipefail
registry=$1; shift
isas=(); while [ "$1" != "--" ]; do isas+=("$1"); shift; done; shift
prompt="The old man looked out over the sea, and said that there would be rain before the night was over."
expected=""
[ -f "$registry.hash" ] && expected=$(cat "$registry.hash")
for isa in "${isas[@]}"; do
  if ! why=$(DGQ_ISA=$isa "$@" kernels 2>&1 >/dev/null); then
    [[ $why == *"which this CPU lacks"* ]] || { echo "$why"; exit 1; }
    echo "not covered: $why"
    [ -z "${DGQ_NOT_COVERED:-}" ] || echo "same_bits with $isa (this CPU lacks it)" >> "$DGQ_NOT_COVERED"
    continue
  fi
  for threads in 1 2; do
    hash=$(DGQ_ISA=$isa "$@" eval hash --registry "$registry" --model demo --text "$prompt" --threads "$threads")
    echo "$hash  $isa, $threads thread(s)"
    [ -n "$expected" ] || expected=$hash
    [ "$hash" = "$expected" ] || { echo "expected $expected"; exit 1; }
  done
done
echo "$expected" > "$registry.hash"   # what other builds on the same registry must find

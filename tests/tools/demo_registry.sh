#!/usr/bin/env bash
# tests/tools/demo_registry.sh REGISTRY SOURCE_FOLDER -- DGQ COMMAND WORDS
# A registry with models/demo, for the tests that follow: copied from DGQ_TEST_REGISTRY if that is set, else quantized here with
# few calibration tokens: then the search must beat plain min-max rounding on every linear layer.
set -euo pipefail
registry=$1 source=$2; shift 3
rm -rf "$registry" "$registry"[.-]*
if [ -n "${DGQ_TEST_REGISTRY:-}" ] && [ "$DGQ_TEST_REGISTRY" != "$registry" ]; then
  for part in "" -wal .hash; do
    [ ! -f "$DGQ_TEST_REGISTRY$part" ] || cp "$DGQ_TEST_REGISTRY$part" "$registry$part"
  done
else
  "$@" quantize "$source/models/demo" --registry "$registry" --name demo --calibration-tokens 2048 \
    --report "$registry.report" 2> "$registry.log" || { cat "$registry.log"; exit 1; }
  # The members of a layer's object stand in alphabetical order.
  awk -F'[:,]' '/"error":/ {error = $2} /"error_minmax":/ {minmax = $2}
    /"kind": "w[46]"/ {++layers; if (error >= minmax) ++worse}
    END {print layers " linear layers, " worse + 0 " of them not better than min-max rounding"; exit layers != 56 || worse > 0}' "$registry.report"
fi
"$@" registry verify --registry "$registry"

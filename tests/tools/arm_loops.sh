#!/usr/bin/env bash
# tests/tools/arm_loops.sh SOURCE_FOLDER BUILD_FOLDER - tools/arm_loops finds every inner loop, and at least 70 % of the vector instructions
# of prefill by SDOT and SMMLA are these multiplications.
set -euo pipefail
loops=$("$1/tools/arm_loops" --json "$2")
awk -F'"of_vector_instructions": ' '
  /"isa": "neon_(dot|i8mm)".*"call": "prefill".*"core": "any"/ { ++loops; if ($2 + 0 < 0.7) { print "fewer than 70 %: " $0; failed = 1 } }
  END { print loops + 0 " loops of prefill"; exit failed || loops != 6 }' <<< "$loops"

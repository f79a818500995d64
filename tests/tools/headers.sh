#!/usr/bin/env bash
# tests/tools/headers.sh SOURCE_FOLDER CXX - every header compiles alone: what it needs, it includes.
set -euo pipefail
cd "$1"
failed=0
for header in base/*.h kernels/*.h registry/*.h runtime/*.h quantizer/*.h tools/*.h; do
  "$2" -std=c++20 -Wall -Wextra -fsyntax-only -I. -include "$header" -x c++ /dev/null || { echo "not self-contained: $header"; failed=1; }
done
exit $failed

#!/usr/bin/env bash
# tests/tools/headers.sh SOURCE_FOLDER CXX - every public header compiles alone: what it needs, it includes. Where a source of the
# same name includes it first, the build has shown that.
set -euo pipefail
cd "$1"
export CXX=$2
alone() { "$CXX" -std=c++20 -Wall -Wextra -fsyntax-only -I. -include "$1" -x c++ /dev/null || { echo "not self-contained: $1"; return 1; }; }
export -f alone
for header in base/*.h kernels/*.h registry/*.h report/*.h runtime/*.h quantizer/*.h bench/*.h agent/*.h; do
  source=${header%.h}.cpp
  [ -f "$source" ] && [ "$(grep -m1 '^#include' "$source")" = "#include \"$header\"" ] || echo "$header"
done | xargs -P 2 -I{} bash -c 'alone {}'

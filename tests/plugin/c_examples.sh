#!/usr/bin/env bash
# tests/plugin/c_examples.sh BUILD_FOLDER SOURCE_FOLDER REGISTRY - the C examples build against an installed prefix with pkg-config
# and strict warnings, and run, under valgrind where there is one; the library exports nothing but dgq_*, and has what older hosts
# count on.
set -euo pipefail
build=$1 source=$2 registry=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" > "$work/install.log"
library=$(find "$work/prefix" -name libdgq.so)
folder=$(dirname "$library")
foreign=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -Ev '^(dgq_|DGQ_1)' || true)
[ -z "$foreign" ] || { echo "exported beside dgq_*: $foreign"; exit 1; }
export PKG_CONFIG_PATH=$folder/pkgconfig LD_LIBRARY_PATH=$folder DGQ_REGISTRY=$registry
for example in generate matmul; do
  # shellcheck disable=SC2046  # words of pkg-config
  gcc -std=c11 -Wall -Wextra -Wpedantic -Werror "$source/plugin/examples/$example.c" $(pkg-config --cflags --libs dgq) -o "$work/$example"
done
# shellcheck disable=SC2046
gcc -std=c11 -Wall -Wextra -Wpedantic -Werror "$source/tests/plugin/abi_1.c" $(pkg-config --cflags --libs dgq) -o "$work/abi"
"$work/abi"
echo '#include <dgq.h>
int main() { return dgq_abi_version() == DGQ_ABI_VERSION ? 0 : 1; }' > "$work/cpp.cpp"
# shellcheck disable=SC2046
g++ -std=c++11 -Wall -Wextra -Wpedantic -Werror "$work/cpp.cpp" $(pkg-config --cflags --libs dgq) -o "$work/cpp"
"$work/cpp"
"$work/generate" demo "The old king" > "$work/text"
[ "$(wc -w < "$work/text")" -gt 10 ]
"$work/matmul" demo layers.0.q_proj | grep -q '^layers.0.q_proj: [0-9]* x [0-9]*, first column'
! "$work/matmul" demo layers.99.q_proj 2> "$work/error"
grep -q 'no linear "layers.99.q_proj"' "$work/error"
if command -v valgrind > /dev/null; then
  DGQ_ISA=ref valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite "$work/matmul" demo layers.0.q_proj
else
  echo "not covered: C examples under valgrind (not installed)"
  [ -z "${DGQ_NOT_COVERED:-}" ] || echo "C examples under valgrind (not installed)" >> "$DGQ_NOT_COVERED"
fi

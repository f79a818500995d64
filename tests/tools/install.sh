#!/usr/bin/env bash
# tests/tools/install.sh BUILD_FOLDER CXX - `cmake --install` gives the command, the libraries and the headers, and a program
# that knows nothing of this source tree builds against them.
set -euo pipefail
build=$1 cxx=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/prefix" > "$work/install.log"
[ "$("$work/prefix/bin/dgq" --version)" = "$("$build/tools/dgq" --version)" ]

mkdir "$work/consumer"
cat > "$work/consumer/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(consumer CXX)
find_package(dgq 0.1 REQUIRED)
add_executable(consumer consumer.cpp)
target_link_libraries(consumer PRIVATE dgq::runtime)
EOF
cat > "$work/consumer/consumer.cpp" <<'EOF'
#include <cstdio>
#include "kernels/table.h"
#include "runtime/config.h"
int main() {
  const auto kernels = dgq::select_kernels("ref");
  const auto config = dgq::parse_config(dgq::Json::object(), "empty");
  std::printf("%s %d\n", kernels ? kernels->isa.c_str() : "none", static_cast<int>(config.has_value()));
}
EOF
cmake -G Ninja -S "$work/consumer" -B "$work/consumer/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_CXX_COMPILER="$cxx" > "$work/configure.log"
cmake --build "$work/consumer/build" > "$work/build.log" || { cat "$work/build.log"; exit 1; }
[ "$("$work/consumer/build/consumer")" = "ref 0" ]

# What a device needs, and nothing else.
cmake --install "$build" --prefix "$work/device" --component agent > "$work/install.log"
[ "$(cd "$work/device" && find . -type f | sort | tr '\n' ' ')" = "./bin/dgq ./lib/systemd/system/dgq-agent.service ./lib/systemd/system/dgq-agent.socket ./lib/sysusers.d/dgq.conf " ]

# The image has the libraries of the command. The C and C++ ones are part of every Debian.
image=$(dirname "$(readlink -f "$0")")/../../packaging/Containerfile
for library in $(ldd "$work/device/bin/dgq" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p'); do
  package=$({ dpkg -S "$library" || dpkg -S "/usr$library"; } 2> /dev/null | head -n 1 | cut -d: -f1)
  case "$package" in
    ""|libc6|libstdc++6|libgcc-s1) ;;
    *) grep -q -- "$package" "$image" || { echo "$image lacks $package"; exit 1; } ;;
  esac
done

# The service: its unit starts the command that is installed, and gives it few rights (exposure at most 2 of 10).
unit=$work/prefix/lib/systemd/system/dgq-agent.service
grep -q '^ExecStart=/.*/dgq agent$' "$unit"
[ -f "$work/prefix/lib/systemd/system/dgq-agent.socket" ] && [ -f "$work/prefix/lib/sysusers.d/dgq.conf" ]
if command -v systemd-analyze > /dev/null; then
  systemd-analyze security --offline=true --no-pager --threshold=20 "$unit" > "$work/security" || { cat "$work/security"; exit 1; }
else
  echo "not covered: exposure of the service (needs systemd-analyze)" | tee -a "${DGQ_NOT_COVERED:-/dev/null}"
fi

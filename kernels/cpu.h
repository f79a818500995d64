// kernels/cpu.h - what this CPU and its operating system can run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dgq {

// Bits of instruction-set features. A bit is set only when CPU and operating system (XCR0) both have it.
enum Feature : std::uint32_t {
  kAvx2 = 1u << 0,     // AVX2 with FMA and F16C
  kDotprod = 1u << 1,  // Armv8.2 SDOT/UDOT
};
using Features = std::uint32_t;

// Of the CPU this runs on; computed once, thread-safe.
Features cpu_features();

// "avx2", "avx2 fma", ...: the names of the bits, for people. "none" for 0.
std::string feature_names(Features features);

}  // namespace dgq

// kernels/cpu.h - what this CPU and its operating system can run.
#pragma once

#include <cstdint>
#include <string>

namespace dgq {

// Bits of instruction-set features. A bit is set only when CPU and operating system (XCR0) both have it.
enum Feature : std::uint32_t {
  kAvx2 = 1u << 0,     // AVX2 with FMA and F16C
  kDotprod = 1u << 1,  // Armv8.2 SDOT/UDOT
  kNeon = 1u << 2,  // Advanced SIMD: every AArch64 CPU; a bit all the same, so that DGQ_ISA=ref excludes it
  kI8mm = 1u << 3,  // Armv8.6 SMMLA
  kAvxVnni = 1u << 4,     // VPDPBUSD on 256 bits, VEX-encoded
  kAvx512Vnni = 1u << 5,  // AVX-512 F, BW, VL and VNNI
  kAmxInt8 = 1u << 6,     // AMX tiles of int8, and Linux lets this process use them
  // Not what code needs but what it is made for: the hardware's own prefetcher follows a stream across pages at the full
  // speed of memory, and being asked for lines only disturbs it (AMD since Zen; docs/KERNELS.md).
  kHwStreams = 1u << 16,
};
using Features = std::uint32_t;

// Of the CPU this runs on; computed once, thread-safe.
Features cpu_features();

// "avx2", "neon dotprod": the names of the bits, for people. "none" for 0.
std::string feature_names(Features features);

// What to call this CPU in reports: "Intel(R) Xeon(R) Processor", "Cortex-A76"; and the architecture of this
// build.
std::string cpu_name();
inline constexpr const char* kArchitecture =
#if defined(__x86_64__)
    "x86-64";
#elif defined(__aarch64__)
    "aarch64";
#else
    "other";
#endif

}  // namespace dgq

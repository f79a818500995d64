#include "kernels/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace dgq {
namespace {

#if defined(__x86_64__)

std::uint64_t read_xcr0() {
  std::uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32 | low;
}

Features detect() {
  std::uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool osxsave = c & bit_OSXSAVE;
  const bool fma_f16c = (c & bit_FMA) && (c & bit_F16C) && (c & bit_AVX);
  constexpr std::uint64_t kYmmState = 0b110;  // the OS saves xmm and ymm
  if (!osxsave || !fma_f16c || (read_xcr0() & kYmmState) != kYmmState) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  return (b & bit_AVX2) ? Features{kAvx2} : 0;
}

#elif defined(__aarch64__)

Features detect() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) ? Features{kDotprod} : 0; }

#else

Features detect() { return 0; }

#endif

}  // namespace

Features cpu_features() {
  static const Features features = detect();
  return features;
}

std::string feature_names(Features features) {
  static constexpr struct { Feature bit; const char* name; } kNames[] = {{kAvx2, "avx2"}, {kDotprod, "dotprod"}};
  std::string names;
  for (const auto& [bit, name] : kNames)
    if (features & bit) names += (names.empty() ? "" : " ") + std::string(name);
  return names.empty() ? "none" : names;
}

}  // namespace dgq

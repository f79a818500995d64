#include "kernels/cpu.h"

#include <cstdio>
#include <cstring>

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

std::string detect_name() {
  char name[49] = {};  // the brand string: three cpuid leaves of 16 bytes
  for (std::uint32_t leaf = 0; leaf < 3; ++leaf) {
    std::uint32_t part[4];
    if (!__get_cpuid(0x80000002u + leaf, &part[0], &part[1], &part[2], &part[3])) return "x86-64 CPU";
    std::memcpy(name + 16 * leaf, part, sizeof part);
  }
  return name + std::strspn(name, " ");
}

#elif defined(__aarch64__)

Features detect() {
  const unsigned long hwcap = getauxval(AT_HWCAP);
  return (hwcap & HWCAP_ASIMD ? kNeon : 0u) | (hwcap & HWCAP_ASIMDDP ? kDotprod : 0u) |
         (getauxval(AT_HWCAP2) & HWCAP2_I8MM ? kI8mm : 0u);
}

// Implementer and part number of MIDR_EL1, which the kernel reads for programs where HWCAP_CPUID is set.
std::string detect_name() {
  if (!(getauxval(AT_HWCAP) & HWCAP_CPUID)) return "AArch64 CPU";
  std::uint64_t midr;
  __asm__("mrs %0, MIDR_EL1" : "=r"(midr));
  static constexpr struct {
    std::uint32_t part;
    const char* name;
  } kArmCores[] = {{0xd03, "Cortex-A53"},  {0xd04, "Cortex-A35"},  {0xd05, "Cortex-A55"},
                   {0xd08, "Cortex-A72"},  {0xd0a, "Cortex-A75"},  {0xd0b, "Cortex-A76"},
                   {0xd0c, "Neoverse-N1"}, {0xd0d, "Cortex-A77"},  {0xd41, "Cortex-A78"},
                   {0xd40, "Neoverse-V1"}, {0xd49, "Neoverse-N2"}, {0xd4f, "Neoverse-V2"}};
  const std::uint32_t implementer = midr >> 24 & 0xff, part = midr >> 4 & 0xfff;
  for (const auto& core : kArmCores)
    if (implementer == 'A' && part == core.part) return core.name;
  char text[64];
  std::snprintf(text, sizeof text, "AArch64 CPU, implementer 0x%02x part 0x%03x", implementer, part);
  return text;
}

#else

Features detect() { return 0; }
std::string detect_name() { return "CPU"; }

#endif

}  // namespace

Features cpu_features() {
  static const Features features = detect();
  return features;
}

std::string feature_names(Features features) {
  static constexpr struct {
    Feature bit;
    const char* name;
  } kNames[] = {{kAvx2, "avx2"}, {kNeon, "neon"}, {kDotprod, "dotprod"}, {kI8mm, "i8mm"}};
  std::string names;
  for (const auto& [bit, name] : kNames)
    if (features & bit) names += (names.empty() ? "" : " ") + std::string(name);
  return names.empty() ? "none" : names;
}

std::string cpu_name() { return detect_name(); }

}  // namespace dgq

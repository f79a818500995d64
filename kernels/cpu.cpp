#include "kernels/cpu.h"

#include <cstdio>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
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

// Tile registers are 8 KiB that Linux saves only for processes that asked (Linux 5.16, arch_prctl(2)); threads that
// start later inherit the permission.
bool request_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Zen is family 17h; Hygon's Dhyana is one as well.
bool is_zen() {
  std::uint32_t a, b, c, d;
  char vendor[13] = {};
  if (!__get_cpuid(0, &a, &b, &c, &d)) return false;
  std::memcpy(vendor, &b, 4), std::memcpy(vendor + 4, &d, 4), std::memcpy(vendor + 8, &c, 4);
  const bool amd = !std::strcmp(vendor, "AuthenticAMD") || !std::strcmp(vendor, "HygonGenuine");
  if (!amd || !__get_cpuid(1, &a, &b, &c, &d)) return false;
  const std::uint32_t family = (a >> 8 & 0xf) + (a >> 20 & 0xff);
  return family >= 0x17;
}

Features detect() {
  std::uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const bool osxsave = c & bit_OSXSAVE;
  const bool fma_f16c = (c & bit_FMA) && (c & bit_F16C) && (c & bit_AVX);
  if (!osxsave || !fma_f16c) return 0;
  const std::uint64_t saved = read_xcr0();  // what the OS saves
  const auto saves = [&](std::uint64_t state) { return (saved & state) == state; };
  constexpr std::uint64_t kYmm = 0b110, kZmm = 0b1110'0110, kTiles = 0b11 << 17;
  if (!saves(kYmm) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return 0;
  Features features = kAvx2;
  const bool avx512 = (b & bit_AVX512F) && (b & bit_AVX512BW) && (b & bit_AVX512VL);
  if (saves(kZmm) && avx512 && (c & bit_AVX512VNNI)) features |= kAvx512Vnni;
  constexpr std::uint32_t kAmxBits = 1u << 24 | 1u << 25;  // TILE and INT8; compilers disagree on names
  if (saves(kTiles) && (d & kAmxBits) == kAmxBits && request_amx()) features |= kAmxInt8;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & bit_AVXVNNI)) features |= kAvxVnni;
  if (is_zen()) features |= kHwStreams;
  return features;
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
  } kNames[] = {{kAvx2, "avx2"},        {kAvxVnni, "avx_vnni"},    {kAvx512Vnni, "avx512_vnni"},
                {kAmxInt8, "amx_int8"}, {kNeon, "neon"},           {kDotprod, "dotprod"},
                {kI8mm, "i8mm"},        {kHwStreams, "hw_streams"}};
  std::string names;
  for (const auto& [bit, name] : kNames)
    if (features & bit) names += (names.empty() ? "" : " ") + std::string(name);
  return names.empty() ? "none" : names;
}

std::string cpu_name() { return detect_name(); }

}  // namespace dgq

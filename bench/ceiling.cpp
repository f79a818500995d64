// Assembly, because compilers move sums of such loops to memory or multiplications out of them, and because it needs no
// flags. 12 chains: more than latency times throughput of any of these instructions on any core so far.
#include "bench/ceiling.h"

namespace dgq::bench {
namespace {

#if defined(__x86_64__)

#define DGQ_X86_LOOP(init, step)                                                                           \
  __asm__ volatile(init "1:\n.irp sum, 0,1,2,3,4,5,6,7,8,9,10,11\n" step                                   \
                        ".endr\ndec %0\njnz 1b\n"                                                          \
                        "vzeroupper\n"                                                                     \
                   : "+r"(rounds)                                                                          \
                   :                                                                                       \
                   : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                     "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

void avx2(std::size_t rounds) noexcept {
  DGQ_X86_LOOP("vpcmpeqd %%ymm15, %%ymm15, %%ymm15\n",
               "vpmaddubsw %%ymm15, %%ymm15, %%ymm12\nvpaddw %%ymm12, %%ymm\\sum, %%ymm\\sum\n");
}
void avxvnni(std::size_t rounds) noexcept {
  DGQ_X86_LOOP("vpcmpeqd %%ymm15, %%ymm15, %%ymm15\n", "%{vex%} vpdpbusd %%ymm15, %%ymm15, %%ymm\\sum\n");
}
void avx512vnni(std::size_t rounds) noexcept {
  DGQ_X86_LOOP("vpternlogd $255, %%zmm15, %%zmm15, %%zmm15\n", "vpdpbusd %%zmm15, %%zmm15, %%zmm\\sum\n");
}

// As many tiles as a kernel has: 2 x 2 sums of 2 + 2 operands, all of 16 rows and 64 bytes.
void amx_int8(std::size_t rounds) noexcept {
  struct alignas(64) {
    unsigned char palette = 1, start_row = 0, reserved[14] = {};
    unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const tiles;
  __asm__ volatile(
      "ldtilecfg %1\n.irp tile, 0,1,2,3,4,5,6,7\ntilezero %%tmm\\tile\n.endr\n1:\n"
      "tdpbssd %%tmm6, %%tmm4, %%tmm0\ntdpbssd %%tmm7, %%tmm4, %%tmm1\n"
      "tdpbssd %%tmm6, %%tmm5, %%tmm2\ntdpbssd %%tmm7, %%tmm5, %%tmm3\n"
      "dec %0\njnz 1b\ntilerelease\n"
      : "+r"(rounds)
      : "m"(tiles)
      : "cc");
}

constexpr Ceiling kCeilings[] = {
    {"amx_int8", "tdpbssd", 4 * 16 * 16 * 64, amx_int8},
    {"avx512vnni", "vpdpbusd zmm", 12 * 64, avx512vnni},
    {"avxvnni", "vpdpbusd ymm", 12 * 32, avxvnni},
    {"avx2", "vpmaddubsw, vpaddw ymm", 12 * 32, avx2},
};

#elif defined(__aarch64__)

#define DGQ_ARM_LOOP(step)                                                                                   \
  __asm__ volatile(                                                                                          \
      "movi v31.16b, #1\n1:\n.irp sum, 0,1,2,3,4,5,6,7,8,9,10,11\n" step ".endr\nsubs %0, %0, #1\nb.ne 1b\n" \
      : "+r"(rounds)                                                                                         \
      :                                                                                                      \
      : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v30", "v31")

void neon(std::size_t rounds) noexcept {
  DGQ_ARM_LOOP(
      "smull v30.8h, v31.8b, v31.8b\nsmlal2 v30.8h, v31.16b, v31.16b\n"
      "sadalp v\\sum\\().4s, v30.8h\n");
}
// Encoded, as assemblers know these two only with flags.
void neon_dot(std::size_t rounds) noexcept {
  DGQ_ARM_LOOP(".inst 0x4e9f97e0 + \\sum\n");  // sdot v(sum).4s, v31.16b, v31.16b
}
void neon_i8mm(std::size_t rounds) noexcept {
  DGQ_ARM_LOOP(".inst 0x4e9fa7e0 + \\sum\n");  // smmla v(sum).4s, v31.16b, v31.16b
}

constexpr Ceiling kCeilings[] = {
    {"neon_i8mm", "smmla", 12 * 32, neon_i8mm},
    {"neon_dot", "sdot", 12 * 16, neon_dot},
    {"neon", "smull, smlal2, sadalp", 12 * 16, neon},
};

#else

constexpr std::span<const Ceiling> kCeilings;

#endif

}  // namespace

std::span<const Ceiling> ceilings() { return kCeilings; }

}  // namespace dgq::bench

// kernels/packed.h - weight matrices as every kernel reads them, straight from a mapped layer file.
//
//   y[m][n] = s1[n] * sum_b s_x[m][b] * ( sum_{k in b} xq[m][k] * w8[n][k] )  (+ bias[n])
//   W4, W6: w8[n][k] = s2[n][g] * q[n][k] + o[n][g],  g = k / group     W8: w8[n][k] = q[n][k]
//   (Dual Grained Quantization, arXiv 2310.04836, section 3; the free integer offset o generalises its zero
//   point)
//
// Layout n16k8 (W4, and the low four bits of W6): for each block of 16 output rows, for each step of 8 columns, 64 bytes:
//
//            byte 4*r + j              r = 0..15 output row in the block, j = 0..3
//     +-------------------------+
//     | q[r][k0+4+j] | q[r][k0+j] |    high nibble | low nibble
//     +-------------------------+
//
// The high two bits of W6: for each block, for each step, 32 bytes. Each serves two bytes of the 64, so that one load, shifts
// and masks give vectors in the order of the nibbles:
//
//            byte 4*r + j              r = 0..7
//     +----------------+--------------+--------------+------------+
//     | q[r+8][k0+4+j] | q[r][k0+4+j] | q[r+8][k0+j] | q[r][k0+j] |    bits 7-6 | 5-4 | 3-2 | 1-0
//     +----------------+--------------+--------------+------------+
//
// A plane of its own, as two streams of 64 and 32 bytes were read 15 % faster than one of 96 (AVX-512, 18.1 and 15.7 GB/s).
//
// Layout n16k4 (W8): for each block of 16 rows, for each step of 4 columns, 64 bytes: byte 4*r + j =
// q[r][k0+j].
//
// A matrix is one section of a layer blob: its parts in the order of the struct, each starting at a multiple
// of 64 bytes from the section's start. Rows past n (up to a multiple of 16) and columns past k hold q, s2,
// o, s1 = 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dgq {

inline constexpr std::size_t kRowBlock = 16;    // output rows in one block of either layout
inline constexpr std::size_t kColumnPad = 32;   // W8 columns are padded to this; others to their group
inline constexpr std::size_t kMaxK = 131072;    // 127 * 127 * kMaxK < 2^31: int32 sums stay exact
inline constexpr std::size_t kMaxN = 1u << 24;  // more output rows than any vocabulary

// Kernel files are compiled with instructions that not every CPU has. An inline function that one of them
// emitted as a shared symbol could become the whole program's copy, so whatever a contract header defines is
// inlined, always (tests/kernels/symbols_test.cmake looks).
#define DGQ_INLINE [[gnu::always_inline]] inline

DGQ_INLINE constexpr std::size_t round_up(std::size_t x, std::size_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

inline constexpr std::size_t kLowStepBytes = 64;  // of FineMatrix::q, for 16 rows x 8 columns

// W4 and W6: "fine", with a scale and an offset for each group.
template <int kBits>
struct FineMatrix {
  static_assert(kBits == 4 || kBits == 6);
  static constexpr int kLargestQ = (1 << kBits) - 1;
  static constexpr std::size_t kHighStepBytes = kBits == 6 ? 32 : 0;  // of q_high

  std::size_t n, k;            // logical output rows and input columns
  std::size_t group;           // columns that share s2 and o: 32, 64 or 128
  const std::uint8_t* q;       // [n16][padded_k / 8][64], n16k8; 64-byte aligned; borrowed
  const std::uint8_t* q_high;  // W6: [n16][padded_k / 8][32], the high bits; 64-byte aligned. W4: null
  const std::uint8_t* s2;      // [n16][padded_k / group][16], 0..127 (0 only in padding and all-zero groups)
  const std::int8_t* o;        // [n16][padded_k / group][16], -127..127
  const float* s1;             // [n16 * 16], finite, >= 0
  const float* bias;           // [n16 * 16] or null
  DGQ_INLINE std::size_t padded_k() const { return round_up(k, group); }
  DGQ_INLINE std::size_t blocks() const { return (n + kRowBlock - 1) / kRowBlock; }  // n16
};
using W4Matrix = FineMatrix<4>;
using W6Matrix = FineMatrix<6>;

struct W8Matrix {
  std::size_t n, k;
  std::size_t
      stride;  // columns from one block of rows to the next: padded_k() in a section, more in a KV cache
  const std::int8_t* q;  // [n16][stride / 4][64], n16k4, -127..127; 64-byte aligned; borrowed
  const float* s1;       // [n16 * 16], finite, >= 0
  const float* bias;     // [n16 * 16] or null
  DGQ_INLINE std::size_t padded_k() const { return round_up(k, kColumnPad); }
  DGQ_INLINE std::size_t blocks() const { return (n + kRowBlock - 1) / kRowBlock; }
};

// Bytes of the whole section. Preconditions: 0 < n <= kMaxN, 0 < k <= kMaxK, group in {32, 64, 128}.
template <int kBits>
std::size_t packed_fine_bytes(std::size_t n, std::size_t k, std::size_t group, bool bias);
std::size_t packed_w8_bytes(std::size_t n, std::size_t k, bool bias);

// Views over a section that starts at `section` (64-byte aligned, packed_*_bytes long). Contents are not
// looked at.
template <int kBits>
FineMatrix<kBits> bind_fine(const std::byte* section, std::size_t n, std::size_t k, std::size_t group,
                            bool bias);
W8Matrix bind_w8(const std::byte* section, std::size_t n, std::size_t k, bool bias);

// Plain row-major arrays -> section. q is [n][k] (W4: 0..15, W6: 0..63), s2 and o are [n][ceil(k / group)], s1 [n], bias
// [n] or null. Writes every byte of the section, padding included.
struct PlainFine {
  const std::uint8_t* q;
  const std::uint8_t* s2;
  const std::int8_t* o;
  const float* s1;
  const float* bias;
};
struct PlainW8 {
  const std::int8_t* q;
  const float* s1;
  const float* bias;
};
template <int kBits>
void pack_fine(const PlainFine& plain, std::size_t n, std::size_t k, std::size_t group, std::byte* section);
void pack_w8(const PlainW8& plain, std::size_t n, std::size_t k, std::byte* section);

DGQ_INLINE std::size_t packed_w4_bytes(std::size_t n, std::size_t k, std::size_t group, bool bias) {
  return packed_fine_bytes<4>(n, k, group, bias);
}
DGQ_INLINE std::size_t packed_w6_bytes(std::size_t n, std::size_t k, std::size_t group, bool bias) {
  return packed_fine_bytes<6>(n, k, group, bias);
}
DGQ_INLINE W4Matrix bind_w4(const std::byte* section, std::size_t n, std::size_t k, std::size_t group,
                            bool bias) {
  return bind_fine<4>(section, n, k, group, bias);
}
DGQ_INLINE W6Matrix bind_w6(const std::byte* section, std::size_t n, std::size_t k, std::size_t group,
                            bool bias) {
  return bind_fine<6>(section, n, k, group, bias);
}
DGQ_INLINE void pack_w4(const PlainFine& plain, std::size_t n, std::size_t k, std::size_t group,
                        std::byte* section) {
  pack_fine<4>(plain, n, k, group, section);
}
DGQ_INLINE void pack_w6(const PlainFine& plain, std::size_t n, std::size_t k, std::size_t group,
                        std::byte* section) {
  pack_fine<6>(plain, n, k, group, section);
}

// One element of w8, for tests, reports and row look-ups; i < n, j < k.
template <int kBits>
int w8_at(const FineMatrix<kBits>& w, std::size_t i, std::size_t j);
int w8_at(const W8Matrix& w, std::size_t i, std::size_t j);

// Row i as float: out[j] = s1[i] * w8[i][j], j < k. Embedding look-up and unpacking. (bias is not added)
template <int kBits>
void unpack_row(const FineMatrix<kBits>& w, std::size_t i, float* out);
void unpack_row(const W8Matrix& w, std::size_t i, float* out);

// The invariants that kernels rely on, for sections read from files: |w8| <= 127 for every q that occurs, s1
// and bias finite, s1 >= 0, s2 <= 127, no -128 anywhere, padding rows zero. Null when they hold, else what is
// wrong (a literal). Reads the weights only in groups whose s2, o leave the question open, so it is cheap on
// a mapped file.
template <int kBits>
const char* find_fault(const FineMatrix<kBits>& w);
const char* find_fault(const W8Matrix& w);  // reads everything (q = -128 is a fault)

}  // namespace dgq

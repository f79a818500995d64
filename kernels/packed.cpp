#include "kernels/packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dgq {
namespace {

constexpr std::size_t kAlign = 64;

std::size_t blocks_of(std::size_t n) { return round_up(n, kRowBlock) / kRowBlock; }

// Where the parts of a section start, in bytes; `end` is its length.
struct PartsFine {
  std::size_t q, q_high, s2, o, s1, bias, end;
};
struct PartsW8 {
  std::size_t q, s1, bias, end;
};

template <int kBits>
PartsFine parts_fine(std::size_t n, std::size_t k, std::size_t group, bool bias) {
  const std::size_t rows = blocks_of(n) * kRowBlock, columns = round_up(k, group);
  const std::size_t fine = round_up(rows * (columns / group), kAlign), coarse = rows * sizeof(float);
  PartsFine parts{};
  parts.q_high = rows * columns / 2;
  parts.s2 = parts.q_high + rows * columns / (8 * kRowBlock) * FineMatrix<kBits>::kHighStepBytes;
  parts.o = parts.s2 + fine;
  parts.s1 = parts.o + fine;
  parts.bias = parts.s1 + coarse;
  parts.end = parts.bias + (bias ? coarse : 0);
  return parts;
}

PartsW8 parts_w8(std::size_t n, std::size_t k, bool bias) {
  const std::size_t rows = blocks_of(n) * kRowBlock, coarse = rows * sizeof(float);
  PartsW8 parts{};
  parts.s1 = rows * round_up(k, kColumnPad);
  parts.bias = parts.s1 + coarse;
  parts.end = parts.bias + (bias ? coarse : 0);
  return parts;
}

// Where the bits of one q stand, in q and in q_high; those of the next columns, up to a multiple of 4, in the next bytes.
struct Place {
  std::size_t byte;
  int shift;
};
struct Places {
  Place low, high;  // high: W6
};
template <int kBits>
Places places_of(const FineMatrix<kBits>& w, std::size_t i, std::size_t j) {
  const std::size_t step = i / kRowBlock * (w.padded_k() / 8) + j / 8;
  const int shift = j % 8 < 4 ? 0 : 4;
  return {{step * kLowStepBytes + i % kRowBlock * 4 + j % 4, shift},
          {step * w.kHighStepBytes + i % 8 * 4 + j % 4, shift + (i % kRowBlock < 8 ? 0 : 2)}};
}

std::size_t q8_byte(const W8Matrix& w, std::size_t i, std::size_t j) {
  return (i / kRowBlock * (w.stride / 4) + j / 4) * 64 + i % kRowBlock * 4 + j % 4;
}

// s2 and o of row i, group g stand at this index of their parts.
template <int kBits>
std::size_t fine_index(const FineMatrix<kBits>& w, std::size_t i, std::size_t g) {
  return (i / kRowBlock * (w.padded_k() / w.group) + g) * kRowBlock + i % kRowBlock;
}

// The q at these places, `next` columns on.
template <int kBits>
int q_at(const FineMatrix<kBits>& w, const Places& places, std::size_t next = 0) {
  int q = w.q[places.low.byte + next] >> places.low.shift & 15;
  if constexpr (kBits == 6) q |= (w.q_high[places.high.byte + next] >> places.high.shift & 3) << 4;
  return q;
}

const char* coarse_fault(const float* s1, const float* bias, std::size_t n, std::size_t padded_n) {
  for (std::size_t i = 0; i < padded_n; ++i) {
    if (!std::isfinite(s1[i]) || s1[i] < 0) return "a channel scale (s1) is negative or not finite";
    if (bias && !std::isfinite(bias[i])) return "a bias is not finite";
    if (i >= n && (s1[i] != 0 || (bias && bias[i] != 0))) return "padding rows are not zero";
  }
  return nullptr;
}

// The largest q of each of 16 rows in one group. Loops that vectorise, over the bytes of a step.
template <int kBits>
void largest_q(const FineMatrix<kBits>& w, std::size_t block, std::size_t g,
               std::uint8_t (&largest)[kRowBlock]) {
  std::uint8_t most[64] = {};
  const auto take = [&most](std::size_t b, int low, int high) {
    most[b] = std::max(most[b], static_cast<std::uint8_t>(std::max(low, high)));
  };
  const Places first = places_of(w, block * kRowBlock, g * w.group);
  for (std::size_t step = 0; step < w.group / 8; ++step) {
    const std::uint8_t* q = w.q + first.low.byte + step * kLowStepBytes;
    if constexpr (kBits == 6) {
      const std::uint8_t* high = w.q_high + first.high.byte + step * w.kHighStepBytes;
      for (std::size_t b = 0; b < 32; ++b) {
        take(b, (q[b] & 15) | (high[b] << 4 & 0x30), q[b] >> 4 | (high[b] & 0x30));
        take(b + 32, (q[b + 32] & 15) | (high[b] << 2 & 0x30), q[b + 32] >> 4 | (high[b] >> 2 & 0x30));
      }
    } else {
      for (std::size_t b = 0; b < 64; ++b) take(b, q[b] & 15, q[b] >> 4);
    }
  }
  for (std::size_t r = 0; r < kRowBlock; ++r) largest[r] = *std::max_element(most + 4 * r, most + 4 * r + 4);
}

// w8 grows with q and o >= -127, so only the largest q of a row can break the invariant.
template <int kBits>
const char* group_fault(const FineMatrix<kBits>& w, std::size_t block, std::size_t g) {
  bool open = false;
  const std::size_t first = fine_index(w, block * kRowBlock, g);
  for (std::size_t r = 0; r < kRowBlock; ++r) {
    const int s2 = w.s2[first + r], o = w.o[first + r];
    if (s2 > 127) return "a group scale (s2) is over 127";
    if (o < -127) return "an offset (o) is -128";
    if (block * kRowBlock + r >= w.n && (s2 != 0 || o != 0)) return "padding rows are not zero";
    open = open || o + FineMatrix<kBits>::kLargestQ * s2 > 127;
  }
  if (!open) return nullptr;
  std::uint8_t largest[kRowBlock];
  largest_q(w, block, g, largest);
  for (std::size_t r = 0; r < kRowBlock; ++r)
    if (w.o[first + r] + w.s2[first + r] * largest[r] > 127) return "a weight is outside -127..127";
  return nullptr;
}

}  // namespace

template <int kBits>
std::size_t packed_fine_bytes(std::size_t n, std::size_t k, std::size_t group, bool bias) {
  return parts_fine<kBits>(n, k, group, bias).end;
}
template std::size_t packed_fine_bytes<4>(std::size_t, std::size_t, std::size_t, bool);
template std::size_t packed_fine_bytes<6>(std::size_t, std::size_t, std::size_t, bool);

std::size_t packed_w8_bytes(std::size_t n, std::size_t k, bool bias) { return parts_w8(n, k, bias).end; }

template <int kBits>
FineMatrix<kBits> bind_fine(const std::byte* section, std::size_t n, std::size_t k, std::size_t group,
                            bool bias) {
  const PartsFine parts = parts_fine<kBits>(n, k, group, bias);
  return {n,
          k,
          group,
          reinterpret_cast<const std::uint8_t*>(section),
          kBits == 4 ? nullptr : reinterpret_cast<const std::uint8_t*>(section + parts.q_high),
          reinterpret_cast<const std::uint8_t*>(section + parts.s2),
          reinterpret_cast<const std::int8_t*>(section + parts.o),
          reinterpret_cast<const float*>(section + parts.s1),
          bias ? reinterpret_cast<const float*>(section + parts.bias) : nullptr};
}
template W4Matrix bind_fine<4>(const std::byte*, std::size_t, std::size_t, std::size_t, bool);
template W6Matrix bind_fine<6>(const std::byte*, std::size_t, std::size_t, std::size_t, bool);

W8Matrix bind_w8(const std::byte* section, std::size_t n, std::size_t k, bool bias) {
  const PartsW8 parts = parts_w8(n, k, bias);
  return {n,
          k,
          round_up(k, kColumnPad),
          reinterpret_cast<const std::int8_t*>(section),
          reinterpret_cast<const float*>(section + parts.s1),
          bias ? reinterpret_cast<const float*>(section + parts.bias) : nullptr};
}

template <int kBits>
void pack_fine(const PlainFine& plain, std::size_t n, std::size_t k, std::size_t group, std::byte* section) {
  const PartsFine parts = parts_fine<kBits>(n, k, group, plain.bias);
  const FineMatrix<kBits> w = bind_fine<kBits>(section, n, k, group, plain.bias);
  const std::size_t groups = w.padded_k() / group;
  std::memset(section, 0, parts.end);
  const auto put = [](std::byte* part, const Place& place, int bits) {
    part[place.byte] |= static_cast<std::byte>(bits << place.shift);
  };
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < k; ++j) {
      const int q = plain.q[i * k + j];
      const Places places = places_of(w, i, j);
      put(section, places.low, q & 15);
      if constexpr (kBits == 6) put(section + parts.q_high, places.high, q >> 4);
    }
    for (std::size_t g = 0; g < groups; ++g) {
      section[parts.s2 + fine_index(w, i, g)] = static_cast<std::byte>(plain.s2[i * groups + g]);
      section[parts.o + fine_index(w, i, g)] = static_cast<std::byte>(plain.o[i * groups + g]);
    }
  }
  std::memcpy(section + parts.s1, plain.s1, n * sizeof(float));
  if (plain.bias) std::memcpy(section + parts.bias, plain.bias, n * sizeof(float));
}
template void pack_fine<4>(const PlainFine&, std::size_t, std::size_t, std::size_t, std::byte*);
template void pack_fine<6>(const PlainFine&, std::size_t, std::size_t, std::size_t, std::byte*);

void pack_w8(const PlainW8& plain, std::size_t n, std::size_t k, std::byte* section) {
  const PartsW8 parts = parts_w8(n, k, plain.bias);
  const W8Matrix w = bind_w8(section, n, k, plain.bias);
  std::memset(section, 0, parts.end);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < k; ++j)
      section[q8_byte(w, i, j)] = static_cast<std::byte>(plain.q[i * k + j]);
  std::memcpy(section + parts.s1, plain.s1, n * sizeof(float));
  if (plain.bias) std::memcpy(section + parts.bias, plain.bias, n * sizeof(float));
}

template <int kBits>
int w8_at(const FineMatrix<kBits>& w, std::size_t i, std::size_t j) {
  const std::size_t f = fine_index(w, i, j / w.group);
  return w.s2[f] * q_at(w, places_of(w, i, j)) + w.o[f];
}
template int w8_at(const W4Matrix&, std::size_t, std::size_t);
template int w8_at(const W6Matrix&, std::size_t, std::size_t);

int w8_at(const W8Matrix& w, std::size_t i, std::size_t j) { return w.q[q8_byte(w, i, j)]; }

template <int kBits>
void unpack_row(const FineMatrix<kBits>& w, std::size_t i, float* out) {
  const float s1 = w.s1[i];
  for (std::size_t begin = 0; begin < w.k; begin += w.group) {
    const std::size_t f = fine_index(w, i, begin / w.group);
    const int s2 = w.s2[f], o = w.o[f];
    for (std::size_t j = begin; j < std::min(begin + w.group, w.k); j += 4) {
      const Places places = places_of(w, i, j);
      for (std::size_t c = 0; c < std::min<std::size_t>(4, w.k - j); ++c)
        out[j + c] = s1 * static_cast<float>(s2 * q_at(w, places, c) + o);
    }
  }
}
template void unpack_row(const W4Matrix&, std::size_t, float*);
template void unpack_row(const W6Matrix&, std::size_t, float*);

void unpack_row(const W8Matrix& w, std::size_t i, float* out) {
  const float s1 = w.s1[i];
  for (std::size_t j = 0; j < w.k; j += 4) {
    const std::int8_t* q = w.q + q8_byte(w, i, j);
    for (std::size_t c = 0; c < std::min<std::size_t>(4, w.k - j); ++c)
      out[j + c] = s1 * static_cast<float>(q[c]);
  }
}

template <int kBits>
const char* find_fault(const FineMatrix<kBits>& w) {
  if (const char* fault = coarse_fault(w.s1, w.bias, w.n, w.blocks() * kRowBlock)) return fault;
  const std::size_t groups = w.padded_k() / w.group;
  for (std::size_t b = 0; b < w.blocks(); ++b)
    for (std::size_t g = 0; g < groups; ++g)
      if (const char* fault = group_fault(w, b, g)) return fault;
  return nullptr;
}
template const char* find_fault(const W4Matrix&);
template const char* find_fault(const W6Matrix&);

const char* find_fault(const W8Matrix& w) {
  const std::size_t rows = w.blocks() * kRowBlock;
  if (const char* fault = coarse_fault(w.s1, w.bias, w.n, rows)) return fault;
  const std::size_t bytes = rows * w.padded_k();
  int least = 0;  // the whole matrix in a loop that vectorises
  for (std::size_t b = 0; b < bytes; ++b) least = std::min<int>(least, w.q[b]);
  if (least < -127) return "a weight is -128";
  for (std::size_t i = w.n; i < rows; ++i)
    for (std::size_t j = 0; j < w.padded_k(); ++j)
      if (w8_at(w, i, j) != 0) return "padding rows are not zero";
  return nullptr;
}

}  // namespace dgq

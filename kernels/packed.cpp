#include "kernels/packed.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dgq {
namespace {

constexpr std::size_t kAlign = 64;

std::size_t blocks_of(std::size_t n) { return round_up(n, kRowBlock) / kRowBlock; }

// Where the parts of a section start, in bytes; `end` is its length.
struct PartsW4 {
  std::size_t q, s2, o, s1, bias, end;
};
struct PartsW8 {
  std::size_t q, s1, bias, end;
};

PartsW4 parts_w4(std::size_t n, std::size_t k, std::size_t group, bool bias) {
  const std::size_t rows = blocks_of(n) * kRowBlock, columns = round_up(k, group);
  const std::size_t fine = round_up(rows * (columns / group), kAlign), coarse = rows * sizeof(float);
  PartsW4 parts{};
  parts.s2 = rows * columns / 2;
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

std::size_t q4_byte(const W4Matrix& w, std::size_t i, std::size_t j) {
  return (i / kRowBlock * (w.padded_k() / 8) + j / 8) * 64 + i % kRowBlock * 4 + j % 4;
}

std::size_t q8_byte(const W8Matrix& w, std::size_t i, std::size_t j) {
  return (i / kRowBlock * (w.stride / 4) + j / 4) * 64 + i % kRowBlock * 4 + j % 4;
}

// s2 and o of row i, group g stand at this index of their parts.
std::size_t fine_index(const W4Matrix& w, std::size_t i, std::size_t g) {
  return (i / kRowBlock * (w.padded_k() / w.group) + g) * kRowBlock + i % kRowBlock;
}

int q4_at(const W4Matrix& w, std::size_t i, std::size_t j) {
  return w.q[q4_byte(w, i, j)] >> (j % 8 < 4 ? 0 : 4) & 15;
}

const char* coarse_fault(const float* s1, const float* bias, std::size_t n, std::size_t padded_n) {
  for (std::size_t i = 0; i < padded_n; ++i) {
    if (!std::isfinite(s1[i]) || s1[i] < 0) return "a channel scale (s1) is negative or not finite";
    if (bias && !std::isfinite(bias[i])) return "a bias is not finite";
    if (i >= n && (s1[i] != 0 || (bias && bias[i] != 0))) return "padding rows are not zero";
  }
  return nullptr;
}

// The largest q of each of 16 rows in one group.
void largest_q(const W4Matrix& w, std::size_t block, std::size_t g, std::uint8_t (&largest)[kRowBlock]) {
  std::uint8_t most[64] = {};  // by byte of a step: a loop that vectorises
  const std::uint8_t* q = w.q + (block * w.padded_k() + g * w.group) * (kRowBlock / 2);
  for (std::size_t step = 0; step < w.group / 8; ++step, q += 64)
    for (std::size_t b = 0; b < 64; ++b)
      most[b] = std::max<std::uint8_t>(most[b], std::max<std::uint8_t>(q[b] & 15, q[b] >> 4));
  for (std::size_t r = 0; r < kRowBlock; ++r) largest[r] = *std::max_element(most + 4 * r, most + 4 * r + 4);
}

// w8 grows with q and o >= -127, so only the largest q of a row can break the invariant.
const char* group_fault(const W4Matrix& w, std::size_t block, std::size_t g) {
  bool open = false;
  const std::size_t first = fine_index(w, block * kRowBlock, g);
  for (std::size_t r = 0; r < kRowBlock; ++r) {
    const int s2 = w.s2[first + r], o = w.o[first + r];
    if (s2 > 127) return "a group scale (s2) is over 127";
    if (o < -127) return "an offset (o) is -128";
    if (block * kRowBlock + r >= w.n && (s2 != 0 || o != 0)) return "padding rows are not zero";
    open = open || o + 15 * s2 > 127;
  }
  if (!open) return nullptr;
  std::uint8_t largest[kRowBlock];
  largest_q(w, block, g, largest);
  for (std::size_t r = 0; r < kRowBlock; ++r)
    if (w.o[first + r] + w.s2[first + r] * largest[r] > 127) return "a weight is outside -127..127";
  return nullptr;
}

}  // namespace

std::size_t packed_w4_bytes(std::size_t n, std::size_t k, std::size_t group, bool bias) {
  return parts_w4(n, k, group, bias).end;
}

std::size_t packed_w8_bytes(std::size_t n, std::size_t k, bool bias) { return parts_w8(n, k, bias).end; }

W4Matrix bind_w4(const std::byte* section, std::size_t n, std::size_t k, std::size_t group, bool bias) {
  const PartsW4 parts = parts_w4(n, k, group, bias);
  return {n,
          k,
          group,
          reinterpret_cast<const std::uint8_t*>(section),
          reinterpret_cast<const std::uint8_t*>(section + parts.s2),
          reinterpret_cast<const std::int8_t*>(section + parts.o),
          reinterpret_cast<const float*>(section + parts.s1),
          bias ? reinterpret_cast<const float*>(section + parts.bias) : nullptr};
}

W8Matrix bind_w8(const std::byte* section, std::size_t n, std::size_t k, bool bias) {
  const PartsW8 parts = parts_w8(n, k, bias);
  return {n,
          k,
          round_up(k, kColumnPad),
          reinterpret_cast<const std::int8_t*>(section),
          reinterpret_cast<const float*>(section + parts.s1),
          bias ? reinterpret_cast<const float*>(section + parts.bias) : nullptr};
}

void pack_w4(const PlainW4& plain, std::size_t n, std::size_t k, std::size_t group, std::byte* section) {
  const PartsW4 parts = parts_w4(n, k, group, plain.bias);
  const W4Matrix w = bind_w4(section, n, k, group, plain.bias);
  const std::size_t groups = w.padded_k() / group;
  std::memset(section, 0, parts.end);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < k; ++j) {
      std::byte& byte = section[q4_byte(w, i, j)];
      byte |= static_cast<std::byte>(plain.q[i * k + j] << (j % 8 < 4 ? 0 : 4));
    }
    for (std::size_t g = 0; g < groups; ++g) {
      section[parts.s2 + fine_index(w, i, g)] = static_cast<std::byte>(plain.s2[i * groups + g]);
      section[parts.o + fine_index(w, i, g)] = static_cast<std::byte>(plain.o[i * groups + g]);
    }
  }
  std::memcpy(section + parts.s1, plain.s1, n * sizeof(float));
  if (plain.bias) std::memcpy(section + parts.bias, plain.bias, n * sizeof(float));
}

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

int w8_at(const W4Matrix& w, std::size_t i, std::size_t j) {
  const std::size_t f = fine_index(w, i, j / w.group);
  return w.s2[f] * q4_at(w, i, j) + w.o[f];
}

int w8_at(const W8Matrix& w, std::size_t i, std::size_t j) { return w.q[q8_byte(w, i, j)]; }

void unpack_row(const W4Matrix& w, std::size_t i, float* out) {
  const float s1 = w.s1[i];
  for (std::size_t begin = 0; begin < w.k; begin += w.group) {
    const std::size_t f = fine_index(w, i, begin / w.group);
    const int s2 = w.s2[f], o = w.o[f];
    for (std::size_t j = begin; j < std::min(begin + w.group, w.k);
         j += 4) {  // 4 columns are 4 bytes in a row
      const std::uint8_t* q = w.q + q4_byte(w, i, j);
      const int shift = j % 8 < 4 ? 0 : 4;
      for (std::size_t c = 0; c < std::min<std::size_t>(4, w.k - j); ++c)
        out[j + c] = s1 * static_cast<float>(s2 * (q[c] >> shift & 15) + o);
    }
  }
}

void unpack_row(const W8Matrix& w, std::size_t i, float* out) {
  const float s1 = w.s1[i];
  for (std::size_t j = 0; j < w.k; j += 4) {
    const std::int8_t* q = w.q + q8_byte(w, i, j);
    for (std::size_t c = 0; c < std::min<std::size_t>(4, w.k - j); ++c)
      out[j + c] = s1 * static_cast<float>(q[c]);
  }
}

const char* find_fault(const W4Matrix& w) {
  if (const char* fault = coarse_fault(w.s1, w.bias, w.n, w.blocks() * kRowBlock)) return fault;
  const std::size_t groups = w.padded_k() / w.group;
  for (std::size_t b = 0; b < w.blocks(); ++b)
    for (std::size_t g = 0; g < groups; ++g)
      if (const char* fault = group_fault(w, b, g)) return fault;
  return nullptr;
}

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

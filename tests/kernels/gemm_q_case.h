// tests/kernels/gemm_q_case.h - weights and activations for the tests of gemm_q.h, every array in its own
// Guarded.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <random>

#include "kernels/gemm_q.h"
#include "tests/kernels/guarded.h"

namespace dgq::test {

enum class Fill {
  random,
  extreme,   // only the ends: q 0 or the largest allowed, s2 and o at and around their limits, xq -127 or 127
  greatest,  // every w8 and every xq 127, with the largest int16 sums inside the fold
  least,     // the same with xq -127
};

struct Shape {
  std::size_t m, n, k, group;  // group: not of W8
  bool row_scale;              // one activation scale for the whole row, else one for 128 columns
  bool bias;
  Fill fill;
  bool unit_scales = false;  // s1 = scale = 1: y is the integer sum itself
};

inline std::ostream& operator<<(std::ostream& out, const Shape& s) {
  return out << "m=" << s.m << " n=" << s.n << " k=" << s.k << " group=" << s.group
             << " row_scale=" << s.row_scale << " bias=" << s.bias << " fill=" << static_cast<int>(s.fill);
}

using Random = std::mt19937;
inline int pick(Random& random, int low, int high) {  // the same on every machine, unlike std's distributions
  return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
}
inline float pick_float(Random& random, float low, float high) {
  return low + (high - low) * (static_cast<float>(random() % 65537) / 65536.0f);
}

// Quantized activations; columns past k are 0.
class Activations {
 public:
  Activations(const Shape& shape, Random& random)
      : m_(shape.m),
        stride_(round_up(shape.k, kActBlock)),
        block_(shape.row_scale ? stride_ : kActBlock),
        q(m_ * stride_),
        scale(m_ * (stride_ / block_), 1.0f),
        sums(m_ * (stride_ / kActBlock)) {
    for (std::size_t i = 0; i < m_; ++i) {
      for (std::size_t k = 0; k < shape.k; ++k) {
        const int value = one(shape.fill, random);
        const std::size_t at = k / kActBlock * m_ + i, column = k % kActBlock;
        q[at * kActBlock + column] = static_cast<std::int8_t>(value);
        sums[at].add(column, value);
      }
    }
    if (shape.unit_scales) return;
    for (std::size_t i = 0; i < scale.size(); ++i)
      scale[i] = random() % 8 == 0 ? 0.0f : pick_float(random, 1e-4f, 3.0f);
  }
  int at(std::size_t i, std::size_t k) const { return view().q_of(i, k / kActBlock)[k % kActBlock]; }
  QuantizedRows view() const { return {m_, stride_, block_, q.data(), scale.data(), sums.data()}; }

 private:
  static int one(Fill fill, Random& random) {
    switch (fill) {
      case Fill::random:
        return pick(random, -127, 127);
      case Fill::extreme:
        return random() % 2 ? 127 : -127;
      case Fill::greatest:
        return 127;
      case Fill::least:
        return -127;
    }
    return 0;
  }
  std::size_t m_, stride_, block_;

 public:
  Guarded<std::int8_t> q;
  Guarded<float> scale;
  Guarded<ChunkSums> sums;
};

// s1 and bias, and what both kinds of weights do with them.
struct Coarse {
  std::vector<float> s1, bias;
  Coarse(const Shape& shape, Random& random) : s1(shape.n), bias(shape.bias ? shape.n : 0) {
    for (float& value : s1) value = shape.unit_scales ? 1.0f : pick_float(random, 0.0f, 0.1f);
    for (float& value : bias) value = pick_float(random, -5.0f, 5.0f);
  }
  const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
};

// 64-byte aligned, as a mapped layer file is.
struct AlignedDelete {
  void operator()(std::byte* p) const { std::free(p); }
};
using Section = std::unique_ptr<std::byte, AlignedDelete>;
inline Section make_section(std::size_t bytes) {
  Section section(static_cast<std::byte*>(std::aligned_alloc(64, round_up(bytes, 64))));
  std::fill_n(section.get(), bytes, std::byte{0xa5});  // packing must write every byte
  return section;
}

template <int kBits>
struct FineWeights {
  using Matrix = FineMatrix<kBits>;
  static constexpr int kLargestQ = Matrix::kLargestQ;
  std::vector<std::uint8_t> q, s2;
  std::vector<std::int8_t> o;
  Coarse coarse;
  std::size_t k, group, groups;
  Section section;
  Matrix bound;  // over section

  FineWeights(const Shape& shape, Random& random)
      : q(shape.n * shape.k),
        coarse(shape, random),
        k(shape.k),
        group(shape.group),
        groups(round_up(k, group) / group) {
    s2.resize(shape.n * groups);
    o.resize(shape.n * groups);
    for (std::size_t f = 0; f < s2.size(); ++f) fill_fine(shape.fill, f, random);
    for (std::size_t i = 0; i < shape.n; ++i)
      for (std::size_t j = 0; j < k; ++j) q[i * k + j] = one(shape.fill, i * groups + j / group, random);
    section = make_section(packed_fine_bytes<kBits>(shape.n, k, group, shape.bias));
    pack_fine<kBits>({q.data(), s2.data(), o.data(), coarse.s1.data(), coarse.bias_or_null()}, shape.n, k,
                     group, section.get());
    bound = bind_fine<kBits>(section.get(), shape.n, k, group, shape.bias);
  }
  int w8(std::size_t i, std::size_t j) const {
    const std::size_t f = i * groups + j / group;
    return s2[f] * q[i * k + j] + o[f];
  }

 private:
  void fill_fine(Fill fill, std::size_t f, Random& random) {
    static constexpr int kEnds[][2] = {{127, -127}, {127, 0}, {16, -113}, {17, -127}, {8, 7},   {0, -127},
                                       {0, 127},    {1, 112}, {4, -125},  {4, -127},  {3, -62}, {1, 64}};
    const auto& end = kEnds[random() % std::size(kEnds)];
    const bool random_fill = fill == Fill::random, extreme = fill == Fill::extreme;
    constexpr int kGreatest = 127 - (kBits == 4 ? 16 : 4) * kLargestQ;  // w8 127 with the largest q
    s2[f] = static_cast<std::uint8_t>(random_fill  ? pick(random, 0, 127)
                                      : extreme    ? end[0]
                                      : kBits == 4 ? 16
                                                   : 4);
    o[f] = static_cast<std::int8_t>(random_fill ? pick(random, -127, 127) : extreme ? end[1] : kGreatest);
  }
  std::uint8_t one(Fill fill, std::size_t f, Random& random) const {
    const int most = s2[f] == 0 ? kLargestQ : std::min(kLargestQ, (127 - o[f]) / s2[f]);  // |w8| <= 127
    if (fill == Fill::random) return static_cast<std::uint8_t>(pick(random, 0, most));
    return static_cast<std::uint8_t>(fill == Fill::extreme && random() % 2 ? 0 : most);
  }
};
using W4Weights = FineWeights<4>;
using W6Weights = FineWeights<6>;

struct W8Weights {
  using Matrix = W8Matrix;
  std::vector<std::int8_t> q;
  Coarse coarse;
  std::size_t k;
  Section section;
  W8Matrix bound;

  W8Weights(const Shape& shape, Random& random) : q(shape.n * shape.k), coarse(shape, random), k(shape.k) {
    for (std::int8_t& value : q)
      value = static_cast<std::int8_t>(shape.fill == Fill::random    ? pick(random, -127, 127)
                                       : shape.fill == Fill::extreme ? (random() % 2 ? 127 : -127)
                                                                     : 127);
    section = make_section(packed_w8_bytes(shape.n, k, shape.bias));
    pack_w8({q.data(), coarse.s1.data(), coarse.bias_or_null()}, shape.n, k, section.get());
    bound = bind_w8(section.get(), shape.n, k, shape.bias);
  }
  int w8(std::size_t i, std::size_t j) const { return q[i * k + j]; }
};

template <class T>
std::optional<Guarded<T>> guard(const T* values, std::size_t count) {
  if (!values) return std::nullopt;
  return std::optional<Guarded<T>>(std::in_place, std::span(values, count));
}

// The parts of a bound matrix, each copied to where reading past its end is fatal.
template <int kBits>
class GuardedFine {
 public:
  explicit GuardedFine(const FineMatrix<kBits>& w)
      : w_(w), rows_(w.blocks() * kRowBlock), groups_(w.padded_k() / w.group) {
    w_.q = q_.data(), w_.s2 = s2_.data(), w_.o = o_.data(), w_.s1 = s1_.data();
    if (q_high_) w_.q_high = q_high_->data();
    if (bias_) w_.bias = bias_->data();
  }
  const FineMatrix<kBits>& view() const { return w_; }

 private:
  FineMatrix<kBits> w_;
  std::size_t rows_, groups_;
  Guarded<std::uint8_t> q_{std::span(w_.q, rows_*w_.padded_k() / 2)}, s2_{std::span(w_.s2, rows_*groups_)};
  std::optional<Guarded<std::uint8_t>> q_high_ = guard(w_.q_high, rows_* w_.padded_k() / 4);
  Guarded<std::int8_t> o_{std::span(w_.o, rows_* groups_)};
  Guarded<float> s1_{std::span(w_.s1, rows_)};
  std::optional<Guarded<float>> bias_ = guard(w_.bias, rows_);
};
using GuardedW4 = GuardedFine<4>;
using GuardedW6 = GuardedFine<6>;

class GuardedW8 {
 public:
  explicit GuardedW8(const W8Matrix& w) : w_(w), rows_(w.blocks() * kRowBlock) {
    w_.q = q_.data(), w_.s1 = s1_.data();
    if (bias_) w_.bias = bias_->data();
  }
  const W8Matrix& view() const { return w_; }

 private:
  W8Matrix w_;
  std::size_t rows_;
  Guarded<std::int8_t> q_{std::span(w_.q, rows_* w_.padded_k())};
  Guarded<float> s1_{std::span(w_.s1, rows_)};
  std::optional<Guarded<float>> bias_ = guard(w_.bias, rows_);
};

}  // namespace dgq::test

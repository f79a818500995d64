#include "quantizer/descend.h"

#include "quantizer/clones.h"
#include "runtime/ops.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

// x += factor * y
DGQ_CLONES void add_scaled(float* x, const float* y, std::size_t n, float factor) {
  for (std::size_t i = 0; i < n; ++i) x[i] += factor * y[i];
}

constexpr std::size_t kRows =
    24;  // whose products with H are made at a time, so that H is read once for all of them

// Some rows, one after the other. Of each: w8 as float, the product of H with w, and the gradient.
class RowDescent {
 public:
  // block_sums: [k], of each row of H over the columns of its own group.
  RowDescent(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
             std::span<const float> block_sums, const FineFormat& format, const DescendOptions& options)
      : gemm_(gemm),
        w_(w),
        h_(h.data()),
        block_sums_(block_sums),
        format_(format),
        options_(options),
        groups_(format.groups(w.k)),
        both_(2 * kRows * w.k),
        products_(2 * kRows * w.k),
        gradient_(w.k),
        codes_(format.group),
        change_(format.group) {}

  // Rows [first, first + count), count <= kRows.
  void run(std::size_t first, std::size_t count, FineLinear& linear) {
    for (std::size_t r = 0; r < count; ++r) {
      select(first, r, linear);
      std::copy_n(w_.w + (first + r) * w_.k, w_.k, w());
      for (std::size_t k = 0; k < w_.k; ++k) {
        const std::size_t g = k / format_.group;
        w8()[k] = static_cast<float>(s2_[g] * q_[k] + o_[g]);
      }
    }
    gemm_.run({w_.k, w_.k, h_, nullptr}, both_.data(), w_.k, 2 * count, 0, w_.k, products_.data(), w_.k);
    for (std::size_t r = 0; r < count; ++r) {
      select(first, r, linear);
      s1_ = linear.s1[first + r];
      if (!(s1_ > 0)) continue;
      descend();
      linear.s1[first + r] = s1_;
    }
  }

 private:
  std::size_t width(std::size_t g) const { return std::min(format_.group, w_.k - g * format_.group); }
  float* w() { return both_.data() + 2 * row_ * w_.k; }
  float* w8() { return w() + w_.k; }
  float* h_w() { return products_.data() + 2 * row_ * w_.k; }

  // Row `row` of those that start at `first`.
  void select(std::size_t first, std::size_t row, FineLinear& linear) {
    row_ = row;
    q_ = linear.q.data() + (first + row) * w_.k;
    s2_ = linear.s2.data() + (first + row) * groups_;
    o_ = linear.o.data() + (first + row) * groups_;
  }

  void descend() {
    find_gradient();
    for (std::size_t sweep = 0; sweep < options_.sweeps && move_codes(); ++sweep) continue;
    for (std::size_t round = 0; round < options_.rounds; ++round) {
      for (std::size_t g = 0; g < groups_; ++g) move_grid(g);
      refit();
      for (std::size_t sweep = 0; sweep < options_.sweeps && move_codes(); ++sweep) continue;
    }
  }

  // H d: half the error's gradient by w_hat, with the sign turned. h_w8: the product of H with w8.
  void find_gradient() {
    const float* h_w8 = h_w() + w_.k;
    for (std::size_t k = 0; k < w_.k; ++k) gradient_[k] = h_w()[k] - s1_ * h_w8[k];
  }

  // w8 += change on the columns of group g.
  void apply(std::size_t g, const float* change) {
    const std::size_t begin = g * format_.group;
    for (std::size_t i = 0; i < width(g); ++i) {
      if (change[i] == 0) continue;
      w8()[begin + i] += change[i];
      const float* column = h_ + (begin + i) * w_.k;
      add_scaled(gradient_.data(), column, w_.k, -s1_ * change[i]);
    }
  }

  bool move_codes() {
    const auto top = static_cast<float>(format_.top());
    bool moved = false;
    for (std::size_t k = 0; k < w_.k; ++k) {
      const float s2 = s2_[k / format_.group], step = s1_ * s2, curvature = h_[k * w_.k + k];
      const float now = q_[k];
      // The error changes by -2 step e gradient + step^2 e^2 curvature when q moves by e.
      const float wanted = round_even(clamp_to(gradient_[k] * reciprocal(step * curvature), -top, top));
      const float e = clamp_to(now + wanted, 0, top) - now;
      if (e == 0) continue;
      q_[k] = static_cast<std::uint8_t>(now + e);
      w8()[k] += s2 * e;
      const float* column = h_ + k * w_.k;
      add_scaled(gradient_.data(), column, w_.k, -step * e);
      moved = true;
    }
    return moved;
  }

  // w8 of the group changes by u * q + t: the error by s1^2 (u^2 qHq + 2 u t qH1 + t^2 1H1) - 2 s1 (u gq + t g1), which is a
  // parabola in t for each u.
  void move_grid(std::size_t g) {
    const std::size_t begin = g * format_.group, n = width(g);
    float sums = 0, q_sums = 0, q_products = 0, g_sum = 0, g_product = 0;
    for (std::size_t i = 0; i < n; ++i) codes_[i] = q_[begin + i];
    for (std::size_t i = 0; i < n; ++i) {
      sums += block_sums_[begin + i];
      q_sums += codes_[i] * block_sums_[begin + i];
      q_products += codes_[i] * dot(h_ + (begin + i) * w_.k + begin, codes_.data(), n);
      g_sum += gradient_[begin + i];
      g_product += gradient_[begin + i] * codes_[i];
    }
    const auto top = static_cast<float>(format_.top()), largest = static_cast<float>(format_.largest_s2());
    float least = 0, best_u = 0, best_t = 0;
    for (float u = -2; u <= 2; ++u) {
      const float s2 = s2_[g] + u;
      if (s2 < 1 || s2 > largest) continue;
      const float ideal = (g_sum * reciprocal(s1_) - u * q_sums) * reciprocal(sums);
      const float o = clamp_to(round_even(clamp_to(o_[g] + ideal, -kInt8Limit, kInt8Limit)), -kInt8Limit,
                               kInt8Limit - top * s2);
      const float t = o - o_[g];
      const float change = s1_ * s1_ * (u * u * q_products + 2 * u * t * q_sums + t * t * sums) -
                           2 * s1_ * (u * g_product + t * g_sum);
      if (change < least) least = change, best_u = u, best_t = t;
    }
    if (best_u == 0 && best_t == 0) return;
    s2_[g] = static_cast<std::uint8_t>(s2_[g] + best_u);
    o_[g] = static_cast<std::int8_t>(o_[g] + best_t);
    for (std::size_t i = 0; i < n; ++i) change_[i] = best_u * codes_[i] + best_t;
    apply(g, change_.data());
  }

  void refit() {
    // s1 H w8 is H w - gradient.
    const float cross = dot(h_w(), w8(), w_.k), ratio = cross / (cross - dot(gradient_.data(), w8(), w_.k));
    if (!(s1_ * ratio > 0) || !std::isfinite(s1_ * ratio)) return;
    s1_ *= ratio;
    for (std::size_t k = 0; k < w_.k; ++k) gradient_[k] = h_w()[k] - ratio * (h_w()[k] - gradient_[k]);
  }

  const GemmF32Kernel& gemm_;
  const F32Matrix w_;
  const float* h_;
  const std::span<const float> block_sums_;
  const FineFormat format_;
  const DescendOptions options_;
  std::size_t groups_;
  std::vector<float> both_, products_;  // [kRows][2][k]: w and w8; H times each
  std::vector<float> gradient_;         // [k] H (w - s1 w8) of the row at hand
  std::vector<float> codes_, change_;   // of one group
  std::size_t row_ = 0;                 // the row at hand, and its parts
  std::uint8_t *q_ = nullptr, *s2_ = nullptr;
  std::int8_t* o_ = nullptr;
  float s1_ = 0;
};

}  // namespace

void descend(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
             const FineFormat& format, const DescendOptions& options, int threads, FineLinear& linear) {
  std::vector<float> block_sums(w.k);
  for (std::size_t i = 0; i < w.k; ++i) {
    const std::size_t begin = i / format.group * format.group;
    for (std::size_t j = begin; j < std::min(begin + format.group, w.k); ++j) block_sums[i] += h[i * w.k + j];
  }
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    RowDescent rows(gemm, w, h, block_sums, format, options);
    for (std::size_t n = begin; n < end; n += kRows) rows.run(n, std::min(kRows, end - n), linear);
  });
}

}  // namespace dgq

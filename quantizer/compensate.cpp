#include "quantizer/compensate.h"

#include <array>
#include <numeric>

#include "quantizer/cholesky.h"
#include "quantizer/clones.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kLanes = 16;  // rows that are rounded side by side

using Lanes = std::array<float, kLanes>;

// Ascending in energy: groups by their sum, columns inside a group by their own. Ties keep their order.
std::vector<std::size_t> energy_order(std::span<const float> h, std::size_t k, std::size_t group,
                                      std::vector<ErrorFeedback::Group>& groups) {
  std::vector<double> energy;
  for (std::size_t begin = 0; begin < k; begin += group) {
    double sum = 0;
    for (std::size_t i = begin; i < std::min(begin + group, k); ++i) sum += h[i * k + i];
    energy.push_back(sum / static_cast<double>(std::min(group, k - begin)));
  }
  std::vector<std::size_t> by_energy(energy.size()), order(k);
  std::iota(by_energy.begin(), by_energy.end(), std::size_t{0});
  std::stable_sort(by_energy.begin(), by_energy.end(),
                   [&](std::size_t a, std::size_t b) { return energy[a] < energy[b]; });
  std::size_t at = 0;
  for (const std::size_t g : by_energy) {
    const std::size_t width = std::min(group, k - g * group);
    const auto first = order.begin() + static_cast<std::ptrdiff_t>(at);
    std::iota(first, first + static_cast<std::ptrdiff_t>(width), g * group);
    std::stable_sort(first, first + static_cast<std::ptrdiff_t>(width),
                     [&](std::size_t a, std::size_t b) { return h[a * k + a] < h[b * k + b]; });
    groups.push_back({g, at, width, {}, {}});
    at += width;
  }
  std::reverse(groups.begin(), groups.end());
  return order;
}

// L of the damped H in the given order. Damping is raised until the matrix is positive definite.
std::vector<double> damped_factor(std::span<const float> h, const std::vector<std::size_t>& order,
                                  double damping, int threads) {
  const std::size_t k = order.size();
  double mean = 0;
  for (std::size_t i = 0; i < k; ++i) mean += h[i * k + i] / static_cast<double>(k);
  if (!(mean > 0)) mean = 1;  // inputs that are always zero: any order and weight will do
  for (;; damping = damping > 0 ? damping * 4 : 1e-6) {
    std::vector<double> a(k * k);
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t j = 0; j <= i; ++j) a[i * k + j] = h[order[i] * k + order[j]];
      a[i * k + i] += damping * mean;
    }
    if (factor_cholesky(a, k, threads) || damping > 1e6) return a;
  }
}

// One group of one tile of rows, [columns][lanes] throughout.
struct GroupTile {
  const ErrorFeedback::Group& group;
  const float* weight;    // [width]
  const float* original;  // w
  const float* target;    // w + feedback of the groups before
  float top;
};

// The lanes of one column, in place. GCC's vectors: its loops over lanes come out scalar, or across columns.
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

inline Vector& at(float* lanes, std::size_t column = 0) {
  return *reinterpret_cast<Vector*>(lanes + column * kLanes);
}
inline const Vector& at(const float* lanes, std::size_t column = 0) {
  return *reinterpret_cast<const Vector*>(lanes + column * kLanes);
}

// Rounds the columns from the last to the first to the levels start + step * q: q and d = w - level of each. `scratch`:
// [width][lanes]. errors: each lane's.
DGQ_CLONES void round_group(const GroupTile& tile, const Lanes& step, const Lanes& start, float* scratch,
                            float* q, float* d, Lanes& errors) {
  constexpr float kMagic = 12582912.0f;  // as round_even
  Lanes inverse;
  for (std::size_t r = 0; r < kLanes; ++r) inverse[r] = reciprocal(step[r]);
  const Vector inverses = at(inverse.data()), steps = at(step.data()), starts = at(start.data());
  const Vector zero{}, top = zero + tile.top;
  const std::size_t width = tile.group.width;
  for (std::size_t c = 0; c < width; ++c) at(scratch, c) = at(tile.target, c);
  Vector error{};
  for (std::size_t c = width; c-- > 0;) {
    const Vector v = at(scratch, c);
    Vector code = (v - starts) * inverses;
    code = code < zero ? zero : code;
    code = top < code ? top : code;
    code = (code + kMagic) - kMagic;
    const Vector level = starts + steps * code, miss = v - level, left = at(tile.original, c) - level;
    error += tile.weight[c] * miss * miss;
    at(q, c) = code;
    at(d, c) = left;
    const float* factors = tile.group.inside.data() + c * width;
    for (std::size_t i = 0; i < c; ++i) at(scratch, i) += left * factors[i];
  }
  at(errors.data()) = error;
}

// The candidates for one lane's s2 and o: from the range of its targets, in units of s1.
struct Range {
  float low, high;

  IntegerGrid candidate(const FineFormat& format, const CompensateOptions& options, std::size_t index) const {
    const auto top = static_cast<float>(format.top()), largest = static_cast<float>(format.largest_s2());
    const float fitting = std::ceil(clamp_to((high - low) / top, 1, largest));
    const float s2 = clamp_to(fitting - static_cast<float>(index / options.shifts), 1, largest);
    // Positions spread over half a step to either side, or over what a short grid cuts off the range.
    const float spread = std::max(0.5f * s2, 0.5f * (high - low - top * s2));
    const auto middle = static_cast<float>(options.shifts / 2);
    const float shift =
        middle > 0 ? (static_cast<float>(index % options.shifts) - middle) / (middle + 0.5f) : 0;
    const float o =
        round_even(clamp_to(0.5f * (low + high - top * s2) + shift * spread, -kInt8Limit, kInt8Limit));
    return {s2, clamp_to(o, -kInt8Limit, kInt8Limit - top * s2)};
  }
};

// kLanes rows of a linear; `rows` of them are there, the others repeat the last one.
class Tile {
 public:
  Tile(const GemmF32Kernel& gemm, const F32Matrix& w, const ErrorFeedback& feedback, const FineFormat& format,
       const CompensateOptions& options)
      : gemm_(gemm),
        w_(w),
        feedback_(feedback),
        format_(format),
        options_(options),
        d_(kLanes * w.k),
        back_(kLanes * format.group),
        original_(kLanes * format.group),
        target_(kLanes * format.group),
        scratch_(kLanes * format.group),
        q_(kLanes * format.group),
        left_(kLanes * format.group) {}

  void run(std::size_t first, FineLinear& linear) {
    rows_ = std::min(kLanes, w_.n - first);
    first_ = first;
    for (std::size_t r = 0; r < kLanes; ++r) s1_[r] = linear.s1[row(r)];
    for (const ErrorFeedback::Group& group : feedback_.groups) {
      gather(group);
      const GroupTile tile{group, feedback_.weight.data() + group.begin, original_.data(), target_.data(),
                           static_cast<float>(format_.top())};
      write(tile, search(tile), linear);
    }
  }

 private:
  using Grids = std::array<IntegerGrid, kLanes>;

  std::size_t row(std::size_t lane) const { return first_ + std::min(lane, rows_ - 1); }

  // The group's weights, and what the columns rounded so far want of them.
  void gather(const ErrorFeedback::Group& group) {
    const std::size_t end = group.begin + group.width, later = w_.k - end;
    gemm_.run({group.width, later, group.later.data(), nullptr}, d_.data() + end, w_.k, kLanes, 0,
              group.width, back_.data(), group.width);
    for (std::size_t c = 0; c < group.width; ++c)
      for (std::size_t r = 0; r < kLanes; ++r) {
        const float w = w_.w[row(r) * w_.k + feedback_.order[group.begin + c]];
        original_[c * kLanes + r] = w;
        target_[c * kLanes + r] = w + back_[r * group.width + c];
      }
  }

  void to_floats(const Grids& grids, Lanes& step, Lanes& start) const {
    for (std::size_t r = 0; r < kLanes; ++r) step[r] = s1_[r] * grids[r].s2, start[r] = s1_[r] * grids[r].o;
  }

  Grids search(const GroupTile& tile) {
    std::array<Range, kLanes> range;
    for (std::size_t r = 0; r < kLanes; ++r) {
      const float inverse = reciprocal(s1_[r]);
      float low = target_[r], high = low;
      for (std::size_t c = 1; c < tile.group.width; ++c) {
        low = std::min(low, target_[c * kLanes + r]);
        high = std::max(high, target_[c * kLanes + r]);
      }
      range[r] = {clamp_to(low * inverse, -2 * kInt8Limit, 2 * kInt8Limit),
                  clamp_to(high * inverse, -2 * kInt8Limit, 2 * kInt8Limit)};
    }
    Grids best{}, grids;
    Lanes least, step, start, error;
    least.fill(INFINITY);
    for (std::size_t r = 0; r < kLanes; ++r) best[r] = range[r].candidate(format_, options_, 0);
    for (std::size_t c = 0; c < options_.steps * options_.shifts; ++c) {
      for (std::size_t r = 0; r < kLanes; ++r) grids[r] = range[r].candidate(format_, options_, c);
      to_floats(grids, step, start);
      round_group(tile, step, start, scratch_.data(), q_.data(), left_.data(), error);
      for (std::size_t r = 0; r < kLanes; ++r)
        if (error[r] < least[r]) least[r] = error[r], best[r] = grids[r];
    }
    return best;
  }

  void write(const GroupTile& tile, const Grids& grids, FineLinear& linear) {
    const std::size_t groups = format_.groups(w_.k);
    Lanes step, start, error;
    to_floats(grids, step, start);
    round_group(tile, step, start, scratch_.data(), q_.data(), left_.data(), error);
    for (std::size_t c = 0; c < tile.group.width; ++c) {
      const std::size_t at = tile.group.begin + c;
      for (std::size_t r = 0; r < kLanes; ++r) d_[r * w_.k + at] = left_[c * kLanes + r];
      for (std::size_t r = 0; r < rows_; ++r)
        linear.q[row(r) * w_.k + feedback_.order[at]] = static_cast<std::uint8_t>(q_[c * kLanes + r]);
    }
    for (std::size_t r = 0; r < rows_; ++r) {
      linear.s2[row(r) * groups + tile.group.index] = static_cast<std::uint8_t>(grids[r].s2);
      linear.o[row(r) * groups + tile.group.index] = static_cast<std::int8_t>(grids[r].o);
    }
  }

  const GemmF32Kernel& gemm_;
  const F32Matrix w_;
  const ErrorFeedback& feedback_;
  const FineFormat format_;
  const CompensateOptions options_;
  std::size_t first_ = 0, rows_ = 0;
  Lanes s1_;
  std::vector<float> d_;                                       // [lanes][k], in the order of the feedback
  std::vector<float> back_;                                    // [lanes][group]
  std::vector<float> original_, target_, scratch_, q_, left_;  // [group][lanes]; of w - level, what is left_
};

}  // namespace

ErrorFeedback::ErrorFeedback(std::span<const float> h, std::size_t k, std::size_t group, double damping,
                             int threads)
    : order(energy_order(h, k, group, groups)), weight(k) {
  const std::vector<double> l = damped_factor(h, order, damping, threads);
  for (std::size_t c = 0; c < k; ++c) weight[c] = static_cast<float>(l[c * k + c] * l[c * k + c]);
  parallel_ranges(threads, groups.size(), [&](std::size_t first, std::size_t last, int) {
    for (std::size_t g = first; g < last; ++g) {
      Group& it = groups[g];
      const std::size_t end = it.begin + it.width;
      it.later.resize(it.width * (k - end));
      it.inside.resize(it.width * it.width);
      for (std::size_t c = 0; c < it.width; ++c) {
        const std::size_t column = it.begin + c;
        const auto factor = [&](std::size_t from) {
          return static_cast<float>(l[from * k + column] / l[column * k + column]);
        };
        for (std::size_t from = end; from < k; ++from) it.later[c * (k - end) + from - end] = factor(from);
        for (std::size_t from = c + 1; from < it.width; ++from)
          it.inside[from * it.width + c] = factor(it.begin + from);
      }
    }
  });
}

void compensate(const GemmF32Kernel& gemm, const F32Matrix& w, const ErrorFeedback& feedback,
                const FineFormat& format, const CompensateOptions& options, int threads, FineLinear& linear) {
  parallel_ranges(threads, (w.n + kLanes - 1) / kLanes, [&](std::size_t begin, std::size_t end, int) {
    Tile tile(gemm, w, feedback, format, options);
    for (std::size_t t = begin; t < end; ++t) tile.run(t * kLanes, linear);
  });
}

}  // namespace dgq

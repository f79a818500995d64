#include "quantizer/dgq_search.h"

#include <algorithm>
#include <cmath>

#include "runtime/ops.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr float kTop = 15;       // q: 0..15
constexpr float kLimit = 127;    // |w8|
constexpr float kMaxFine = 16;   // s2: floor(254 / 15)
constexpr float kTiny = 1e-30f;  // rows below this count as zero: 1 / s1 has to be a float

constexpr SearchGrid kGrid = kSearchGrid;
constexpr std::size_t kCandidates1 = kGrid.clips * kGrid.shifts;
constexpr std::size_t kCandidates2 = kGrid.coarse + 1;  // the first is plain min-max
constexpr std::size_t kNeighbours = 3 * 5;

// Round half to even for |x| < 2^22: adding 1.5 * 2^23 leaves no fraction bits. SSE2 has no rounding instruction, and a
// call of rint() per weight would cost more than the search.
float round_even(float x) {
  constexpr float kMagic = 12582912.0f;
  return (x + kMagic) - kMagic;
}

float clamp(float x, float low, float high) { return std::min(std::max(x, low), high); }

// max |w| / 127: the coarse scale with which the row just fits. Rows too small for float reciprocals count as zero.
float unit_of(const float* w, std::size_t n) {
  float largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(w[i]));
  return largest > kTiny ? largest / kLimit : 0;
}

float reciprocal(float x) { return x > 0 ? 1 / x : 0; }

// The grid of one group in real numbers: start + step * q.
struct Grid {
  float step, start;
};

// The same in units of s1. The whole grid is kept within -127..127, so that any q is valid.
struct IntegerGrid {
  float s2, o;
};

IntegerGrid to_integers(const Grid& grid, float s1) {
  const float inverse = reciprocal(s1);
  const float s2 = clamp(round_even(clamp(grid.step * inverse, 0, kMaxFine)), 1, kMaxFine);
  const float o =
      clamp(round_even(clamp(grid.start * inverse, -kLimit, kLimit)), -kLimit, kLimit - kTop * s2);
  return {s2, o};
}

// Steps one finer, the same, one coarser; each with the middle of the grid where it was and up to two units beside.
IntegerGrid neighbour(const IntegerGrid& fine, std::size_t index) {
  const float s2 = clamp(fine.s2 + static_cast<float>(index / 5) - 1, 1, kMaxFine);
  const float middle = fine.o + (fine.s2 - s2) * (kTop / 2);
  const float o = round_even(middle) + static_cast<float>(index % 5) - 2;
  return {s2, clamp(o, -kLimit, kLimit - kTop * s2)};
}

float quantize(float w, float inverse_step, float start) {
  return round_even(clamp((w - start) * inverse_step, 0, kTop));
}

// d = w - w_hat over one group.
void residual(const float* w, std::size_t n, const Grid& grid, float* d) {
  const float inverse = reciprocal(grid.step);
  for (std::size_t i = 0; i < n; ++i)
    d[i] = w[i] - (grid.start + grid.step * quantize(w[i], inverse, grid.start));
}

Grid min_max(const float* w, std::size_t n) {
  const auto [low, high] = std::minmax_element(w, w + n);
  return {*high / kTop - *low / kTop, *low};
}

Grid candidate1(const Grid& plain, std::size_t index) {
  const float ratio = 1 - static_cast<float>(kGrid.clip_step) * static_cast<float>(index / kGrid.shifts);
  const float shift = static_cast<float>(kGrid.shift_step) *
                      (static_cast<float>(index % kGrid.shifts) - static_cast<float>(kGrid.shifts / 2));
  const float middle = plain.start + plain.step * (kTop / 2);
  const float step = plain.step * ratio;
  return {step, middle - step * (kTop / 2) + step * shift};
}

// One layer: what rows share.
class Search {
 public:
  Search(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h, std::size_t group)
      : gemm_(gemm), w_(w), h_(h.data()), group_(group), groups_((w.k + group - 1) / group) {
    for (std::size_t g = 0; g < groups_; ++g) {
      const std::size_t width = this->width(g), begin = g * group;
      std::vector<float> block(width * width);
      for (std::size_t i = 0; i < width; ++i)
        std::copy_n(h_ + (begin + i) * w.k + begin, width, block.data() + i * width);
      blocks_.push_back(std::move(block));
    }
  }

  struct Scratch {
    std::vector<float> d, dh;               // [candidates][k]: residuals, residuals * H
    std::vector<float> row_d, row_dh, add;  // [k]: of the row as it is, and what a change adds to row_dh
    std::vector<Grid> plain, best;          // [groups]: of plain min-max, of phase 1
    std::vector<IntegerGrid> fine;          // [groups]: of the row as it is
  };
  Scratch scratch() const {
    const std::vector<float> rows(std::max({kCandidates1, kCandidates2, kNeighbours}) * w_.k), row(w_.k);
    const std::vector<Grid> grids(groups_);
    return {rows, rows, row, row, row, grids, grids, std::vector<IntegerGrid>(groups_)};
  }

  struct RowErrors {
    double energy, plain, best;
  };
  RowErrors row(std::size_t n, Scratch& scratch, QuantizedLinear& out) const {
    const float* w = w_.w + n * w_.k;
    const float unit = unit_of(w, w_.k);
    for (std::size_t g = 0; g < groups_; ++g) {
      scratch.plain[g] = min_max(w + g * group_, width(g));
      scratch.best[g] = phase1(w + g * group_, g, scratch.plain[g], scratch);
    }
    const Choice choice = phase2(w, unit, scratch);
    for (std::size_t sweep = 0; sweep < kGrid.sweeps; ++sweep)
      for (std::size_t g = 0; g < groups_; ++g) refine(w, g, choice.s1, scratch);
    write(n, w, choice.s1, scratch.fine, out);
    return measure(w, choice, scratch);
  }

 private:
  struct Choice {
    float s1, plain;  // the coarse scale; the error of plain min-max
  };

  std::size_t width(std::size_t g) const { return std::min(group_, w_.k - g * group_); }

  // errors of `count` residual rows of `n` floats against h [n][n].
  template <class Visit>
  void judge(const float* h, std::size_t n, std::size_t count, Scratch& scratch, Visit visit) const {
    gemm_.run({n, n, h, nullptr}, scratch.d.data(), n, count, 0, n, scratch.dh.data(), n);
    for (std::size_t c = 0; c < count; ++c)
      visit(c, dot(scratch.d.data() + c * n, scratch.dh.data() + c * n, n));
  }

  Grid phase1(const float* w, std::size_t g, const Grid& plain, Scratch& scratch) const {
    const std::size_t n = width(g);
    for (std::size_t c = 0; c < kCandidates1; ++c)
      residual(w, n, candidate1(plain, c), scratch.d.data() + c * n);
    std::size_t best = 0;
    float least = INFINITY;
    judge(blocks_[g].data(), n, kCandidates1, scratch, [&](std::size_t c, float error) {
      if (error < least) least = error, best = c;
    });
    return candidate1(plain, best);
  }

  void residual_row(const float* w, const std::vector<Grid>& grids, float s1, float* d) const {
    for (std::size_t g = 0; g < groups_; ++g) {
      const IntegerGrid fine = to_integers(grids[g], s1);
      residual(w + g * group_, width(g), {s1 * fine.s2, s1 * fine.o}, d + g * group_);
    }
  }

  Choice phase2(const float* w, float unit, Scratch& scratch) const {
    const auto s1 = [&](std::size_t c) {
      return c == 0 ? unit
                    : unit * (static_cast<float>(kGrid.coarse_first) +
                              static_cast<float>(kGrid.coarse_step) * static_cast<float>(c - 1));
    };
    const auto grids = [&](std::size_t c) { return c == 0 ? &scratch.plain : &scratch.best; };
    for (std::size_t c = 0; c < kCandidates2; ++c)
      residual_row(w, *grids(c), s1(c), scratch.d.data() + c * w_.k);
    std::size_t best = 0;  // stays so when the errors are no numbers
    float plain = INFINITY, least = INFINITY;
    judge(h_, w_.k, kCandidates2, scratch, [&](std::size_t c, float error) {
      if (c == 0) plain = error;
      if (error < least) least = error, best = c;
    });
    for (std::size_t g = 0; g < groups_; ++g) scratch.fine[g] = to_integers((*grids(best))[g], s1(best));
    std::copy_n(scratch.d.data() + best * w_.k, w_.k, scratch.row_d.data());
    std::copy_n(scratch.dh.data() + best * w_.k, w_.k, scratch.row_dh.data());
    return {s1(best), plain};
  }

  // Phase 2, last part: group g moves to the neighbour (s2, o) with which the row's error falls most, the rest of the
  // row as it is. A change e of the group's residual changes the row's error by e H_gg e^T + 2 e (d H)_g^T, so a
  // neighbour costs no more than in phase 1.
  void refine(const float* w, std::size_t g, float s1, Scratch& scratch) const {
    const std::size_t n = width(g), begin = g * group_;
    const IntegerGrid now = scratch.fine[g];
    for (std::size_t c = 0; c < kNeighbours; ++c) {
      const IntegerGrid fine = neighbour(now, c);
      float* e = scratch.d.data() + c * n;
      residual(w + begin, n, {s1 * fine.s2, s1 * fine.o}, e);
      for (std::size_t i = 0; i < n; ++i) e[i] -= scratch.row_d[begin + i];
    }
    std::size_t best = kNeighbours;
    float least = 0;
    judge(blocks_[g].data(), n, kNeighbours, scratch, [&](std::size_t c, float error) {
      const float change = error + 2 * dot(scratch.d.data() + c * n, scratch.row_dh.data() + begin, n);
      if (change < least) least = change, best = c;
    });
    if (best == kNeighbours) return;
    scratch.fine[g] = neighbour(now, best);
    const float* e = scratch.d.data() + best * n;
    gemm_.run({1, n, e, nullptr}, h_ + begin, w_.k, w_.k, 0, 1, scratch.add.data(), 1);
    for (std::size_t i = 0; i < n; ++i) scratch.row_d[begin + i] += e[i];
    for (std::size_t k = 0; k < w_.k; ++k) scratch.row_dh[k] += scratch.add[k];
  }

  // What the row as it is loses, and what there is to lose: d H d^T and w H w^T.
  RowErrors measure(const float* w, const Choice& choice, Scratch& scratch) const {
    for (std::size_t g = 0; g < groups_; ++g) {
      const IntegerGrid& fine = scratch.fine[g];
      residual(w + g * group_, width(g), {choice.s1 * fine.s2, choice.s1 * fine.o},
               scratch.d.data() + g * group_);
    }
    std::copy_n(w, w_.k, scratch.d.data() + w_.k);
    RowErrors errors{0, choice.plain, 0};
    judge(h_, w_.k, 2, scratch,
          [&](std::size_t c, float error) { (c == 0 ? errors.best : errors.energy) = error; });
    return errors;
  }

  void write(std::size_t n, const float* w, float s1, const std::vector<IntegerGrid>& grids,
             QuantizedLinear& out) const {
    out.s1[n] = s1;
    for (std::size_t g = 0; g < groups_; ++g) {
      const IntegerGrid fine = grids[g];
      out.s2[n * groups_ + g] = static_cast<std::uint8_t>(fine.s2);
      out.o[n * groups_ + g] = static_cast<std::int8_t>(fine.o);
      const float step = s1 * fine.s2, start = s1 * fine.o, inverse = reciprocal(step);
      for (std::size_t k = g * group_; k < g * group_ + width(g); ++k)
        out.q[n * w_.k + k] = static_cast<std::uint8_t>(quantize(w[k], inverse, start));
    }
  }

  const GemmF32Kernel& gemm_;
  const F32Matrix w_;
  const float* h_;
  std::size_t group_, groups_;
  std::vector<std::vector<float>> blocks_;  // the diagonal blocks of H
};

}  // namespace

QuantizedLinear search_w4(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                          std::size_t group, int threads) {
  const std::size_t groups = (w.k + group - 1) / group;
  QuantizedLinear out;
  out.q.resize(w.n * w.k);
  out.s2.resize(w.n * groups);
  out.o.resize(w.n * groups);
  out.s1.resize(w.n);
  const Search search(gemm, w, h, group);
  std::vector<Search::RowErrors> errors(w.n);
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    Search::Scratch scratch = search.scratch();
    for (std::size_t n = begin; n < end; ++n) errors[n] = search.row(n, scratch, out);
  });
  Search::RowErrors sum{};
  for (const Search::RowErrors& row : errors) {
    sum.energy += row.energy;
    sum.plain += row.plain;
    sum.best += row.best;
  }
  if (sum.energy > 0) {
    out.error_minmax = sum.plain / sum.energy;
    out.error = sum.best / sum.energy;
  }
  return out;
}

QuantizedRowsW8 round_w8(const F32Matrix& w, int threads) {
  QuantizedRowsW8 out;
  out.q.resize(w.n * w.k);
  out.s1.resize(w.n);
  std::vector<double> errors(w.n), energies(w.n);
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t n = begin; n < end; ++n) {
      const float* row = w.w + n * w.k;
      const float s1 = unit_of(row, w.k), inverse = reciprocal(s1);
      out.s1[n] = s1;
      for (std::size_t k = 0; k < w.k; ++k) {
        const float q = round_even(clamp(row[k] * inverse, -kLimit, kLimit));
        const double d = row[k] - s1 * q;
        out.q[n * w.k + k] = static_cast<std::int8_t>(q);
        errors[n] += d * d;
        energies[n] += static_cast<double>(row[k]) * row[k];
      }
    }
  });
  double error = 0, energy = 0;
  for (std::size_t n = 0; n < w.n; ++n) error += errors[n], energy += energies[n];
  out.error = energy > 0 ? error / energy : 0;
  return out;
}

}  // namespace dgq

#include "quantizer/dgq_search.h"

#include <algorithm>
#include <cmath>

#include "quantizer/clones.h"
#include "runtime/ops.h"
#include "runtime/parallel.h"

namespace dgq {
namespace {

constexpr std::size_t kNeighbours = 3 * 5;

// The grid of one group in real numbers: start + step * q.
struct Grid {
  float step, start;
};

// d = w - w_hat over one group, codes 0..top.
DGQ_CLONES void subtract_rounded(const float* w, std::size_t n, Grid grid, float top, float* d) {
  const float inverse = reciprocal(grid.step);
  for (std::size_t i = 0; i < n; ++i)
    d[i] = w[i] - (grid.start + grid.step * round_even(clamp_to((w[i] - grid.start) * inverse, 0, top)));
}

// What the candidates of both phases are made from.
struct Grids {
  const FineFormat format;
  const SearchOptions options;
  const float top = static_cast<float>(format.top()), largest_s2 = static_cast<float>(format.largest_s2());

  std::size_t candidates() const { return options.clips * options.shifts; }

  IntegerGrid to_integers(const Grid& grid, float s1) const {
    const float inverse = reciprocal(s1);
    const float s2 = clamp_to(round_even(clamp_to(grid.step * inverse, 0, largest_s2)), 1, largest_s2);
    const float o = clamp_to(round_even(clamp_to(grid.start * inverse, -kInt8Limit, kInt8Limit)), -kInt8Limit,
                             kInt8Limit - top * s2);
    return {s2, o};
  }

  // Steps one finer, the same, one coarser; each with the middle of the grid where it was and up to two units beside.
  IntegerGrid neighbour(const IntegerGrid& fine, std::size_t index) const {
    const float s2 = clamp_to(fine.s2 + static_cast<float>(index / 5) - 1, 1, largest_s2);
    const float middle = fine.o + (fine.s2 - s2) * (top / 2);
    const float o = round_even(middle) + static_cast<float>(index % 5) - 2;
    return {s2, clamp_to(o, -kInt8Limit, kInt8Limit - top * s2)};
  }

  float quantize(float w, float inverse_step, float start) const {
    return round_even(clamp_to((w - start) * inverse_step, 0, top));
  }

  void residual(const float* w, std::size_t n, const Grid& grid, float* d) const {
    subtract_rounded(w, n, grid, top, d);
  }

  Grid min_max(const float* w, std::size_t n) const {
    const auto [low, high] = std::minmax_element(w, w + n);
    return {*high / top - *low / top, *low};
  }

  // Phase 1.
  Grid candidate(const Grid& plain, std::size_t index) const {
    const float ratio =
        1 - static_cast<float>(options.clip_step) * static_cast<float>(index / options.shifts);
    const float shift = static_cast<float>(options.shift_step) *
                        (static_cast<float>(index % options.shifts) - static_cast<float>(options.shifts / 2));
    const float middle = plain.start + plain.step * (top / 2);
    const float step = plain.step * ratio;
    return {step, middle - step * (top / 2) + step * shift};
  }

  // Phase 2: the coarse scale of candidate c, of which 0 is plain min-max.
  float coarse(float unit, std::size_t c) const {
    return c == 0 ? unit
                  : unit * (static_cast<float>(options.coarse_first) +
                            static_cast<float>(options.coarse_step) * static_cast<float>(c - 1));
  }

  void write(std::size_t n, const float* w, std::size_t k, float s1, const std::vector<IntegerGrid>& grids,
             FineLinear& out) const {
    out.s1[n] = s1;
    for (std::size_t g = 0; g < grids.size(); ++g) {
      const IntegerGrid fine = grids[g];
      out.s2[n * grids.size() + g] = static_cast<std::uint8_t>(fine.s2);
      out.o[n * grids.size() + g] = static_cast<std::int8_t>(fine.o);
      const float step = s1 * fine.s2, start = s1 * fine.o, inverse = reciprocal(step);
      for (std::size_t i = g * format.group; i < std::min((g + 1) * format.group, k); ++i)
        out.q[n * k + i] = static_cast<std::uint8_t>(quantize(w[i], inverse, start));
    }
  }
};

FineLinear empty(const F32Matrix& w, const FineFormat& format) {
  const std::size_t groups = format.groups(w.k);
  FineLinear out;
  out.q.resize(w.n * w.k);
  out.s2.resize(w.n * groups);
  out.o.resize(w.n * groups);
  out.s1.resize(w.n);
  return out;
}

// One layer: what rows share.
class Search {
 public:
  Search(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h, const FineFormat& format,
         const SearchOptions& options)
      : gemm_(gemm),
        w_(w),
        h_(h.empty() ? nullptr : h.data()),
        grid_{format, options},
        group_(format.group),
        groups_(format.groups(w.k)) {
    for (std::size_t g = 0; h_ && g < groups_; ++g) {
      const std::size_t width = this->width(g), begin = g * group_;
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
    const std::vector<float> rows(std::max({grid_.candidates(), grid_.options.coarse + 1, kNeighbours}) *
                                  w_.k),
        row(w_.k);
    const std::vector<Grid> grids(groups_);
    return {rows, rows, row, row, row, grids, grids, std::vector<IntegerGrid>(groups_)};
  }

  void row(std::size_t n, Scratch& scratch, FineLinear& out) const {
    const float* w = w_.w + n * w_.k;
    const float unit = int8_unit(w, w_.k);
    for (std::size_t g = 0; g < groups_; ++g) {
      scratch.plain[g] = grid_.min_max(w + g * group_, width(g));
      scratch.best[g] = phase1(w + g * group_, g, scratch.plain[g], scratch);
    }
    float s1;
    if (grid_.options.all_of_h) {
      s1 = phase2(w, unit, scratch);
      for (std::size_t sweep = 0; sweep < grid_.options.sweeps; ++sweep)
        for (std::size_t g = 0; g < groups_; ++g) refine(w, g, s1, scratch);
    } else {
      s1 = phase2_by_group(w, unit, scratch);
    }
    grid_.write(n, w, w_.k, s1, scratch.fine, out);
  }

 private:
  std::size_t width(std::size_t g) const { return std::min(group_, w_.k - g * group_); }

  // The diagonal block of H; null: the identity.
  const float* block(std::size_t g) const { return h_ ? blocks_[g].data() : nullptr; }

  // errors of `count` residual rows of `n` floats against h [n][n]; null: the identity.
  template <class Visit>
  void judge(const float* h, std::size_t n, std::size_t count, Scratch& scratch, Visit visit) const {
    if (h)
      gemm_.run({n, n, h, nullptr}, scratch.d.data(), n, count, 0, n, scratch.dh.data(), n);
    else
      std::copy_n(scratch.d.data(), count * n, scratch.dh.data());
    for (std::size_t c = 0; c < count; ++c)
      visit(c, dot(scratch.d.data() + c * n, scratch.dh.data() + c * n, n));
  }

  Grid phase1(const float* w, std::size_t g, const Grid& plain, Scratch& scratch) const {
    const std::size_t n = width(g);
    for (std::size_t c = 0; c < grid_.candidates(); ++c)
      grid_.residual(w, n, grid_.candidate(plain, c), scratch.d.data() + c * n);
    std::size_t best = 0;
    float least = INFINITY;
    judge(block(g), n, grid_.candidates(), scratch, [&](std::size_t c, float error) {
      if (error < least) least = error, best = c;
    });
    return grid_.candidate(plain, best);
  }

  void residual_row(const float* w, const std::vector<Grid>& grids, float s1, float* d) const {
    for (std::size_t g = 0; g < groups_; ++g) {
      const IntegerGrid fine = grid_.to_integers(grids[g], s1);
      grid_.residual(w + g * group_, width(g), {s1 * fine.s2, s1 * fine.o}, d + g * group_);
    }
  }

  // The coarse scale of the row, with scratch.fine; leaves the row's residual and its product with H.
  float phase2(const float* w, float unit, Scratch& scratch) const {
    const auto grids = [&](std::size_t c) { return c == 0 ? &scratch.plain : &scratch.best; };
    const std::size_t candidates = grid_.options.coarse + 1;
    for (std::size_t c = 0; c < candidates; ++c)
      residual_row(w, *grids(c), grid_.coarse(unit, c), scratch.d.data() + c * w_.k);
    std::size_t best = 0;  // stays so when the errors are no numbers
    float least = INFINITY;
    judge(h_, w_.k, candidates, scratch, [&](std::size_t c, float error) {
      if (error < least) least = error, best = c;
    });
    const float s1 = grid_.coarse(unit, best);
    for (std::size_t g = 0; g < groups_; ++g) scratch.fine[g] = grid_.to_integers((*grids(best))[g], s1);
    std::copy_n(scratch.d.data() + best * w_.k, w_.k, scratch.row_d.data());
    std::copy_n(scratch.dh.data() + best * w_.k, w_.k, scratch.row_dh.data());
    return s1;
  }

  // The same, judged group by group with the diagonal blocks of H: K / group times less work, for passes that go on from
  // here with all of H.
  float phase2_by_group(const float* w, float unit, Scratch& scratch) const {
    const std::size_t candidates = grid_.options.coarse + 1;
    std::vector<float> errors(candidates);
    for (std::size_t g = 0; g < groups_; ++g) {
      const std::size_t n = width(g);
      for (std::size_t c = 0; c < candidates; ++c) {
        const float s1 = grid_.coarse(unit, c);
        const IntegerGrid fine = grid_.to_integers((c == 0 ? scratch.plain : scratch.best)[g], s1);
        grid_.residual(w + g * group_, n, {s1 * fine.s2, s1 * fine.o}, scratch.d.data() + c * n);
      }
      judge(block(g), n, candidates, scratch, [&](std::size_t c, float error) { errors[c] += error; });
    }
    const auto best =
        static_cast<std::size_t>(std::min_element(errors.begin(), errors.end()) - errors.begin());
    const float s1 = grid_.coarse(unit, best);
    const std::vector<Grid>& grids = best == 0 ? scratch.plain : scratch.best;
    for (std::size_t g = 0; g < groups_; ++g) scratch.fine[g] = grid_.to_integers(grids[g], s1);
    return s1;
  }

  // Phase 2, last part: group g moves to the neighbour (s2, o) with which the row's error falls most, the rest of the
  // row as it is. A change e of the group's residual changes the row's error by e H_gg e^T + 2 e (d H)_g^T, so a
  // neighbour costs no more than in phase 1.
  void refine(const float* w, std::size_t g, float s1, Scratch& scratch) const {
    const std::size_t n = width(g), begin = g * group_;
    const IntegerGrid now = scratch.fine[g];
    for (std::size_t c = 0; c < kNeighbours; ++c) {
      const IntegerGrid fine = grid_.neighbour(now, c);
      float* e = scratch.d.data() + c * n;
      grid_.residual(w + begin, n, {s1 * fine.s2, s1 * fine.o}, e);
      for (std::size_t i = 0; i < n; ++i) e[i] -= scratch.row_d[begin + i];
    }
    std::size_t best = kNeighbours;
    float least = 0;
    judge(block(g), n, kNeighbours, scratch, [&](std::size_t c, float error) {
      const float change = error + 2 * dot(scratch.d.data() + c * n, scratch.row_dh.data() + begin, n);
      if (change < least) least = change, best = c;
    });
    if (best == kNeighbours) return;
    scratch.fine[g] = grid_.neighbour(now, best);
    const float* e = scratch.d.data() + best * n;
    for (std::size_t i = 0; i < n; ++i) scratch.row_d[begin + i] += e[i];
    if (!h_) {
      std::copy_n(scratch.row_d.data() + begin, n, scratch.row_dh.data() + begin);
      return;
    }
    gemm_.run({1, n, e, nullptr}, h_ + begin, w_.k, w_.k, 0, 1, scratch.add.data(), 1);
    for (std::size_t k = 0; k < w_.k; ++k) scratch.row_dh[k] += scratch.add[k];
  }

  const GemmF32Kernel& gemm_;
  const F32Matrix w_;
  const float* h_;  // null: the identity
  const Grids grid_;
  std::size_t group_, groups_;
  std::vector<std::vector<float>> blocks_;  // the diagonal blocks of H
};

}  // namespace

FineLinear search(const GemmF32Kernel& gemm, const F32Matrix& w, std::span<const float> h,
                  const FineFormat& format, const SearchOptions& options, int threads) {
  FineLinear out = empty(w, format);
  const Search search(gemm, w, h, format, options);
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    Search::Scratch scratch = search.scratch();
    for (std::size_t n = begin; n < end; ++n) search.row(n, scratch, out);
  });
  return out;
}

FineLinear round_min_max(const F32Matrix& w, const FineFormat& format, int threads) {
  FineLinear out = empty(w, format);
  const Grids grid{format, {}};
  parallel_ranges(threads, w.n, [&](std::size_t begin, std::size_t end, int) {
    std::vector<IntegerGrid> fine(format.groups(w.k));
    for (std::size_t n = begin; n < end; ++n) {
      const float* row = w.w + n * w.k;
      const float unit = int8_unit(row, w.k);
      for (std::size_t g = 0; g < fine.size(); ++g) {
        const std::size_t first = g * format.group;
        fine[g] = grid.to_integers(grid.min_max(row + first, std::min(format.group, w.k - first)), unit);
      }
      grid.write(n, row, w.k, unit, fine, out);
    }
  });
  return out;
}

}  // namespace dgq

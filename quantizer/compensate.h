// quantizer/compensate.h - error compensation: each weight is rounded so that it makes up for the errors of those rounded
// before it. GPTQ (arXiv 2210.17323, section 3), in the form of LDLQ (QuIP, arXiv 2307.13304, section 3), on the two-level
// grid.
//
// With H = L L^T (damped, columns in an order of our own) the error of a row is
//
//   d H d^T = sum_c L[c][c]^2 * (v[c] - w_hat[c])^2,    v[c] = w[c] + sum_{c' > c} d[c'] * L[c'][c] / L[c][c]
//
// so columns are rounded from the last to the first, each to the level nearest to v. Groups stand in the order of their
// inputs' energy, the strongest rounded first, and so do the columns inside a group. Each group's s2 and o are searched when
// its turn comes: candidates are judged by the exact sum above over the group, feedback included. s1 stays.
#pragma once

#include <span>
#include <vector>

#include "quantizer/fine_linear.h"

namespace dgq {

struct CompensateOptions {
  double damping = 0.03;  // added to H's diagonal, as a share of its mean
  std::size_t steps =
      6;  // values of s2 that are tried: the one that fits the range, one more, and the next smaller ones
  std::size_t shifts = 3;  // positions of the grid for each
};

// What depends on the inputs only: serves every linear that reads them.
class ErrorFeedback {
 public:
  struct Group {
    std::size_t index;         // which group of columns
    std::size_t begin, width;  // where it stands in `order`
    std::vector<float>
        later;  // [width][k - begin - width]: L[c'][c] / L[c][c] of the columns c' after the group
    std::vector<float> inside;  // [width][width]: the same inside the group, [c'][c]
  };

  // h: [k][k].
  ErrorFeedback(std::span<const float> h, std::size_t k, std::size_t group, double damping, int threads);

  std::vector<Group> groups;       // in the order in which they are rounded
  std::vector<std::size_t> order;  // [k] columns: the last is rounded first
  std::vector<float> weight;       // [k] L[c][c]^2, in that order
};

// Sets q, s2 and o of `linear`, whose s1 is there. w: [n][k]. The same bytes for every kernel and number of threads.
void compensate(const GemmF32Kernel& gemm, const F32Matrix& w, const ErrorFeedback& feedback,
                const FineFormat& format, const CompensateOptions& options, int threads, FineLinear& linear);

}  // namespace dgq

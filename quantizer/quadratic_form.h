// quantizer/quadratic_form.h - sum over rows of x H x^T: what an error of weights costs at the output of their layer.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "kernels/gemm_f32.h"

namespace dgq {

// It costs a product with H for each row, as much as a pass does, so of many rows this many are taken, evenly spread.
inline constexpr std::size_t kJudgedRows = 512;

// h: [k][k], symmetric: one half of it is multiplied; empty: the identity. fill(row, to) writes row x, [k]; it is called from several threads. Each
// row's sum is in double; the same bits for any kernel and number of threads. Of more than kJudgedRows rows: an estimate.
double quadratic_form(const GemmF32Kernel& gemm, std::size_t rows, std::size_t k, std::span<const float> h,
                      int threads, const std::function<void(std::size_t row, float* to)>& fill);

}  // namespace dgq

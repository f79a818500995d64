// runtime/ops.h - sums of float products outside the kernels' tables: the float attention's values and the quantizer's search.
//
// A reduction is 16 lanes, lane l takes the indices l mod 16 in ascending order with plain mul and add (no fma), then
// lane[l] += lane[l + 8], + 4, + 2, + 1.
#pragma once

#include <cstddef>

namespace dgq {

// sum of a[i] * b[i]; 0 when n is 0.
float dot(const float* a, const float* b, std::size_t n);

// out[d] += sum over t ascending of weight[t] * rows[t][d]; rows: [count][n].
void add_weighted_rows(const float* weight, const float* rows, std::size_t count, std::size_t n, float* out);

}  // namespace dgq

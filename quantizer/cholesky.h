// quantizer/cholesky.h - symmetric positive definite systems in double precision.
#pragma once

#include <cstddef>
#include <vector>

namespace dgq {

// a: [n][n] row-major; the lower triangle is read and becomes L with a = L L^T. False: not positive definite (a is spoilt).
// The same bits for any number of threads.
bool factor_cholesky(std::vector<double>& a, std::size_t n, int threads);

}  // namespace dgq

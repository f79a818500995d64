// runtime/math.h - elementary functions in plain IEEE arithmetic: no libm, no fma, no contraction, so every
// machine and compiler gives the same bits. Sums are Taylor series on a reduced argument; their coefficients
// need no table.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/exp_f32.h"

namespace dgq {

// e^x within 2 ulp; see kernels/exp_f32.h.
inline float exp_f32(float x) { return exp_f32_of<float, std::int32_t>(x); }

// Relative error under 1e-15 for exp (0 below -700, infinity above 709.8) and log (x positive and normal).
double exp_f64(double x);
double log_f64(double x);

// Absolute error under 1e-15 for |x| <= 2^20.
double sin_f64(double x);
double cos_f64(double x);

// x^y = e^(y log x) for x > 0; relative error under 1e-13 for results from 1e-20 to 1e20.
double pow_f64(double x, double y);

}  // namespace dgq

// kernels/arm/float_ops_neon.cpp - for every AArch64 CPU, no extra flags.
#include "kernels/arm/neon.h"
#include "kernels/float_ops_loops.h"

namespace dgq {
namespace {

struct Types {
  typedef float F __attribute__((vector_size(16)));
  typedef std::int32_t I __attribute__((vector_size(16)));
};

}  // namespace

constinit const FloatOps float_ops_neon = Vectors<Types>::kOps;

}  // namespace dgq

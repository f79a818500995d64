// kernels/x86/float_ops_avx2.cpp - built with -mavx2 -mfma -mf16c (kernels/CMakeLists.txt); see float_ops_loops.h for
// why nothing else is included.
#include "kernels/float_ops_loops.h"
#include "kernels/x86/avx2.h"

namespace dgq {
namespace {

struct Types {
  typedef float F __attribute__((vector_size(32)));
  typedef std::int32_t I __attribute__((vector_size(32)));
};

}  // namespace

constinit const FloatOps float_ops_avx2 = Vectors<Types>::kOps;

}  // namespace dgq

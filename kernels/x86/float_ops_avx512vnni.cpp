// kernels/x86/float_ops_avx512vnni.cpp - built with the AVX-512 flags of kernels/CMakeLists.txt; see float_ops_loops.h
// for why nothing else is included.
#include "kernels/float_ops_loops.h"
#include "kernels/x86/avx512vnni.h"

namespace dgq {
namespace {

struct Types {
  typedef float F __attribute__((vector_size(64)));
  typedef std::int32_t I __attribute__((vector_size(64)));
};

}  // namespace

constinit const FloatOps float_ops_avx512vnni = Vectors<Types>::kOps;

}  // namespace dgq

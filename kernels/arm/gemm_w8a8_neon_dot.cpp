// kernels/arm/gemm_w8a8_neon_dot.cpp - built with -march=armv8.2-a+dotprod (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included. n16k4 is the order in which SDOT by lane wants its
// weights.
#include "kernels/arm/dot_neon_dot.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

struct Dot {
  DGQ_INLINE static void run(const W8Matrix& w, std::size_t row_block, const std::int8_t* xq,
                             const std::int16_t*, std::size_t begin, std::size_t end, Acc& acc) {
    acc = Acc{};
    add_tile<1>(w.q + (row_block * w.padded_k() + begin) * kRowBlock, end - begin, xq + begin, 0, &acc);
  }
};

// The packed weights themselves.
class Panel {
 public:
  void load(const W8Matrix& w, std::size_t row_block, std::size_t begin, std::size_t columns) {
    q_ = w.q + (row_block * w.padded_k() + begin) * kRowBlock;
    columns_ = columns;
  }

  template <std::size_t kRows>
  void add(const QuantizedRows& x, std::size_t i, std::size_t begin, Acc* acc) const {
    add_tile<kRows>(q_, columns_, x.q + i * x.stride + begin, x.stride, acc);
  }

 private:
  const std::int8_t* q_;
  std::size_t columns_;
};

}  // namespace

void gemm_w8a8_1x16_neon_dot(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Dot>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_4x16_neon_dot(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq

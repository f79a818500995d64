// kernels/arm/gemm_w8a8_neon_dot.cpp - built with -march=armv8.2-a+dotprod (kernels/CMakeLists.txt); see
// gemm_q_loops.h for why nothing else is included. n16k4 is the order in which SDOT by lane wants its
// weights.
#include "kernels/arm/dot_neon_dot.h"
#include "kernels/arm/neon.h"

namespace dgq {
namespace {

struct Fold {
  static constexpr std::size_t kTileRows = 4;

  template <std::size_t kRows>
  DGQ_INLINE static void add(const W8Matrix& w, std::size_t row_block, const QuantizedRows& x, std::size_t i,
                             std::size_t chunk, std::size_t columns, Acc (&acc)[kRows]) {
    int32x4_t sum[kRows][kVectors];
    for (std::size_t r = 0; r < kRows; ++r) load_acc(acc[r], sum[r]);
    add_tile(packed_chunk(w, row_block, chunk), columns, x.q_of(i, chunk), sum);
    for (std::size_t r = 0; r < kRows; ++r) store_acc(sum[r], acc[r]);
  }
};

// The packed weights themselves.
class Panel {
 public:
  static constexpr std::size_t kTileRows = kPanelTileRows, kBlocks = 1;

  void load(const W8Matrix& w, std::size_t row_block, std::size_t chunk, std::size_t columns) {
    q_ = packed_chunk(w, row_block, chunk);
    columns_ = columns;
  }

  template <std::size_t kRows, class Into>
  DGQ_INLINE void add(const QuantizedRows& x, std::size_t i, std::size_t chunk, State* state) const {
    add_expanded<kRows, Into>(q_, columns_, x, i, chunk, state);
  }

 private:
  const std::int8_t* q_;
  std::size_t columns_;
};

}  // namespace

void gemm_w8a8_1x16_neon_dot(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                             std::size_t block_end, float* y, std::size_t ldy) noexcept {
  decode<Fold>(w, x, block_begin, block_end, y, ldy);
}

void gemm_w8a8_8x8_neon_dot(const W8Matrix& w, const QuantizedRows& x, std::size_t block_begin,
                            std::size_t block_end, float* y, std::size_t ldy) noexcept {
  prefill<Panel>(w, x, block_begin, block_end, y, ldy);
}

}  // namespace dgq

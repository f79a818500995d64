// plugin/ggml/attention_nodes.h - flash attention over a float16 cache, and the rows that go into the cache.
//
// llama.cpp's CPU backend asks libm for the e^x of each position and sums up the values of a single token in float16; decoding the demo
// model, it took a third of the time. Here it is kernels/attention_f16.h, in float32.
#pragma once

#include <vector>

#include "kernels/table.h"
#include "plugin/ggml/host.h"
#include "runtime/buffer.h"

namespace dgq::ggml {

// Whether AttentionNodes computes the node: FLASH_ATTN_EXT of float32 queries over float16 keys and values, without ALiBi, soft cap
// or sinks.
bool is_attention(const ggml_tensor* node);

// Query rows that are done together, neighbouring tokens of a stream, and the positions that any of them sees.
struct AttentionTile {
  std::size_t stream, token, tokens, begin, end;
};

struct Attention;

// Of one backend, for one node at a time.
class AttentionNodes {
 public:
  // Precondition: is_attention(node). Every number of threads gives the same bits.
  void run(const ggml_tensor* node, const Kernels& kernels, int threads);

 private:
  void run_tiles(const Attention& attention, int team);
  void run_blocks(const Attention& attention, std::size_t blocks, int team);

  std::vector<AttentionTile> tiles_;
  struct Thread {
    AlignedBuffer<float> q, sums, block;
  };
  std::vector<Thread> own_;
  AlignedBuffer<float> states_;  // of every task and block
};

// SET_ROWS of float32 rows into a float16 tensor.
bool is_cache_store(const ggml_tensor* node);
// False: there is no such row. Precondition: is_cache_store(node).
bool run_cache_store(const ggml_tensor* node, const AttentionF16& ops, int threads);

}  // namespace dgq::ggml

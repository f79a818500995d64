#include "plugin/ggml/attention_nodes.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "plugin/ggml/float_nodes.h"
#include "plugin/ggml/weights.h"
#include "runtime/parallel.h"

namespace dgq::ggml {
namespace {

std::size_t size(const ggml_tensor* x, int dimension) { return static_cast<std::size_t>(x->ne[dimension]); }

// Numbers from one row to the next.
std::size_t row_step(const ggml_tensor* x) { return x->nb[1] / ggml_type_size(x->type); }

bool has_rows_of(const ggml_tensor* x, ggml_type type) {
  return x && x->type == type && x->nb[0] == ggml_type_size(type) && !in_weight_buffer(x);
}

template <class T>
T* row_at(const ggml_tensor* x, std::size_t i1, std::size_t i2, std::size_t i3) {
  return reinterpret_cast<T*>(static_cast<char*>(x->data) + i1 * x->nb[1] + i2 * x->nb[2] + i3 * x->nb[3]);
}

constexpr std::uint16_t kMasked = 0xfc00;  // -infinity

// The positions of [0, n) but for those at both ends that are masked.
void find_visible(const std::uint16_t* mask, std::size_t n, std::size_t& begin, std::size_t& end) {
  constexpr std::uint16_t kFour[] = {kMasked, kMasked, kMasked, kMasked};
  for (end = n; end >= 4 && std::memcmp(mask + end - 4, kFour, sizeof kFour) == 0;) end -= 4;
  while (end > 0 && mask[end - 1] == kMasked) --end;
  for (begin = 0; begin < end && mask[begin] == kMasked;) ++begin;
}

AttentionState state_at(float* memory, std::size_t rows) {
  return {memory, memory + rows, memory + 2 * rows};
}

// Multiplications that each thread should have: waking another one costs as much.
constexpr std::size_t kWorkPerThread = 32768;

// Blocks of positions begin at multiples of kAttentionBlock, whoever computes them.
std::size_t blocks_of(const AttentionTile& tile) {
  return tile.begin < tile.end ? (tile.end - 1) / kAttentionBlock + 1 - tile.begin / kAttentionBlock : 0;
}

// A tile by the query heads of a kv head, or as many of them as one call takes.
struct AttentionTask {
  AttentionTile tile;
  std::size_t kv_head, head, heads;
  std::size_t rows() const { return tile.tokens * heads; }
};

}  // namespace

// One node and the kernels for it.
struct Attention {
  Attention(const ggml_tensor* node, const Kernels& kernels)
      : node(node),
        q(node->src[0]),
        k(node->src[1]),
        v(node->src[2]),
        mask(node->src[3]),
        ops(*kernels.attention_f16->run),
        floats(*kernels.float_ops->run) {
    std::memcpy(&scale, node->op_params, sizeof scale);
  }

  const ggml_tensor *node, *q, *k, *v, *mask;
  const AttentionF16& ops;
  const FloatOps& floats;
  float scale;
  std::size_t key_dim = size(k, 0), value_dim = size(v, 0), heads = size(q, 2), kv_heads = size(k, 2);
  std::size_t group = heads / kv_heads, task_heads = std::min(group, kAttentionRows),
              tasks_per_group = (group + task_heads - 1) / task_heads,
              tile_tokens = kAttentionRows / task_heads;
  std::size_t head_tasks() const { return kv_heads * tasks_per_group; }  // of each tile
  std::size_t query_floats = kAttentionRows * key_dim,
              state_floats = kAttentionRows * (2 + value_dim);  // of a task

  const std::uint16_t* mask_of(std::size_t token, std::size_t stream) const {
    return row_at<const std::uint16_t>(mask, token, 0, stream % size(mask, 3));
  }

  void find_tiles(std::vector<AttentionTile>& tiles) const {
    const std::size_t tokens = size(q, 1), positions = size(k, 1);
    tiles.clear();
    for (std::size_t stream = 0; stream < size(q, 3); ++stream)
      for (std::size_t token = 0; token < tokens; token += tile_tokens) {
        AttentionTile tile{stream, token, std::min(tile_tokens, tokens - token), 0, positions};
        if (mask) {
          tile.begin = positions, tile.end = 0;
          for (std::size_t t = token; t < token + tile.tokens; ++t) {
            std::size_t begin, end;
            find_visible(mask_of(t, stream), positions, begin, end);
            tile.begin = std::min(tile.begin, begin), tile.end = std::max(tile.end, end);
          }
          tile.begin = tile.begin / kAttentionDims * kAttentionDims;  // so that sums keep their lanes
        }
        tiles.push_back(tile);
      }
  }

  AttentionTask task_at(std::size_t head_task, const AttentionTile& tile) const {
    const std::size_t kv_head = head_task / tasks_per_group, first = head_task % tasks_per_group * task_heads;
    return {tile, kv_head, kv_head * group + first, std::min(task_heads, group - first)};
  }

  void gather_queries(const AttentionTask& task, float* to) const {
    for (std::size_t token = task.tile.token; token < task.tile.token + task.tile.tokens; ++token)
      for (std::size_t head = task.head; head < task.head + task.heads; ++head, to += key_dim)
        floats.scale(row_at<const float>(q, token, head, task.tile.stream), scale, key_dim, to);
  }

  struct Positions {
    std::size_t begin, end;
  };
  Positions positions_of(const AttentionTile& tile, std::size_t block) const {
    const std::size_t first = (tile.begin / kAttentionBlock + block) * kAttentionBlock;
    return {std::max(tile.begin, first), std::min(tile.end, first + kAttentionBlock)};
  }

  // Brings keys and values of all heads into the processor's cache, unless all that the tile sees is so little that it may be there. Decoding
  // 135M after 264 positions attention takes 0.7 ms of a token so, 1.1 without; the demo model's would take 10 % longer. (From 32 KiB on, and
  // not from 64, 135M is 4 % faster between 128 and 192 positions and the demo model 2 % slower; 48 is where 135M is at 128.)
  void read_block(const AttentionTile& tile, std::size_t block) const {
    const auto [begin, end] = positions_of(tile, block);
    constexpr std::size_t kLine = 64, kWorthReading = 48 << 10;
    for (const ggml_tensor* x : {k, v}) {
      if (x->nb[2] * kv_heads > x->nb[1] || (tile.end - tile.begin) * x->nb[1] < kWorthReading) continue;
      const char *from = row_at<const char>(x, begin, 0, tile.stream),
                 *to = row_at<const char>(x, end, 0, tile.stream);
      for (; from < to; from += kLine) static_cast<void>(*static_cast<const volatile char*>(from));
    }
  }

  void run_block(const AttentionTask& task, std::size_t block, const float* queries,
                 const AttentionState& state) const {
    const auto [begin, end] = positions_of(task.tile, block);
    ops.run({.rows = task.rows(),
             .positions = end - begin,
             .key_dim = key_dim,
             .value_dim = value_dim,
             .q = queries,
             .k = row_at<const std::uint16_t>(k, begin, task.kv_head, task.tile.stream),
             .v = row_at<const std::uint16_t>(v, begin, task.kv_head, task.tile.stream),
             .k_stride = row_step(k),
             .v_stride = row_step(v),
             .mask = mask ? mask_of(task.tile.token, task.tile.stream) + begin : nullptr,
             .mask_stride = mask ? row_step(mask) : 0,
             .group = task.heads},
            state);
  }

  void write(const AttentionTask& task, const AttentionState& state) const {
    if (blocks_of(task.tile) == 0)
      std::fill_n(state.sum, task.rows() * (1 + value_dim), 0.0f);  // nobody sees anything
    for (std::size_t row = 0; row < task.rows(); ++row) {
      const std::size_t token = task.tile.token + row / task.heads, head = task.head + row % task.heads;
      floats.scale(state.out + row * value_dim, state.sum[row] == 0 ? 0 : 1 / state.sum[row], value_dim,
                   row_at<float>(node, head, token, task.tile.stream));
    }
  }
};

bool is_attention(const ggml_tensor* node) {
  if (node->op != GGML_OP_FLASH_ATTN_EXT || !ggml_is_contiguous(node) || node->src[4]) return false;
  const ggml_tensor *q = node->src[0], *k = node->src[1], *v = node->src[2], *mask = node->src[3];
  float bias, cap;
  std::memcpy(&bias, node->op_params + 1, sizeof bias);
  std::memcpy(&cap, node->op_params + 2, sizeof cap);
  if (bias != 0 || cap != 0) return false;
  if (!has_rows_of(q, GGML_TYPE_F32) || !has_rows_of(k, GGML_TYPE_F16) || !has_rows_of(v, GGML_TYPE_F16))
    return false;
  if (k->ne[0] % kAttentionDims != 0 || v->ne[0] % kAttentionDims != 0 || k->ne[1] != v->ne[1]) return false;
  if (k->ne[2] != v->ne[2] || q->ne[2] % k->ne[2] != 0 || k->ne[3] != q->ne[3] || v->ne[3] != q->ne[3])
    return false;
  return !mask || (has_rows_of(mask, GGML_TYPE_F16) && mask->ne[0] >= k->ne[1] && mask->ne[1] >= q->ne[1] &&
                   mask->ne[2] == 1);
}

void AttentionNodes::run(const ggml_tensor* node, const Kernels& kernels, int threads) {
  const Attention a(node, kernels);
  a.find_tiles(tiles_);
  if (tiles_.empty()) return;
  std::size_t work = 0, blocks = 0;  // of a kv head; of the longest tile
  for (const AttentionTile& tile : tiles_) {
    work += tile.tokens * (tile.end - tile.begin) * a.group * (a.key_dim + a.value_dim);
    blocks = std::max(blocks, blocks_of(tile));
  }
  const int team =
      static_cast<int>(std::min(static_cast<std::size_t>(threads), a.kv_heads * work / kWorkPerThread + 1));
  own_.resize(std::max(own_.size(), static_cast<std::size_t>(team)));
  const bool by_blocks = tiles_.size() == size(a.q, 3);
  for (Thread& thread : own_) {
    thread.q.at_least((by_blocks ? a.head_tasks() : 1) * a.query_floats);
    thread.sums.at_least(a.state_floats);
    thread.block.at_least(a.state_floats);
  }
  if (by_blocks) {
    run_blocks(a, blocks, team);
  } else {
    run_tiles(a, team);
  }
}

// Tile by tile, as for a prompt. They go head by head: tiles further down cost more, and so every thread gets some of each.
void AttentionNodes::run_tiles(const Attention& a, int team) {
  parallel_ranges(team, a.head_tasks() * tiles_.size(), [&](std::size_t begin, std::size_t end, int thread) {
    Thread& own = own_[static_cast<std::size_t>(thread)];
    for (std::size_t i = begin; i < end; ++i) {
      const AttentionTask task = a.task_at(i / tiles_.size(), tiles_[i % tiles_.size()]);
      const AttentionState sums = state_at(own.sums.data(), task.rows()),
                           more = state_at(own.block.data(), task.rows());
      a.gather_queries(task, own.q.data());
      for (std::size_t block = 0; block < blocks_of(task.tile); ++block) {
        a.run_block(task, block, own.q.data(), block == 0 ? sums : more);
        if (block > 0) a.ops.join(sums, more, task.rows(), a.value_dim);
      }
      a.write(task, sums);
    }
  });
}

// Block by block, as when decoding: few tasks, and what takes the time is reading the cache. The rows of all heads of a position lie
// side by side, so each block is read through once, as hardware likes it, before its heads are done one by one.
void AttentionNodes::run_blocks(const Attention& a, std::size_t blocks, int team) {
  const std::size_t heads = a.head_tasks(), per_tile = heads * blocks;
  float* states = states_.at_least(tiles_.size() * per_tile * a.state_floats);
  const auto state_of = [&](const AttentionTask& task, std::size_t index) {
    return state_at(states + index * a.state_floats, task.rows());
  };
  parallel_ranges(team, tiles_.size() * per_tile, [&](std::size_t begin, std::size_t end, int thread) {
    float* queries = own_[static_cast<std::size_t>(thread)].q.data();
    for (std::size_t i = begin; i < end; ++i) {
      const AttentionTask task = a.task_at(i % heads, tiles_[i / per_tile]);
      const std::size_t block = i % per_tile / heads;
      if (block >= blocks_of(task.tile)) continue;
      if (i == begin || i % per_tile == 0)
        for (std::size_t head = 0; head < heads; ++head)
          a.gather_queries(a.task_at(head, task.tile), queries + head * a.query_floats);
      if (i == begin || i % heads == 0) a.read_block(task.tile, block);
      a.run_block(task, block, queries + i % heads * a.query_floats, state_of(task, i));
    }
  });
  for (std::size_t i = 0; i < tiles_.size() * heads; ++i) {
    const AttentionTask task = a.task_at(i % heads, tiles_[i / heads]);
    const std::size_t first = i / heads * per_tile + i % heads;
    const AttentionState sums =
        blocks == 0 ? state_at(own_[0].sums.data(), task.rows()) : state_of(task, first);
    for (std::size_t block = 1; block < blocks_of(task.tile); ++block)
      a.ops.join(sums, state_of(task, first + block * heads), task.rows(), a.value_dim);
    a.write(task, sums);
  }
}

bool is_cache_store(const ggml_tensor* node) {
  if (node->op != GGML_OP_SET_ROWS) return false;
  const ggml_tensor *rows = node->src[0], *to = node->src[1];
  return has_rows_of(node, GGML_TYPE_F16) && has_rows_of(rows, GGML_TYPE_F32) && rows->ne[2] == 1 &&
         rows->ne[3] == 1 && (to->type == GGML_TYPE_I64 || to->type == GGML_TYPE_I32) &&
         ggml_is_contiguous(to);
}

bool run_cache_store(const ggml_tensor* node, const AttentionF16& ops, int threads) {
  const ggml_tensor *rows = node->src[0], *to = node->src[1];
  const std::size_t width = size(rows, 0), count = size(rows, 1);
  const auto place = [&](std::size_t i) {
    return to->type == GGML_TYPE_I64 ? static_cast<const std::int64_t*>(to->data)[i]
                                     : static_cast<const std::int32_t*>(to->data)[i];
  };
  for (std::size_t i = 0; i < count; ++i)
    if (place(i) < 0 || place(i) >= node->ne[1]) return false;
  parallel_ranges(team_for(count, width, threads), count, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end; ++i)
      ops.to_f16(row_at<const float>(rows, i, 0, 0), width,
                 row_at<std::uint16_t>(node, static_cast<std::size_t>(place(i)), 0, 0));
  });
  return true;
}

}  // namespace dgq::ggml

#include "runtime/decoder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>

#include "runtime/attention.h"
#include "runtime/linear.h"
#include "runtime/parallel.h"
#include "runtime/rope.h"
#include "runtime/swiglu.h"

namespace dgq {
namespace {

// Neighbouring rows of one sequence, few enough for one attention task.
struct Tile {
  std::size_t begin, rows;  // in the batch
};

void split_into_tiles(std::span<const Row> rows, std::size_t tile_rows, std::vector<Tile>& tiles) {
  tiles.clear();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool extends = !tiles.empty() && tiles.back().rows < tile_rows &&
                         rows[i].cache == rows[i - 1].cache && rows[i].position == rows[i - 1].position + 1;
    if (extends) {
      ++tiles.back().rows;
    } else {
      tiles.push_back({i, 1});
    }
  }
}

}  // namespace

struct Decoder::State {
  // What each thread has for itself.
  struct Thread {
    AttentionScratch attention;
    AlignedBuffer<float> row;
  };

  ModelConfig config;
  Kernels kernels;
  const FloatOps& ops;
  int threads;
  std::size_t q_width, kv_width;  // floats of a row in q and out, in k and v
  RopeTable rope;
  std::vector<Thread> own;
  std::vector<Tile> tiles;
  // Scratch for m rows, row-major. Kept from call to call.
  AlignedBuffer<float> hidden, norm, q, k, v, mixed, gate, up, out, wanted;
  QuantizedBuffer input;
  SwigluInput activated_input;

  State(const ModelConfig& c, const Kernels& chosen, int thread_count, std::size_t act_block)
      : config(c),
        kernels(chosen),
        ops(*kernels.float_ops->run),
        threads(std::max(1, thread_count)),
        q_width(c.heads * c.head_dim),
        kv_width(c.kv_heads * c.head_dim),
        rope(c),
        own(static_cast<std::size_t>(threads)),
        input(act_block) {
    for (Thread& thread : own) thread.row.at_least(config.hidden);
  }

  Thread& of(int thread) { return own[static_cast<std::size_t>(thread)]; }

  // One row (decoding) is too little work for every row-wise step to be worth waking the other threads.
  template <class Body>
  void for_each_row(std::size_t m, const Body& body) {
    parallel_ranges(threads, m, [&](std::size_t begin, std::size_t end, int thread) {
      for (std::size_t i = begin; i < end; ++i) body(i, thread);
    });
  }

  static bool any_quantized(std::initializer_list<const Linear*> readers) {
    return std::any_of(readers.begin(), readers.end(), [](const Linear* l) { return is_quantized(*l); });
  }
  static bool all_quantized(std::initializer_list<const Linear*> readers) {
    return std::all_of(readers.begin(), readers.end(), [](const Linear* l) { return is_quantized(*l); });
  }

  static float scale_at(const LayerWeights& w, TapPoint point) {
    return w.input_scale[static_cast<std::size_t>(point)];
  }

  // m rows of floats as the readers want them. scale: of LayerWeights::input_scale.
  LinearInput prepare(const float* x, std::size_t m, std::size_t width, float scale,
                      std::initializer_list<const Linear*> readers) {
    if (!any_quantized(readers)) return {x, m, width, {}};
    return quantize_input(x, m, width, *kernels.quantize_rows, input, threads, scale);
  }

  // RMSNorm and then prepare(), row by row. The floats are kept only where a reader or a tap (`keep`) wants them.
  LinearInput normalise(const float* x, const float* weight, std::size_t m, float scale, bool keep,
                        std::initializer_list<const Linear*> readers) {
    const std::size_t width = config.hidden;
    const auto eps = static_cast<float>(config.rms_eps);
    float* kept = keep || !all_quantized(readers) ? norm.at_least(m * width) : nullptr;
    const bool quantize = any_quantized(readers);
    const QuantizedRowsOut to = quantize ? input.reserve(m, width, scale) : QuantizedRowsOut{};
    for_each_row(m, [&](std::size_t i, int thread) {
      float* row = kept ? kept + i * width : of(thread).row.data();
      ops.rms_norm(x + i * width, weight, width, eps, row);
      if (quantize) quantize_rows(*kernels.quantize_rows, row, width, to, i, 1, scale);
    });
    return {kept, m, width, quantize ? view(to) : QuantizedRows{}};
  }

  // x += linear(input)
  void project_back(const Linear& linear, const LinearInput& from, float* x) {
    const std::size_t width = config.hidden;
    run_linear_onto({&linear, out.at_least(from.m * width)}, from, x, x, kernels, threads);
  }

  // Normalises (if weight is not null) and rotates the heads of one row of q or k.
  void turn(float* row, std::size_t heads, const float* weight, std::size_t position) {
    const std::size_t d = config.head_dim;
    for (float* head = row; head < row + heads * d; head += d) {
      if (weight) ops.rms_norm(head, weight, d, static_cast<float>(config.rms_eps), head);
      ops.rotate(head, rope.cosine(position), rope.sine(position), d);
    }
  }

  void turn_and_store(std::size_t layer, const LayerWeights& w, std::span<const Row> rows, float* queries,
                      float* keys, const float* values) {
    const std::size_t d = config.head_dim;
    for_each_row(rows.size(), [&](std::size_t i, int) {
      const std::size_t position = rows[i].position;
      turn(queries + i * q_width, config.heads, w.q_norm, position);
      turn(keys + i * kv_width, config.kv_heads, w.k_norm, position);
      for (std::size_t h = 0; h < config.kv_heads; ++h) {
        const std::size_t at = i * kv_width + h * d;
        rows[i].cache->store(layer, h, position, keys + at, values + at, *kernels.quantize_rows->run);
      }
    });
  }

  // Tasks go head by head: tiles further down a prompt cost more, and so every thread gets some of each.
  void attend_all(std::size_t layer, std::span<const Row> rows, const float* queries, float* result) {
    const std::size_t group = config.heads / config.kv_heads;
    parallel_ranges(threads, config.kv_heads * tiles.size(),
                    [&](std::size_t begin, std::size_t end, int thread) {
                      for (std::size_t task = begin; task < end; ++task) {
                        const std::size_t head = task / tiles.size();
                        const Tile& tile = tiles[task % tiles.size()];
                        const Row& first = rows[tile.begin];
                        const std::size_t at = tile.begin * q_width + head * group * config.head_dim;
                        attend(*first.cache, layer, head, config.head_dim,
                               {tile.rows, first.position, group, queries + at, result + at, q_width},
                               kernels, of(thread).attention);
                      }
                    });
  }

  // Everything whose size depends on the batch, before the threads start.
  void make_room_for_attention(std::span<const Row> rows) {
    std::size_t positions = 0;
    for (const Row& row : rows) positions = std::max(positions, row.position + 1);
    rope.grow(positions);
    const std::size_t group = config.heads / config.kv_heads, tile_rows = attention_rows(group, positions);
    split_into_tiles(rows, tile_rows, tiles);
    for (Thread& thread : own)
      thread.attention.grow(std::min(tile_rows, rows.size()) * group, positions, config.head_dim);
  }

  void attention_half(std::size_t layer, const LayerWeights& w, std::span<const Row> rows, float* x,
                      const Tap* tap) {
    const std::size_t m = rows.size();
    const LinearInput normed =
        normalise(x, w.input_norm, m, scale_at(w, TapPoint::q), tap, {&w.q, &w.k, &w.v});
    if (tap && !(*tap)(TapPoint::q, normed.x, m, config.hidden)) return;
    float *queries = q.at_least(m * q_width), *keys = k.at_least(m * kv_width),
          *values = v.at_least(m * kv_width);
    const LinearJob jobs[] = {{&w.q, queries}, {&w.k, keys}, {&w.v, values}};
    run_linears(normed, jobs, kernels, threads);
    turn_and_store(layer, w, rows, queries, keys, values);
    float* mix = mixed.at_least(m * q_width);
    attend_all(layer, rows, queries, mix);
    if (tap && !(*tap)(TapPoint::o, mix, m, q_width)) return;
    project_back(w.o, prepare(mix, m, q_width, scale_at(w, TapPoint::o), {&w.o}), x);
  }

  // swiglu(gate, up) with all columns at once: the floats are wanted, or one scale spans them.
  const float* activate(const LayerWeights& w, const LinearInput& normed) {
    const std::size_t m = normed.m, width = config.ffn;
    float *gates = gate.at_least(m * width), *ups = up.at_least(m * width);
    // gate and up have the same blocks: each thread multiplies what it has just made.
    parallel_ranges(threads, output_blocks(w.gate), [&](std::size_t begin, std::size_t end, int) {
      const std::size_t first = begin * kRowBlock, last = std::min(end * kRowBlock, width);
      run_blocks(w.gate, normed, kernels, begin, end, gates + first, width);
      run_blocks(w.up, normed, kernels, begin, end, ups + first, width);
      for (std::size_t i = 0; i < m; ++i)
        ops.swiglu(gates + i * width + first, ups + i * width + first, last - first);
    });
    return gates;
  }

  void ffn_half(const LayerWeights& w, std::size_t m, float* x, const Tap* tap) {
    const LinearInput normed =
        normalise(x, w.post_attention_norm, m, scale_at(w, TapPoint::gate), tap, {&w.gate, &w.up});
    if (tap && !(*tap)(TapPoint::gate, normed.x, m, config.hidden)) return;
    const float scale = scale_at(w, TapPoint::down);
    if (!tap && is_quantized(w.down) && input.scales_chunks() && scale == 0) {
      project_back(w.down, activated_input.run(w.gate, w.up, normed, kernels, threads), x);
      return;
    }
    const float* activated = activate(w, normed);
    if (tap && !(*tap)(TapPoint::down, activated, m, config.ffn)) return;
    project_back(w.down, prepare(activated, m, config.ffn, scale, {&w.down}), x);
  }
};

Decoder::Decoder(const ModelConfig& config, const Kernels& kernels, int threads, std::size_t act_block)
    : state_(std::make_unique<State>(config, kernels, threads, act_block)) {}
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;
int Decoder::threads() const { return state_->threads; }

void Decoder::embed(const Linear& embedding, std::span<const std::int32_t> tokens, float* hidden) {
  const std::size_t width = state_->config.hidden;
  std::visit(
      [&](const auto& w) {
        for (std::size_t i = 0; i < tokens.size(); ++i)
          copy_row(w, static_cast<std::size_t>(tokens[i]), hidden + i * width);
      },
      embedding);
}

void Decoder::run_layer(std::size_t layer, const LayerWeights& weights, std::span<const Row> rows,
                        float* hidden, const Tap* tap) {
  run_attention(layer, weights, rows, hidden, tap);
  run_ffn(weights, rows.size(), hidden, tap);
}

void Decoder::run_attention(std::size_t layer, const LayerWeights& weights, std::span<const Row> rows,
                            float* hidden, const Tap* tap) {
  if (rows.empty()) return;
  state_->make_room_for_attention(rows);
  state_->attention_half(layer, weights, rows, hidden, tap);
}

void Decoder::run_ffn(const LayerWeights& weights, std::size_t m, float* hidden, const Tap* tap) {
  if (m == 0) return;
  state_->ffn_half(weights, m, hidden, tap);
}

void Decoder::run_head(const float* final_norm, const Linear& head, const float* hidden, std::size_t m,
                       float* logits) {
  if (m == 0) return;
  State& s = *state_;
  const LinearJob jobs[] = {{&head, logits}};
  run_linears(s.normalise(hidden, final_norm, m, 0, false, {&head}), jobs, s.kernels, s.threads);
}

void Decoder::forward(const ModelWeights& weights, std::span<const std::int32_t> tokens,
                      std::span<const Row> rows, std::span<const std::size_t> wanted, float* logits) {
  const std::size_t width = state_->config.hidden;
  float* hidden = state_->hidden.at_least(rows.size() * width);
  embed(weights.embedding, tokens, hidden);
  // Of the last layer's hidden rows only the wanted are read: the others need their keys and values, but no ffn.
  const std::size_t last_layer = weights.layers.size() - 1;
  for (std::size_t layer = 0; layer < last_layer; ++layer)
    run_layer(layer, weights.layers[layer], rows, hidden);
  run_attention(last_layer, weights.layers[last_layer], rows, hidden);
  float* last = state_->wanted.at_least(wanted.size() * width);
  for (std::size_t i = 0; i < wanted.size(); ++i)
    std::memcpy(last + i * width, hidden + wanted[i] * width, width * sizeof(float));
  run_ffn(weights.layers[last_layer], wanted.size(), last);
  run_head(weights.final_norm, weights.head, last, wanted.size(), logits);
}

}  // namespace dgq

#include "runtime/decoder.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/attention.h"
#include "runtime/linear.h"
#include "runtime/ops.h"
#include "runtime/parallel.h"
#include "runtime/rope.h"

namespace dgq {
namespace {

// Queries (rows times heads of one kv head) that one attention task takes together.
constexpr std::size_t kAttentionQueries = 32;

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

void lookup(const F32Matrix& w, std::size_t row, float* out) {
  std::memcpy(out, w.w + row * w.k, w.k * sizeof(float));
}
void lookup(const W4Matrix& w, std::size_t row, float* out) { unpack_row(w, row, out); }
void lookup(const W8Matrix& w, std::size_t row, float* out) { unpack_row(w, row, out); }

}  // namespace

struct Decoder::State {
  ModelConfig config;
  Kernels kernels;
  int threads;
  std::size_t q_width, kv_width,
      tile_rows;  // floats of a row in q and out, in k and v; rows of an attention task
  RopeTable rope;
  InputQuantizer quantizer;
  std::vector<AttentionScratch> attention;  // one per thread
  std::vector<Tile> tiles;
  // Scratch for m rows, row-major. Kept from call to call.
  AlignedBuffer<float> hidden, norm, q, k, v, mixed, gate, up, out, wanted;

  State(const ModelConfig& c, const Kernels& chosen, int thread_count, std::size_t act_block)
      : config(c),
        kernels(chosen),
        threads(std::max(1, thread_count)),
        q_width(c.heads * c.head_dim),
        kv_width(c.kv_heads * c.head_dim),
        tile_rows(std::max<std::size_t>(1, kAttentionQueries / (c.heads / c.kv_heads))),
        rope(c),
        quantizer(*kernels.quantize_rows, act_block),
        attention(static_cast<std::size_t>(threads)) {}

  // One row (decoding) is too little work for every row-wise step to be worth waking the other threads.
  template <class Body>
  void for_each_row(std::size_t m, const Body& body) {
    parallel_ranges(threads, m, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i) body(i);
    });
  }

  const float* normalise(const float* x, const float* weight, std::size_t m) {
    float* y = norm.at_least(m * config.hidden);
    const auto eps = static_cast<float>(config.rms_eps);
    for_each_row(m, [&](std::size_t i) {
      rms_norm(x + i * config.hidden, weight, config.hidden, eps, y + i * config.hidden);
    });
    return y;
  }

  template <std::size_t N>
  LinearInput prepare(const float* x, std::size_t m, std::size_t k,
                      const std::array<const Linear*, N>& readers) {
    const bool quantize =
        std::any_of(readers.begin(), readers.end(), [](const Linear* l) { return is_quantized(*l); });
    return quantizer.prepare(x, m, k, quantize, threads);
  }

  struct Job {
    const Linear* linear;
    float* y;
  };

  // Several linears of one input as one loop over all their blocks, so that threads wait for each other once.
  template <std::size_t N>
  void run_linears(const LinearInput& input, const std::array<Job, N>& jobs) {
    std::size_t total = 0;
    for (const Job& job : jobs) total += output_blocks(*job.linear);
    parallel_ranges(threads, total, [&](std::size_t begin, std::size_t end, int) {
      std::size_t base = 0;
      for (const Job& job : jobs) {
        const std::size_t blocks = output_blocks(*job.linear);
        const std::size_t from = std::clamp(begin, base, base + blocks),
                          to = std::clamp(end, base, base + blocks);
        if (from < to)
          run_blocks(*job.linear, input, kernels, from - base, to - base, job.y, output_rows(*job.linear));
        base += blocks;
      }
    });
  }

  void rotate_and_store(std::size_t layer, std::span<const Row> rows, float* queries, float* keys,
                        const float* values) {
    const std::size_t d = config.head_dim;
    for_each_row(rows.size(), [&](std::size_t i) {
      const std::size_t position = rows[i].position;
      const float *cosine = rope.cosine(position), *sine = rope.sine(position);
      for (std::size_t h = 0; h < config.heads; ++h) rotate(queries + i * q_width + h * d, cosine, sine, d);
      for (std::size_t h = 0; h < config.kv_heads; ++h) {
        rotate(keys + i * kv_width + h * d, cosine, sine, d);
        rows[i].cache->keys(layer, h).store(position, keys + i * kv_width + h * d);
        rows[i].cache->values(layer, h).store(position, values + i * kv_width + h * d);
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
                        attend(first.cache->keys(layer, head), first.cache->values(layer, head),
                               {tile.rows, first.position, group, queries + at, result + at, q_width},
                               attention[static_cast<std::size_t>(thread)]);
                      }
                    });
  }

  // Everything whose size depends on the batch or the caches, before the threads start.
  void make_room(std::span<const Row> rows) {
    std::size_t positions = 0;
    for (const Row& row : rows) positions = std::max(positions, row.cache->capacity());
    rope.grow(positions);
    const std::size_t queries = tile_rows * (config.heads / config.kv_heads);
    for (AttentionScratch& scratch : attention) scratch.grow(queries, positions, config.head_dim);
    split_into_tiles(rows, tile_rows, tiles);
  }

  void attention_half(std::size_t layer, const LayerWeights& w, std::span<const Row> rows, float* x,
                      const Tap* tap) {
    const std::size_t m = rows.size();
    const float* normed = normalise(x, w.input_norm, m);
    if (tap) (*tap)(TapPoint::q, normed, m, config.hidden);
    float *queries = q.at_least(m * q_width), *keys = k.at_least(m * kv_width),
          *values = v.at_least(m * kv_width);
    run_linears<3>(prepare<3>(normed, m, config.hidden, {&w.q, &w.k, &w.v}),
                   {{{&w.q, queries}, {&w.k, keys}, {&w.v, values}}});
    rotate_and_store(layer, rows, queries, keys, values);
    float* mix = mixed.at_least(m * q_width);
    attend_all(layer, rows, queries, mix);
    if (tap) (*tap)(TapPoint::o, mix, m, q_width);
    project_back(w.o, mix, m, q_width, x);
  }

  void ffn_half(const LayerWeights& w, std::size_t m, float* x, const Tap* tap) {
    const float* normed = normalise(x, w.post_attention_norm, m);
    if (tap) (*tap)(TapPoint::gate, normed, m, config.hidden);
    float *gates = gate.at_least(m * config.ffn), *ups = up.at_least(m * config.ffn);
    const LinearInput input = prepare<2>(normed, m, config.hidden, {&w.gate, &w.up});
    // gate and up have the same blocks: each thread multiplies what it has just made.
    parallel_ranges(threads, output_blocks(w.gate), [&](std::size_t begin, std::size_t end, int) {
      run_blocks(w.gate, input, kernels, begin, end, gates, config.ffn);
      run_blocks(w.up, input, kernels, begin, end, ups, config.ffn);
      const std::size_t first = begin * kRowBlock, last = std::min(end * kRowBlock, config.ffn);
      for (std::size_t i = 0; i < m; ++i)
        swiglu(gates + i * config.ffn + first, ups + i * config.ffn + first, last - first);
    });
    if (tap) (*tap)(TapPoint::down, gates, m, config.ffn);
    project_back(w.down, gates, m, config.ffn, x);
  }

  // x += linear(input)
  void project_back(const Linear& linear, const float* input, std::size_t m, std::size_t width, float* x) {
    float* y = out.at_least(m * config.hidden);
    run_linears<1>(prepare<1>(input, m, width, {&linear}), {{{&linear, y}}});
    for_each_row(m, [&](std::size_t i) { add(x + i * config.hidden, y + i * config.hidden, config.hidden); });
  }
};

Decoder::Decoder(const ModelConfig& config, const Kernels& kernels, int threads, std::size_t act_block)
    : state_(std::make_unique<State>(config, kernels, threads, act_block)) {}
Decoder::~Decoder() = default;

void Decoder::embed(const Linear& embedding, std::span<const std::int32_t> tokens, float* hidden) {
  const std::size_t width = state_->config.hidden;
  std::visit(
      [&](const auto& w) {
        for (std::size_t i = 0; i < tokens.size(); ++i)
          lookup(w, static_cast<std::size_t>(tokens[i]), hidden + i * width);
      },
      embedding);
}

void Decoder::run_layer(std::size_t layer, const LayerWeights& weights, std::span<const Row> rows,
                        float* hidden, const Tap* tap) {
  if (rows.empty()) return;
  state_->make_room(rows);
  state_->attention_half(layer, weights, rows, hidden, tap);
  state_->ffn_half(weights, rows.size(), hidden, tap);
}

void Decoder::run_head(const float* final_norm, const Linear& head, const float* hidden, std::size_t m,
                       float* logits) {
  if (m == 0) return;
  State& s = *state_;
  const float* normed = s.normalise(hidden, final_norm, m);
  s.run_linears<1>(s.prepare<1>(normed, m, s.config.hidden, {&head}), {{{&head, logits}}});
}

void Decoder::forward(const ModelWeights& weights, std::span<const std::int32_t> tokens,
                      std::span<const Row> rows, std::span<const std::size_t> wanted, float* logits) {
  const std::size_t width = state_->config.hidden;
  float* hidden = state_->hidden.at_least(rows.size() * width);
  embed(weights.embedding, tokens, hidden);
  for (std::size_t layer = 0; layer < weights.layers.size(); ++layer)
    run_layer(layer, weights.layers[layer], rows, hidden);
  float* last = state_->wanted.at_least(wanted.size() * width);
  for (std::size_t i = 0; i < wanted.size(); ++i)
    std::memcpy(last + i * width, hidden + wanted[i] * width, width * sizeof(float));
  run_head(weights.final_norm, weights.head, last, wanted.size(), logits);
}

}  // namespace dgq

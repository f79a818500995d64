#include "bench/synthetic_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "runtime/parallel.h"

namespace dgq::bench {
namespace {

// A matrix is a few random blocks of 16 rows, packed as any, repeated. Distinct ones cost seconds on billions of weights.
constexpr std::size_t kDistinctBlocks = 8;

std::size_t pattern_rows(std::size_t n) {
  const std::size_t whole = std::min(kDistinctBlocks * kRowBlock, n / kRowBlock * kRowBlock);
  return whole + n % kRowBlock;
}

using Random = std::mt19937;

std::vector<float> random_bias(bool bias, std::size_t n, Random& random) {
  std::vector<float> values(bias ? n : 0);
  for (float& value : values) value = static_cast<float>(random() % 201) * 0.001f - 0.1f;
  return values;
}

template <int kBits>
std::vector<std::byte> pack_random_fine(std::size_t n, std::size_t k, std::size_t group, bool with_bias) {
  Random random(static_cast<unsigned>(n + 31 * k));
  const std::size_t groups = round_up(k, group) / group;
  std::vector<std::uint8_t> q(n * k), s2(n * groups);
  std::vector<std::int8_t> o(n * groups);
  for (std::uint8_t& value : q) value = static_cast<std::uint8_t>(random() >> (32 - kBits));
  constexpr unsigned kLargestScale = kBits == 4 ? 15 : 3;
  constexpr int kMiddle = kBits == 4 ? 7 : 32;
  for (std::size_t i = 0; i < s2.size(); ++i) {  // w8 from -105 to 120 (W4), -96 to 93 (W6)
    s2[i] = static_cast<std::uint8_t>(1 + random() % kLargestScale);
    o[i] = static_cast<std::int8_t>(-kMiddle * s2[i]);
  }
  constexpr float kDeviation = 42;  // of w8, about
  const std::vector<float> s1(n, 1 / (kDeviation * std::sqrt(static_cast<float>(k))));
  const std::vector<float> bias = random_bias(with_bias, n, random);
  std::vector<std::byte> section(packed_fine_bytes<kBits>(n, k, group, with_bias));
  pack_fine<kBits>({q.data(), s2.data(), o.data(), s1.data(), with_bias ? bias.data() : nullptr}, n, k, group,
                   section.data());
  return section;
}

std::vector<std::byte> pack_random_w8(std::size_t n, std::size_t k, bool with_bias) {
  Random random(static_cast<unsigned>(n + 31 * k));
  std::vector<std::int8_t> q(n * k);
  for (std::int8_t& value : q) value = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
  constexpr float kDeviation = 73;
  const std::vector<float> s1(n, 1 / (kDeviation * std::sqrt(static_cast<float>(k))));
  const std::vector<float> bias = random_bias(with_bias, n, random);
  std::vector<std::byte> section(packed_w8_bytes(n, k, with_bias));
  pack_w8({q.data(), s1.data(), with_bias ? bias.data() : nullptr}, n, k, section.data());
  return section;
}

// One part of a section (q, s2, ...), which holds block_bytes for each block of 16 rows.
struct Part {
  const void *to, *from;
  std::size_t block_bytes;
};

template <std::size_t N>
void repeat_blocks(const std::array<Part, N>& parts, std::byte* section, std::size_t n, int threads) {
  const std::size_t blocks = round_up(n, kRowBlock) / kRowBlock;
  const std::size_t whole = std::min(kDistinctBlocks, n / kRowBlock);
  parallel_ranges(threads, blocks, [&](std::size_t begin, std::size_t end, int) {
    for (const Part& part : parts) {
      if (!part.to) continue;
      std::byte* to = section + (static_cast<const std::byte*>(part.to) - section);
      for (std::size_t block = begin; block < end; ++block) {
        const std::size_t source =
            block < n / kRowBlock ? block % whole : whole;  // whole: the one with padding
        std::memcpy(to + block * part.block_bytes,
                    static_cast<const std::byte*>(part.from) + source * part.block_bytes, part.block_bytes);
      }
    }
  });
}

// Walks the tensors of a model: without memory it only counts.
class Builder {
 public:
  Builder(const ModelConfig& config, const Recipe& recipe, std::byte* memory, int threads)
      : config_(config), recipe_(recipe), memory_(memory), threads_(threads) {}

  ModelWeights build() {
    const ModelConfig& c = config_;
    const std::size_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    const bool w6 = recipe_.fine == Recipe::w6, sensitive = w6 || recipe_.fine == Recipe::mixed;
    ModelWeights weights;
    weights.embedding = vocabulary();
    for (std::size_t layer = 0; layer < c.layers; ++layer) {
      LayerWeights w{};
      w.input_norm = norm(c.hidden);
      w.q = fine(w6, q, c.hidden, c.qkv_bias);
      w.k = fine(sensitive, kv, c.hidden, c.qkv_bias);
      w.v = fine(sensitive, kv, c.hidden, c.qkv_bias);
      w.o = fine(w6, c.hidden, q, c.o_bias);
      if (c.qk_norm) {
        w.q_norm = norm(c.head_dim);
        w.k_norm = norm(c.head_dim);
      }
      w.post_attention_norm = norm(c.hidden);
      w.gate = fine(w6, c.ffn, c.hidden, c.mlp_bias);
      w.up = fine(w6, c.ffn, c.hidden, c.mlp_bias);
      w.down = fine(sensitive, c.hidden, c.ffn, c.mlp_bias);
      weights.layers.push_back(w);
    }
    weights.final_norm = norm(c.hidden);
    weights.head = c.tied_head ? weights.embedding : vocabulary();
    return weights;
  }
  const ModelSize& size() const { return size_; }

 private:
  // Where the next tensor goes, 64-byte aligned; null when only counting.
  std::byte* take(std::size_t bytes, std::size_t parameters) {
    std::byte* at = memory_ ? memory_ + size_.bytes : nullptr;
    size_.bytes += round_up(bytes, 64);
    size_.parameters += parameters;
    return at;
  }
  const float* norm(std::size_t n) {
    auto* values = reinterpret_cast<float*>(take(n * sizeof(float), n));
    if (values) std::fill_n(values, n, 1.0f);
    return values;
  }
  Linear vocabulary() {
    const std::size_t n = config_.vocab, k = config_.hidden;
    return recipe_.head == Recipe::head_w8 ? w8(n, k) : fine(recipe_.head == Recipe::head_w6, n, k, false);
  }
  Linear fine(bool w6, std::size_t n, std::size_t k, bool bias) {
    return w6 ? fine<6>(n, k, bias) : fine<4>(n, k, bias);
  }
  template <int kBits>
  Linear fine(std::size_t n, std::size_t k, bool bias) {
    const std::size_t group = recipe_.group;
    std::byte* section = take(packed_fine_bytes<kBits>(n, k, group, bias), n * k + (bias ? n : 0));
    return section ? Linear(random_fine<kBits>(section, n, k, group, bias, threads_)) : Linear();
  }
  Linear w8(std::size_t n, std::size_t k) {
    std::byte* section = take(packed_w8_bytes(n, k, false), n * k);
    return section ? Linear(random_w8(section, n, k, false, threads_)) : Linear();
  }

  const ModelConfig& config_;
  const Recipe& recipe_;
  std::byte* memory_;
  int threads_;
  ModelSize size_;
};

}  // namespace

template <int kBits>
FineMatrix<kBits> random_fine(std::byte* section, std::size_t n, std::size_t k, std::size_t group, bool bias,
                              int threads) {
  const std::size_t rows = pattern_rows(n);
  const std::vector<std::byte> packed = pack_random_fine<kBits>(rows, k, group, bias);
  const auto to = bind_fine<kBits>(section, n, k, group, bias),
             from = bind_fine<kBits>(packed.data(), rows, k, group, bias);
  const std::size_t columns = to.padded_k(), fine = kRowBlock * (columns / group);
  repeat_blocks<6>({{{to.q, from.q, columns / 8 * kLowStepBytes},
                     {to.q_high, from.q_high, columns / 8 * to.kHighStepBytes},
                     {to.s2, from.s2, fine},
                     {to.o, from.o, fine},
                     {to.s1, from.s1, kRowBlock * sizeof(float)},
                     {to.bias, from.bias, kRowBlock * sizeof(float)}}},
                   section, n, threads);
  return to;
}
template W4Matrix random_fine<4>(std::byte*, std::size_t, std::size_t, std::size_t, bool, int);
template W6Matrix random_fine<6>(std::byte*, std::size_t, std::size_t, std::size_t, bool, int);

W8Matrix random_w8(std::byte* section, std::size_t n, std::size_t k, bool bias, int threads) {
  const std::size_t rows = pattern_rows(n);
  const std::vector<std::byte> packed = pack_random_w8(rows, k, bias);
  const W8Matrix to = bind_w8(section, n, k, bias), from = bind_w8(packed.data(), rows, k, bias);
  repeat_blocks<3>({{{to.q, from.q, kRowBlock * to.padded_k()},
                     {to.s1, from.s1, kRowBlock * sizeof(float)},
                     {to.bias, from.bias, kRowBlock * sizeof(float)}}},
                   section, n, threads);
  return to;
}

ModelSize synthetic_model_size(const ModelConfig& config, const Recipe& recipe) {
  Builder builder(config, recipe, nullptr, 1);
  builder.build();
  return builder.size();
}

Result<SyntheticModel> SyntheticModel::make(const ModelConfig& config, const Recipe& recipe, int threads) {
  const std::size_t bytes = synthetic_model_size(config, recipe).bytes;
  DGQ_CHECK(check_memory("the model", bytes));
  DGQ_TRY(Pages pages, Pages::map(bytes));
  ModelWeights weights = Builder(config, recipe, pages.bytes().data(), threads).build();
  return SyntheticModel(std::move(pages), std::move(weights));
}

}  // namespace dgq::bench

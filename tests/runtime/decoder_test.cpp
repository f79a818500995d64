// A row's logits must not depend on the batch it is in, on threads or on kernels: every comparison here is of bits.
#include "runtime/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>
#include <string>

#include "runtime/session.h"
#include "tests/runtime/synthetic.h"
#include "tests/support/forward_in_double.h"
#include "tests/support/not_covered.h"

namespace dgq {
namespace {

using test::small_config;
using test::SyntheticModel;

constexpr std::size_t kTokens = 45;  // more than one attention tile and block of positions

std::vector<std::int32_t> some_tokens(std::size_t count, int salt) {
  std::vector<std::int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i)
    tokens[i] = static_cast<std::int32_t>((i * 37 + i * i * 11 + salt) % 301);
  return tokens;
}

Kernels kernels_named(const std::string& isa) {
  auto kernels = select_kernels(isa);
  EXPECT_TRUE(kernels) << kernels.error().what;
  return *kernels;
}

std::vector<std::size_t> all(std::size_t count) {
  std::vector<std::size_t> indices(count);
  for (std::size_t i = 0; i < count; ++i) indices[i] = i;
  return indices;
}

// Logits [tokens][vocab] of one sequence, fed in chunks of the given size.
std::vector<float> run(const SyntheticModel& model, const std::vector<std::int32_t>& tokens,
                       std::size_t chunk, KvType kv, Decoder& decoder) {
  KvCache cache(model.config, tokens.size(), kv);
  std::vector<float> logits(tokens.size() * model.config.vocab);
  for (std::size_t first = 0; first < tokens.size(); first += chunk) {
    const std::size_t count = std::min(chunk, tokens.size() - first);
    std::vector<Row> rows;
    for (std::size_t i = 0; i < count; ++i) rows.push_back({&cache, first + i});
    decoder.forward(model.weights, std::span(tokens).subspan(first, count), rows, all(count),
                    &logits[first * model.config.vocab]);
  }
  return logits;
}

ModelConfig with_qk_norm(bool qk_norm) {
  ModelConfig config = small_config();
  config.qk_norm = qk_norm;
  return config;
}

// Of activations: one for 128 columns, one for a row, or one for an input whatever the row.
enum class Scales { block, row, given };

class Invariance : public testing::TestWithParam<std::tuple<bool, KvType, Scales, bool>> {
 protected:
  bool quantized() const { return std::get<0>(GetParam()); }
  KvType kv() const { return std::get<1>(GetParam()); }
  std::size_t act_block() const { return scales() == Scales::row ? 0 : kActBlock; }
  Scales scales() const { return std::get<2>(GetParam()); }
  Invariance() {
    if (scales() == Scales::given)
      for (LayerWeights& layer : model.weights.layers) layer.input_scale.fill(0.02f);
  }
  SyntheticModel model{with_qk_norm(std::get<3>(GetParam())), quantized()};
  std::vector<std::int32_t> tokens = some_tokens(kTokens, 0);
  std::vector<float> expected() {
    Decoder decoder(model.config, kernels_named(""), 1, act_block());
    return run(model, tokens, kTokens, kv(), decoder);
  }
};

TEST_P(Invariance, LogitsAreFiniteAndDependOnHistory) {
  const std::vector<float> logits = expected();
  EXPECT_TRUE(std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); }));
  tokens[0] = 300;
  const std::vector<float> other = expected();
  EXPECT_FALSE(std::equal(logits.end() - 301, logits.end(), other.end() - 301));
}

TEST_P(Invariance, ChunksOfAnySize) {
  for (const std::size_t chunk : {1, 2, 7, 9, 32}) {
    Decoder decoder(model.config, kernels_named(""), 1, act_block());
    EXPECT_EQ(run(model, tokens, chunk, kv(), decoder), expected()) << "chunk " << chunk;
  }
}

TEST_P(Invariance, Threads) {
  for (const int threads : {2, 3}) {
    Decoder decoder(model.config, kernels_named(""), threads, act_block());
    EXPECT_EQ(run(model, tokens, kTokens, kv(), decoder), expected()) << threads << " threads";
    EXPECT_EQ(run(model, tokens, 1, kv(), decoder), expected()) << threads << " threads, token by token";
  }
}

TEST_P(Invariance, Kernels) {
  std::set<std::string> names;
  for (const auto& row : gemm_w4a8_kernels()) names.insert(row.isa);
  for (const auto& row : gemm_f32_kernels()) names.insert(row.isa);
  for (const std::string& name : names) {
    const auto kernels = select_kernels(name);
    if (!kernels) {
      test::not_covered("decoder with kernel " + name + " (this CPU lacks it)");
      continue;
    }
    Decoder decoder(model.config, *kernels, 2, act_block());
    EXPECT_EQ(run(model, tokens, kTokens, kv(), decoder), expected()) << name;
    EXPECT_EQ(run(model, tokens, 3, kv(), decoder), expected()) << name;
  }
}

// Two sequences of different lengths in one batch, rows of both in every step.
TEST_P(Invariance, MixedSequences) {
  const std::vector<std::int32_t> other_tokens = some_tokens(kTokens, 5);
  const std::vector<float> first = expected();
  std::swap(tokens, const_cast<std::vector<std::int32_t>&>(other_tokens));
  const std::vector<float> second = expected();
  Decoder decoder(model.config, kernels_named(""), 2, act_block());
  KvCache a(model.config, kTokens, kv()), b(model.config, kTokens + 3, kv());
  const std::size_t vocab = model.config.vocab;
  std::vector<float> logits(kTokens * vocab);
  for (std::size_t at = 0, b_at = 0; at < kTokens; ++at) {
    // a: one token; b: two at a time, so that it runs ahead and stops.
    std::vector<Row> rows = {{&a, at}};
    std::vector<std::int32_t> step = {other_tokens[at]};
    const std::size_t b_first = b_at;
    for (; b_at < std::min(b_first + 2, kTokens); ++b_at) {
      rows.push_back({&b, b_at});
      step.push_back(tokens[b_at]);
    }
    decoder.forward(model.weights, step, rows, all(rows.size()), logits.data());
    EXPECT_TRUE(std::equal(&logits[0], &logits[vocab], &first[at * vocab])) << at;
    for (std::size_t i = b_first; i < b_at; ++i)
      EXPECT_TRUE(std::equal(&logits[(1 + i - b_first) * vocab], &logits[(2 + i - b_first) * vocab],
                             &second[i * vocab]));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Invariance,
                         testing::Values(std::tuple(false, KvType::f32, Scales::block, false),
                                         std::tuple(false, KvType::int8, Scales::block, false),
                                         std::tuple(true, KvType::f32, Scales::block, false),
                                         std::tuple(true, KvType::int8, Scales::block, false),
                                         std::tuple(true, KvType::int8, Scales::block, true),
                                         std::tuple(true, KvType::int8, Scales::row, false),
                                         std::tuple(true, KvType::int8, Scales::given, false)));

// Layers of W4, W6 and W8 beside each other, on every architecture. Whoever changes the arithmetic on purpose puts the new value
// here, from any machine.
TEST(Decoder, LogitsHashToTheSameValueEverywhere) {
  const SyntheticModel model(small_config(), true);
  Decoder decoder(model.config, kernels_named(""), 2);
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const float logit : run(model, some_tokens(kTokens, 0), kTokens, KvType::int8, decoder))
    hash = (hash ^ std::bit_cast<std::uint32_t>(logit)) * 0x100000001b3;
  EXPECT_EQ(hash, 0xba881362c251ea98u) << std::hex << hash;
}

void expect_formula(const ModelConfig& config) {
  const SyntheticModel model(config, false);
  const auto tokens = some_tokens(kTokens, 0);
  Decoder decoder(model.config, kernels_named(""), 1);
  const std::vector<float> logits = run(model, tokens, kTokens, KvType::f32, decoder);
  const std::vector<double> exact = test::forward_in_double(model.config, model.weights, tokens);
  // Logits have size 1; two layers of sums of up to 200 terms in float: 2 * 200 * 2^-24 * a few = 1e-4.
  for (std::size_t i = 0; i < exact.size(); ++i)
    ASSERT_NEAR(logits[(kTokens - 1) * exact.size() + i], exact[i], 1e-4) << i;
}

TEST(Decoder, MatchesTheFormulaInDouble) {
  expect_formula(small_config());
  ModelConfig qwen2 = small_config();
  qwen2.qkv_bias = true;
  expect_formula(qwen2);
  expect_formula(with_qk_norm(true));  // Qwen3
  ModelConfig everything = with_qk_norm(true);
  everything.qkv_bias = everything.o_bias = everything.mlp_bias = true;
  expect_formula(everything);
}

// A scale that is given is that of the input it belongs to: logits change by little where it fits and by much where it does not.
TEST(Decoder, GivenScalesCountAtTheirInput) {
  SyntheticModel model(small_config(), true);
  const auto tokens = some_tokens(8, 0);
  const auto distance_from_found = [&](std::size_t input, float scale) {
    Decoder decoder(model.config, kernels_named(""), 1);
    const std::vector<float> found = run(model, tokens, 8, KvType::f32, decoder);
    model.weights.layers[1].input_scale[input] = scale;
    const std::vector<float> given = run(model, tokens, 8, KvType::f32, decoder);
    model.weights.layers[1].input_scale[input] = 0;
    double sum = 0;
    for (std::size_t i = 0; i < found.size(); ++i) sum += std::abs(given[i] - found[i]);
    return sum / static_cast<double>(found.size());
  };
  for (std::size_t input = 0; input < kInputs; ++input) {
    const double fitting = distance_from_found(input, 0.05f), coarse = distance_from_found(input, 5);
    EXPECT_GT(fitting, 0) << input;
    EXPECT_GT(coarse, 4 * fitting) << input;
  }
}

// The embedding, which is the head as well, is a linear as any: here that of a layer.
TEST(Decoder, EmbeddingAndHeadMayBeFine) {
  SyntheticModel model(small_config(), true);
  model.config.vocab = model.config.ffn;
  const LayerWeights& layer = model.weights.layers[0];
  const auto expect_same_bits = [&](const auto& w) {
    model.weights.embedding = model.weights.head = w;
    Decoder decoder(model.config, kernels_named(""), 1), ref(model.config, kernels_named("ref"), 1);
    const std::vector<std::int32_t> tokens = {5, 199, 17, 0, 42};
    std::vector<float> hidden(tokens.size() * model.config.hidden), row(model.config.hidden);
    decoder.embed(model.weights.embedding, tokens, hidden.data());
    unpack_row(w, 199, row.data());
    EXPECT_TRUE(std::equal(row.begin(), row.end(), &hidden[model.config.hidden]));
    EXPECT_EQ(run(model, tokens, 5, KvType::int8, decoder), run(model, tokens, 1, KvType::int8, ref));
  };
  expect_same_bits(std::get<W4Matrix>(layer.gate));
  expect_same_bits(std::get<W6Matrix>(layer.up));
}

TEST(Decoder, TapsSeeTheInputsOfTheLinears) {
  const SyntheticModel model(small_config(), false);
  Decoder decoder(model.config, kernels_named(""), 2);
  KvCache cache(model.config, 4, KvType::f32);
  const std::vector<Row> rows = {{&cache, 0}, {&cache, 1}, {&cache, 2}};
  const std::vector<std::int32_t> tokens = {1, 2, 3};
  std::vector<float> hidden(3 * model.config.hidden);
  decoder.embed(model.weights.embedding, tokens, hidden.data());
  const std::vector<float> input = hidden;
  std::vector<std::size_t> widths;
  std::vector<float> at_down;
  const Tap tap = [&](TapPoint point, const float* x, std::size_t m, std::size_t k) {
    EXPECT_EQ(static_cast<std::size_t>(point), widths.size());
    EXPECT_EQ(m, 3u);
    widths.push_back(k);
    if (point == TapPoint::down) at_down.assign(x, x + m * k);
    return true;
  };
  decoder.run_layer(0, model.weights.layers[0], rows, hidden.data(), &tap);
  EXPECT_EQ(widths, (std::vector<std::size_t>{72, 60, 72, 200}));
  EXPECT_NE(hidden, input);
  std::vector<float> again = input;
  decoder.run_layer(0, model.weights.layers[0], rows, again.data());
  EXPECT_EQ(again, hidden) << "a tap only looks";
  for (const TapPoint last : {TapPoint::q, TapPoint::o}) {
    const Tap stop = [&](TapPoint point, const float*, std::size_t, std::size_t) { return point != last; };
    again = input;
    decoder.run_attention(0, model.weights.layers[0], rows, again.data(), &stop);
    EXPECT_EQ(again, input) << "stopped before anything was added";
  }
  decoder.run_attention(0, model.weights.layers[0], rows, again.data());
  const std::vector<float> after_attention = again;
  EXPECT_NE(after_attention, input);
  for (const TapPoint last : {TapPoint::gate, TapPoint::down}) {
    const Tap stop = [&](TapPoint point, const float*, std::size_t, std::size_t) { return point != last; };
    decoder.run_ffn(model.weights.layers[0], 3, again.data(), &stop);
    EXPECT_EQ(again, after_attention);
  }
  decoder.run_ffn(model.weights.layers[0], 3, again.data());
  EXPECT_EQ(again, hidden) << "two halves are the whole";
}

TEST(Session, MatchesTheDecoderAndCountsPositions) {
  const SyntheticModel model(small_config(), true);
  Decoder decoder(model.config, kernels_named(""), 1);
  const auto tokens = some_tokens(300, 3);  // more than one chunk
  Session session(model.config, model.weights, decoder, 300, KvType::int8);
  ASSERT_TRUE(session.append(std::span(tokens).first(299)));
  ASSERT_TRUE(session.append(tokens[299]));
  EXPECT_EQ(session.position(), 300u);
  const std::vector<float> all_logits = run(model, tokens, 300, KvType::int8, decoder);
  EXPECT_TRUE(std::equal(session.logits().begin(), session.logits().end(), all_logits.end() - 301));
}

TEST(Session, RefusesWhatDoesNotFit) {
  const SyntheticModel model(small_config(), true);
  Decoder decoder(model.config, kernels_named(""), 1);
  Session session(model.config, model.weights, decoder, 4, KvType::int8);
  const std::vector<std::int32_t> five = {1, 2, 3, 4, 5};
  const auto overflow = session.append(five);
  ASSERT_FALSE(overflow);
  EXPECT_EQ(overflow.error().code, Errc::invalid);
  EXPECT_NE(overflow.error().what.find("context of 4 tokens"), std::string::npos) << overflow.error().what;
  EXPECT_EQ(session.position(), 0u);
  ASSERT_TRUE(session.append(std::span(five).first(4)));
  EXPECT_FALSE(session.append(1));
  session.reset();
  EXPECT_TRUE(session.append(1));
  EXPECT_FALSE(session.append(std::span<const std::int32_t>()));
  EXPECT_FALSE(session.append(301));
  EXPECT_FALSE(session.append(-1));
  EXPECT_EQ(session.position(), 1u);
}

TEST(Session, ContextIsWithinTheModels) {
  const ModelConfig config = small_config();
  EXPECT_EQ(*check_context(config, 0), 512u);
  EXPECT_EQ(*check_context(config, 100), 100u);
  EXPECT_FALSE(check_context(config, 513));
}

}  // namespace
}  // namespace dgq

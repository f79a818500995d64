#include "quantizer/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "quantizer/coarse_layer.h"
#include "quantizer/dgq_search.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

class TinyCalibration : public testing::Test {
 protected:
  TinyCalibration() {
    test::tiny_checkpoint().write(scratch_.path());
    checkpoint_.emplace(*Checkpoint::open(scratch_.path()));
    tokenizer_.emplace(*Tokenizer::parse(checkpoint_->tokenizer_json(), "tokenizer.json"));
  }
  Result<std::vector<Sequence>> from_text(std::string_view text, std::size_t tokens = 1 << 20) const {
    return text_calibration(text, "f.txt", *tokenizer_, checkpoint_->config(), tokens);
  }
  std::vector<Sequence> sample(const Kernels& kernels, int threads, std::uint64_t seed,
                               std::uint64_t memory = 1 << 30) const {
    return *sample_calibration(*checkpoint_, kernels, 150, seed, threads, memory, {});
  }

  test::ScratchFolder scratch_;
  std::optional<Checkpoint> checkpoint_;
  std::optional<Tokenizer> tokenizer_;
  Kernels kernels_ = *select_kernels(""), ref_ = *select_kernels("ref");
};

TEST_F(TinyCalibration, SamplesDependOnTheSeedOnly) {
  const std::vector<Sequence> sequences = sample(kernels_, 1, 1);
  ASSERT_EQ(sequences.size(), 3u);  // 150 tokens in whole sequences of max_positions = 64
  for (const Sequence& sequence : sequences) {
    EXPECT_EQ(sequence.size(), 64u);
    EXPECT_EQ(sequence[0], 0);  // BOS
    for (std::int32_t token : sequence) EXPECT_TRUE(token >= 0 && token < 260);
  }
  EXPECT_NE(sequences[0], sequences[1]);
  EXPECT_EQ(sequences, sample(ref_, 2, 1));
  EXPECT_NE(sequences, sample(kernels_, 1, 2));
  EXPECT_EQ(sampled_at_once(checkpoint_->config(), 150, 1), 1u);
  EXPECT_EQ(sequences, sample(kernels_, 1, 1, 1)) << "one after the other, and no layer is kept";
}

TEST_F(TinyCalibration, TextIsCutIntoDocumentsAndSequences) {
  const std::string long_text(100, 'x');
  const Result<std::vector<Sequence>> cut = from_text("ab<|endoftext|><|endoftext|>" + long_text);
  ASSERT_TRUE(cut) << cut.error().what;
  ASSERT_EQ(cut->size(), 3u);
  EXPECT_EQ(cut->at(0),
            (Sequence{0, 'a' + 1, 'b' + 1}));  // BOS first; the tiny tokenizer numbers bytes from 1
  EXPECT_EQ(cut->at(1).size(), 64u);
  EXPECT_EQ(cut->at(1)[0], 0);
  EXPECT_EQ(cut->at(2).size(), 37u);
  EXPECT_EQ(cut->at(2)[0], 'x' + 1);
}

TEST_F(TinyCalibration, FewTokensAreSpreadOverTheText) {
  std::string text;
  for (char letter = 'a'; letter <= 'j'; ++letter) text += std::string(63, letter) + "<|endoftext|>";
  const Result<std::vector<Sequence>> some = from_text(text, 3 * 64);
  ASSERT_TRUE(some);
  ASSERT_EQ(some->size(), 3u);
  EXPECT_EQ(some->at(0)[1], 'a' + 1);
  EXPECT_EQ(some->at(1)[1], 'd' + 1);
  EXPECT_EQ(some->at(2)[1], 'g' + 1);
  EXPECT_EQ(from_text(text, 1)->size(), 1u);
}

TEST_F(TinyCalibration, RefusesTextThatIsNone) {
  for (const char* text : {"", "<|endoftext|>", "<|endoftext|><|endoftext|>"}) {
    const Result<std::vector<Sequence>> none = from_text(text);
    ASSERT_FALSE(none) << text;
    EXPECT_EQ(none.error().what, "f.txt holds no text; calibration needs some");
  }
  const Result<std::vector<Sequence>> latin = from_text("caf\xc3\xa9, caf\xe9.");
  ASSERT_FALSE(latin);
  EXPECT_EQ(latin.error().code, Errc::invalid);
  EXPECT_NE(latin.error().what.find("f.txt: not UTF-8: byte 10 "), std::string::npos) << latin.error().what;
}

CalibrationRun start(const Checkpoint& checkpoint, const Kernels& kernels, int threads,
                     const std::vector<Sequence>& sequences, const std::filesystem::path& spill = {}) {
  const std::vector<float> table = *checkpoint.embedding();
  const F32Matrix embedding{checkpoint.config().vocab, checkpoint.config().hidden, table.data(), nullptr};
  return *CalibrationRun::start(checkpoint.config(), kernels, {threads, kActBlock, spill}, sequences,
                                embedding);
}

CoarseLayer coarse(const Checkpoint& checkpoint, std::size_t index) {
  return CoarseLayer(checkpoint.config(), checkpoint.layer(index)->weights, 1);
}

void expect_same(const LayerInputs& a, const LayerInputs& b) {
  for (std::size_t point = 0; point < 4; ++point) {
    EXPECT_EQ(a[point].h, b[point].h);
    EXPECT_EQ(a[point].tokens, b[point].tokens);
    EXPECT_EQ(a[point].largest, b[point].largest);
  }
}

TEST_F(TinyCalibration, StatisticsAreThoseOfTheLayersInputs) {
  const std::vector<Sequence> sequences = {{0, 5, 9, 5}, {7, 8}};
  CalibrationRun run = start(*checkpoint_, kernels_, 1, sequences);
  const LayerF32 layer = *checkpoint_->layer(0);
  const LayerInputs inputs = *run.collect(coarse(*checkpoint_, 0).weights(), nullptr, {});
  EXPECT_EQ(inputs[1].h.size(), 64u * 64);
  EXPECT_EQ(inputs[3].h.size(), 96u * 96);
  // The input of layer 0's q is the normalised embedding, rounded to int8: by their formulas, in double.
  const std::vector<float> table = *checkpoint_->embedding();
  std::vector<double> expected(64 * 64), highest(64), size(64);
  double largest_of_all = 0;
  for (int token : {0, 5, 9, 5, 7, 8}) {
    double square = 0, largest = 0;
    std::vector<double> x(64), rounded(64);
    for (std::size_t k = 0; k < 64; ++k) square += std::pow(table[64 * token + k], 2);
    for (std::size_t k = 0; k < 64; ++k) {
      x[k] = table[64 * token + k] / std::sqrt(square / 64 + 1e-5) * layer.weights.input_norm[k];
      largest = std::max(largest, std::fabs(x[k]));
    }
    largest_of_all = std::max(largest_of_all, largest);
    for (std::size_t k = 0; k < 64; ++k) rounded[k] = largest / 127 * std::nearbyint(x[k] * 127 / largest);
    for (std::size_t a = 0; a < 64; ++a) {
      for (std::size_t b = 0; b < 64; ++b) expected[64 * a + b] += rounded[a] * rounded[b];
      highest[a] = std::max(highest[a], std::fabs(rounded[a]));
      size[a] += std::fabs(rounded[a]);
    }
  }
  // Gram rounds each column to int8 once more: half a step on either side.
  for (std::size_t a = 0; a < 64; ++a)
    for (std::size_t b = 0; b < 64; ++b)
      ASSERT_NEAR(inputs[0].h[64 * a + b], expected[64 * a + b],
                  (highest[a] * size[b] + highest[b] * size[a]) / 254 * 1.01);
  EXPECT_EQ(inputs[0].tokens, 6u);
  EXPECT_NEAR(inputs[0].largest, largest_of_all, 1e-5 * largest_of_all);
}

// The inputs of a layer are what run_layer of the same weights gives, token by token, in one go or in two.
TEST_F(TinyCalibration, PassGoesOnWhereCollectWould) {
  const std::vector<Sequence> sequences = {{0, 5, 9, 5}, {7, 8}};
  CalibrationRun looked = start(*checkpoint_, kernels_, 1, sequences),
                 passed = start(*checkpoint_, kernels_, 1, sequences);
  const LayerInputs first = *looked.collect(coarse(*checkpoint_, 0).weights(), nullptr, {});
  ASSERT_TRUE(passed.pass(coarse(*checkpoint_, 0).weights(), {}));
  const LayerInputs second = *looked.collect(coarse(*checkpoint_, 1).weights(), nullptr, {});
  expect_same(*passed.collect(coarse(*checkpoint_, 1).weights(), nullptr, {}), second);
  EXPECT_NE(first[0].h, second[0].h);
}

TEST_F(TinyCalibration, TokensCountAsTheirWeightsSay) {
  const std::vector<Sequence> sequences = {{0, 5, 9, 5}, {7, 8}};
  const auto h_of = [&](const std::vector<Sequence>& of, const TokenWeights& weights) {
    const std::array<TokenWeights, 4> all = {weights, weights, weights, weights};
    return *start(*checkpoint_, kernels_, 1, of)
                .collect(coarse(*checkpoint_, 0).weights(), weights.empty() ? nullptr : &all, {});
  };
  const LayerInputs plain = h_of(sequences, {}), first = h_of({sequences[0]}, {});
  const TokenWeights four(2, std::vector<float>(4, 4.0f)),
      only_first = {std::vector<float>(4, 1.0f), std::vector<float>(2, 0.0f)};
  const LayerInputs times_four = h_of(sequences, four), without = h_of(sequences, only_first);
  for (std::size_t point = 0; point < 4; ++point) {
    EXPECT_EQ(without[point].h, first[point].h);
    EXPECT_EQ(times_four[point].largest, plain[point].largest);  // of the inputs as they are
    for (std::size_t i = 0; i < plain[point].h.size(); ++i)
      ASSERT_EQ(times_four[point].h[i], 4 * plain[point].h[i]);
  }
}

TEST_F(TinyCalibration, StatisticsAreTheSameBitsEverywhere) {
  const std::vector<Sequence> sequences = sample(kernels_, 1, 3);
  CalibrationRun a = start(*checkpoint_, kernels_, 1, sequences), b = start(*checkpoint_, ref_, 2, sequences);
  for (std::size_t i = 0; i < 2; ++i) {
    const CoarseLayer layer = coarse(*checkpoint_, i);
    expect_same(*a.collect(layer.weights(), nullptr, {}), *b.collect(layer.weights(), nullptr, {}));
  }
}

TEST_F(TinyCalibration, RowsThatWaitInAFileAreTheSame) {
  const std::vector<Sequence> sequences = {{0, 5, 9, 5}, {7, 8}, {3, 1, 2}};
  CalibrationRun memory = start(*checkpoint_, kernels_, 1, sequences),
                 file = start(*checkpoint_, kernels_, 1, sequences, scratch_.path());
  for (std::size_t i = 0; i < 2; ++i) {
    const CoarseLayer layer = coarse(*checkpoint_, i);
    expect_same(*memory.collect(layer.weights(), nullptr, {}), *file.collect(layer.weights(), nullptr, {}));
  }
  const std::vector<float> table(checkpoint_->config().vocab * checkpoint_->config().hidden);
  const Linear embedding =
      F32Matrix{checkpoint_->config().vocab, checkpoint_->config().hidden, table.data(), nullptr};
  const auto refused = CalibrationRun::start(checkpoint_->config(), kernels_,
                                             {1, kActBlock, scratch_ / "missing"}, sequences, embedding);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("missing"), std::string::npos);
}

TEST_F(TinyCalibration, RandomTokensAreOfTheVocabulary) {
  const std::vector<Sequence> sequences = random_calibration(checkpoint_->config(), 150, 1);
  ASSERT_EQ(sequences.size(), 3u);
  std::int32_t largest = 0;
  for (const Sequence& sequence : sequences) {
    EXPECT_EQ(sequence.size(), 64u);
    for (const std::int32_t token : sequence) largest = std::max(largest, token);
  }
  EXPECT_LT(largest, 260);
  EXPECT_GT(largest, 200);
  EXPECT_NE(sequences, random_calibration(checkpoint_->config(), 150, 2));
}

// The first rows of every linear layer of the bundled model, on its real activations: rows are searched one by one, so
// what holds for them holds for the layer. (`dgq quantize` prints all rows; those would take minutes under qemu.)
TEST(DemoModel, SearchBeatsMinMaxOnEveryLinear) {
  constexpr std::size_t kRows = 8;
  const Checkpoint demo = *Checkpoint::open(test::repository_file("models/demo"));
  const Tokenizer tokenizer = *Tokenizer::parse(demo.tokenizer_json(), "tokenizer.json");
  const Kernels kernels = *select_kernels("");
  const GemmF32Kernel& gemm = *kernels.gemm_f32;
  const std::string text =
      "Once upon a time there was a little dog named Max. Max liked to run in the park. One day he saw a big "
      "red ball "
      "under a tree, and he wanted to play with it. \"Can I have the ball?\" he asked the girl who sat "
      "there.";
  CalibrationRun run =
      start(demo, kernels, 2, *text_calibration(text, "text", tokenizer, demo.config(), 128));
  const FineFormat format{128, 4};
  for (std::size_t i = 0; i < demo.config().layers; ++i) {
    const LayerF32 layer = *demo.layer(i);
    const LayerWeights& w = layer.weights;
    const LayerInputs inputs = *run.collect(coarse(demo, i).weights(), nullptr, {});
    const std::pair<const Linear&, const std::vector<float>&> linears[] = {
        {w.q, inputs[0].h},    {w.k, inputs[0].h},  {w.v, inputs[0].h},   {w.o, inputs[1].h},
        {w.gate, inputs[2].h}, {w.up, inputs[2].h}, {w.down, inputs[3].h}};
    for (std::size_t l = 0; l < std::size(linears); ++l) {
      F32Matrix rows = std::get<F32Matrix>(linears[l].first);
      rows.n = kRows;
      const std::vector<float>& h = linears[l].second;
      const double plain = output_loss(gemm, rows, h, format, round_min_max(rows, format, 2), 2);
      const double best = output_loss(gemm, rows, h, format, search(gemm, rows, h, format, {}, 2), 2);
      EXPECT_LT(best, plain) << "layer " << i << " linear " << l;
      EXPECT_GT(best, 0) << "layer " << i << " linear " << l;
    }
  }
}

}  // namespace
}  // namespace dgq

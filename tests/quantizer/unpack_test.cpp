// A model that was quantized and written as a checkpoint again: the same numbers, read by quantizer/checkpoint.h.
#include "quantizer/unpack.h"

#include <gtest/gtest.h>

#include <bit>

#include "quantizer/quantize.h"
#include "runtime/linear.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "tests/support/command.h"
#include "tests/support/families.h"

namespace dgq {
namespace {

namespace fs = std::filesystem;

const std::vector<std::int32_t> kTokens = {5, 17, 259, 0, 42, 42, 100, 7, 3};

// A tiny checkpoint in a registry, loaded from there.
class Quantized {
 public:
  explicit Quantized(const test::TinyCheckpoint& tiny) {
    tiny.write(scratch_ / "source");
    EXPECT_EQ(test::run_dgq("registry init --registry " + registry()).exit_code, 0);
    test::write_text(scratch_ / "recipe.json",
                     R"({"calibration_tokens": 64, "passes": [{"pass": "search"}]})");
    const test::Outcome outcome =
        test::run_dgq("quantize " + (scratch_ / "source").string() + " --name tiny --registry " + registry() +
                      " --recipe " + (scratch_ / "recipe.json").string());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    auto opened = Registry::open(scratch_ / "r.db", Registry::Mode::read_only);
    LayerCache cache(scratch_ / "cache");
    auto loaded = Model::load(*opened, cache, "tiny");
    EXPECT_TRUE(loaded) << loaded.error().what;
    model_.emplace(std::move(*loaded));
  }
  const Model& model() const { return *model_; }
  fs::path file(const std::string& name) const { return scratch_ / name; }
  std::string registry() const { return (scratch_ / "r.db").string(); }

  Result<void> unpack_to(const fs::path& folder, FloatType type) const {
    return unpack(model_->config(), model_->weights(), model_->tokenizer_json(), model_->chat_template(),
                  type, folder);
  }

 private:
  test::ScratchFolder scratch_;
  std::optional<Model> model_;
};

std::vector<float> rows_of(const Linear& linear) {
  return std::visit(
      [](const auto& w) {
        std::vector<float> all(w.n * w.k);
        for (std::size_t i = 0; i < w.n; ++i) copy_row(w, i, all.data() + i * w.k);
        if (w.bias) all.insert(all.end(), w.bias, w.bias + w.n);
        return all;
      },
      linear);
}

std::vector<Linear> linears_of(const ModelWeights& weights) {
  std::vector<Linear> all = {weights.embedding, weights.head};
  for (const LayerWeights& w : weights.layers)
    all.insert(all.end(), {w.q, w.k, w.v, w.o, w.gate, w.up, w.down});
  return all;
}

float rounded_to_bf16(float value) {  // the nearer of the two neighbours
  const auto low = std::bit_cast<std::uint32_t>(value) & 0xffff0000u;
  const float a = std::bit_cast<float>(low), b = std::bit_cast<float>(low + 0x10000u);
  const float to_a = std::fabs(value - a), to_b = std::fabs(b - value);
  return to_a < to_b || (to_a == to_b && (low & 0x10000u) == 0) ? a : b;
}

void expect_same_numbers(const Quantized& quantized, FloatType type) {
  const fs::path folder = quantized.file(type == FloatType::f32 ? "f32" : "bf16");
  const auto unpacked = quantized.unpack_to(folder, type);
  ASSERT_TRUE(unpacked) << unpacked.error().what;
  const auto checkpoint = Checkpoint::open(folder);
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  EXPECT_TRUE(checkpoint->config() == quantized.model().config());
  EXPECT_EQ(checkpoint->tokenizer_json(), quantized.model().tokenizer_json());
  const auto floats = load_f32(*checkpoint);
  ASSERT_TRUE(floats) << floats.error().what;
  const std::vector<Linear> made = linears_of(quantized.model().weights()),
                            read = linears_of(floats->weights);
  ASSERT_EQ(made.size(), read.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    std::vector<float> expected = rows_of(made[i]);
    if (type == FloatType::bf16)
      std::transform(expected.begin(), expected.end(), expected.begin(), rounded_to_bf16);
    EXPECT_TRUE(rows_of(read[i]) == expected) << "linear " << i;
  }
}

TEST(Unpack, EveryFamilyAndFloatType) {
  for (const auto& tiny :
       {test::tiny_checkpoint(), test::tiny_llama_with_biases(), test::tiny_qwen2(), test::tiny_qwen3()}) {
    const Quantized quantized(tiny);
    expect_same_numbers(quantized, FloatType::f32);
    expect_same_numbers(quantized, FloatType::bf16);
  }
}

std::vector<float> last_logits(const ModelConfig& config, const ModelWeights& weights) {
  Decoder decoder(config, *select_kernels(""), 1);
  Session session(config, weights, decoder, kTokens.size(), KvType::f32);
  EXPECT_TRUE(session.append(kTokens));
  return {session.logits().begin(), session.logits().end()};
}

// In float the unpacked weights do what the integer kernels do with the packed ones, up to the rounding of activations.
TEST(Unpack, FloatsComputeWhatTheKernelsDo) {
  const Quantized quantized(test::tiny_checkpoint(3));
  ASSERT_TRUE(quantized.unpack_to(quantized.file("f32"), FloatType::f32));
  const auto checkpoint = Checkpoint::open(quantized.file("f32"));
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  const auto floats = load_f32(*checkpoint);
  ASSERT_TRUE(floats) << floats.error().what;
  const std::vector<float> expected = last_logits(checkpoint->config(), floats->weights),
                           got = last_logits(quantized.model().config(), quantized.model().weights());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error += std::pow(got[i] - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.03);
}

TEST(Unpack, Command) {
  const Quantized quantized(test::tiny_checkpoint());
  const std::string to = " --registry " + quantized.registry() + " --safetensors ";
  const std::string folder = quantized.file("made").string();
  const test::Outcome outcome = test::run_dgq("unpack tiny --type bf16" + to + folder + "/");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("model.safetensors (bf16) of tiny"), std::string::npos) << outcome.out;
  EXPECT_TRUE(Checkpoint::open(folder));
  const auto expect_refused = [](const std::string& arguments, const std::string& why) {
    const test::Outcome refused = test::run_dgq("unpack " + arguments);
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_NE(refused.err.find(why), std::string::npos) << refused.err;
  };
  expect_refused("tiny" + to + folder, "is there already");
  expect_refused("nobody" + to + quantized.file("x").string(), "nobody");
  expect_refused("tiny --type f16" + to + quantized.file("x").string(), "--type must be f32 or bf16");
  expect_refused("tiny --registry " + quantized.registry(), "--safetensors");
  expect_refused("tiny" + to + "/proc/nowhere/x", "cannot create");
  EXPECT_FALSE(fs::exists(quantized.file("x")));
}

}  // namespace
}  // namespace dgq

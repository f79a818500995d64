// The fp32 graph against logits that Hugging Face transformers computed (reference_logits.safetensors).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "quantizer/checkpoint.h"
#include "quantizer/safetensors.h"
#include "runtime/decoder.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

void compare(const std::filesystem::path& folder) {
  auto checkpoint = Checkpoint::open(folder);
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  const auto model = load_f32(*checkpoint);
  ASSERT_TRUE(model) << model.error().what;
  const auto file = SafetensorsFile::open(folder / "reference_logits.safetensors");
  ASSERT_TRUE(file) << file.error().what;
  const auto tokens = to_i32(file->tensors.at("input_ids"), "input_ids");
  const auto positions = to_i32(file->tensors.at("positions"), "positions");
  const auto expected = to_f32(file->tensors.at("logits"), "logits");
  ASSERT_TRUE(tokens && positions && expected);
  ASSERT_EQ(tokens->size(), 256u);
  ASSERT_EQ(positions->size(), 6u);

  const ModelConfig& config = checkpoint->config();
  auto kernels = select_kernels_from_environment();
  ASSERT_TRUE(kernels) << kernels.error().what;
  Decoder decoder(config, *kernels, 2);
  KvCache cache(config, tokens->size(), KvType::f32);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < tokens->size(); ++i) rows.push_back({&cache, i});
  const std::vector<std::size_t> wanted(positions->begin(), positions->end());
  std::vector<float> logits(expected->size());
  decoder.forward(model->weights, *tokens, rows, wanted, logits.data());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    double worst = 0;
    for (std::size_t j = i * config.vocab; j < (i + 1) * config.vocab; ++j)
      worst = std::max(worst, std::abs(static_cast<double>(logits[j]) - (*expected)[j]));
    EXPECT_LT(worst, 2e-3) << "position " << wanted[i];
    std::printf("position %zu: largest difference %.2e\n", wanted[i], worst);
  }
}

TEST(ReferenceLogits, Demo) { compare(test::repository_file("models/demo")); }

TEST(ReferenceLogits, Eval) {
  const auto folder = test::shared_file("models/eval", "fp32 logits of the 44M model");
  if (folder.empty()) GTEST_SKIP() << "shared/models/eval is not there";
  compare(folder);
}

}  // namespace
}  // namespace dgq

// Every supported family, from files to logits: a tiny checkpoint as a folder and as GGUF against the formulas in double.
#include <gtest/gtest.h>

#include <map>

#include "kernels/table.h"
#include "quantizer/checkpoint.h"
#include "quantizer/stored_tensor.h"
#include "runtime/session.h"
#include "tests/support/command.h"
#include "tests/support/families.h"
#include "tests/support/forward_in_double.h"
#include "tests/support/gguf_writer.h"

namespace dgq {
namespace {

using test::TinyCheckpoint;

const std::vector<std::int32_t> kTokens = {5, 17, 259, 0, 42, 42, 100, 7, 3};

// The tensors under Hugging Face's names as the graph's weights, without any help of quantizer/checkpoint.cpp.
class PlainModel {
 public:
  explicit PlainModel(const TinyCheckpoint& tiny) {
    for (const auto& [name, tensor] : tiny.tensors)
      values_[name] = *to_f32({tensor.dtype, tensor.shape, std::as_bytes(std::span(tensor.bytes))}, name);
    const auto number = [&](const char* key) { return tiny.config[key].get<std::size_t>(); };
    config.hidden = number("hidden_size");
    config.layers = number("num_hidden_layers");
    config.heads = number("num_attention_heads");
    config.kv_heads = number("num_key_value_heads");
    config.head_dim = number("head_dim");
    config.rms_eps = tiny.config["rms_norm_eps"];
    config.rope_theta = tiny.config["rope_theta"];
    for (std::size_t i = 0; i < config.layers; ++i) {
      const std::string layer = "model.layers." + std::to_string(i) + ".";
      weights.layers.push_back(
          {floats(layer + "input_layernorm.weight"), linear(layer + "self_attn.q_proj"),
           linear(layer + "self_attn.k_proj"), linear(layer + "self_attn.v_proj"),
           linear(layer + "self_attn.o_proj"), floats(layer + "post_attention_layernorm.weight"),
           linear(layer + "mlp.gate_proj"), linear(layer + "mlp.up_proj"), linear(layer + "mlp.down_proj"),
           floats(layer + "self_attn.q_norm.weight"), floats(layer + "self_attn.k_norm.weight")});
    }
    weights.embedding = linear("model.embed_tokens");
    weights.final_norm = floats("model.norm.weight");
    weights.head = floats("lm_head.weight") ? linear("lm_head") : weights.embedding;
  }

  ModelConfig config{};
  ModelWeights weights;

 private:
  const float* floats(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? nullptr : found->second.data();
  }
  Linear linear(const std::string& name) const {
    const std::size_t k = name.ends_with("down_proj") ? 96 : 64;  // all others read 64 columns
    const float* w = floats(name + ".weight");
    return F32Matrix{values_.at(name + ".weight").size() / k, k, w, floats(name + ".bias")};
  }
  std::map<std::string, std::vector<float>> values_;
};

std::vector<float> last_logits(const std::filesystem::path& path) {
  const Result<Checkpoint> checkpoint = Checkpoint::open(path);
  if (!checkpoint) return ADD_FAILURE() << checkpoint.error().what, std::vector<float>();
  const Result<ModelF32> model = load_f32(*checkpoint);
  if (!model) return ADD_FAILURE() << model.error().what, std::vector<float>();
  Decoder decoder(checkpoint->config(), *select_kernels(""), 1);
  Session session(checkpoint->config(), model->weights, decoder, kTokens.size(), KvType::f32);
  EXPECT_TRUE(session.append(kTokens));
  return {session.logits().begin(), session.logits().end()};
}

void expect_formulas(const TinyCheckpoint& tiny) {
  const PlainModel plain(tiny);
  const std::vector<double> exact = test::forward_in_double(plain.config, plain.weights, kTokens);
  const test::ScratchFolder scratch;
  tiny.write(scratch / "folder");
  const std::vector<float> logits = last_logits(scratch / "folder");
  ASSERT_EQ(logits.size(), exact.size());
  // Logits have size 1; two layers of sums of up to 96 terms in float: 2 * 96 * 2^-24 * a few < 1e-4.
  for (std::size_t i = 0; i < exact.size(); ++i) ASSERT_NEAR(logits[i], exact[i], 1e-4) << i;
  test::write_text(scratch / "m.gguf", test::gguf_of(tiny).bytes());
  EXPECT_EQ(last_logits(scratch / "m.gguf"), logits);
}

TEST(Families, Llama) { expect_formulas(test::tiny_checkpoint()); }
TEST(Families, LlamaWithBiases) { expect_formulas(test::tiny_llama_with_biases()); }
TEST(Families, Qwen2) { expect_formulas(test::tiny_qwen2()); }
TEST(Families, Qwen3) { expect_formulas(test::tiny_qwen3()); }

TEST(Families, Mistral) {
  TinyCheckpoint tiny = test::tiny_checkpoint(3);
  tiny.config["architectures"] = {"MistralForCausalLM"};
  tiny.config["sliding_window"] = nullptr;
  expect_formulas(tiny);
}

// From files through the registry to logits, on the kernels of this CPU and on the reference.
TEST(Families, QuantizedRunsWithTheSameBits) {
  for (const TinyCheckpoint& tiny : {test::tiny_qwen2(), test::tiny_qwen3()}) {
    const test::ScratchFolder scratch;
    tiny.write(scratch / "model");
    const std::string registry = " --registry " + (scratch / "r.db").string();
    const test::Outcome made = test::run_dgq("quantize " + (scratch / "model").string() + registry +
                                             " --name tiny --calibration-tokens 64 --group 32");
    ASSERT_EQ(made.exit_code, 0) << made.err;
    const std::string hash = " eval hash --model tiny --text 'the cat sat on the mat'" + registry;
    const test::Outcome chosen = test::run_shell(test::dgq_command() + hash),
                        reference = test::run_shell("DGQ_ISA=ref " + test::dgq_command() + hash);
    EXPECT_EQ(chosen.exit_code, 0) << chosen.err;
    EXPECT_EQ(chosen.out, reference.out);
  }
}

// A bias or norm that the family's class would not read is not left out in silence.
TEST(Families, TensorsOfAnotherFamily) {
  for (TinyCheckpoint tiny : {test::tiny_qwen2(), test::tiny_qwen3()}) {
    tiny.config["architectures"] = {"LlamaForCausalLM"};
    const test::ScratchFolder scratch;
    tiny.write(scratch.path());
    const auto checkpoint = Checkpoint::open(scratch.path());
    ASSERT_FALSE(checkpoint);
    EXPECT_NE(checkpoint.error().what.find("is not part of the model"), std::string::npos)
        << checkpoint.error().what;
  }
}

}  // namespace
}  // namespace dgq

#include "runtime/config.h"

#include <gtest/gtest.h>

#include <string>

#include "base/file.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

constexpr const char* kBase =
    R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 384, "intermediate_size": 1024,
  "num_hidden_layers": 8, "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 4096,
  "max_position_embeddings": 512, "eos_token_id": 0, "bos_token_id": 1})";

Result<ModelConfig> parse(const std::string& changes) {
  Json config = Json::parse(kBase);
  config.update(Json::parse(changes));
  return parse_config(config, "config.json");
}

TEST(Config, ReadsTheBundledModel) {
  const auto text = read_file(test::repository_file("models/demo/config.json"), 1 << 20);
  ASSERT_TRUE(text);
  const auto config = parse_config(*parse_json(*text, "config.json"), "config.json");
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->hidden, 384u);
  EXPECT_EQ(config->ffn, 1024u);
  EXPECT_EQ(config->layers, 8u);
  EXPECT_EQ(config->heads, 6u);
  EXPECT_EQ(config->kv_heads, 2u);
  EXPECT_EQ(config->head_dim, 64u);
  EXPECT_EQ(config->vocab, 4096u);
  EXPECT_EQ(config->max_positions, 512u);
  EXPECT_EQ(config->rms_eps, 1e-5);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_TRUE(config->tied_head);
  EXPECT_FALSE(config->qkv_bias || config->o_bias || config->mlp_bias || config->qk_norm);
  EXPECT_EQ(config->eos, std::vector<std::int32_t>{0});
}

TEST(Config, DefaultsAreThoseOfHuggingFace) {
  const auto config = parse(R"({"num_key_value_heads": null, "bos_token_id": null, "eos_token_id": null})");
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->kv_heads, 6u);
  EXPECT_EQ(config->head_dim, 64u);
  EXPECT_EQ(config->rms_eps, 1e-6);
  EXPECT_EQ(config->rope_theta, 10000);
  EXPECT_FALSE(config->tied_head);
  EXPECT_EQ(config->bos, -1);
  EXPECT_TRUE(config->eos.empty());
  EXPECT_EQ(config->rope_scaling.kind, RopeScaling::Kind::none);
}

TEST(Config, EosMayBeAList) {
  EXPECT_EQ(parse(R"({"eos_token_id": [5, 4095]})")->eos, (std::vector<std::int32_t>{5, 4095}));
}

TEST(Config, RopeScalingInEverySpelling) {
  for (const char* text : {
           R"({"rope_scaling": {"type": "linear", "factor": 4.0}})",
           R"({"rope_scaling": {"rope_type": "linear", "factor": 4}})",
           R"({"rope_parameters": {"rope_type": "linear", "factor": 4, "rope_theta": 500000.0}})",
       }) {
    const auto config = parse(text);
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->rope_scaling.kind, RopeScaling::Kind::linear) << text;
    EXPECT_EQ(config->rope_scaling.factor, 4) << text;
  }
  EXPECT_EQ(parse(R"({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})")->rope_theta, 5e5);
  const auto config =
      parse(R"({"rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})");
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->rope_scaling.kind, RopeScaling::Kind::llama3);
  EXPECT_EQ(config->rope_scaling.factor, 32);
  EXPECT_EQ(config->rope_scaling.high_freq_factor, 4);
  EXPECT_EQ(config->rope_scaling.original_max_positions, 8192u);
}

TEST(Config, AcceptsWhatDoesNotChangeTheGraph) {
  for (
      const char* text : {
          R"({"architectures": ["MistralForCausalLM"], "sliding_window": null, "max_position_embeddings": 32768})",
          R"({"architectures": ["MistralForCausalLM"]})",  // the default window of 4096 covers 512 positions
          R"({"sliding_window": 512})",
          R"({"sliding_window": 128, "use_sliding_window": false})",
          R"({"pretraining_tp": 1, "partial_rotary_factor": 1.0, "rope_scaling": null})",
          R"({"layer_types": ["full_attention"], "pruned_heads": {}, "nobody_heard_of": null})",
          R"({"head_dim": 128})",
      })
    EXPECT_TRUE(parse(text)) << text << ": " << parse(text).error().what;
}

TEST(Config, Families) {
  const auto biases = [](const ModelConfig& c) { return std::tuple(c.qkv_bias, c.o_bias, c.qk_norm); };
  const auto qwen2 = parse(R"({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": false,
      "sliding_window": 128, "max_window_layers": 21, "tie_word_embeddings": true})");
  ASSERT_TRUE(qwen2) << qwen2.error().what;
  EXPECT_EQ(biases(*qwen2), std::tuple(true, false, false));
  EXPECT_EQ(qwen2->head_dim, 64u);
  // Qwen2 and Qwen3 use a window only where they say so, Llama and Mistral wherever there is one.
  EXPECT_TRUE(parse(R"({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 128})"));
  EXPECT_EQ(
      parse(R"({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 128, "use_sliding_window": true})")
          .error()
          .code,
      Errc::unsupported);
  const auto qwen3 =
      parse(R"({"architectures": ["Qwen3ForCausalLM"], "head_dim": 32, "attention_bias": false})");
  ASSERT_TRUE(qwen3) << qwen3.error().what;
  EXPECT_EQ(biases(*qwen3), std::tuple(false, false, true));
  EXPECT_EQ(qwen3->head_dim, 32u);
  EXPECT_EQ(parse(R"({"architectures": ["Qwen3ForCausalLM"]})")->head_dim, 128u);  // not 384 / 6
  EXPECT_EQ(biases(*parse(R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": true})")),
            std::tuple(true, true, true));
  EXPECT_EQ(biases(*parse(R"({"attention_bias": true})")), std::tuple(true, true, false));
  // What SmolLM2 and TinyLlama carry besides.
  EXPECT_TRUE(
      parse(R"({"is_llama_config": true, "rope_interleaved": false, "transformers.js_config": {"dtype": "q4"},
      "initializer_range": 0.04, "pretraining_tp": 1, "_name_or_path": "x", "use_cache": true})"));
}

TEST(Config, CanonicalFormReadsBack) {
  for (const char* text :
       {R"({})",
        R"({"bos_token_id": null, "eos_token_id": null, "head_dim": 32, "tie_word_embeddings": true})",
        R"({"eos_token_id": [7, 5], "attention_bias": true, "mlp_bias": true, "rope_theta": 500000.0})",
        R"({"architectures": ["MistralForCausalLM"], "rms_norm_eps": 1e-05})",
        R"({"architectures": ["Qwen2ForCausalLM"], "rope_scaling": {"type": "linear", "factor": 4}})",
        R"({"architectures": ["Qwen3ForCausalLM"], "attention_bias": true, "num_key_value_heads": 6})",
        R"({"rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"}) {
    const auto config = parse(text);
    ASSERT_TRUE(config) << text << config.error().what;
    const Json canonical = config_to_json(*config);
    const auto again = parse_config(canonical, "canonical");
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(*again, *config) << canonical;
    EXPECT_EQ(config_to_json(*again).dump(), canonical.dump());
  }
}

struct Refusal {
  const char* changes;
  Errc code;
  const char* word;  // the message names the culprit
};

TEST(Config, RefusesByName) {
  const Refusal refusals[] = {
      {R"({"architectures": ["GPT2LMHeadModel"]})", Errc::unsupported, "GPT2LMHeadModel"},
      {R"({"architectures": null})", Errc::corrupt, "architectures"},
      {R"({"architectures": "LlamaForCausalLM"})", Errc::corrupt, "architectures"},
      {R"({"architectures": []})", Errc::corrupt, "architectures"},
      {R"({"hidden_act": "gelu"})", Errc::unsupported, "gelu"},
      {R"({"sliding_window": 128})", Errc::unsupported, "sliding_window"},
      {R"({"architectures": ["MistralForCausalLM"], "max_position_embeddings": 32768})", Errc::unsupported,
       "4096"},
      {R"({"quantization_config": {"bits": 4}})", Errc::unsupported, "quantization_config"},
      {R"({"partial_rotary_factor": 0.5})", Errc::unsupported, "partial_rotary_factor"},
      {R"({"pretraining_tp": 2})", Errc::unsupported, "pretraining_tp"},
      {R"({"attn_logit_softcapping": 50.0})", Errc::unsupported, "attn_logit_softcapping"},
      {R"({"final_logit_softcapping": 30.0})", Errc::unsupported, "final_logit_softcapping"},
      {R"({"num_local_experts": 8})", Errc::unsupported, "num_local_experts"},
      {R"({"use_qk_norm": true})", Errc::unsupported, "use_qk_norm"},
      {R"({"rope_interleaved": true})", Errc::unsupported, "rope_interleaved"},
      {R"({"nobody_heard_of": 0})", Errc::unsupported, "nobody_heard_of"},
      {R"({"nobody_heard_of": false})", Errc::unsupported, "nobody_heard_of"},
      {R"({"layer_types": "full_attention"})", Errc::corrupt, "layer_types"},
      {R"({"layer_types": ["full_attention", "sliding_attention"]})", Errc::unsupported, "sliding_attention"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 4}})", Errc::unsupported, "yarn"},
      {R"({"rope_scaling": {"rope_type": "linear", "factor": 2, "mrope_section": [1]}})", Errc::unsupported,
       "mrope_section"},
      {R"({"rope_scaling": {"factor": 4}})", Errc::corrupt, "factor"},
      {R"({"rope_scaling": {"type": "linear"}})", Errc::corrupt, "factor"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", Errc::corrupt, "factor"},
      {R"({"rope_scaling": 4})", Errc::corrupt, "RoPE"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4,
           "original_max_position_embeddings": 8192}})",
       Errc::corrupt, "high_freq_factor"},
      {R"({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "default"}})",
       Errc::corrupt, "contradict"},
      {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", Errc::unsupported,
       "layer type"},
      {R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})", Errc::unsupported,
       "partial"},
      {R"({"rope_theta": 0})", Errc::corrupt, "rope_theta"},
      {R"({"rms_norm_eps": 0})", Errc::corrupt, "rms_norm_eps"},
      {R"({"hidden_size": null})", Errc::corrupt, "hidden_size"},
      {R"({"hidden_size": 0})", Errc::corrupt, "hidden_size"},
      {R"({"hidden_size": 65537})", Errc::corrupt, "hidden_size"},
      {R"({"hidden_size": 383})", Errc::corrupt, "num_attention_heads"},
      {R"({"hidden_size": "384"})", Errc::corrupt, "hidden_size"},
      {R"({"hidden_size": 384.5})", Errc::corrupt, "hidden_size"},
      {R"({"hidden_size": 18446744073709551615})", Errc::corrupt, "hidden_size"},
      {R"({"vocab_size": 1048577})", Errc::corrupt, "vocab_size"},
      {R"({"num_hidden_layers": 1025})", Errc::corrupt, "num_hidden_layers"},
      {R"({"num_key_value_heads": 4})", Errc::corrupt, "num_key_value_heads"},
      {R"({"head_dim": 63})", Errc::corrupt, "head dimension"},
      {R"({"num_attention_heads": 1024, "num_key_value_heads": 1, "head_dim": 1024})", Errc::corrupt,
       "heads"},
      {R"({"eos_token_id": 4096})", Errc::corrupt, "eos_token_id"},
      {R"({"eos_token_id": [0, -1]})", Errc::corrupt, "eos_token_id"},
      {R"({"bos_token_id": "x"})", Errc::corrupt, "bos_token_id"},
      {R"({"tie_word_embeddings": 1})", Errc::corrupt, "tie_word_embeddings"},
  };
  for (const Refusal& refusal : refusals) {
    const auto config = parse(refusal.changes);
    ASSERT_FALSE(config) << refusal.changes;
    EXPECT_EQ(config.error().code, refusal.code) << refusal.changes << ": " << config.error().what;
    EXPECT_NE(config.error().what.find(refusal.word), std::string::npos) << config.error().what;
    EXPECT_EQ(config.error().what.find("config.json: "), 0u) << config.error().what;
  }
  EXPECT_FALSE(parse_config(Json::array(), "config.json"));
}

}  // namespace
}  // namespace dgq

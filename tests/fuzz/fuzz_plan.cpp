// Any bytes as the plan of a job: parse_plan must answer with one that survives its own bytes, or with an Error. Half of the time
// they change bytes of a good plan, so that what is behind the header is reached.
#include <cstdlib>
#include <cstring>

#include "quantizer/model_plan.h"

namespace {

const dgq::ModelConfig& config() {
  static const dgq::ModelConfig small = *dgq::parse_config({{"architectures", {"LlamaForCausalLM"}},
                                                            {"hidden_size", 8},
                                                            {"intermediate_size", 8},
                                                            {"num_hidden_layers", 2},
                                                            {"num_attention_heads", 1},
                                                            {"num_key_value_heads", 1},
                                                            {"head_dim", 8},
                                                            {"vocab_size", 16},
                                                            {"max_position_embeddings", 8},
                                                            {"rms_norm_eps", 1e-5},
                                                            {"rope_theta", 10000.0},
                                                            {"tie_word_embeddings", true}},
                                                           "config.json");
  return small;
}

const std::string& good_plan() {
  static const std::string bytes = [] {
    dgq::ModelPlan plan;
    plan.sequences = {{1, 2, 3}, {4}};
    dgq::LayerFormats formats;
    formats.fill({64, 4});
    plan.formats.assign(2, formats);
    plan.factors.assign(2, {std::vector<float>(8, 1), std::vector<float>(8, 2), std::vector<float>(8, 1),
                            std::vector<float>(8, 3)});
    const dgq::TokenWeights weights = {{1, 1, 2}, {0.5f}};
    plan.token_weights.assign(2, {weights, weights, weights, weights});
    plan.input_scales.assign(2, {0, 0.5f, 0, 1});
    return dgq::plan_to_bytes(plan, config());
  }();
  return bytes;
}

void try_plan(const std::string& bytes) {
  const auto plan = dgq::parse_plan(std::as_bytes(std::span(bytes)), config(), "plan");
  if (!plan) return;
  const std::string once = dgq::plan_to_bytes(*plan, config());
  const auto again = dgq::parse_plan(std::as_bytes(std::span(once)), config(), "plan");
  if (!again || dgq::plan_to_bytes(*again, config()) != once) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  try_plan(bytes);
  std::string changed = good_plan();
  for (std::size_t i = 0; i + 3 <= size; i += 3) {  // where (2 bytes), what
    const std::size_t at = (data[i] | data[i + 1] << 8) % changed.size();
    changed[at] = static_cast<char>(data[i + 2]);
  }
  try_plan(changed);
  return 0;
}

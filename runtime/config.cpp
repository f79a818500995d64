#include "runtime/config.h"

#include <string>
#include <utility>

#include "kernels/packed.h"
#include "runtime/config_members.h"
#include "runtime/foreign.h"

namespace dgq {
namespace {

// Above every model there is, and low enough that no product of two of them overflows 64 bits.
constexpr std::int64_t kMaxHidden = 65536, kMaxLayers = 1024, kMaxHeads = 1024;
constexpr std::int64_t kMaxVocab = 1 << 20;
constexpr std::int64_t kMaxPositions = 1 << 20;  // runtime/math.h reduces RoPE angles exactly up to here

Error unsupported(std::string_view where, const std::string& what) {
  return {Errc::unsupported, std::string(where) + ": " + what + " is not supported"};
}

Error corrupt(std::string_view where, const std::string& what) {
  return {Errc::corrupt, std::string(where) + ": " + what};
}

// The member, or JSON null when it is missing.
const Json& member(const Json& object, const char* key) {
  static const Json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

Result<std::size_t> size_of(const Json& config, const char* key, std::int64_t high, std::string_view where) {
  DGQ_TRY(const std::int64_t value, json_int(config, key, 1, high, where));
  return static_cast<std::size_t>(value);
}

// What the classes of Hugging Face's transformers do and their config.json does not say.
struct Family {
  const char* architecture;
  bool qkv_bias;  // q, k and v have a bias and o has none, whatever "attention_bias" says
  bool qk_norm;
  std::int64_t window;    // where there is no "sliding_window"
  bool window_used;       // where there is no "use_sliding_window"
  std::int64_t head_dim;  // where there is no "head_dim"; 0: hidden size / heads
};
constexpr std::int64_t kNoWindow = INT64_MAX;
constexpr Family kLlama = {"LlamaForCausalLM", false, false, kNoWindow, true, 0};
constexpr Family kMistral = {"MistralForCausalLM", false, false, 4096, true, 0};
constexpr Family kQwen2 = {"Qwen2ForCausalLM", true, false, kNoWindow, false, 0};
constexpr Family kQwen3 = {"Qwen3ForCausalLM", false, true, kNoWindow, false, 128};

Result<const Family*> find_family(const Json& config, std::string_view where) {
  const Json& list = member(config, "architectures");
  if (!list.is_array() || list.size() != 1 || !list[0].is_string())
    return corrupt(where, "\"architectures\" must be a list of one name, for example [\"LlamaForCausalLM\"]");
  const auto name = list[0].get<std::string>();
  std::string supported;
  for (const Family* family : {&kLlama, &kMistral, &kQwen2, &kQwen3}) {
    if (name == family->architecture) return family;
    supported += (supported.empty() ? "" : ", ") + std::string(family->architecture);
  }
  return unsupported(where, "architecture " + name + " (supported: " + supported + ")");
}

// A member that nobody here has heard of may turn the graph into another one: guessing that it does not would give wrong
// logits without a word.
Result<void> check_members(const Json& config, std::string_view where) {
  for (const auto& [key, value] : config.items()) {
    if (value.empty() || key.starts_with('_') || contains(kRead, key) || contains(kHarmless, key)) continue;
    if (!contains(kMustBeFalse, key))
      return unsupported(where, "\"" + key +
                                    "\" (it may change what the model computes; if you know that it does "
                                    "not, take it out)");
    if (value != false) return unsupported(where, "\"" + key + "\" other than false");
  }
  return {};
}

Result<void> check_graph(const Json& config, std::string_view where) {
  DGQ_CHECK(check_members(config, where));
  const Json& layer_types = member(config, "layer_types");
  if (!layer_types.is_null() && !layer_types.is_array())
    return corrupt(where, "\"layer_types\" must be a list");
  for (const Json& type : layer_types)
    if (type != "full_attention") return unsupported(where, "\"layer_types\" with " + type.dump());
  DGQ_TRY(const std::string activation, json_string_or(config, "hidden_act", "silu", where));
  if (activation != "silu") return unsupported(where, "\"hidden_act\": \"" + activation + "\" (only silu)");
  DGQ_TRY(const std::int64_t slices, json_int_or(config, "pretraining_tp", 1, 0, INT64_MAX, where));
  if (slices > 1) return unsupported(where, "\"pretraining_tp\": " + std::to_string(slices));
  return {};
}

Result<void> check_partial_rotary(const Json& object, std::string_view where) {
  DGQ_TRY(const double fraction, json_number_or(object, "partial_rotary_factor", 1, where));
  if (fraction != 1) return unsupported(where, "\"partial_rotary_factor\" other than 1");
  return {};
}

// A window at least as long as the context never hides anything.
Result<void> check_sliding_window(const Json& config, const Family& family, std::size_t max_positions,
                                  std::string_view where) {
  DGQ_TRY(const bool used, json_bool_or(config, "use_sliding_window", family.window_used, where));
  if (!used) return {};
  std::int64_t window = config.contains("sliding_window") ? kNoWindow : family.window;
  DGQ_TRY(window, json_int_or(config, "sliding_window", window, 1, INT64_MAX, where));
  if (window >= static_cast<std::int64_t>(max_positions)) return {};
  return unsupported(where, "\"sliding_window\" of " + std::to_string(window) + " in a context of " +
                                std::to_string(max_positions));
}

Result<RopeScaling> parse_rope_scaling(const Json& object, std::string_view where) {
  RopeScaling scaling;
  if (object.is_null()) return scaling;
  if (!object.is_object()) return corrupt(where, "RoPE scaling must be an object or null");
  DGQ_TRY(const std::string old_name, json_string_or(object, "type", "default", where));
  DGQ_TRY(const std::string type, json_string_or(object, "rope_type", old_name, where));
  for (const auto& [key, value] : object.items())
    if (value.is_object()) return unsupported(where, "RoPE scaling by layer type (\"" + key + "\")");
  if (type != "default" && type != "linear" && type != "llama3")
    return unsupported(where, "RoPE type \"" + type + "\" (supported: default, linear, llama3)");
  for (const auto& [key, value] : object.items())
    if (!value.is_null() && !contains(kRopeMembers, key))
      return unsupported(where, "\"" + key + "\" of RoPE type \"" + type + "\"");
  if (type == "default" && object.contains("factor"))
    return corrupt(where, "RoPE scaling has a factor but no type that uses it");
  if (type == "default") return scaling;
  DGQ_TRY(scaling.factor, json_number(object, "factor", where));
  if (!(scaling.factor >= 1)) return corrupt(where, "RoPE \"factor\" must be at least 1");
  scaling.kind = RopeScaling::Kind::linear;
  if (type == "linear") return scaling;
  scaling.kind = RopeScaling::Kind::llama3;
  DGQ_TRY(scaling.low_freq_factor, json_number(object, "low_freq_factor", where));
  DGQ_TRY(scaling.high_freq_factor, json_number(object, "high_freq_factor", where));
  if (!(scaling.low_freq_factor > 0 && scaling.high_freq_factor > scaling.low_freq_factor))
    return corrupt(where, "RoPE needs 0 < low_freq_factor < high_freq_factor");
  DGQ_TRY(scaling.original_max_positions,
          size_of(object, "original_max_position_embeddings", kMaxPositions, where));
  return scaling;
}

// Transformers 4 writes rope_theta and rope_scaling side by side, version 5 both into rope_parameters.
Result<void> parse_rope(const Json& config, std::string_view where, ModelConfig& out) {
  const Json& scaling = member(config, "rope_scaling");
  const Json& parameters = member(config, "rope_parameters");
  if (!scaling.is_null() && !parameters.is_null() && scaling != parameters)
    return corrupt(where, "\"rope_scaling\" and \"rope_parameters\" contradict each other");
  DGQ_TRY(out.rope_scaling, parse_rope_scaling(parameters.is_null() ? scaling : parameters, where));
  DGQ_CHECK(check_partial_rotary(config, where));
  DGQ_CHECK(check_partial_rotary(parameters, where));
  DGQ_TRY(const double outer_theta, json_number_or(config, "rope_theta", 10000, where));
  DGQ_TRY(out.rope_theta, json_number_or(parameters, "rope_theta", outer_theta, where));
  if (!(out.rope_theta > 1 && out.rope_theta <= 1e12))
    return corrupt(where, "\"rope_theta\" must be from 1 to 1e12");
  return {};
}

Result<void> parse_head_dim(const Json& config, const Family& family, std::string_view where,
                            ModelConfig& out) {
  const bool given = !member(config, "head_dim").is_null() || family.head_dim != 0;
  if (!given && out.hidden % out.heads != 0)
    return corrupt(
        where, "\"hidden_size\" must be a multiple of \"num_attention_heads\" when there is no \"head_dim\"");
  const auto quotient = static_cast<std::int64_t>(out.hidden / out.heads);
  DGQ_TRY(const std::int64_t head_dim,
          json_int_or(config, "head_dim", family.head_dim ? family.head_dim : quotient, 1,
                      std::int64_t{kMaxHeadDim}, where));
  out.head_dim = static_cast<std::size_t>(head_dim);
  if (head_dim < 2 || head_dim > std::int64_t{kMaxHeadDim} || head_dim % 2 != 0)
    return corrupt(where, "the head dimension (" + std::to_string(head_dim) +
                              ") must be even and from 2 to " + std::to_string(kMaxHeadDim));
  if (out.heads * out.head_dim > kMaxK)
    return corrupt(where, "heads times head dimension is over " + std::to_string(kMaxK));
  return {};
}

Result<void> parse_sizes(const Json& config, std::string_view where, ModelConfig& out) {
  DGQ_TRY(out.hidden, size_of(config, "hidden_size", kMaxHidden, where));
  DGQ_TRY(out.ffn, size_of(config, "intermediate_size", static_cast<std::int64_t>(kMaxK), where));
  DGQ_TRY(out.layers, size_of(config, "num_hidden_layers", kMaxLayers, where));
  DGQ_TRY(out.heads, size_of(config, "num_attention_heads", kMaxHeads, where));
  DGQ_TRY(out.vocab, size_of(config, "vocab_size", kMaxVocab, where));
  DGQ_TRY(out.max_positions, size_of(config, "max_position_embeddings", kMaxPositions, where));
  const auto heads = static_cast<std::int64_t>(out.heads);
  DGQ_TRY(const std::int64_t kv_heads,
          json_int_or(config, "num_key_value_heads", heads, 1, kMaxHeads, where));
  out.kv_heads = static_cast<std::size_t>(kv_heads);
  if (out.heads % out.kv_heads != 0)
    return corrupt(where, "\"num_attention_heads\" (" + std::to_string(out.heads) +
                              ") must be a multiple of \"num_key_value_heads\" (" +
                              std::to_string(out.kv_heads) + ")");
  return {};
}

Result<std::int32_t> token_id(const Json& value, const char* key, std::size_t vocab, std::string_view where) {
  const Json holder = {{key, value}};
  DGQ_TRY(const std::int64_t id, json_int(holder, key, 0, static_cast<std::int64_t>(vocab) - 1, where));
  return static_cast<std::int32_t>(id);
}

Result<void> parse_special_tokens(const Json& config, std::string_view where, ModelConfig& out) {
  if (const Json& bos = member(config, "bos_token_id"); !bos.is_null()) {
    DGQ_TRY(out.bos, token_id(bos, "bos_token_id", out.vocab, where));
  }
  const Json& eos = member(config, "eos_token_id");
  const Json list = eos.is_array() ? eos : eos.is_null() ? Json::array() : Json::array({eos});
  for (const Json& value : list) {
    DGQ_TRY(const std::int32_t id, token_id(value, "eos_token_id", out.vocab, where));
    out.eos.push_back(id);
  }
  return {};
}

}  // namespace

Result<ModelConfig> parse_config(const Json& config, std::string_view where) {
  if (!config.is_object()) return corrupt(where, "a model's configuration must be a JSON object");
  if (is_foreign(config))
    return Error{Errc::unsupported, std::string(where) + ": only llama.cpp runs a model of this family (" +
                                        member(config, "architectures").dump() +
                                        "): write a file for it with dgq export gguf"};
  DGQ_TRY(const Family* family, find_family(config, where));
  DGQ_CHECK(check_graph(config, where));
  ModelConfig out{};
  DGQ_CHECK(parse_sizes(config, where, out));
  DGQ_CHECK(parse_head_dim(config, *family, where, out));
  DGQ_CHECK(check_sliding_window(config, *family, out.max_positions, where));
  DGQ_CHECK(parse_rope(config, where, out));
  DGQ_TRY(out.rms_eps, json_number_or(config, "rms_norm_eps", 1e-6, where));
  if (!(out.rms_eps > 0 && out.rms_eps <= 1))
    return corrupt(where, "\"rms_norm_eps\" must be above 0 and at most 1");
  DGQ_TRY(out.tied_head, json_bool_or(config, "tie_word_embeddings", false, where));
  DGQ_TRY(const bool attention_bias, json_bool_or(config, "attention_bias", false, where));
  DGQ_TRY(out.mlp_bias, json_bool_or(config, "mlp_bias", false, where));
  out.qkv_bias = family->qkv_bias || attention_bias;
  out.o_bias = !family->qkv_bias && attention_bias;
  out.qk_norm = family->qk_norm;
  DGQ_CHECK(parse_special_tokens(config, where, out));
  return out;
}

Json config_to_json(const ModelConfig& c) {
  const Family& family = c.qk_norm ? kQwen3 : c.qkv_bias && !c.o_bias ? kQwen2 : kLlama;
  Json json = {{"architectures", Json::array({family.architecture})},
               {"hidden_size", c.hidden},
               {"intermediate_size", c.ffn},
               {"num_hidden_layers", c.layers},
               {"num_attention_heads", c.heads},
               {"num_key_value_heads", c.kv_heads},
               {"head_dim", c.head_dim},
               {"vocab_size", c.vocab},
               {"max_position_embeddings", c.max_positions},
               {"rms_norm_eps", c.rms_eps},
               {"rope_theta", c.rope_theta},
               {"tie_word_embeddings", c.tied_head},
               {"attention_bias", c.o_bias},
               {"mlp_bias", c.mlp_bias},
               {"eos_token_id", c.eos}};
  if (c.bos >= 0) json["bos_token_id"] = c.bos;
  const RopeScaling& scaling = c.rope_scaling;
  if (scaling.kind == RopeScaling::Kind::linear)
    json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", scaling.factor}};
  if (scaling.kind == RopeScaling::Kind::llama3)
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", scaling.factor},
                            {"low_freq_factor", scaling.low_freq_factor},
                            {"high_freq_factor", scaling.high_freq_factor},
                            {"original_max_position_embeddings", scaling.original_max_positions}};
  return json;
}

}  // namespace dgq

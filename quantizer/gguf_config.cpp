#include "quantizer/gguf_config.h"

#include <algorithm>
#include <cmath>

#include "runtime/foreign.h"
#include "runtime/rope.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

Error unsupported(const std::string& where, const std::string& what) {
  return {Errc::unsupported, where + ": " + what + " is not supported"};
}
Error corrupt(const std::string& where, const std::string& what) {
  return {Errc::corrupt, where + ": " + what};
}

// Keys below the architecture's name, and what a config.json calls the same; null: read or checked by itself.
struct Key {
  const char *gguf, *config;
  bool needed;
};
constexpr Key kKeys[] = {{"block_count", "num_hidden_layers", true},
                         {"embedding_length", "hidden_size", true},
                         {"feed_forward_length", "intermediate_size", true},
                         {"context_length", "max_position_embeddings", true},
                         {"attention.head_count", "num_attention_heads", true},
                         {"attention.head_count_kv", "num_key_value_heads", false},
                         {"attention.layer_norm_rms_epsilon", "rms_norm_eps", true},
                         {"attention.sliding_window", "sliding_window", false},
                         {"rope.freq_base", "rope_theta", false},
                         {"attention.key_length", nullptr, false},
                         {"attention.value_length", nullptr, false},
                         {"rope.dimension_count", nullptr, false},
                         {"rope.scale_linear", nullptr, false},
                         {"rope.scaling.type", nullptr, false},
                         {"rope.scaling.factor", nullptr, false},
                         {"rope.scaling.original_context_length", nullptr, false},
                         {"rope.scaling.finetuned", nullptr, false},
                         {"vocab_size", nullptr, false},
                         {"expert_count", nullptr, false},
                         {"expert_used_count", nullptr, false},
                         {"tensor_data_layout", nullptr, false}};

struct Architecture {
  const char *gguf, *config;
};
constexpr Architecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}};

struct Source {
  const Gguf& gguf;
  const std::string& where;
  std::string prefix;  // "llama."

  const Json* find(const std::string& key) const {
    const auto found = gguf.metadata.find(prefix + key);
    return found == gguf.metadata.end() ? nullptr : &*found;
  }
  Result<std::int64_t> integer_or(const std::string& key, std::int64_t fallback) const {
    return json_int_or(gguf.metadata, prefix + key, fallback, 0, INT64_MAX, where);
  }
  bool has_tensor(std::string_view name) const { return gguf.tensors.contains(name); }
};

Result<const Architecture*> find_architecture(const Json& metadata, const std::string& where) {
  DGQ_TRY(const std::string name, json_string(metadata, "general.architecture", where));
  for (const Architecture& known : kArchitectures)
    if (name == known.gguf) return &known;
  return Error{Errc::unsupported, where + ": architecture " + in_quotes(name) +
                                      " is not supported (llama, qwen2 and qwen3 are)"};
}

Result<void> check_keys(const Source& source) {
  for (const auto& [key, value] : source.gguf.metadata.items()) {
    if (!key.starts_with(source.prefix)) continue;
    const std::string_view rest = std::string_view(key).substr(source.prefix.size());
    if (std::none_of(std::begin(kKeys), std::end(kKeys),
                     [&](const Key& known) { return rest == known.gguf; }))
      return unsupported(source.where, in_quotes(key) + " (it may change what the model computes)");
  }
  for (const char* key : {"expert_count", "expert_used_count"}) {
    DGQ_TRY(const std::int64_t experts, source.integer_or(key, 0));
    if (experts != 0)
      return unsupported(source.where, "a mixture of experts (\"" + source.prefix + key + "\")");
  }
  return {};
}

Result<std::int64_t> head_dim(const Source& source, const Json& config) {
  const std::string& where = source.where;
  DGQ_TRY(const std::int64_t hidden, json_int(config, "hidden_size", 1, INT64_MAX, where));
  DGQ_TRY(const std::int64_t heads, json_int(config, "num_attention_heads", 1, INT64_MAX, where));
  if (!source.find("attention.key_length") && hidden % heads != 0)
    return corrupt(where, "\"" + source.prefix + "embedding_length\" must be a multiple of \"" +
                              source.prefix + "attention.head_count\" when there is no \"" + source.prefix +
                              "attention.key_length\"");
  DGQ_TRY(const std::int64_t dim, source.integer_or("attention.key_length", hidden / heads));
  DGQ_TRY(const std::int64_t value_dim, source.integer_or("attention.value_length", dim));
  if (value_dim != dim)
    return unsupported(where,
                       "\"" + source.prefix + "attention.value_length\" other than the length of keys");
  DGQ_TRY(const std::int64_t rotary, source.integer_or("rope.dimension_count", dim));
  if (rotary != dim)
    return unsupported(where, "partial rotary embedding (\"" + source.prefix + "rope.dimension_count\" of " +
                                  std::to_string(rotary) + " in heads of " + std::to_string(dim) + ")");
  return dim;
}

// rope_scaling as a config.json has it; null: none.
Result<Json> rope_scaling(const Source& source) {
  const Json& metadata = source.gguf.metadata;
  DGQ_TRY(const double old_factor,
          json_number_or(metadata, source.prefix + "rope.scale_linear", 0, source.where));
  DGQ_TRY(const double factor,
          json_number_or(metadata, source.prefix + "rope.scaling.factor", old_factor, source.where));
  DGQ_TRY(const std::string type,
          json_string_or(metadata, source.prefix + "rope.scaling.type", "linear", source.where));
  const bool unscaled = type == "linear" && (factor == 0 || factor == 1);
  if (type == "none" || unscaled) return Json();
  return Json{{"rope_type", type}, {"factor", factor}};
}

// eos, and where they differ the ends of a turn and of a message.
Json stop_tokens(const Json& metadata) {
  Json ids = Json::array();
  for (const char* name : {"eos", "eot", "eom"}) {
    const auto found = metadata.find("tokenizer.ggml." + std::string(name) + "_token_id");
    if (found != metadata.end() && std::find(ids.begin(), ids.end(), *found) == ids.end())
      ids.push_back(*found);
  }
  return ids;
}

Result<Json> config_json(const Source& source, const Architecture& architecture) {
  const Json& metadata = source.gguf.metadata;
  Json config = {{"architectures", Json::array({architecture.config})},
                 {"tie_word_embeddings", !source.has_tensor("output.weight")},
                 {"attention_bias", source.has_tensor("blk.0.attn_q.bias")},
                 {"mlp_bias", source.has_tensor("blk.0.ffn_gate.bias")},
                 {"use_sliding_window", true},
                 {"eos_token_id", stop_tokens(metadata)}};
  for (const Key& key : kKeys) {
    if (!key.config) continue;
    const Json* value = source.find(key.gguf);
    if (!value && key.needed) return corrupt(source.where, "\"" + source.prefix + key.gguf + "\" is missing");
    if (value && !value->is_number())
      return unsupported(source.where,
                         "\"" + source.prefix + key.gguf + "\" that is not one number for all layers");
    if (value) config[key.config] = *value;
  }
  const auto embedding = source.gguf.tensors.find("token_embd.weight");
  if (embedding == source.gguf.tensors.end())
    return corrupt(source.where, "tensor token_embd.weight is missing");
  config["vocab_size"] = embedding->second.shape.front();
  if (const auto bos = metadata.find("tokenizer.ggml.bos_token_id"); bos != metadata.end())
    config["bos_token_id"] = *bos;
  DGQ_TRY(config["head_dim"], head_dim(source, config));
  DGQ_TRY(config["rope_scaling"], rope_scaling(source));
  return config;
}

// GGUF keeps Llama 3's scaling as the factors that divide the frequencies, without the numbers they come from. These are
// the same in every release but for the factor, which the lowest frequency has whole: taken so, and compared.
Result<void> read_rope_factors(const Source& source, ModelConfig& config) {
  const auto found = source.gguf.tensors.find("rope_freqs.weight");
  if (found == source.gguf.tensors.end()) return {};
  const std::string where = source.where + ": tensor rope_freqs.weight";
  if (config.rope_scaling.kind != RopeScaling::Kind::none)
    return unsupported(where, "RoPE scaling by a factor and by frequencies at once");
  DGQ_TRY(const std::vector<float> factors, to_f32(found->second, where));
  const std::vector<double> plain = rope_frequencies(config);
  if (factors.size() != plain.size())
    return corrupt(where, "holds " + std::to_string(factors.size()) + " factors for " +
                              std::to_string(plain.size()) + " frequencies");
  if (!(factors.back() >= 1)) return corrupt(where, "holds a factor below 1");
  config.rope_scaling = {RopeScaling::Kind::llama3, factors.back(), 1, 4, 8192};
  const std::vector<double> scaled = rope_frequencies(config);
  constexpr double kTolerance = 1e-4;  // they were computed in float32, the ramp between with cancellation
  for (std::size_t i = 0; i < plain.size(); ++i)
    if (!(std::abs(plain[i] / scaled[i] - factors[i]) <= kTolerance * factors[i]))
      return unsupported(where, "RoPE scaling with other factors than Llama 3's (element " +
                                    std::to_string(i) + " is " + std::to_string(factors[i]) + ")");
  return {};
}

Result<void> check_vocabulary(const Source& source, const ModelConfig& config) {
  DGQ_TRY(const std::int64_t said, source.integer_or("vocab_size", static_cast<std::int64_t>(config.vocab)));
  const auto tokens = source.gguf.metadata.find("tokenizer.ggml.tokens");
  const std::size_t listed = tokens == source.gguf.metadata.end() ? 0 : tokens->size();
  if (said == static_cast<std::int64_t>(config.vocab) && listed <= config.vocab) return {};
  return corrupt(source.where, "the vocabulary has " + std::to_string(std::max<std::size_t>(listed, said)) +
                                   " tokens, but token_embd.weight has " + std::to_string(config.vocab) +
                                   " rows");
}

}  // namespace

Result<ModelConfig> config_from_gguf(const Gguf& gguf, const std::string& where) {
  DGQ_TRY(const Architecture* architecture, find_architecture(gguf.metadata, where));
  const Source source{gguf, where, std::string(architecture->gguf) + "."};
  DGQ_CHECK(check_keys(source));
  DGQ_TRY(const Json json, config_json(source, *architecture));
  DGQ_TRY(ModelConfig config, parse_config(json, where + ": metadata"));
  DGQ_CHECK(check_vocabulary(source, config));
  DGQ_CHECK(read_rope_factors(source, config));
  return config;
}

Result<Json> foreign_config(const Gguf& gguf, const std::string& where) {
  DGQ_TRY(const std::string architecture, json_string(gguf.metadata, "general.architecture", where));
  const Source source{gguf, where, architecture + "."};
  Json config = {{"architectures", Json::array({architecture})}, {"runtime", kForeignRuntime}};
  for (const Key& key : kKeys) {
    const Json* value = key.config ? source.find(key.gguf) : nullptr;
    if (value && value->is_number()) config[key.config] = *value;
  }
  const auto embedding = gguf.tensors.find("token_embd.weight");
  if (embedding != gguf.tensors.end()) config["vocab_size"] = embedding->second.shape.front();
  return config;
}

std::string gguf_architecture(const ModelConfig& config) {
  const Json name = config_to_json(config)["architectures"][0];
  return std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                      [&](const Architecture& known) { return name == known.config; })
      ->gguf;
}

std::string gguf_tensor_name(const std::string& name) {
  static constexpr std::pair<std::string_view, std::string_view> kWhole[] = {
      {"model.embed_tokens.weight", "token_embd.weight"},
      {"model.norm.weight", "output_norm.weight"},
      {"lm_head.weight", "output.weight"}};
  static constexpr std::pair<std::string_view, std::string_view> kParts[] = {
      {"input_layernorm", "attn_norm"},    {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
      {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (const auto& [theirs, ours] : kWhole)
    if (name == theirs) return std::string(ours);
  constexpr std::string_view kLayers = "model.layers.";
  const std::size_t dot = name.find('.', kLayers.size()), last = name.rfind('.');
  const std::string_view part = std::string_view(name).substr(dot + 1, last - dot - 1);
  for (const auto& [theirs, ours] : kParts)
    if (part == theirs)
      return "blk." + name.substr(kLayers.size(), dot + 1 - kLayers.size()) + std::string(ours) +
             name.substr(last);
  return name;
}

}  // namespace dgq

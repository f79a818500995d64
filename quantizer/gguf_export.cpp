#include "quantizer/gguf_export.h"

#include "quantizer/gguf_config.h"
#include "quantizer/gguf_tokenizer_output.h"
#include "runtime/chat_template.h"
#include "runtime/rope.h"

namespace dgq {
namespace {

class Exporter {
 public:
  Exporter(const Model& model, GgufWeights weights) : model_(model), weights_(weights) {
    pairs_ = gguf_architecture(model.config()) == "llama" ? model.config().head_dim : 0;
  }

  std::vector<GgufTensor> tensors() {
    const ModelConfig& config = model_.config();
    const ModelWeights& w = model_.weights();
    linear("model.embed_tokens", w.embedding, LinearRole::embedding, 0);
    vector(gguf_tensor_name("model.norm.weight"), w.final_norm, config.hidden);
    if (!config.tied_head) linear("lm_head", w.head, LinearRole::head, 0);
    if (config.rope_scaling.kind == RopeScaling::Kind::llama3) rope_factors();
    for (std::size_t i = 0; i < w.layers.size(); ++i) layer(i, w.layers[i]);
    return std::move(tensors_);
  }

 private:
  void layer(std::size_t i, const LayerWeights& w) {
    const ModelConfig& config = model_.config();
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    const auto norm = [&](const char* name, const float* values, std::size_t n) {
      if (values) vector(gguf_tensor_name(prefix + name + ".weight"), values, n);
    };
    norm("input_layernorm", w.input_norm, config.hidden);
    linear(prefix + "self_attn.q_proj", w.q, LinearRole::q, i);
    linear(prefix + "self_attn.k_proj", w.k, LinearRole::k, i);
    linear(prefix + "self_attn.v_proj", w.v, LinearRole::v, i);
    linear(prefix + "self_attn.o_proj", w.o, LinearRole::o, i);
    norm("self_attn.q_norm", w.q_norm, config.head_dim);
    norm("self_attn.k_norm", w.k_norm, config.head_dim);
    norm("post_attention_layernorm", w.post_attention_norm, config.hidden);
    linear(prefix + "mlp.gate_proj", w.gate, LinearRole::gate, i);
    linear(prefix + "mlp.up_proj", w.up, LinearRole::up, i);
    linear(prefix + "mlp.down_proj", w.down, LinearRole::down, i);
  }

  void add(const std::string& name, std::vector<std::uint64_t> shape, GgufType type,
           std::function<Result<void>(AtomicFile&)> write) {
    tensors_.push_back({name, std::move(shape), type, std::move(write)});
  }

  void vector(const std::string& name, const float* values, std::size_t n) {
    add(name, {n}, GgufType::f32,
        [=](AtomicFile& file) { return file.append(std::as_bytes(std::span(values, n))); });
  }

  Digest blob_of(LinearRole role, std::size_t layer) const {
    const std::string name = role == LinearRole::embedding ? "embedding"
                             : role == LinearRole::head    ? "head"
                                                           : "layers." + std::to_string(layer);
    return model_.version().manifest.find(name)->digest;
  }

  void linear(const std::string& name, const Linear& linear, LinearRole role, std::size_t layer) {
    const std::size_t pairs = role == LinearRole::q || role == LinearRole::k ? pairs_ : 0;
    const Carrier carrier{role, static_cast<std::uint16_t>(pairs), model_.version().digest,
                          blob_of(role, layer)};
    tensors_.push_back(carried_tensor(gguf_tensor_name(name + ".weight"), linear, carrier, weights_));
    std::visit(
        [&](const auto& w) {
          if (w.bias) bias(gguf_tensor_name(name + ".bias"), w.bias, w.n, pairs);
        },
        linear);
  }

  void bias(const std::string& name, const float* values, std::size_t n, std::size_t pairs) {
    add(name, {n}, GgufType::f32, [=](AtomicFile& file) {
      std::vector<float> rows(n);
      for (std::size_t r = 0; r < n; ++r) rows[r] = values[row_of_ours(r, pairs)];
      return file.append(std::as_bytes(std::span(rows)));
    });
  }

  // Llama 3's scaling: what its frequencies are divided by.
  void rope_factors() {
    ModelConfig plain = model_.config();
    plain.rope_scaling = {};
    const std::vector<double> without = rope_frequencies(plain), with = rope_frequencies(model_.config());
    std::vector<float> factors;
    for (std::size_t i = 0; i < with.size(); ++i) factors.push_back(static_cast<float>(without[i] / with[i]));
    add("rope_freqs.weight", {factors.size()}, GgufType::f32,
        [factors](AtomicFile& file) { return file.append(std::as_bytes(std::span(factors))); });
  }

  const Model& model_;
  GgufWeights weights_;
  std::size_t pairs_;
  std::vector<GgufTensor> tensors_;
};

void add_config(GgufMetadata& to, const ModelConfig& config) {
  const std::string prefix = gguf_architecture(config) + ".";
  const auto number = [&](const char* key, std::size_t value) {
    to.add(prefix + key, static_cast<std::uint32_t>(value));
  };
  number("block_count", config.layers);
  number("context_length", config.max_positions);
  number("embedding_length", config.hidden);
  number("feed_forward_length", config.ffn);
  number("attention.head_count", config.heads);
  number("attention.head_count_kv", config.kv_heads);
  number("attention.key_length", config.head_dim);
  number("attention.value_length", config.head_dim);
  number("rope.dimension_count", config.head_dim);
  number("vocab_size", config.vocab);
  to.add(prefix + "attention.layer_norm_rms_epsilon", static_cast<float>(config.rms_eps));
  to.add(prefix + "rope.freq_base", static_cast<float>(config.rope_theta));
  if (config.rope_scaling.kind == RopeScaling::Kind::linear) {
    to.add(prefix + "rope.scaling.type", "linear");
    to.add(prefix + "rope.scaling.factor", static_cast<float>(config.rope_scaling.factor));
  }
}

}  // namespace

Result<void> export_gguf(const Model& model, const std::string& name, GgufWeights weights,
                         const std::filesystem::path& path, const Fraction& progress) {
  GgufMetadata metadata = begin_carrier_metadata(model.version().digest, name, weights);
  metadata.add("general.architecture", gguf_architecture(model.config()));
  add_config(metadata, model.config());
  DGQ_CHECK(add_tokenizer(metadata, model.config(), model.tokenizer_json(), name + ", blob tokenizer"));
  if (!model.chat_template().empty()) {
    DGQ_TRY(const ChatTemplateSource chat,
            ChatTemplateSource::parse(model.chat_template(), name + ", blob " + kChatTemplateBlob));
    metadata.add("tokenizer.chat_template", chat.text);
  }
  return write_gguf(path, metadata, Exporter(model, weights).tensors(), progress);
}

}  // namespace dgq

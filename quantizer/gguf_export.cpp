#include "quantizer/gguf_export.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "quantizer/gguf_config.h"
#include "quantizer/gguf_output.h"
#include "quantizer/gguf_tokenizer_output.h"
#include "runtime/gguf_carrier.h"
#include "runtime/linear.h"
#include "runtime/rope.h"

namespace dgq {
namespace {

constexpr float kMaxF16 = 65504;

// Of 0 <= value <= kMaxF16, half to even.
std::uint16_t to_f16(float value) {
  constexpr float kSmallestNormal = 0x1p-14F;
  if (value < kSmallestNormal) return static_cast<std::uint16_t>(std::nearbyint(double{value} * 0x1p24));
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13);
}

// Blocks of 32: d = max |w| / 127 as float16, q = w / d rounded.
Result<void> to_q8(std::span<const float> row, std::vector<std::byte>& out, const std::string& name) {
  for (std::size_t at = 0; at < row.size(); at += kQ8Block) {
    const auto block = row.subspan(at, kQ8Block);
    float largest = 0;
    for (const float w : block) largest = std::max(largest, std::abs(w));
    if (largest > kMaxF16 * 127)
      return Error{Errc::unsupported, name + ": its weights are too large for Q8_0; export it thin"};
    const std::uint16_t half = to_f16(largest / 127);
    const float scale = f16_to_f32(half);
    out.push_back(static_cast<std::byte>(half & 0xff));
    out.push_back(static_cast<std::byte>(half >> 8));
    for (const float w : block) {
      const float q = scale > 0 ? std::nearbyint(w / scale) : 0;
      out.push_back(static_cast<std::byte>(static_cast<int>(std::clamp(q, -127.0F, 127.0F))));
    }
  }
  return {};
}

class Exporter {
 public:
  Exporter(const Model& model, GgufWeights weights) : model_(model), fat_(weights == GgufWeights::fat) {
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

  // Row of ours that stands at `row` in the file: llama.cpp turns neighbours (2i, 2i + 1) of architecture llama together, we rows
  // (i, i + head_dim / 2) of a head.
  static std::size_t our_row(std::size_t row, std::size_t head_dim) {
    if (head_dim == 0) return row;
    const std::size_t in_head = row % head_dim;
    return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
  }

  void linear(const std::string& name, const Linear& linear, LinearRole role, std::size_t layer) {
    const std::size_t pairs = role == LinearRole::q || role == LinearRole::k ? pairs_ : 0;
    const Carrier carrier{role, static_cast<std::uint16_t>(pairs), model_.version().digest,
                          carrying_blob(model_, role, layer)};
    const std::string file_name = gguf_tensor_name(name + ".weight");
    std::visit([&](const auto& w) { matrix(file_name, w, encode_carrier(carrier), pairs); }, linear);
    std::visit(
        [&](const auto& w) {
          if (w.bias) bias(gguf_tensor_name(name + ".bias"), w.bias, w.n, pairs);
        },
        linear);
  }

  template <class Matrix>
  void matrix(const std::string& name, const Matrix& w, const CarrierBytes& carrier, std::size_t pairs) {
    const std::uint64_t n = w.n, k = w.k, weights = n * k;
    if (!fat_ && weights >= kCarrierBytes)
      return add(name, {n, k}, GgufType::i8, [=](AtomicFile& file) -> Result<void> {
        DGQ_CHECK(file.append(carrier));
        return file.append_hole(weights - kCarrierBytes);
      });
    const bool q8 = fat_ && k % kQ8Block == 0 && weights >= kFatWeights;
    add(name, {n, k}, q8 ? GgufType::q8_0 : GgufType::f32, [=, &w](AtomicFile& file) -> Result<void> {
      std::vector<float> row(k);
      std::vector<std::byte> bytes;
      for (std::size_t r = 0; r < n; ++r) {
        copy_row(w, our_row(r, pairs), row.data());
        if (q8) {
          DGQ_CHECK(to_q8(row, bytes, name));
        } else {
          const auto plain = std::as_bytes(std::span(row));
          bytes.insert(bytes.end(), plain.begin(), plain.end());
        }
      }
      if (q8) write_signs(carrier, bytes);
      return file.append(bytes);
    });
  }

  void bias(const std::string& name, const float* values, std::size_t n, std::size_t pairs) {
    add(name, {n}, GgufType::f32, [=](AtomicFile& file) {
      std::vector<float> rows(n);
      for (std::size_t r = 0; r < n; ++r) rows[r] = values[our_row(r, pairs)];
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
  bool fat_;
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
  const bool thin = weights == GgufWeights::thin;
  GgufMetadata metadata;
  metadata.add(thin ? kThinKey : kFatKey, model.version().digest.hex());  // the first, see gguf_carrier.h
  metadata.add("general.architecture", gguf_architecture(model.config()));
  metadata.add(
      "general.name",
      thin ? name + " (no weights inside: needs GGML_BACKEND_PATH=libggml-dgq and DGQ_REGISTRY)" : name);
  metadata.add("general.quantization_version", 2u);
  if (!thin) metadata.add("general.file_type", 7u);  // mostly Q8_0
  add_config(metadata, model.config());
  DGQ_CHECK(add_tokenizer(metadata, model.config(), model.tokenizer_json(), name + ", blob tokenizer"));
  return write_gguf(path, metadata, Exporter(model, weights).tensors(), progress);
}

}  // namespace dgq

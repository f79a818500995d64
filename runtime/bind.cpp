#include "runtime/bind.h"

#include <cmath>

namespace dgq {
namespace {

constexpr const char* kInputScales = "input_scales";

Error fault(const std::string& where, std::string_view name, const std::string& what) {
  return {Errc::corrupt, where + ", tensor " + std::string(name) + ": " + what};
}

Result<void> check_bytes(const Tensor& tensor, std::size_t expected, const std::string& where) {
  if (tensor.section.size() == expected) return {};
  return fault(
      where, tensor.name,
      "has " + std::to_string(tensor.section.size()) + " bytes instead of " + std::to_string(expected));
}

Result<F32Matrix> bind_f32(const Tensor& tensor, const std::string& where) {
  if (tensor.bias) return fault(where, tensor.name, "is of kind f32, which holds no bias");
  const std::size_t n = tensor.n, k = tensor.k;
  DGQ_CHECK(check_bytes(tensor, n * k * sizeof(float), where));
  const auto* floats = reinterpret_cast<const float*>(tensor.section.data());
  for (std::size_t i = 0; i < n * k; ++i)
    if (!std::isfinite(floats[i]))
      return fault(where, tensor.name, "element " + std::to_string(i) + " is not finite");
  return F32Matrix{n, k, floats, nullptr};
}

template <class Matrix>
Result<Matrix> checked(const Tensor& tensor, const Matrix& matrix, const std::string& where) {
  if (const char* what = find_fault(matrix)) return fault(where, tensor.name, what);
  return matrix;
}

template <int kBits>
Result<FineMatrix<kBits>> bind_packed(const Tensor& tensor, const std::string& where) {
  const std::uint32_t group = tensor.group;
  if (group != 32 && group != 64 && group != 128)
    return fault(where, tensor.name, "has groups of " + std::to_string(group));
  DGQ_CHECK(check_bytes(tensor, packed_fine_bytes<kBits>(tensor.n, tensor.k, group, tensor.bias), where));
  return checked(tensor, bind_fine<kBits>(tensor.section.data(), tensor.n, tensor.k, group, tensor.bias),
                 where);
}

Result<W8Matrix> bind_coarse(const Tensor& tensor, const std::string& where) {
  DGQ_CHECK(check_bytes(tensor, packed_w8_bytes(tensor.n, tensor.k, tensor.bias), where));
  return checked(tensor, bind_w8(tensor.section.data(), tensor.n, tensor.k, tensor.bias), where);
}

template <class Matrix>
Result<Linear> as_linear(Result<Matrix> matrix) {
  if (!matrix) return std::move(matrix.error());
  return Linear(*matrix);
}

// The tensors of one blob, taken one by one; finish() says what nobody took.
class Binder {
 public:
  static Result<Binder> parse(std::span<const std::byte> bytes, const std::string& where) {
    DGQ_TRY(LayerBlob blob, LayerBlob::parse(bytes, where));
    return Binder(std::move(blob), where);
  }

  Result<const float*> norm(std::string_view name, std::size_t width) {
    DGQ_TRY(const Tensor* tensor, take(name, 1, width));
    if (tensor->kind != TensorKind::f32) return fault(where_, name, "must be of kind f32");
    DGQ_TRY(const F32Matrix floats, bind_f32(*tensor, where_));
    return floats.w;
  }

  Result<InputScales> scales() {
    taken_ += blob_.find(kInputScales) ? 1 : 0;
    return bind_input_scales(blob_, where_);
  }

  Result<Linear> linear(std::string_view name, std::size_t n, std::size_t k, bool bias) {
    DGQ_TRY(const Tensor* tensor, take(name, n, k));
    if (tensor->bias != bias)
      return fault(where_, name,
                   bias ? "has no bias, but the config says so" : "has a bias, but the config has none");
    return bind_linear(*tensor, where_);
  }

  Result<void> finish() const {
    if (taken_ == blob_.tensors().size()) return {};
    return Error{Errc::corrupt, where_ + ": holds " + std::to_string(blob_.tensors().size()) +
                                    " tensors where the graph has " + std::to_string(taken_)};
  }

 private:
  Binder(LayerBlob blob, std::string where) : blob_(std::move(blob)), where_(std::move(where)) {}

  Result<const Tensor*> take(std::string_view name, std::size_t n, std::size_t k) {
    const Tensor* tensor = blob_.find(name);
    if (!tensor) return fault(where_, name, "is missing");
    if (tensor->n != n || tensor->k != k)
      return fault(where_, name,
                   "is " + std::to_string(tensor->n) + " x " + std::to_string(tensor->k) +
                       ", the config asks for " + std::to_string(n) + " x " + std::to_string(k));
    ++taken_;
    return tensor;
  }

  LayerBlob blob_;
  std::string where_;
  std::size_t taken_ = 0;
};

}  // namespace

Result<Linear> bind_linear(const Tensor& tensor, const std::string& where) {
  switch (tensor.kind) {
    case TensorKind::f32:
      return as_linear(bind_f32(tensor, where));
    case TensorKind::scales:
      break;
    case TensorKind::w4_n16k8:
      return as_linear(bind_packed<4>(tensor, where));
    case TensorKind::w6_n16k8:
      return as_linear(bind_packed<6>(tensor, where));
    case TensorKind::w8_n16k4:
      return as_linear(bind_coarse(tensor, where));
  }
  return fault(where, tensor.name, "is of a kind that no linear has");
}

Result<InputScales> bind_input_scales(const LayerBlob& blob, const std::string& where) {
  InputScales scales{};
  const Tensor* tensor = blob.find(kInputScales);
  if (!tensor) return scales;
  if (tensor->kind != TensorKind::scales) return fault(where, tensor->name, "must be of kind scales");
  if (tensor->n != 1 || tensor->k != scales.size())
    return fault(where, tensor->name,
                 "is " + std::to_string(tensor->n) + " x " + std::to_string(tensor->k) + ", not 1 x " +
                     std::to_string(scales.size()));
  DGQ_TRY(const F32Matrix floats, bind_f32(*tensor, where));
  for (std::size_t i = 0; i < scales.size(); ++i) {
    scales[i] = floats.w[i];
    if (scales[i] != 0 && !(scales[i] > 0 && std::isfinite(1 / scales[i])))
      return fault(where, tensor->name, "element " + std::to_string(i) + " is neither 0 nor a scale");
  }
  return scales;
}

Result<Linear> bind_embedding(std::span<const std::byte> bytes, const ModelConfig& config,
                              const std::string& where) {
  DGQ_TRY(Binder binder, Binder::parse(bytes, where));
  DGQ_TRY(const Linear embedding, binder.linear("embed_tokens", config.vocab, config.hidden, false));
  DGQ_CHECK(binder.finish());
  return embedding;
}

Result<LayerWeights> bind_layer(std::span<const std::byte> bytes, const ModelConfig& c,
                                const std::string& where) {
  DGQ_TRY(Binder binder, Binder::parse(bytes, where));
  const std::size_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  LayerWeights w{};
  DGQ_TRY(w.input_norm, binder.norm("input_layernorm", c.hidden));
  DGQ_TRY(w.q, binder.linear("q_proj", q_width, c.hidden, c.qkv_bias));
  DGQ_TRY(w.k, binder.linear("k_proj", kv_width, c.hidden, c.qkv_bias));
  DGQ_TRY(w.v, binder.linear("v_proj", kv_width, c.hidden, c.qkv_bias));
  DGQ_TRY(w.o, binder.linear("o_proj", c.hidden, q_width, c.o_bias));
  if (c.qk_norm) {
    DGQ_TRY(w.q_norm, binder.norm("q_norm", c.head_dim));
    DGQ_TRY(w.k_norm, binder.norm("k_norm", c.head_dim));
  }
  DGQ_TRY(w.post_attention_norm, binder.norm("post_attention_layernorm", c.hidden));
  DGQ_TRY(w.gate, binder.linear("gate_proj", c.ffn, c.hidden, c.mlp_bias));
  DGQ_TRY(w.up, binder.linear("up_proj", c.ffn, c.hidden, c.mlp_bias));
  DGQ_TRY(w.down, binder.linear("down_proj", c.hidden, c.ffn, c.mlp_bias));
  DGQ_TRY(w.input_scale, binder.scales());
  DGQ_CHECK(binder.finish());
  return w;
}

Result<void> bind_head(std::span<const std::byte> bytes, const ModelConfig& config, const std::string& where,
                       ModelWeights& weights) {
  DGQ_TRY(Binder binder, Binder::parse(bytes, where));
  DGQ_TRY(weights.final_norm, binder.norm("norm", config.hidden));
  weights.head = weights.embedding;
  if (!config.tied_head) {
    DGQ_TRY(weights.head, binder.linear("lm_head", config.vocab, config.hidden, false));
  }
  return binder.finish();
}

}  // namespace dgq

#include "quantizer/checkpoint.h"

#include <algorithm>
#include <set>

#include "quantizer/container.h"
#include "quantizer/synthetic.h"

namespace dgq {
namespace {

using Shape = std::vector<std::uint64_t>;
struct Expected {
  std::string name;
  Shape shape;
};

std::string layer_prefix(std::size_t index) { return "model.layers." + std::to_string(index) + "."; }

// The linears of a layer in the order of LayerWeights.
struct LinearSpec {
  const char* name;
  std::uint64_t n, k;
  bool bias;
};
std::vector<LinearSpec> linears(const ModelConfig& c) {
  const std::uint64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  return {{"self_attn.q_proj", q, c.hidden, c.qkv_bias},  {"self_attn.k_proj", kv, c.hidden, c.qkv_bias},
          {"self_attn.v_proj", kv, c.hidden, c.qkv_bias}, {"self_attn.o_proj", c.hidden, q, c.o_bias},
          {"mlp.gate_proj", c.ffn, c.hidden, c.mlp_bias}, {"mlp.up_proj", c.ffn, c.hidden, c.mlp_bias},
          {"mlp.down_proj", c.hidden, c.ffn, c.mlp_bias}};
}

// Every tensor that the graph of this config reads.
std::vector<Expected> expected_tensors(const ModelConfig& c) {
  std::vector<Expected> all = {{"model.embed_tokens.weight", {c.vocab, c.hidden}},
                               {"model.norm.weight", {c.hidden}}};
  if (!c.tied_head) all.push_back({"lm_head.weight", {c.vocab, c.hidden}});
  for (std::size_t i = 0; i < c.layers; ++i) {
    const std::string prefix = layer_prefix(i);
    all.push_back({prefix + "input_layernorm.weight", {c.hidden}});
    all.push_back({prefix + "post_attention_layernorm.weight", {c.hidden}});
    if (c.qk_norm) {
      all.push_back({prefix + "self_attn.q_norm.weight", {c.head_dim}});
      all.push_back({prefix + "self_attn.k_norm.weight", {c.head_dim}});
    }
    for (const LinearSpec& linear : linears(c)) {
      all.push_back({prefix + linear.name + ".weight", {linear.n, linear.k}});
      if (linear.bias) all.push_back({prefix + linear.name + ".bias", {linear.n}});
    }
  }
  return all;
}

std::string where(const LocatedTensor& found, std::string_view name) {
  return found.file.string() + ": tensor " + std::string(name);
}

Result<void> check_expected(const Container& files, const Expected& expected) {
  const std::string name = files.name_of(expected.name);
  const auto found = files.tensors.find(name);
  if (found == files.tensors.end())
    return Error{Errc::corrupt, files.path.string() + ": tensor " + name + " is missing (" +
                                    files.config_name + " asks for it)"};
  const StoredTensor& tensor = found->second.tensor;
  if (tensor.shape != expected.shape)
    return Error{Errc::corrupt, where(found->second, name) + " has shape " + shape_text(tensor.shape) + ", " +
                                    files.config_name + " asks for " + shape_text(expected.shape)};
  if (!holds_floats(tensor.dtype))
    return Error{Errc::unsupported,
                 where(found->second, name) + ": dtype " + tensor.dtype +
                     " is not F32, F16 or BF16; convert the checkpoint to one of them first"};
  return {};
}

bool same_contents(const StoredTensor& a, const StoredTensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end());
}

// A tensor beyond the expected ones changes nothing: old exports store the rotary table, and the tied head
// twice.
bool harmless(const Container& files, const TensorMap::value_type& extra) {
  if (extra.first.ends_with("rotary_emb.inv_freq")) return true;
  return files.config.tied_head && extra.first == files.name_of("lm_head.weight") &&
         same_contents(extra.second.tensor,
                       files.tensors.find(files.name_of("model.embed_tokens.weight"))->second.tensor);
}

Result<void> check_tensors(const Container& files) {
  std::set<std::string> names;
  for (const Expected& one : expected_tensors(files.config)) {
    DGQ_CHECK(check_expected(files, one));
    names.insert(files.name_of(one.name));
  }
  for (const auto& extra : files.tensors)
    if (!names.contains(extra.first) && !harmless(files, extra))
      return Error{Errc::unsupported, where(extra.second, extra.first) + " is not part of the model that " +
                                          files.config_name +
                                          " describes; leaving it out would change the result"};
  return {};
}

// Rows 2i and 2i + 1 of each head to i and i + head_dim / 2, where Hugging Face has them.
std::vector<float> unpair_rows(const std::vector<float>& from, std::size_t rows, std::size_t head_dim) {
  std::vector<float> to(from.size());
  const std::size_t width = from.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t in_head = row % head_dim, half = in_head % 2,
                      target = in_head / 2 + half * (head_dim / 2);
    std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(row * width), width,
                to.begin() + static_cast<std::ptrdiff_t>((row - in_head + target) * width));
  }
  return to;
}

bool has_rotary_rows(std::string_view name) {
  return name.find(".q_proj.") != std::string_view::npos || name.find(".k_proj.") != std::string_view::npos;
}

}  // namespace

struct Checkpoint::State {
  Container files;

  Result<std::vector<float>> floats(const std::string& name, const Shape& shape) const {
    if (files.synthetic) return synthetic_tensor(name, shape);
    const auto found = files.tensors.find(files.name_of(name));  // there: open() checked
    DGQ_TRY(std::vector<float> values, to_f32(found->second.tensor, where(found->second, found->first)));
    forget_pages(found->second.tensor.data);
    if (!files.rotary_pairs || !has_rotary_rows(name)) return values;
    return unpair_rows(values, shape.front(), files.config.head_dim);
  }

  // Appends the tensor to the layer's storage and returns where it lies.
  Result<const float*> keep(LayerF32& layer, const std::string& name, const Shape& shape) const {
    DGQ_TRY(std::vector<float> values, floats(name, shape));
    layer.storage.push_back(std::move(values));
    return layer.storage.back().data();
  }

  Result<Linear> linear(LayerF32& layer, const std::string& prefix, const LinearSpec& spec) const {
    F32Matrix matrix{spec.n, spec.k, nullptr, nullptr};
    DGQ_TRY(matrix.w, keep(layer, prefix + spec.name + ".weight", {spec.n, spec.k}));
    if (spec.bias) {
      DGQ_TRY(matrix.bias, keep(layer, prefix + spec.name + ".bias", {spec.n}));
    }
    return Linear(matrix);
  }
};

Checkpoint::Checkpoint(std::shared_ptr<const State> state)
    : state_(std::move(state)), config_(state_->files.config) {}

Checkpoint Checkpoint::first_layers(std::size_t count) const {
  Checkpoint smaller = *this;
  smaller.config_.layers = count;
  return smaller;
}

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path,
                                    const std::filesystem::path& tokenizer) {
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(path, ignored);
  if (!folder && path.extension() != ".gguf")
    return Error{Errc::not_found,
                 path.string() + " is neither a folder that holds config.json nor a .gguf file"};
  DGQ_TRY(Container files, folder ? open_folder(path, tokenizer) : open_gguf(path, tokenizer));
  DGQ_CHECK(check_tensors(files));
  return Checkpoint(std::make_shared<const State>(State{std::move(files)}));
}

Result<Checkpoint> Checkpoint::synthetic(const ModelConfig& config) {
  Container made;
  made.config = config;
  made.synthetic = true;
  DGQ_TRY(made.tokenizer_json, synthetic_tokenizer(config));
  made.tokenizer_where = "the synthetic tokenizer";
  return Checkpoint(std::make_shared<const State>(State{std::move(made)}));
}

bool Checkpoint::synthetic() const { return state_->files.synthetic; }

const std::string& Checkpoint::tokenizer_json() const { return state_->files.tokenizer_json; }
const std::string& Checkpoint::chat_template() const { return state_->files.chat_template; }
const std::string& Checkpoint::tokenizer_where() const { return state_->files.tokenizer_where; }

std::vector<FileDigest> Checkpoint::file_digests() const { return dgq::file_digests(state_->files); }

Result<Digest> Checkpoint::weights_digest() const {
  Sha256 hash;
  for (const Expected& tensor : expected_tensors(config())) {
    DGQ_TRY(const std::vector<float> values, state_->floats(tensor.name, tensor.shape));
    const std::string header = tensor.name + " " + shape_text(tensor.shape) + "\n";
    hash.update(std::as_bytes(std::span(header)));
    hash.update(std::as_bytes(std::span(values)));
  }
  return hash.finish();
}

Result<LayerF32> Checkpoint::layer(std::size_t index) const {
  const std::string prefix = layer_prefix(index);
  LayerF32 layer;
  LayerWeights& w = layer.weights;
  DGQ_TRY(w.input_norm, state_->keep(layer, prefix + "input_layernorm.weight", {config().hidden}));
  DGQ_TRY(w.post_attention_norm,
          state_->keep(layer, prefix + "post_attention_layernorm.weight", {config().hidden}));
  if (config().qk_norm) {
    DGQ_TRY(w.q_norm, state_->keep(layer, prefix + "self_attn.q_norm.weight", {config().head_dim}));
    DGQ_TRY(w.k_norm, state_->keep(layer, prefix + "self_attn.k_norm.weight", {config().head_dim}));
  }
  Linear* const targets[] = {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down};
  const std::vector<LinearSpec> specs = linears(config());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    DGQ_TRY(*targets[i], state_->linear(layer, prefix, specs[i]));
  }
  return layer;
}

Result<std::vector<float>> Checkpoint::embedding() const {
  return state_->floats("model.embed_tokens.weight", {config().vocab, config().hidden});
}

Result<std::vector<float>> Checkpoint::head() const {
  if (config().tied_head) return std::vector<float>();
  return state_->floats("lm_head.weight", {config().vocab, config().hidden});
}

Result<std::vector<float>> Checkpoint::final_norm() const {
  return state_->floats("model.norm.weight", {config().hidden});
}

Result<ModelF32> load_f32(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  ModelF32 model;
  DGQ_TRY(model.embedding, checkpoint.embedding());
  DGQ_TRY(model.head, checkpoint.head());
  DGQ_TRY(model.final_norm, checkpoint.final_norm());
  for (std::size_t i = 0; i < config.layers; ++i) {
    DGQ_TRY(LayerF32 layer, checkpoint.layer(i));
    model.weights.layers.push_back(layer.weights);
    model.layers.push_back(std::move(layer));
  }
  const F32Matrix embedding{config.vocab, config.hidden, model.embedding.data(), nullptr};
  model.weights.embedding = embedding;
  model.weights.head = embedding;
  if (!config.tied_head)
    model.weights.head = F32Matrix{config.vocab, config.hidden, model.head.data(), nullptr};
  model.weights.final_norm = model.final_norm.data();
  return model;
}

}  // namespace dgq

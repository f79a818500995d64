#include "quantizer/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "base/json.h"
#include "quantizer/safetensors.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxConfigBytes = 16u << 20;
constexpr std::size_t kMaxIndexBytes = 100u << 20;
constexpr std::size_t kMaxTokenizerBytes = 256u << 20;

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
  return {{"self_attn.q_proj", q, c.hidden, c.attention_bias},
          {"self_attn.k_proj", kv, c.hidden, c.attention_bias},
          {"self_attn.v_proj", kv, c.hidden, c.attention_bias},
          {"self_attn.o_proj", c.hidden, q, c.attention_bias},
          {"mlp.gate_proj", c.ffn, c.hidden, c.mlp_bias},
          {"mlp.up_proj", c.ffn, c.hidden, c.mlp_bias},
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
    for (const LinearSpec& linear : linears(c)) {
      all.push_back({prefix + linear.name + ".weight", {linear.n, linear.k}});
      if (linear.bias) all.push_back({prefix + linear.name + ".bias", {linear.n}});
    }
  }
  return all;
}

struct Located {
  const SafeTensor* tensor;
  const std::filesystem::path* file;
};
using TensorMap = std::map<std::string, Located, std::less<>>;

std::string where(const Located& found, std::string_view name) {
  return found.file->string() + ": tensor " + std::string(name);
}

Result<void> check_expected(const TensorMap& tensors, const Expected& expected,
                            const std::filesystem::path& folder) {
  const auto found = tensors.find(expected.name);
  if (found == tensors.end())
    return Error{Errc::corrupt,
                 folder.string() + ": tensor " + expected.name + " is missing (config.json asks for it)"};
  const SafeTensor& tensor = *found->second.tensor;
  if (tensor.shape != expected.shape)
    return Error{Errc::corrupt, where(found->second, expected.name) + " has shape " +
                                    shape_text(tensor.shape) + ", config.json asks for " +
                                    shape_text(expected.shape)};
  if (tensor.dtype != "F32" && tensor.dtype != "F16" && tensor.dtype != "BF16")
    return Error{Errc::unsupported,
                 where(found->second, expected.name) + ": dtype " + tensor.dtype +
                     " is not F32, F16 or BF16; convert the checkpoint to one of them first"};
  return {};
}

bool same_contents(const SafeTensor& a, const SafeTensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end());
}

// A tensor beyond the expected ones changes nothing: old exports store the rotary table, and the tied head
// twice.
bool harmless(const TensorMap& tensors, const TensorMap::value_type& extra, const ModelConfig& config) {
  if (extra.first.ends_with("rotary_emb.inv_freq")) return true;
  return config.tied_head && extra.first == "lm_head.weight" &&
         same_contents(*extra.second.tensor, *tensors.find("model.embed_tokens.weight")->second.tensor);
}

Result<void> check_tensors(const TensorMap& tensors, const ModelConfig& config,
                           const std::filesystem::path& folder) {
  std::vector<Expected> expected = expected_tensors(config);
  for (const Expected& one : expected) DGQ_CHECK(check_expected(tensors, one, folder));
  const auto by_name = [](const Expected& a, const Expected& b) { return a.name < b.name; };
  std::sort(expected.begin(), expected.end(), by_name);
  for (const auto& extra : tensors) {
    if (std::binary_search(expected.begin(), expected.end(), Expected{extra.first, {}}, by_name)) continue;
    if (!harmless(tensors, extra, config))
      return Error{Errc::unsupported, where(extra.second, extra.first) +
                                          " is not part of the model that config.json "
                                          "describes; leaving it out would change the result"};
  }
  return {};
}

bool plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of("/\\\0", 0, 3) == std::string_view::npos;
}

}  // namespace

struct Checkpoint::State {
  std::filesystem::path folder;
  std::string config_text, index_text, tokenizer_text;
  Json config_json;
  ModelConfig config;
  std::vector<std::unique_ptr<SafetensorsFile>> shards;  // stable addresses: `tensors` points into them
  TensorMap tensors;

  Result<void> open_shard(const std::string& name) {
    DGQ_TRY(SafetensorsFile file, SafetensorsFile::open(folder / name));
    shards.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
    return {};
  }

  Result<void> open_single() {
    DGQ_CHECK(open_shard("model.safetensors"));
    for (const auto& [name, tensor] : shards[0]->tensors) tensors[name] = {&tensor, &shards[0]->path};
    return {};
  }

  // The index and the shards must agree on where each tensor is: neither may know one that the other does
  // not.
  Result<void> open_sharded(const std::filesystem::path& index_path) {
    DGQ_TRY(index_text, read_file(index_path, kMaxIndexBytes));
    const std::string at = index_path.string();
    DGQ_TRY(const Json index, parse_json(index_text, at));
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
      return Error{Errc::corrupt, at + ": \"weight_map\" must be an object"};
    std::map<std::string, std::map<std::string, bool>> by_file;  // file -> tensors
    for (const auto& [name, file] : index["weight_map"].items()) {
      if (!file.is_string() || !plain_file_name(file.get_ref<const std::string&>()))
        return Error{Errc::corrupt, at + ": tensor " + name + " must name a file of the same folder"};
      by_file[file.get<std::string>()][name] = true;
    }
    for (const auto& [file, names] : by_file) {
      DGQ_CHECK(open_shard(file));
      const SafetensorsFile& shard = *shards.back();
      for (const auto& [name, unused] : names)
        if (!shard.tensors.count(name))
          return Error{Errc::corrupt,
                       shard.path.string() + ": tensor " + name + " is missing (" + at + " places it here)"};
      for (const auto& [name, tensor] : shard.tensors) {
        if (!names.count(name))
          return Error{Errc::corrupt,
                       shard.path.string() + ": tensor " + name + " is not placed here by " + at};
        tensors[name] = {&tensor, &shard.path};
      }
    }
    return {};
  }

  Result<void> open_weights() {
    const std::filesystem::path index = folder / "model.safetensors.index.json";
    std::error_code ignored;
    if (std::filesystem::exists(folder / "model.safetensors", ignored)) return open_single();
    if (std::filesystem::exists(index, ignored)) return open_sharded(index);
    return Error{Errc::not_found,
                 folder.string() + ": neither model.safetensors nor model.safetensors.index.json is there"};
  }

  Result<std::vector<float>> floats(const std::string& name) const {
    const Located& found = tensors.find(name)->second;  // there: open() checked
    return to_f32(*found.tensor, where(found, name));
  }

  // Appends the tensor to the layer's storage and returns where it lies.
  Result<const float*> keep(LayerF32& layer, const std::string& name) const {
    DGQ_TRY(std::vector<float> values, floats(name));
    layer.storage.push_back(std::move(values));
    return layer.storage.back().data();
  }

  Result<Linear> linear(LayerF32& layer, const std::string& prefix, const LinearSpec& spec) const {
    F32Matrix matrix{spec.n, spec.k, nullptr, nullptr};
    DGQ_TRY(matrix.w, keep(layer, prefix + spec.name + ".weight"));
    if (spec.bias) {
      DGQ_TRY(matrix.bias, keep(layer, prefix + spec.name + ".bias"));
    }
    return Linear(matrix);
  }
};

Checkpoint::Checkpoint(std::unique_ptr<State> state) : state_(std::move(state)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored))
    return Error{Errc::not_found,
                 folder.string() + " is not a folder; give the folder that holds config.json"};
  auto state = std::make_unique<State>();
  state->folder = folder;
  const std::string config_path = (folder / "config.json").string();
  DGQ_TRY(state->config_text, read_file(config_path, kMaxConfigBytes));
  DGQ_TRY(state->config_json, parse_json(state->config_text, config_path));
  DGQ_TRY(state->config, parse_config(state->config_json, config_path));
  DGQ_TRY(state->tokenizer_text, read_file(folder / "tokenizer.json", kMaxTokenizerBytes));
  DGQ_CHECK(state->open_weights());
  DGQ_CHECK(check_tensors(state->tensors, state->config, folder));
  return Checkpoint(std::move(state));
}

const std::filesystem::path& Checkpoint::folder() const { return state_->folder; }
const ModelConfig& Checkpoint::config() const { return state_->config; }
const Json& Checkpoint::config_json() const { return state_->config_json; }
const std::string& Checkpoint::tokenizer_json() const { return state_->tokenizer_text; }

Result<std::vector<std::pair<std::string, Digest>>> Checkpoint::source_digests() const {
  std::vector<std::pair<std::string, Digest>> digests = {{"config.json", sha256(state_->config_text)},
                                                         {"tokenizer.json", sha256(state_->tokenizer_text)}};
  if (!state_->index_text.empty())
    digests.emplace_back("model.safetensors.index.json", sha256(state_->index_text));
  for (const auto& shard : state_->shards)
    digests.emplace_back(shard->path.filename().string(), sha256(shard->map.bytes()));
  return digests;
}

Result<LayerF32> Checkpoint::layer(std::size_t index) const {
  const std::string prefix = layer_prefix(index);
  LayerF32 layer;
  LayerWeights& w = layer.weights;
  DGQ_TRY(w.input_norm, state_->keep(layer, prefix + "input_layernorm.weight"));
  DGQ_TRY(w.post_attention_norm, state_->keep(layer, prefix + "post_attention_layernorm.weight"));
  Linear* const targets[] = {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down};
  const std::vector<LinearSpec> specs = linears(state_->config);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    DGQ_TRY(*targets[i], state_->linear(layer, prefix, specs[i]));
  }
  return layer;
}

Result<std::vector<float>> Checkpoint::embedding() const {
  return state_->floats("model.embed_tokens.weight");
}

Result<std::vector<float>> Checkpoint::head() const {
  if (state_->config.tied_head) return std::vector<float>();
  return state_->floats("lm_head.weight");
}

Result<std::vector<float>> Checkpoint::final_norm() const { return state_->floats("model.norm.weight"); }

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

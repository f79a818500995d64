// A ModelPlan as a .safetensors file and back.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/json.h"
#include "quantizer/model_plan.h"
#include "quantizer/safetensors.h"

namespace dgq {
namespace {

using Shape = std::vector<std::uint64_t>;

class Writer {
 public:
  template <class T>  // 4 bytes
  void add(const char* name, const Shape& shape, const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    header_[name] = {{"dtype", std::is_integral_v<T> ? "I32" : "F32"},
                     {"shape", shape},
                     {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  std::string finish() const {
    const std::string header = header_.dump();
    const std::uint64_t size = header.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data_;
  }

 private:
  OrderedJson header_;
  std::string data_;
};

// The parts of LayerFactors: name, member, width.
struct FactorPart {
  const char* name;
  std::vector<float> LayerFactors::*part;
  std::size_t width;
};
std::array<FactorPart, 4> factor_parts(const ModelConfig& c) {
  return {{{"factors.q", &LayerFactors::q, c.hidden},
           {"factors.gate", &LayerFactors::gate, c.hidden},
           {"factors.o", &LayerFactors::o, c.kv_heads * c.head_dim},
           {"factors.down", &LayerFactors::down, c.ffn}}};
}

class Reader {
 public:
  Reader(const SafeTensors& tensors, const ModelConfig& config, std::string_view where)
      : tensors_(tensors), config_(config), where_(where) {}

  Result<ModelPlan> read() {
    DGQ_CHECK(sequences());
    DGQ_CHECK(formats());
    DGQ_CHECK(factors());
    DGQ_CHECK(token_weights());
    DGQ_CHECK(input_scales());
    return std::move(plan_);
  }

 private:
  Error corrupt(const std::string& what) const {
    return {Errc::corrupt, std::string(where_) + " is not the plan of this model: " + what};
  }
  bool has(const char* name) const { return tensors_.contains(name); }

  Result<const StoredTensor*> find(const char* name, const char* dtype, const Shape& shape) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.dtype != dtype || found->second.shape != shape)
      return corrupt(std::string(name) + " is missing or has another type or shape than " +
                     shape_text(shape));
    return &found->second;
  }
  Result<std::vector<std::int32_t>> integers(const char* name, const Shape& shape) const {
    DGQ_TRY(const StoredTensor* tensor, find(name, "I32", shape));
    return to_i32(*tensor, where_);
  }
  Result<std::vector<float>> floats(const char* name, const Shape& shape) const {
    DGQ_TRY(const StoredTensor* tensor, find(name, "F32", shape));
    return to_f32(*tensor, where_);
  }

  // Of a tensor of one dimension.
  std::uint64_t length(const char* name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() || found->second.shape.size() != 1 ? 0 : found->second.shape[0];
  }

  Result<void> sequences() {
    DGQ_TRY(const auto tokens, integers("tokens", {length("tokens")}));
    DGQ_TRY(const auto lengths, integers("lengths", {length("lengths")}));
    for (const std::int32_t token : tokens)
      if (token < 0 || static_cast<std::size_t>(token) >= config_.vocab)
        return corrupt("a token is out of range");
    std::size_t at = 0;
    for (const std::int32_t length : lengths) {
      const auto size = static_cast<std::size_t>(length);
      if (length < 1 || size > sequence_length(config_) || size > tokens.size() - at)
        return corrupt("the length of a sequence is out of range");
      plan_.sequences.emplace_back(tokens.data() + at, tokens.data() + at + size);
      at += size;
    }
    if (at == 0 || at != tokens.size()) return corrupt("lengths do not add up to the number of tokens");
    return {};
  }

  Result<void> formats() {
    DGQ_TRY(const auto values, integers("formats", {config_.layers, kLinears, 2}));
    plan_.formats.resize(config_.layers);
    for (std::size_t i = 0; i < config_.layers * kLinears; ++i) {
      const int bits = values[2 * i], group = values[2 * i + 1];
      const bool fine = (bits == 4 || bits == 6) && (group == 32 || group == 64 || group == 128);
      if (!fine && !(bits == 8 && group == 0)) return corrupt("a linear has a format that there is not");
      plan_.formats[i / kLinears][i % kLinears] = {static_cast<std::size_t>(group), bits};
    }
    return {};
  }

  Result<void> factors() {
    if (!has("factors.q")) return {};
    plan_.factors.resize(config_.layers);
    for (const FactorPart& part : factor_parts(config_)) {
      DGQ_TRY(const auto values, floats(part.name, {config_.layers, part.width}));
      if (std::any_of(values.begin(), values.end(), [](float f) { return f < 1; }))
        return corrupt("a factor is below 1");
      for (std::size_t i = 0; i < config_.layers; ++i)
        (plan_.factors[i].*part.part).assign(&values[i * part.width], &values[i * part.width] + part.width);
    }
    return {};
  }

  Result<void> token_weights() {
    if (!has("token_weights")) return {};
    DGQ_TRY(const auto values, floats("token_weights", {config_.layers, 4, length("tokens")}));
    if (std::any_of(values.begin(), values.end(), [](float w) { return w < 0; }))
      return corrupt("the weight of a token is below 0");
    plan_.token_weights.resize(config_.layers);
    const float* at = values.data();
    for (LayerTokenWeights& layer : plan_.token_weights)
      for (TokenWeights& point : layer)
        for (const Sequence& sequence : plan_.sequences) {
          point.emplace_back(at, at + sequence.size());
          at += sequence.size();
        }
    return {};
  }

  Result<void> input_scales() {
    if (!has("input_scales")) return {};
    DGQ_TRY(const auto values, floats("input_scales", {config_.layers, kInputs}));
    if (std::any_of(values.begin(), values.end(), [](float s) { return s < 0; }))
      return corrupt("the scale of an input is below 0");
    plan_.input_scales.resize(config_.layers);
    for (std::size_t i = 0; i < values.size(); ++i) plan_.input_scales[i / kInputs][i % kInputs] = values[i];
    return {};
  }

  const SafeTensors& tensors_;
  const ModelConfig& config_;
  std::string_view where_;
  ModelPlan plan_;
};

}  // namespace

std::string plan_to_bytes(const ModelPlan& plan, const ModelConfig& config) {
  Writer out;
  std::vector<std::int32_t> tokens, lengths, formats;
  for (const Sequence& sequence : plan.sequences) {
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
    lengths.push_back(static_cast<std::int32_t>(sequence.size()));
  }
  for (const LayerFormats& layer : plan.formats)
    for (const FineFormat& format : layer) {
      formats.push_back(format.bits);
      formats.push_back(static_cast<std::int32_t>(format.group));
    }
  out.add("tokens", {tokens.size()}, tokens);
  out.add("lengths", {lengths.size()}, lengths);
  out.add("formats", {plan.formats.size(), kLinears, 2}, formats);
  if (!plan.factors.empty())
    for (const FactorPart& part : factor_parts(config)) {
      std::vector<float> values;
      for (const LayerFactors& layer : plan.factors)
        values.insert(values.end(), (layer.*part.part).begin(), (layer.*part.part).end());
      out.add(part.name, {plan.factors.size(), part.width}, values);
    }
  if (!plan.token_weights.empty()) {
    std::vector<float> values;
    for (const LayerTokenWeights& layer : plan.token_weights)
      for (const TokenWeights& point : layer)
        for (const auto& sequence : point) values.insert(values.end(), sequence.begin(), sequence.end());
    out.add("token_weights", {plan.token_weights.size(), 4, tokens.size()}, values);
  }
  if (!plan.input_scales.empty()) {
    std::vector<float> values;
    for (const InputScales& layer : plan.input_scales)
      values.insert(values.end(), layer.begin(), layer.end());
    out.add("input_scales", {plan.input_scales.size(), kInputs}, values);
  }
  return out.finish();
}

Result<ModelPlan> parse_plan(std::span<const std::byte> bytes, const ModelConfig& config,
                             std::string_view where) {
  DGQ_TRY(const SafeTensors tensors, parse_safetensors(bytes, where));
  return Reader(tensors, config, where).read();
}

}  // namespace dgq

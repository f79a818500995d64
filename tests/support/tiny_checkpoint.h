// tests/support/tiny_checkpoint.h - a whole checkpoint folder made up on the spot: 2 layers, hidden 64,
// random weights, a byte-level tokenizer. Tests change what they want (config, tensors, tokenizer) and write
// it, whole or in shards.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace dgq::test {

struct RawTensor {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::string bytes;
};
using RawTensors = std::map<std::string, RawTensor>;

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Length, header, data: what stands in a .safetensors file.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  std::string out(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(out.data(), &size, sizeof size);
  return out + header + data;
}

inline std::string safetensors_bytes(const RawTensors& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  return safetensors_bytes(header.dump(), data);
}

// Roughly normal numbers with the given deviation, the same for the same seed on every machine.
inline std::vector<float> random_floats(std::size_t count, float deviation, std::uint64_t seed) {
  std::vector<float> values(count);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (float& value : values) {
    float sum = 0;  // 4 uniforms in [-1, 1]: variance 4/3
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f;
    }
    value = deviation * 0.8660254f * sum;
  }
  return values;
}

inline RawTensor f32_tensor(std::vector<std::uint64_t> shape, const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {"F32", std::move(shape), std::move(bytes)};
}

// Rounded towards zero: the upper halves.
inline RawTensor bf16_tensor(std::vector<std::uint64_t> shape, const std::vector<float>& values) {
  std::string bytes;
  for (const float& value : values) bytes.append(reinterpret_cast<const char*>(&value) + 2, 2);
  return {"BF16", std::move(shape), std::move(bytes)};
}

// The letter that GPT-2's byte-level scheme writes for a byte, in UTF-8.
inline std::string byte_letter(int byte) {
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  int code = byte;
  if (!printable(byte)) {
    code = 256;
    for (int b = 0; b < byte; ++b) code += !printable(b);
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

// tokenizer.json: id 0 is <|endoftext|>, 1..256 the bytes, then three merges. 260 tokens.
inline Json tiny_tokenizer() {
  Json vocab;
  for (int byte = 0; byte < 256; ++byte) vocab[byte_letter(byte)] = byte + 1;
  vocab["th"] = 257;
  vocab["the"] = 258;
  vocab["\u0120the"] = 259;
  const Json end = {
      {"id", 0},         {"content", "<|endoftext|>"}, {"single_word", false}, {"lstrip", false},
      {"rstrip", false}, {"normalized", false},        {"special", true}};
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", Json::array({end})},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"vocab", vocab},
            {"merges", {"t h", "th e", "\u0120 the"}}}}};
}

struct TinyCheckpoint {
  Json config;
  RawTensors tensors;
  std::string tokenizer;

  void write_texts(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    write_text(folder / "config.json", config.dump(1));
    write_text(folder / "tokenizer.json", tokenizer);
  }

  void write(const std::filesystem::path& folder) const {
    write_texts(folder);
    write_text(folder / "model.safetensors", safetensors_bytes(tensors));
  }

  // The same tensors dealt out over `count` files, with their index.
  void write_sharded(const std::filesystem::path& folder, std::size_t count) const {
    write_texts(folder);
    std::vector<RawTensors> shards(count);
    Json map;
    std::size_t next = 0;
    for (const auto& [name, tensor] : tensors) {
      map[name] = "model-" + std::to_string(next % count) + ".safetensors";
      shards[next++ % count][name] = tensor;
    }
    for (std::size_t i = 0; i < count; ++i)
      write_text(folder / ("model-" + std::to_string(i) + ".safetensors"), safetensors_bytes(shards[i]));
    write_text(folder / "model.safetensors.index.json",
               Json{{"metadata", Json::object()}, {"weight_map", map}}.dump());
  }
};

// Norms are F32, linears BF16. Tied head, no biases.
inline TinyCheckpoint tiny_checkpoint(std::uint64_t seed = 1) {
  constexpr std::uint64_t kHidden = 64, kFfn = 96, kLayers = 2, kHeads = 4, kKvHeads = 2, kHeadDim = 16,
                          kVocab = 260;
  TinyCheckpoint tiny;
  tiny.config = {{"architectures", {"LlamaForCausalLM"}},
                 {"model_type", "llama"},
                 {"hidden_size", kHidden},
                 {"intermediate_size", kFfn},
                 {"num_hidden_layers", kLayers},
                 {"num_attention_heads", kHeads},
                 {"num_key_value_heads", kKvHeads},
                 {"head_dim", kHeadDim},
                 {"vocab_size", kVocab},
                 {"max_position_embeddings", 64},
                 {"rms_norm_eps", 1e-5},
                 {"rope_theta", 10000.0},
                 {"tie_word_embeddings", true},
                 {"hidden_act", "silu"},
                 {"attention_bias", false},
                 {"mlp_bias", false},
                 {"bos_token_id", 0},
                 {"eos_token_id", 0}};
  tiny.tokenizer = tiny_tokenizer().dump();
  const auto linear = [&](const std::string& name, std::uint64_t n, std::uint64_t k) {
    const float deviation = 1 / std::sqrt(static_cast<float>(k));
    tiny.tensors[name + ".weight"] = bf16_tensor({n, k}, random_floats(n * k, deviation, seed++));
  };
  const auto norm = [&](const std::string& name) {
    std::vector<float> weights = random_floats(kHidden, 0.2f, seed++);
    for (float& weight : weights) weight += 1;
    tiny.tensors[name + ".weight"] = f32_tensor({kHidden}, weights);
  };
  linear("model.embed_tokens", kVocab, kHidden);
  norm("model.norm");
  for (std::uint64_t i = 0; i < kLayers; ++i) {
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    norm(prefix + "input_layernorm");
    norm(prefix + "post_attention_layernorm");
    linear(prefix + "self_attn.q_proj", kHeads * kHeadDim, kHidden);
    linear(prefix + "self_attn.k_proj", kKvHeads * kHeadDim, kHidden);
    linear(prefix + "self_attn.v_proj", kKvHeads * kHeadDim, kHidden);
    linear(prefix + "self_attn.o_proj", kHidden, kHeads * kHeadDim);
    linear(prefix + "mlp.gate_proj", kFfn, kHidden);
    linear(prefix + "mlp.up_proj", kFfn, kHidden);
    linear(prefix + "mlp.down_proj", kHidden, kFfn);
  }
  return tiny;
}

}  // namespace dgq::test

// tests/support/gguf_writer.h - GGUF files made up on the spot: any metadata and tensors, and the GGUF that a converter
// would make of a TinyCheckpoint. Independent of the reader: sizes, padding and the order of rows are written out here again.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::test {

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

inline std::string gguf_string(const std::string& text) {
  return little_endian<std::uint64_t>(text.size()) + text;
}

// Type and value of a metadata entry.
inline std::string gguf_value(const std::string& text) { return little_endian(8u) + gguf_string(text); }
inline std::string gguf_value(const char* text) { return gguf_value(std::string(text)); }
inline std::string gguf_value(std::uint32_t value) { return little_endian(4u) + little_endian(value); }
inline std::string gguf_value(float value) { return little_endian(6u) + little_endian(value); }
inline std::string gguf_value(bool value) { return little_endian(7u) + std::string(1, value ? '\1' : '\0'); }
inline std::string gguf_array(std::uint32_t type, std::uint64_t count, const std::string& elements) {
  return little_endian(9u) + little_endian(type) + little_endian(count) + elements;
}
inline std::string gguf_value(const std::vector<std::string>& texts) {
  std::string elements;
  for (const std::string& text : texts) elements += gguf_string(text);
  return gguf_array(8, texts.size(), elements);
}
inline std::string gguf_value(const std::vector<std::int32_t>& values) {
  std::string elements;
  for (const std::int32_t value : values) elements += little_endian(value);
  return gguf_array(5, values.size(), elements);
}
inline std::string gguf_value(const std::vector<float>& values) {
  std::string elements;
  for (const float value : values) elements += little_endian(value);
  return gguf_array(6, values.size(), elements);
}

struct GgufTensor {
  std::string name;
  std::vector<std::uint64_t> shape;  // slowest first; the file has it the other way round
  std::uint32_t type;
  std::string bytes;
};

struct GgufWriter {
  std::uint32_t version = 3;
  std::size_t alignment = 32;
  std::vector<std::pair<std::string, std::string>> metadata;  // key; type and value
  std::vector<GgufTensor> tensors;

  template <class T>
  void set(const std::string& key, const T& value) {
    erase(key);
    metadata.emplace_back(key, gguf_value(value));
  }
  void erase(const std::string& key) {
    std::erase_if(metadata, [&](const auto& entry) { return entry.first == key; });
  }
  GgufTensor& tensor(const std::string& name) {
    for (GgufTensor& tensor : tensors)
      if (tensor.name == name) return tensor;
    tensors.push_back({name, {}, 0, ""});
    return tensors.back();
  }

  std::string bytes() const {
    std::string out = "GGUF" + little_endian(version) + little_endian<std::uint64_t>(tensors.size()) +
                      little_endian<std::uint64_t>(metadata.size());
    for (const auto& [key, value] : metadata) out += gguf_string(key) + value;
    std::string data;
    for (const GgufTensor& tensor : tensors) {
      out += gguf_string(tensor.name) + little_endian(static_cast<std::uint32_t>(tensor.shape.size()));
      for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
        out += little_endian(*size);
      out += little_endian(tensor.type) + little_endian<std::uint64_t>(data.size());
      data += tensor.bytes;
      pad(data);
    }
    pad(out);
    return out + data;
  }

 private:
  void pad(std::string& text) const { text.resize((text.size() + alignment - 1) / alignment * alignment); }
};

// tokenizer.ggml.* of a byte-level tokenizer.json: special added tokens are control tokens.
inline void set_gguf_tokenizer(GgufWriter& gguf, const Json& tokenizer, const std::string& pre) {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  const auto put = [&](std::size_t id, const std::string& text, std::int32_t type) {
    if (tokens.size() <= id) tokens.resize(id + 1), types.resize(id + 1, 5);
    tokens[id] = text, types[id] = type;
  };
  for (const auto& [text, id] : tokenizer["model"]["vocab"].items()) put(id, text, 1);
  for (const Json& added : tokenizer["added_tokens"])
    put(added["id"], added["content"], added["special"].get<bool>() ? 3 : 4);
  std::vector<std::string> merges;
  for (const Json& merge : tokenizer["model"]["merges"])
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  gguf.set("tokenizer.ggml.model", "gpt2");
  gguf.set("tokenizer.ggml.pre", pre);
  gguf.set("tokenizer.ggml.tokens", tokens);
  gguf.set("tokenizer.ggml.token_type", types);
  gguf.set("tokenizer.ggml.merges", merges);
  gguf.set("tokenizer.ggml.add_bos_token", false);
}

// Row (half, i) of each head to row 2 * i + half: what converters do to q and k of architecture llama.
inline std::string pair_rows(const std::string& bytes, std::size_t rows, std::size_t head_dim) {
  const std::size_t width = bytes.size() / rows;
  std::string out(bytes.size(), '\0');
  for (std::size_t head = 0; head < rows; head += head_dim)
    for (std::size_t half = 0; half < 2; ++half)
      for (std::size_t i = 0; i < head_dim / 2; ++i)
        bytes.copy(&out[(head + 2 * i + half) * width], width, (head + half * (head_dim / 2) + i) * width);
  return out;
}

inline std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// The checkpoint's tensors as they are, under GGUF's names; metadata of its config. Not for RoPE scaling.
inline GgufWriter gguf_of(const TinyCheckpoint& tiny) {
  const Json& config = tiny.config;
  const std::string hf = config["architectures"][0];
  const std::string architecture = hf == "Qwen2ForCausalLM"   ? "qwen2"
                                   : hf == "Qwen3ForCausalLM" ? "qwen3"
                                                              : "llama";
  const auto number = [&](const char* key) { return config[key].get<std::uint32_t>(); };
  GgufWriter gguf;
  const auto set = [&](const char* key, auto value) { gguf.set(architecture + "." + key, value); };
  gguf.set("general.architecture", architecture);
  gguf.set("general.name", "tiny");
  set("block_count", number("num_hidden_layers"));
  set("context_length", number("max_position_embeddings"));
  set("embedding_length", number("hidden_size"));
  set("feed_forward_length", number("intermediate_size"));
  set("attention.head_count", number("num_attention_heads"));
  set("attention.head_count_kv", number("num_key_value_heads"));
  set("attention.key_length", number("head_dim"));
  set("attention.value_length", number("head_dim"));
  set("attention.layer_norm_rms_epsilon", config["rms_norm_eps"].get<float>());
  set("rope.freq_base", config["rope_theta"].get<float>());
  set("rope.dimension_count", number("head_dim"));
  set("vocab_size", number("vocab_size"));
  gguf.set("tokenizer.ggml.bos_token_id", number("bos_token_id"));
  gguf.set("tokenizer.ggml.eos_token_id", number("eos_token_id"));
  set_gguf_tokenizer(gguf, Json::parse(tiny.tokenizer), "gpt-2");
  for (const auto& [name, tensor] : tiny.tensors) {
    std::string renamed = name;
    for (const auto& [from, to] : {std::pair("model.layers.", "blk."),
                                   {"model.embed_tokens", "token_embd"},
                                   {"model.norm", "output_norm"},
                                   {"lm_head", "output"},
                                   {"input_layernorm", "attn_norm"},
                                   {"post_attention_layernorm", "ffn_norm"},
                                   {"self_attn.o_proj", "attn_output"},
                                   {"self_attn.", "attn_"},
                                   {"mlp.", "ffn_"},
                                   {"_proj", ""}})
      renamed = replace_all(renamed, from, to);
    const bool rotary =
        renamed.find("attn_q.") != std::string::npos || renamed.find("attn_k.") != std::string::npos;
    const std::uint32_t type = tensor.dtype == "F32" ? 0 : tensor.dtype == "F16" ? 1 : 30;
    gguf.tensors.push_back({renamed, tensor.shape, type,
                            rotary && architecture == "llama"
                                ? pair_rows(tensor.bytes, tensor.shape[0], config["head_dim"])
                                : tensor.bytes});
  }
  return gguf;
}

}  // namespace dgq::test

// quantizer/checkpoint.h - the model to quantize: a Hugging Face folder (config.json, tokenizer.json, model.safetensors,
// single or sharded), a GGUF file, or made up. Tensors in F32, F16, BF16 or Q8_0 stay memory-mapped and become float32 when asked for,
// in the order of Hugging Face's rows whatever the container. docs/QUANTIZER.md says what is taken and what is refused.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "runtime/config.h"
#include "runtime/weights.h"

namespace dgq {

// Float32 copy of one decoder layer; `weights` points into `storage`. Move-only in effect: moving keeps it valid.
struct LayerF32 {
  LayerWeights weights;
  std::vector<std::vector<float>> storage;
};

class Checkpoint {
 public:
  // path: the folder or the .gguf file. tokenizer: a tokenizer.json to take instead of what the container holds; empty:
  // none. Reads the headers only. Every tensor that the config asks for is checked here: present, shape, type. A tensor
  // that the graph would not use is an Error too (it would change the mathematics silently), but for known harmless ones
  // (rotary inv_freq buffers; lm_head equal to the embedding when tied).
  static Result<Checkpoint> open(const std::filesystem::path& path,
                                 const std::filesystem::path& tokenizer = {});
  // A model of this shape with random weights, which are made when they are asked for, the same on every machine, and a tokenizer
  // of bytes: to judge time and memory without a download. invalid: its vocabulary has no room for the bytes.
  static Result<Checkpoint> synthetic(const ModelConfig& config);
  bool synthetic() const;

  // Its first layers alone, as a smaller model; shares the files.
  Checkpoint first_layers(std::size_t count) const;

  const ModelConfig& config() const { return config_; }
  const std::string& tokenizer_json() const;   // text of a tokenizer.json
  const std::string& chat_template() const;    // the blob of runtime/chat_template.h; empty: there is none
  const std::string& tokenizer_where() const;  // the file it is from, for messages
  // Name (without folder) and SHA-256 of every file read. Reads them whole.
  std::vector<FileDigest> file_digests() const;
  // SHA-256 over name, shape and float32 values of every tensor of the graph in a fixed order: the same for every
  // container that holds the same numbers. Reads everything.
  Result<Digest> weights_digest() const;

  // Float32 copies. corrupt: a NaN or infinity in the tensor, named.
  Result<LayerF32> layer(std::size_t index) const;
  Result<std::vector<float>> embedding() const;   // [vocab][hidden]
  Result<std::vector<float>> head() const;        // [vocab][hidden]; empty when tied
  Result<std::vector<float>> final_norm() const;  // [hidden]

 private:
  struct State;
  explicit Checkpoint(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
  ModelConfig config_;
};

// The layers of the checkpoint, maybe rewritten by passes that keep their function.
using LayerReader = std::function<Result<LayerF32>(std::size_t index)>;

// The whole model as float32, for `dgq eval --checkpoint`, for sampling and as the reference. Moving keeps views valid.
struct ModelF32 {
  ModelWeights weights;
  std::vector<LayerF32> layers;
  std::vector<float> embedding, head, final_norm;
};
Result<ModelF32> load_f32(const Checkpoint& checkpoint);

}  // namespace dgq

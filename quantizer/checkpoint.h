// quantizer/checkpoint.h - a Hugging Face checkpoint folder: config.json, model.safetensors (single or sharded),
// tokenizer.json. Tensors in F32, F16 or BF16 stay memory-mapped and become float32 when asked for.
#pragma once

#include <filesystem>
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
  // Reads the headers only. Every tensor that the config asks for is checked here: present, shape, type. A tensor that
  // the graph would not use is an Error too (it would change the mathematics silently), but for known harmless ones
  // (rotary inv_freq buffers; lm_head equal to the embedding when tied).
  static Result<Checkpoint> open(const std::filesystem::path& folder);
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  const std::filesystem::path& folder() const;
  const ModelConfig& config() const;
  const Json& config_json() const;            // config.json as read
  const std::string& tokenizer_json() const;  // bytes of tokenizer.json
  // file name -> SHA-256 of every file read, for provenance. Reads them whole.
  Result<std::vector<std::pair<std::string, Digest>>> source_digests() const;

  // Float32 copies. corrupt: a NaN or infinity in the tensor, named.
  Result<LayerF32> layer(std::size_t index) const;
  Result<std::vector<float>> embedding() const;   // [vocab][hidden]
  Result<std::vector<float>> head() const;        // [vocab][hidden]; empty when tied
  Result<std::vector<float>> final_norm() const;  // [hidden]

 private:
  struct State;
  explicit Checkpoint(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The whole model as float32, for `dgq eval --checkpoint`, for sampling and as the reference. Moving keeps views valid.
struct ModelF32 {
  ModelWeights weights;
  std::vector<LayerF32> layers;
  std::vector<float> embedding, head, final_norm;
};
Result<ModelF32> load_f32(const Checkpoint& checkpoint);

}  // namespace dgq

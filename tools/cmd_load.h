// tools/cmd_load.h - what `dgq run` and `dgq eval` share: a model of a registry, or a checkpoint in fp32, ready to run.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "quantizer/checkpoint.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "runtime/tokenizer.h"
#include "tools/command.h"

namespace dgq::tools {

// Everything a run needs. Views stay valid when it moves.
class LoadedModel {
 public:
  // From the options of add_model_options(). reference: NAME[:TAG], ignored when --checkpoint is given.
  static Result<LoadedModel> load(const Options& options, const std::string& reference);
  // `name` is a checkpoint (folder or GGUF file) or, where no file has this name, NAME[:TAG].
  static Result<LoadedModel> load_either(const Options& options, const std::string& name);

  const ModelConfig& config() const { return model_ ? model_->config() : checkpoint_->config(); }
  const ModelWeights& weights() const { return model_ ? model_->weights() : floats_->weights; }
  const Kernels& kernels() const { return *kernels_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  int threads() const { return threads_; }
  KvType kv_type() const { return kv_type_; }
  std::unique_ptr<Decoder> make_decoder() const;
  // model, version (null for a checkpoint), kernel, threads, kv, bytes_mapped, files, files_reused
  OrderedJson describe() const;
  std::string footprint() const;  // "mapped 9.1 MB (10 files, 10 reused)"

 private:
  static Result<LoadedModel> load_from(const Options& options, bool is_checkpoint, const std::string& name);
  Result<void> load_checkpoint(const Options& options, const std::string& name);
  Result<void> load_version(const Options& options, const std::string& reference);

  std::string name_, kernel_name_;
  std::optional<Model> model_;  // or the next two
  std::optional<Checkpoint> checkpoint_;
  std::optional<ModelF32> floats_;
  std::optional<Kernels> kernels_;
  std::optional<Tokenizer> tokenizer_;
  int threads_ = 1;
  KvType kv_type_ = KvType::int8;
};

// int8 or f32, as --kv takes them; else invalid.
Result<KvType> parse_kv(const std::string& text);

// --registry, --cache, --threads, --kv; add_model_options: and --checkpoint, --tokenizer
void add_run_options(Options& options);
void add_model_options(Options& options);

}  // namespace dgq::tools

#include "tools/cmd_load.h"

#include "runtime/parallel.h"

namespace dgq::tools {
namespace po = boost::program_options;

Result<KvType> parse_kv(const std::string& text) {
  if (text == "int8") return KvType::int8;
  if (text == "f32") return KvType::f32;
  return Error{Errc::invalid, "--kv must be int8 or f32, not '" + text + "'"};
}

void add_run_options(Options& options) {
  add_registry_options(options);
  options.named.add_options()                                                                     //
      ("threads", po::value<int>()->value_name("N"), "threads (default: one per physical core)")  //
      ("kv", po::value<std::string>()->value_name("TYPE"),
       "KV cache: int8 or f32 (default: int8; f32 of a checkpoint)");
}

void add_model_options(Options& options) {
  add_run_options(options);
  options.named.add_options()  //
      ("checkpoint", po::value<std::string>()->value_name("DIR|GGUF"),
       "run this checkpoint in fp32 instead")  //
      ("tokenizer", po::value<std::string>()->value_name("FILE"),
       "with --checkpoint: the tokenizer.json to take instead of its own");
}

Result<void> LoadedModel::load_checkpoint(const Options& options, const std::string& name) {
  name_ = name;
  kernel_name_ = std::string("f32-") + kernels_->gemm_f32->isa;
  kv_type_ = KvType::f32;
  DGQ_TRY(checkpoint_,
          Checkpoint::open(name_, options.has("tokenizer") ? options.get<std::string>("tokenizer") : ""));
  DGQ_TRY(floats_, load_f32(*checkpoint_));
  DGQ_TRY(tokenizer_, Tokenizer::parse(checkpoint_->tokenizer_json(), checkpoint_->tokenizer_where()));
  return {};
}

Result<void> LoadedModel::load_version(const Options& options, const std::string& reference) {
  name_ = reference;
  kernel_name_ = kernels_->isa;
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  LayerCache cache(cache_folder(options));
  DGQ_TRY(model_, Model::load(registry, cache, reference));
  print_warnings(model_->warnings());
  DGQ_TRY(tokenizer_, Tokenizer::parse(model_->tokenizer_json(), reference + ", blob tokenizer"));
  return {};
}

Result<LoadedModel> LoadedModel::load(const Options& options, const std::string& reference) {
  return options.has("checkpoint") ? load_from(options, true, options.get<std::string>("checkpoint"))
                                   : load_from(options, false, reference);
}

Result<LoadedModel> LoadedModel::load_either(const Options& options, const std::string& name) {
  std::error_code ignored;
  return load_from(options, std::filesystem::exists(name, ignored), name);
}

Result<LoadedModel> LoadedModel::load_from(const Options& options, bool is_checkpoint,
                                           const std::string& name) {
  LoadedModel loaded;
  loaded.threads_ = options.has("threads") ? options.get<int>("threads") : physical_cores();
  if (loaded.threads_ < 1 || loaded.threads_ > kMaxThreads)
    return Error{Errc::invalid, "--threads must be from 1 to " + std::to_string(kMaxThreads)};
  DGQ_TRY(loaded.kernels_, select_kernels_from_environment());
  if (options.has("tokenizer") && !options.has("checkpoint"))
    return Error{Errc::invalid, "--tokenizer goes with --checkpoint; a model of the registry has its own"};
  if (is_checkpoint) {
    DGQ_CHECK(loaded.load_checkpoint(options, name));
  } else {
    DGQ_CHECK(loaded.load_version(options, name));
  }
  if (options.has("kv")) {
    DGQ_TRY(loaded.kv_type_, parse_kv(options.get<std::string>("kv")));
  }
  return loaded;
}

std::unique_ptr<Decoder> LoadedModel::make_decoder() const {
  return std::make_unique<Decoder>(config(), *kernels_, threads_,
                                   model_ ? model_->activation_block() : kActBlock);
}

OrderedJson LoadedModel::describe() const {
  OrderedJson json = {{"model", name_},
                      {"version", model_ ? OrderedJson(model_->version().digest.hex()) : OrderedJson()},
                      {"kernel", kernel_name_},
                      {"threads", threads_},
                      {"kv", kv_type_ == KvType::f32 ? "f32" : "int8"}};
  if (model_) {
    json["bytes_mapped"] = model_->footprint().bytes_mapped;
    json["files"] = model_->footprint().files;
    json["files_reused"] = model_->footprint().files_reused;
  }
  return json;
}

std::string LoadedModel::footprint() const {
  const std::string kernel =
      "kernel " + kernel_name_ + ", " + std::to_string(threads_) + (threads_ == 1 ? " thread" : " threads");
  if (!model_) return kernel + " | fp32 checkpoint";
  const MappedVersion::Footprint& mapped = model_->footprint();
  return kernel + " | mapped " + human_bytes(static_cast<double>(mapped.bytes_mapped)) + " (" +
         std::to_string(mapped.files) + " files, " + std::to_string(mapped.files_reused) + " reused)";
}

}  // namespace dgq::tools

// tools/cmd_export.cpp - `dgq export gguf`: a model of the registry for llama.cpp.
#include <cstdio>

#include "quantizer/gguf_export.h"
#include "runtime/foreign.h"
#include "tools/cmd_load.h"

namespace dgq::tools {
namespace po = boost::program_options;
namespace {

// The version that the name stood for.
Result<Digest> write_file(Registry& registry, LayerCache& cache, const std::string& name, GgufWeights weights,
                          const std::string& output) {
  Progress progress;
  const auto show = [&](double done) { progress.update("exporting", done); };
  DGQ_TRY(const VersionInfo named, registry.resolve(name));
  if (!is_foreign(named.manifest.config)) {
    DGQ_TRY(const Model model, Model::load(registry, cache, name));
    print_warnings(model.warnings());
    DGQ_CHECK(export_gguf(model, name, weights, output, show));
    progress.finish();
    return model.version().digest;
  }
  DGQ_TRY(const StoredLinears linears, StoredLinears::load(registry, cache, name));
  print_warnings(linears.warnings());
  const BlobRef* rest = linears.version().manifest.find(kRestBlob);
  if (!rest) return Error{Errc::corrupt, name + ": has no blob " + std::string(kRestBlob)};
  DGQ_TRY(const LayerCache::Entry mapped, cache.materialise(registry, *rest));
  DGQ_CHECK(export_gguf(linears, mapped.file.bytes(), name, weights, output, show));
  progress.finish();
  return linears.version().digest;
}

Result<int> run_gguf(const Arguments& arguments) {
  Options options;
  options.usage = "dgq export gguf NAME[:TAG] --output FILE [options]";
  options.about =
      "Writes a GGUF file that llama.cpp runs with our backend (libggml-dgq, docs/PLUGIN.md): metadata, "
      "tokenizer and norms, but no\n"
      "weights. These stay in the registry, which the backend maps; the file names them by digest. With "
      "--fat they are in the file\n"
      "as well, in Q8_0, for hosts without the backend. A version that was made of a GGUF file for llama.cpp "
      "only keeps "
      "the file's metadata,\n"
      "tensor names and other tensors.";
  options.examples =
      "  dgq export gguf demo --output demo.gguf\n"
      "  GGML_BACKEND_PATH=$PWD/libggml-dgq-0.25.1-0ad4a86.so DGQ_REGISTRY=demo.db llama-cli -m demo.gguf\n"
      "  dgq export gguf demo --output demo-fat.gguf --fat\n"
      "  dgq quantize gemma-bf16.gguf --name gemma && dgq export gguf gemma --output gemma-dgq.gguf\n";
  add_registry_options(options);
  options.named.add_options()                                                            //
      ("output,o", po::value<std::string>()->value_name("FILE"), "the file to write")    //
      ("fat", po::bool_switch(), "with weights in Q8_0 for hosts without the backend");  //
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"model", "NAME[:TAG]", "the model"}}));
  if (!go_on) return 0;
  if (!options.has("output") || options.get<std::string>("output").empty())
    return Error{Errc::invalid, "--output FILE is missing: the file to write"};
  const std::string &name = options.get<std::string>("model"), &output = options.get<std::string>("output");
  const bool fat = options.get<bool>("fat");
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  LayerCache cache(cache_folder(options));
  DGQ_TRY(const Digest version,
          write_file(registry, cache, name, fat ? GgufWeights::fat : GgufWeights::thin, output));
  std::printf("%s: %s, version %s, %s\n", output.c_str(), name.c_str(), version.short_hex().c_str(),
              fat ? "weights in Q8_0 inside" : "weights stay in the registry");
  return 0;
}

constexpr Command kCommands[] = {{"gguf", "for llama.cpp, with our backend or without", run_gguf}};

}  // namespace

Result<int> run_export(const Arguments& arguments) {
  return dispatch({"dgq export", "Writes models of the registry for other programs.",
                   "  dgq export gguf demo --output demo.gguf\n", kCommands},
                  arguments);
}

}  // namespace dgq::tools

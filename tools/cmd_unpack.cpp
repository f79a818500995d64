// tools/cmd_unpack.cpp - `dgq unpack`: a model of the registry as a Hugging Face checkpoint folder.
#include <cstdio>

#include "quantizer/unpack.h"
#include "tools/cmd_load.h"

namespace dgq::tools {
namespace po = boost::program_options;

Result<int> run_unpack(const Arguments& arguments) {
  Options options;
  options.usage = "dgq unpack NAME[:TAG] --safetensors DIR [options]";
  options.about =
      "Writes a model of the registry as a Hugging Face checkpoint folder (config.json, tokenizer.json,\n"
      "model.safetensors) with dequantized weights, for any tool that reads those.";
  options.examples =
      "  dgq unpack demo --safetensors demo-f32\n"
      "  dgq unpack llama:best --safetensors /data/llama-best --type bf16\n";
  add_registry_options(options);
  options.named.add_options()                                                                           //
      ("model", po::value<std::string>()->value_name("NAME[:TAG]"), "the model")                        //
      ("safetensors", po::value<std::string>()->value_name("DIR"), "the folder to make: new or empty")  //
      ("type", po::value<std::string>()->default_value("f32")->value_name("TYPE"),
       "f32 (exact) or bf16 (half the size, rounded)");
  options.positional.add("model", 1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (!options.has("model"))
    return Error{Errc::invalid, "which model? (dgq unpack NAME[:TAG] --safetensors DIR)"};
  if (!options.has("safetensors") || options.get<std::string>("safetensors").empty())
    return Error{Errc::invalid, "--safetensors DIR is missing: the folder to make"};
  const std::string &type = options.get<std::string>("type"), &name = options.get<std::string>("model"),
                    &folder = options.get<std::string>("safetensors");
  if (type != "f32" && type != "bf16")
    return Error{Errc::invalid, "--type must be f32 or bf16, not '" + type + "'"};
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  LayerCache cache(cache_folder(options));
  DGQ_TRY(const Model model, Model::load(registry, cache, name));
  print_warnings(model.warnings());
  Progress progress;
  DGQ_CHECK(unpack(model.config(), model.weights(), model.tokenizer_json(), model.chat_template(),
                   type == "f32" ? FloatType::f32 : FloatType::bf16, folder,
                   [&](double done) { progress.update("unpacking", done); }));
  progress.finish();
  std::printf("%s: config.json, tokenizer.json, model.safetensors (%s) of %s\n", folder.c_str(), type.c_str(),
              name.c_str());
  return 0;
}

}  // namespace dgq::tools

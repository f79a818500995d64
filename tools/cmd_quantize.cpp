// tools/cmd_quantize.cpp - `dgq quantize`: a checkpoint folder becomes a version in a registry.
#include <cstdio>
#include <iostream>

#include "base/file.h"
#include "quantizer/quantize.h"
#include "runtime/parallel.h"
#include "tools/command.h"
#include "tools/report_output.h"

namespace dgq::tools {
namespace po = boost::program_options;
namespace {

Options describe() {
  Options options;
  options.usage = "dgq quantize MODEL --name NAME[:TAG] [options]";
  options.about =
      "Quantizes a checkpoint to 4 bits (DGQ) and adds it to a registry, which is made when it does not "
      "exist. "
      "MODEL is a\n"
      "Hugging Face folder (config.json, model.safetensors or its shards, tokenizer.json) or a .gguf file in "
      "F32, F16, BF16\n"
      "or Q8_0. Calibrates on text that the model writes itself, or on --calibration FILE. The same numbers "
      "give "
      "the same\n"
      "version on every machine and from either container.";
  options.examples =
      "  dgq quantize models/demo --registry demo.db --name demo\n"
      "  dgq quantize model-bf16.gguf --tokenizer tokenizer.json --name qwen\n"
      "  dgq quantize ~/llama --name llama:g32 --group 32 --calibration wiki.txt --report llama.json\n";
  add_registry_option(options);
  options.named.add_options()                                                                           //
      ("model", po::value<std::string>()->value_name("DIR|GGUF"), "the checkpoint; the same as MODEL")  //
      ("tokenizer", po::value<std::string>()->value_name("FILE"),
       "the tokenizer.json to take instead of its own")                                     //
      ("name", po::value<std::string>()->value_name("NAME[:TAG]"), "name in the registry")  //
      ("recipe", po::value<std::string>()->default_value("default")->value_name("NAME"),
       "fast, default, best, or a file as --print-recipe writes it")    //
      ("print-recipe", "print the recipe as JSON and do nothing else")  //
      ("group", po::value<int>(),
       "weights per fine scale of every linear: 32, 64 or 128 (default: the recipe's choice)")  //
      ("bpw", po::value<double>(),
       "bits per weight of the linears on average, shared out by sensitivity (pass allocate)")  //
      ("max-bytes", po::value<std::size_t>(), "the same, as bytes of the whole model")          //
      ("calibration", po::value<std::string>()->value_name("FILE"),
       "UTF-8 text to calibrate on, documents separated by <|endoftext|> (default: sampled)")              //
      ("calibration-tokens", po::value<int>(), "how many tokens to calibrate on (default: the recipe's)")  //
      ("seed", po::value<std::uint64_t>()->default_value(1), "of the sampling")                            //
      ("threads", po::value<int>()->default_value(physical_cores()), "threads")                            //
      ("activation-block", po::value<std::string>()->default_value("128"),
       "columns that share an activation scale at run time: 128 or row")  //
      ("report", po::value<std::string>()->value_name("FILE"),
       "write the figures of every tensor, pass and stage: FILE.html is a page with plots, any other name "
       "JSON")                                                     //
      ("verbose", "print the error after each pass as well")       //
      ("force", "quantize even when the registry has the result")  //
      ("json", "print one JSON object");
  options.positional.add("model", 1);
  return options;
}

void drop_allocate(Recipe& recipe) {
  std::erase_if(recipe.passes,
                [](const Pass& pass) { return std::holds_alternative<AllocateOptions>(pass); });
}

// --bpw and --max-bytes: of the recipe's allocate, which is added where there is none.
Result<void> set_budget(const Options& options, Recipe& recipe) {
  AllocateOptions budget;
  if (const AllocateOptions* there = recipe.find<AllocateOptions>()) budget = *there;
  budget.bpw = options.has("bpw") ? options.get<double>("bpw") : 0;
  budget.max_bytes = options.has("max-bytes") ? options.get<std::size_t>("max-bytes") : 0;
  if (options.has("bpw") && !(budget.bpw >= 1 && budget.bpw <= 9))
    return Error{Errc::invalid, "--bpw must be 1 to 9"};
  budget.strict = true;
  drop_allocate(recipe);
  std::vector<Pass>& passes = recipe.passes;
  const bool smooths = !passes.empty() && std::holds_alternative<SmoothOptions>(passes[0]);
  passes.insert(passes.begin() + (smooths ? 1 : 0), budget);
  return {};
}

Result<Recipe> read_recipe(const Options& options) {
  DGQ_TRY(Recipe recipe, load_recipe(options.get<std::string>("recipe")));
  const bool budget = options.has("bpw") || options.has("max-bytes");
  if (options.has("group") && budget)
    return Error{Errc::invalid,
                 "--group is for every linear; --bpw and --max-bytes choose one for each: give either"};
  if (options.has("group")) {
    const int group = options.get<int>("group");
    if (group != 32 && group != 64 && group != 128)
      return Error{Errc::invalid, "--group must be 32, 64 or 128, not " + std::to_string(group)};
    recipe.format.group = static_cast<std::size_t>(group);
    drop_allocate(recipe);
  }
  if (budget) DGQ_CHECK(set_budget(options, recipe));
  if (options.has("calibration-tokens"))
    recipe.calibration_tokens = static_cast<std::size_t>(std::max(0, options.get<int>("calibration-tokens")));
  return recipe;
}

Result<QuantizeOptions> read_options(const Options& options) {
  QuantizeOptions out;
  const int threads = options.get<int>("threads");
  if (threads < 1 || threads > 1024) return Error{Errc::invalid, "--threads must be 1 to 1024"};
  const std::string& block = options.get<std::string>("activation-block");
  if (block != "128" && block != "row") return Error{Errc::invalid, "--activation-block must be 128 or row"};
  if (options.has("calibration")) {
    out.calibration = options.get<std::string>("calibration");
    if (out.calibration.empty()) return Error{Errc::invalid, "--calibration needs a file name"};
  }
  out.threads = threads;
  out.activation_block = block == "row" ? 0 : kActBlock;
  DGQ_TRY(out.recipe, read_recipe(options));
  out.seed = options.get<std::uint64_t>("seed");
  out.force = options.has("force");
  out.tool = "dgq " DGQ_VERSION;
  return out;
}

void print_summary(const QuantizeResult& result, const ModelRef& name, const std::filesystem::path& registry,
                   double seconds, bool verbose) {
  print_report(result.tensors, verbose);
  std::uint64_t bytes = 0;
  for (const BlobRef& blob : result.manifest.blobs) bytes += blob.bytes;
  if (result.reused) {
    std::printf(
        "%s is there already: version %s came from the same checkpoint, recipe and tool; reused (--force "
        "makes it again)\n",
        name.text().c_str(), result.version.short_hex().c_str());
  } else {
    std::printf("%s is version %s in %s: %s in %zu blobs, %.1f s\n", name.text().c_str(),
                result.version.short_hex().c_str(), registry.c_str(),
                human_bytes(static_cast<double>(bytes)).c_str(), result.manifest.blobs.size(), seconds);
  }
}

Result<void> write_report(const std::filesystem::path& path, const ModelRef& name,
                          const QuantizeResult& result, const Json& json) {
  if (path.extension() == ".html")
    return write_page({name.text(), result.version.hex(), result.manifest, result.tensors, result.costs},
                      path);
  const std::string text = json.dump(1) + "\n";
  return write_file_atomic(path, std::as_bytes(std::span(text)));
}

}  // namespace

Result<int> run_quantize(const Arguments& arguments) {
  Options options = describe();
  DGQ_TRY(const bool go, options.parse(arguments));
  if (!go) return 0;
  if (options.has("print-recipe")) {
    DGQ_TRY(const Recipe recipe, read_recipe(options));
    std::cout << to_json(recipe).dump(1) << "\n";
    return 0;
  }
  for (const char* needed : {"model", "name"})
    if (!options.has(needed))
      return Error{Errc::invalid, std::string(needed[0] == 'm' ? "MODEL" : "--name") +
                                      " is missing (see dgq quantize --help)"};
  DGQ_TRY(const ModelRef name, ModelRef::parse(options.get<std::string>("name")));
  DGQ_TRY(const QuantizeOptions settings, read_options(options));
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  DGQ_TRY(const Checkpoint checkpoint,
          Checkpoint::open(options.get<std::string>("model"),
                           options.has("tokenizer") ? options.get<std::string>("tokenizer") : ""));
  const std::filesystem::path path = registry_path(options);
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write, true));

  const double start = now_s();
  Progress progress(options.has("json"));
  DGQ_TRY(const QuantizeResult result,
          quantize(checkpoint, registry, name, settings, kernels,
                   [&](const std::string& label, double done) { progress.update(label, done); }));
  progress.finish();
  const double seconds = now_s() - start;

  const Json json = {{"name", name.text()},
                     {"version", result.version.hex()},
                     {"registry", path.string()},
                     {"reused", result.reused},
                     {"seconds", seconds},
                     {"recipe", result.manifest.recipe},
                     {"provenance", result.manifest.provenance},
                     {"report", result.manifest.report},
                     {"costs", to_json(result.costs)}};
  if (options.has("report")) DGQ_CHECK(write_report(options.get<std::string>("report"), name, result, json));
  if (options.has("json")) {
    std::cout << json.dump() << "\n";
  } else {
    print_summary(result, name, path, seconds, options.has("verbose"));
  }
  return 0;
}

}  // namespace dgq::tools

// tools/cmd_quantize.cpp - `dgq quantize`: a checkpoint folder becomes a version in a registry.
#include <malloc.h>

#include <cstdio>
#include <iostream>

#include "base/file.h"
#include "bench/shapes.h"
#include "quantizer/forecast.h"
#include "quantizer/foreign_gguf.h"
#include "quantizer/quantize.h"
#include "quantizer/work_folder.h"
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
      "version on every machine and from either container. A GGUF file of any other family that llama.cpp "
      "knows is "
      "quantized for it,\n"
      "by the error of its weights (docs/PLUGIN.md).";
  options.examples =
      "  dgq quantize models/demo --registry demo.db --name demo\n"
      "  dgq quantize model-bf16.gguf --tokenizer tokenizer.json --name qwen\n"
      "  dgq quantize gemma-bf16.gguf --name gemma && dgq export gguf gemma --output gemma-dgq.gguf    # for "
      "llama.cpp\n"
      "  dgq quantize ~/llama --name llama:g32 --group 32 --calibration wiki.txt --report llama.json\n"
      "  dgq quantize ~/llama --part 2/4 --work parts --calibration wiki.txt    # and 1/4, 3/4, 4/4, "
      "anywhere\n"
      "  dgq quantize --merge parts --name llama\n";
  add_registry_option(options);
  options.named.add_options()                                                                           //
      ("model", po::value<std::string>()->value_name("DIR|GGUF"), "the checkpoint; the same as MODEL")  //
      ("tokenizer", po::value<std::string>()->value_name("FILE"),
       "the tokenizer.json to take instead of its own")                                     //
      ("name", po::value<std::string>()->value_name("NAME[:TAG]"), "name in the registry")  //
      ("recipe", po::value<std::string>()->default_value("default")->value_name("RECIPE"),
       "fast, default, best, search, or a file as --print-recipe writes it (default for families that only "
       "llama.cpp runs: search)")                                       //
      ("print-recipe", "print the recipe as JSON and do nothing else")  //
      ("group", po::value<int>(),
       "weights per fine scale of every linear: 32, 64 or 128 (default: the recipe's choice)")  //
      ("bpw", po::value<double>(),
       "bits per weight of the linears on average, shared out by sensitivity (pass allocate)")  //
      ("max-bytes", po::value<std::string>()->value_name("SIZE"),
       "the same, as bytes of the whole model: 600M, 1.5G")  //
      ("calibration", po::value<std::string>()->value_name("FILE"),
       "UTF-8 text to calibrate on, documents separated by <|endoftext|> (default: sampled)")              //
      ("calibration-tokens", po::value<int>(), "how many tokens to calibrate on (default: the recipe's)")  //
      ("seed", po::value<std::uint64_t>()->default_value(1), "of the sampling")                            //
      ("threads", po::value<int>()->default_value(physical_cores()), "threads")                            //
      ("activation-block", po::value<std::string>()->default_value("128"),
       "columns that share an activation scale at run time: 128 or row")  //
      ("max-memory", po::value<std::string>()->value_name("SIZE"),
       "memory that it may take: 800M, 4GiB (default: half of this machine's)")  //
      ("work", po::value<std::string>()->value_name("DIR"),
       "where finished layers wait until all are there (default: beside the registry); a killed run goes on "
       "from it")  //
      ("part", po::value<std::string>()->value_name("I/N"),
       "make only the I-th of N shares of the layers, into --work")  //
      ("merge", po::value<std::vector<std::string>>()->multitoken()->value_name("DIR..."),
       "make the version from the --work folders of all parts")  //
      ("synthetic", po::value<std::string>()->value_name("SHAPE"),
       "instead of MODEL: random weights of this shape (dgq bench model --list-shapes, or a config.json)")  //
      ("dry-run",
       "say what it takes of memory, time and disk, and how large the result is; nothing is written")  //
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
  budget.max_bytes = 0;
  if (options.has("max-bytes")) {
    DGQ_TRY(budget.max_bytes, parse_bytes(options.get<std::string>("max-bytes"), "max-bytes"));
  }
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
  if (options.has("work")) out.work = options.get<std::string>("work");
  if (options.has("max-memory")) {
    DGQ_TRY(out.max_memory, parse_bytes(options.get<std::string>("max-memory"), "max-memory"));
  }
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

// A GGUF file of a family that only llama.cpp runs.
Result<std::optional<ForeignGguf>> open_foreign(const Options& options) {
  if (!options.has("model")) return std::optional<ForeignGguf>();
  DGQ_TRY(std::optional<ForeignGguf> model, ForeignGguf::open(options.get<std::string>("model")));
  if (!model) return model;
  for (const char* option : {"calibration", "calibration-tokens", "seed", "bpw", "max-bytes", "max-memory",
                             "tokenizer", "part", "dry-run"})
    if (options.has(option))
      return Error{
          Errc::invalid,
          model->why + "; it can be quantized for llama.cpp, by its weights alone, without --" + option};
  return model;
}

Result<Checkpoint> open_checkpoint(const Options& options) {
  if (options.has("synthetic")) {
    DGQ_TRY(const bench::Shape shape, bench::load_shape(options.get<std::string>("synthetic")));
    return Checkpoint::synthetic(shape.config);
  }
  return Checkpoint::open(options.get<std::string>("model"),
                          options.has("tokenizer") ? options.get<std::string>("tokenizer") : "");
}

// "2/4".
Result<Part> parse_part(const std::string& text) {
  Part part;
  char end;
  if (std::sscanf(text.c_str(), "%zu/%zu%c", &part.index, &part.count, &end) != 2 || text.starts_with('-'))
    return Error{Errc::invalid, "--part must be I/N, such as 2/4, not '" + text + "'"};
  return part;
}

// What does not go together.
Result<void> check_words(const Options& options) {
  const bool merges = options.has("merge"), part = options.has("part");
  const auto refuse = [](const std::string& what) {
    return Error{Errc::invalid, what + " (see dgq quantize --help)"};
  };
  const int sources = options.has("model") + options.has("synthetic") + merges;
  if (sources == 0) return refuse("MODEL is missing");
  if (sources > 1) return refuse("give one of MODEL, --synthetic and --merge");
  if (part && (merges || options.has("name")))
    return refuse("--part makes no version: leave out --merge and --name");
  if (part && !options.has("work")) return refuse("--part needs --work, a folder for its layers");
  if (!part && !options.has("name") && !options.has("dry-run")) return refuse("--name is missing");
  return {};
}

void note(const std::string& line) { std::fprintf(stderr, "%s\n", one_line(line).c_str()); }

Result<int> make_part(const Options& options) {
  DGQ_TRY(const Part part, parse_part(options.get<std::string>("part")));
  DGQ_CHECK(open_foreign(options));  // refuses --part
  DGQ_TRY(const QuantizeOptions settings, read_options(options));
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  DGQ_TRY(const Checkpoint checkpoint, open_checkpoint(options));
  Progress progress(options.has("json"));
  DGQ_CHECK(quantize_part(
      checkpoint, settings, part, kernels,
      [&](const std::string& label, double done) { progress.update(label, done); }, note));
  progress.finish();
  const std::string work = settings.work.string();
  if (options.has("json")) {
    std::cout << Json{{"part", part.index}, {"of", part.count}, {"work", work}}.dump() << "\n";
  } else {
    std::printf("part %zu of %zu is in %s\n", part.index, part.count, work.c_str());
  }
  return 0;
}

Result<int> dry_run(const Options& options) {
  if (options.has("merge") || options.has("part"))
    return Error{Errc::invalid, "--dry-run is for a whole job: leave out --merge and --part"};
  DGQ_CHECK(open_foreign(options));  // refuses --dry-run
  DGQ_TRY(const QuantizeOptions settings, read_options(options));
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  DGQ_TRY(const Checkpoint checkpoint, open_checkpoint(options));
  DGQ_TRY(const Forecast expected, forecast(checkpoint, settings, kernels));
  if (options.has("json")) {
    std::cout << Json{{"memory", expected.memory},
                      {"disk", expected.disk},
                      {"bytes", expected.version_bytes},
                      {"seconds", expected.seconds},
                      {"spills", expected.spills}}
                     .dump()
              << "\n";
    return 0;
  }
  const auto size = [](std::uint64_t bytes) { return human_bytes(static_cast<double>(bytes)); };
  std::printf("memory   %s at the peak%s\n", size(expected.memory).c_str(),
              expected.spills ? ", with activations on disk" : "");
  std::printf("time     %.0f s with %d thread(s)\n", expected.seconds, settings.threads);
  std::printf("disk     %s while it runs\n", size(expected.disk).c_str());
  std::printf("result   %s\n", size(expected.version_bytes).c_str());
  return 0;
}

// The whole job, or what parts have made of it.
Result<QuantizeResult> make_version(const Options& options, const ModelRef& name,
                                    const std::filesystem::path& path) {
  if (options.has("merge")) {
    const auto& folders = options.get<std::vector<std::string>>("merge");
    for (const std::string& folder : folders)
      DGQ_CHECK(WorkFolder::read(folder));  // before a registry is made
    DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write, true));
    return merge_parts({folders.begin(), folders.end()}, registry, name);
  }
  DGQ_TRY(QuantizeOptions settings, read_options(options));
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  Progress progress(options.has("json"));
  const auto show = [&](const std::string& label, double done) { progress.update(label, done); };
  DGQ_TRY(const std::optional<ForeignGguf> foreign, open_foreign(options));
  if (foreign) {
    if (!options.has("recipe")) {
      DGQ_TRY(Recipe search, built_in_recipe("search"));
      if (options.has("group")) search.format.group = settings.recipe.format.group;
      settings.recipe = std::move(search);
    }
    DGQ_CHECK(check_foreign_recipe(settings.recipe));
    note(foreign->why + ": quantized for llama.cpp, by its weights alone (dgq export gguf writes the file)");
    DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write, true));
    return quantize_foreign(*foreign, registry, name, settings, kernels, show, note);
  }
  DGQ_TRY(const Checkpoint checkpoint, open_checkpoint(options));
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write, true));
  return quantize(checkpoint, registry, name, settings, kernels, show, note);
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
  DGQ_CHECK(check_words(options));
  // Every large block goes back to the system when it is freed, so that --max-memory and --dry-run can count on sizes. (glibc would
  // raise this limit to 32 MiB as it sees blocks freed.)
  ::mallopt(M_MMAP_THRESHOLD, 1 << 18);
  if (options.has("dry-run")) return dry_run(options);
  if (options.has("part")) return make_part(options);
  DGQ_TRY(const ModelRef name, ModelRef::parse(options.get<std::string>("name")));
  const double start = now_s();
  const std::filesystem::path path = registry_path(options);
  DGQ_TRY(const QuantizeResult result, make_version(options, name, path));
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

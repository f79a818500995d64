// tools/cmd_bench_model.cpp - `dgq bench model`: prefill and decode of a model, in the columns of llama-bench.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <sstream>

#include "bench/make_run.h"
#include "bench/memory.h"
#include "bench/peer.h"
#include "bench/shapes.h"
#include "bench/statistics.h"
#include "bench/synthetic_model.h"
#include "runtime/model.h"
#include "tools/cmd_bench.h"
#include "tools/run_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr const char* kExamples =
    "  dgq bench model --shape llama-3.2-1b\n"
    "  dgq bench model --shape llama2-7b --threads 1,2,4 --repetitions 3\n"
    "  dgq bench model --shape models/demo/config.json --prompt 0 --gen 128 --output csv\n"
    "  dgq bench model --model demo --registry demo.db\n"
    "  dgq bench model --shape llama2-7b --peer llama-bench=/opt/llama.cpp/llama-bench --peer-model "
    "7b-Q4_0.gguf\n"
    "  DGQ_ISA=ref dgq bench model --shape smollm2-135m\n";

// In the order of bench::Recipe::Fine.
const std::vector<std::string> kWeights = {"w4", "w6", "mixed"};
constexpr const char* kWeightNames[] = {"W4A8", "W6A8", "W4/W6A8"};
// In the order of bench::Recipe::Head.
const std::vector<std::string> kHeads = {"w4", "w6", "w8"};
const std::vector<std::string> kActBlocks = {"128", "row", "static"};

void add_options(Options& options) {
  const bench::ModelBenchOptions base;
  options.named.add_options()  //
      ("shape", po::value<std::string>()->value_name("NAME|FILE.json"),
       "the sizes: a built-in name (--list-shapes) or a config.json")                                       //
      ("model", po::value<std::string>()->value_name("NAME[:TAG]"), "instead: this model of the registry")  //
      ("list-shapes", po::bool_switch(), "names of the built-in shapes")                                    //
      ("threads", po::value<std::string>()->value_name("T[,T...]"),
       "thread counts (default: one per physical core)")  //
      ("prompt", po::value<std::size_t>()->default_value(base.prompt)->value_name("N"),
       "tokens of the prompt test (pp); 0: none")  //
      ("gen", po::value<std::size_t>()->default_value(base.generate)->value_name("N"),
       "tokens of the generation test (tg); 0: none")  //
      ("repetitions", po::value<int>()->default_value(base.repetitions)->value_name("N"),
       "runs of each test, after one that does not count")  //
      ("group", po::value<std::size_t>()->default_value(bench::Recipe().group)->value_name("G"),
       "weights per group scale: 32, 64 or 128")  //
      ("weights", po::value<std::string>()->default_value("w4")->value_name("TYPE"),
       "linears of the layers: w4, w6 or mixed (k, v and down w6, the others w4)")  //
      ("head", po::value<std::string>()->default_value("w8")->value_name("TYPE"),
       "embedding and head: w4, w6 or w8")  //
      ("act-block", po::value<std::string>()->default_value("128")->value_name("B"),
       "activation scales: one for 128 columns, for a row, or static")  //
      ("kv", po::value<std::string>()->default_value("int8")->value_name("TYPE"),
       "KV cache: int8 or f32")  //
      ("watts", po::value<double>()->value_name("W"),
       "power of the whole machine under this load, for joules per token where nothing can be read");
  options.named.add_options()  //
      ("peer", po::value<std::vector<std::string>>()->value_name("NAME=PATH"),
       "a llama-bench (of llama.cpp or ik_llama.cpp) that takes turns; may be repeated")  //
      ("peer-model", po::value<std::vector<std::string>>()->value_name("FILE.gguf"),
       "what it runs; one for all peers, or one for each")  //
      ("peer-args", po::value<std::vector<std::string>>()->value_name("WORDS"),
       "more for its command line, such as \"-fa 1\"; one for all peers, or one for each (\"\": none)");
  add_cold_option(options);
  add_output_options(options, true);
  options.named.add_options()("cache", po::value<std::string>()->value_name("DIR"),
                              "with --model: folder of the layer files (default: beside the registry)");
}

Result<bench::ModelBenchOptions> read_options(const Options& options) {
  bench::ModelBenchOptions chosen{};
  chosen.prompt = options.get<std::size_t>("prompt");
  chosen.generate = options.get<std::size_t>("gen");
  DGQ_TRY(chosen.repetitions, repetitions_option(options));
  DGQ_TRY(const std::vector<std::size_t> threads, thread_counts(options));
  chosen.threads.assign(threads.begin(), threads.end());
  DGQ_TRY(const bool f32, either(options, "kv", "int8", "f32"));
  chosen.kv = f32 ? KvType::f32 : KvType::int8;
  DGQ_TRY(chosen.cold_bytes, cold_option(options));
  return chosen;
}

Result<bench::Recipe> read_recipe(const Options& options) {
  bench::Recipe recipe;
  DGQ_TRY(recipe.group, group_option(options));
  DGQ_TRY(const std::size_t fine, one_of(options, "weights", kWeights));
  recipe.fine = static_cast<bench::Recipe::Fine>(fine);
  DGQ_TRY(const std::size_t head, one_of(options, "head", kHeads));
  recipe.head = static_cast<bench::Recipe::Head>(head);
  return recipe;
}

using Words = std::vector<std::string>;

Words given(const Options& options, const char* name) {
  return options.has(name) ? options.get<Words>(name) : Words();
}

// An option that is given once for all peers, or once for each: one value a peer.
Result<Words> for_each_peer(const Options& options, const char* name, std::size_t peers) {
  Words values = given(options, name);
  if (values.size() == 1) values.resize(peers, values.front());
  if (values.size() == peers) return values;
  return Error{Errc::invalid, std::string("give --") + name + " once, or once for each --peer"};
}

Result<bench::Peers> read_peers(const Options& options) {
  const Words named = given(options, "peer");
  if (named.empty() != !options.has("peer-model"))
    return Error{Errc::invalid, "--peer and --peer-model belong together"};
  if (named.empty() && options.has("peer-args"))
    return Error{Errc::invalid, "--peer-args are for a --peer, and there is none"};
  DGQ_TRY(const Words models, for_each_peer(options, "peer-model", named.size()));
  Words arguments(named.size());
  if (options.has("peer-args")) {
    DGQ_TRY(arguments, for_each_peer(options, "peer-args", named.size()));
  }
  std::vector<bench::Peer> peers;
  for (std::size_t i = 0; i < named.size(); ++i) {
    const std::size_t equals = named[i].find('=');
    if (equals == 0 || equals == named[i].npos || equals + 1 == named[i].size())
      return Error{
          Errc::invalid,
          "--peer takes NAME=PATH, such as llama-bench=/opt/llama.cpp/llama-bench, not '" + named[i] + "'"};
    std::istringstream words(arguments[i]);
    peers.push_back({named[i].substr(0, equals), named[i].substr(equals + 1), models[i],
                     Words{std::istream_iterator<std::string>(words), {}}});
  }
  return bench::Peers(std::move(peers));
}

// What is measured, and what a run says of it.
struct Measured {
  std::string name;  // "llama-3.2-1b W4A8 g128"
  bench::ModelSize size;
  Json settings;
  bench::ModelBenchReport report;
};

std::string scaled(double value, double unit, const char* small, const char* large, double step) {
  char text[32];
  const bool big = value >= unit * step;
  std::snprintf(text, sizeof text, "%.2f %s", value / (big ? unit * step : unit), big ? large : small);
  return text;
}

void print_markdown(const bench::Run& run) {
  constexpr const char* kColumns = "| %-30s | %10s | %10s | %-14s | %7s | %13s | %20s |\n";
  std::printf(kColumns, "model", "size", "params", "backend", "threads", "test", "t/s");
  std::printf(kColumns, "------------------------------", "---------:", "---------:", "--------------",
              "------:", "------------:", "-------------------:");
  for (const bench::RunRow& row : run.rows) {
    const std::vector<double> counted = row.counted();
    char speed[64];
    std::snprintf(speed, sizeof speed, "%.2f ± %.2f", bench::mean(counted), bench::deviation(counted));
    const auto text = [&](const Json& object, const char* key) {
      const Json value = object.value(key, Json());
      return value.is_string() ? value.get<std::string>() : value.is_null() ? std::string("-") : value.dump();
    };
    const auto number = [&](const char* key, double unit, const char* small, const char* large, double step) {
      const Json value = row.figures.value(key, Json());
      return value.is_number() ? scaled(value.get<double>(), unit, small, large, step) : std::string("-");
    };
    // ± takes two bytes, and printf counts bytes.
    std::printf("| %-30s | %10s | %10s | %-14s | %7s | %13s | %21s |\n", text(row.of, "model").c_str(),
                number("model_size", 1024 * 1024, "MiB", "GiB", 1024).c_str(),
                number("model_n_params", 1e6, "M", "B", 1000).c_str(), text(row.figures, "backend").c_str(),
                text(row.of, "n_threads").c_str(), text(row.of, "test").c_str(), speed);
  }
}

Json scales_setting(const bench::ModelBenchOptions& options, bool static_scales) {
  if (static_scales) return "static";
  return options.act_block == 0 ? Json("row") : Json(options.act_block);
}

Result<Measured> measure_shape(const Options& options, bench::ModelBenchOptions chosen,
                               const Kernels& kernels, bench::EnergyMeter* energy,
                               const bench::Progress& progress) {
  DGQ_TRY(const std::size_t scales, one_of(options, "act-block", kActBlocks));
  const bool static_scales = kActBlocks[scales] == "static";
  chosen.act_block = kActBlocks[scales] == "row" ? 0 : kActBlock;
  DGQ_TRY(const bench::Recipe recipe, read_recipe(options));
  DGQ_TRY(const bench::Shape shape, bench::load_shape(options.get<std::string>("shape")));
  DGQ_CHECK(bench::check_model_bench(shape.config, chosen));
  progress("making " + shape.name, 0);
  DGQ_TRY(const bench::SyntheticModel model,
          bench::SyntheticModel::make(shape.config, recipe,
                                      *std::max_element(chosen.threads.begin(), chosen.threads.end())));
  ModelWeights weights = model.weights();
  constexpr float kScale = 0.03f;  // activations are normal, about: few are clipped
  if (static_scales)
    for (LayerWeights& layer : weights.layers) layer.input_scale = {kScale, kScale, kScale, 0};
  Measured measured;
  measured.name = shape.name + " " + kWeightNames[recipe.fine] + " g" + std::to_string(recipe.group);
  if (recipe.head != bench::Recipe::head_w8) measured.name += " head " + kHeads[recipe.head];
  measured.size = bench::synthetic_model_size(shape.config, recipe);
  measured.settings = {
      {"shape", shape.name},         {"shape_sha256", sha256(config_to_json(shape.config).dump()).hex()},
      {"group", recipe.group},       {"weights", kWeights[recipe.fine]},
      {"head", kHeads[recipe.head]}, {"act_block", scales_setting(chosen, static_scales)}};
  DGQ_TRY(measured.report,
          bench::bench_model({shape.name, shape.config, weights}, chosen, kernels, energy, progress));
  return measured;
}

Result<Measured> measure_version(const Options& options, bench::ModelBenchOptions chosen,
                                 const Kernels& kernels, bench::EnergyMeter* energy,
                                 const bench::Progress& progress) {
  for (const char* name : {"group", "weights", "head", "act-block"})
    if (options.has(name))
      return Error{Errc::invalid, std::string("--") + name + " goes with --shape; a model has its own"};
  const auto& name = options.get<std::string>("model");
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  LayerCache cache(cache_folder(options));
  DGQ_TRY(const Model model, Model::load(registry, cache, name));
  print_warnings(model.warnings());
  chosen.act_block = model.activation_block();
  Measured measured;
  measured.name = name;
  measured.size = {model.footprint().bytes_mapped, bench::parameters_of(model.weights())};
  measured.settings = {{"version", model.version().digest.hex()},
                       {"shape_sha256", sha256(config_to_json(model.config()).dump()).hex()},
                       {"act_block", scales_setting(chosen, false)}};
  DGQ_TRY(measured.report,
          bench::bench_model({name, model.config(), model.weights()}, chosen, kernels, energy, progress));
  return measured;
}

}  // namespace

Result<int> bench_model(const Arguments& arguments) {
  Options options{
      "dgq bench model --shape NAME | --model NAME[:TAG]",
      "Tokens per second of a model with the given sizes and random weights, or of one of the registry,\n"
      "measured and printed as llama-bench does: a prompt (pp) and generation (tg), mean and deviation.",
      kExamples,
      {},
      {},
      {}};
  add_options(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (options.get<bool>("list-shapes")) {
    for (const std::string& name : bench::shape_names()) std::puts(name.c_str());
    return 0;
  }
  if (options.has("shape") == options.has("model"))
    return Error{Errc::invalid, "give --shape NAME (see --list-shapes) or --model NAME[:TAG]"};
  DGQ_CHECK(output_format(options));
  DGQ_TRY(bench::ModelBenchOptions chosen, read_options(options));
  DGQ_TRY(bench::Peers peers, read_peers(options));
  if (!peers.empty()) chosen.turn = [&](const bench::ModelBenchRow& row) { peers.take_turn(row); };
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  DGQ_TRY(const std::optional<double> watts, watts_option(options));
  auto energy = bench::EnergyMeter::open(watts);
  bench::RunRecorder recorder("model");
  Progress progress;
  const bench::Progress show = [&](const std::string& label, double done) { progress.update(label, done); };
  DGQ_TRY(Measured measured, (options.has("shape") ? measure_shape : measure_version)(
                                 options, chosen, kernels, energy ? &*energy : nullptr, show));
  progress.finish();
  std::vector<bench::RunRow> rows =
      bench::rows_of(measured.report, {{"engine", "dgq"}, {"model", measured.name}});
  for (bench::RunRow& row : rows) {
    row.figures["backend"] = "dgq " + kernels.isa;
    row.figures["model_size"] = measured.size.bytes;
    row.figures["model_n_params"] = measured.size.parameters;
    row.figures["bits_per_weight"] =
        8 * static_cast<double>(measured.size.bytes) / static_cast<double>(measured.size.parameters);
  }
  for (bench::RunRow& row : peers.rows(measured.name)) rows.push_back(std::move(row));
  for (const std::string& fault : peers.faults())
    std::fprintf(stderr, "%s; going on without it\n", one_line(fault).c_str());
  std::string missing;
  for (const std::string& fault : peers.faults()) missing += (missing.empty() ? "" : "; ") + fault;
  if (!missing.empty()) measured.settings["peers_missing"] = missing;
  measured.settings.update(bench::kernel_settings(kernels));
  measured.settings["type_kv"] = chosen.kv == KvType::f32 ? "f32" : "int8";
  measured.settings["repetitions"] = chosen.repetitions;
  measured.settings["energy"] = energy && peers.empty() ? Json(energy->source()) : Json();
  measured.settings["energy_unknown"] = !peers.empty() ? Json("peers that take turns need energy as well")
                                        : energy       ? Json()
                                                       : Json(energy.error().what);
  const bench::Run run =
      recorder.finish(std::move(measured.settings),
                      bench::limits_of(measured.report.read, measured.report.multiply_adds), std::move(rows));
  DGQ_CHECK(deliver(options, run, [&] { print_markdown(run); }));
  return 0;
}

}  // namespace dgq::tools

// tools/cmd_bench_model.cpp - `dgq bench model`: prefill and decode of a synthetic model, in the columns of llama-bench.
#include <cstdio>

#include "bench/model_bench.h"
#include "bench/statistics.h"
#include "kernels/cpu.h"
#include "tools/cmd_bench.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr const char* kExamples =
    "  dgq bench model --shape llama-3.2-1b\n"
    "  dgq bench model --shape llama2-7b --threads 1,2,4 --repetitions 3\n"
    "  dgq bench model --shape models/demo/config.json --prompt 0 --gen 128 --json\n"
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
       "the sizes: a built-in name (--list-shapes) or a config.json")     //
      ("list-shapes", po::bool_switch(), "names of the built-in shapes")  //
      ("threads", po::value<std::string>()->value_name("T[,T...]"),
       "thread counts (default: one per physical core)")  //
      ("prompt", po::value<std::size_t>()->default_value(base.prompt)->value_name("N"),
       "tokens of the prompt test (pp); 0: none")  //
      ("gen", po::value<std::size_t>()->default_value(base.generate)->value_name("N"),
       "tokens of the generation test (tg); 0: none")  //
      ("repetitions", po::value<int>()->default_value(base.repetitions)->value_name("N"),
       "runs of each test, after one that does not count")  //
      ("group", po::value<std::size_t>()->default_value(base.recipe.group)->value_name("G"),
       "weights per group scale: 32, 64 or 128")  //
      ("weights", po::value<std::string>()->default_value("w4")->value_name("TYPE"),
       "linears of the layers: w4, w6 or mixed (k, v and down w6, the others w4)")  //
      ("head", po::value<std::string>()->default_value("w8")->value_name("TYPE"),
       "embedding and head: w4, w6 or w8")  //
      ("act-block", po::value<std::string>()->default_value("128")->value_name("B"),
       "activation scales: one for 128 columns, for a row, or static")  //
      ("kv", po::value<std::string>()->default_value("int8")->value_name("TYPE"),
       "KV cache: int8 or f32")  //
      ("json", po::bool_switch(), "one JSON object on standard output, nothing else");
}

Result<bench::ModelBenchOptions> read_options(const Options& options) {
  bench::ModelBenchOptions chosen;
  chosen.prompt = options.get<std::size_t>("prompt");
  chosen.generate = options.get<std::size_t>("gen");
  DGQ_TRY(chosen.repetitions, repetitions_option(options));
  DGQ_TRY(chosen.recipe.group, group_option(options));
  DGQ_TRY(const std::size_t fine, one_of(options, "weights", kWeights));
  chosen.recipe.fine = static_cast<bench::Recipe::Fine>(fine);
  DGQ_TRY(const std::size_t head, one_of(options, "head", kHeads));
  chosen.recipe.head = static_cast<bench::Recipe::Head>(head);
  DGQ_TRY(const std::vector<std::size_t> threads, thread_counts(options));
  chosen.threads.assign(threads.begin(), threads.end());
  DGQ_TRY(const std::size_t scales, one_of(options, "act-block", kActBlocks));
  chosen.act_block = kActBlocks[scales] == "row" ? 0 : kActBlock;
  chosen.static_scales = kActBlocks[scales] == "static";
  DGQ_TRY(const bool f32, either(options, "kv", "int8", "f32"));
  chosen.kv = f32 ? KvType::f32 : KvType::int8;
  return chosen;
}

std::string scaled(double value, double unit, const char* small, const char* large, double step) {
  char text[32];
  const bool big = value >= unit * step;
  std::snprintf(text, sizeof text, "%.2f %s", value / (big ? unit * step : unit), big ? large : small);
  return text;
}

void print_markdown(const std::string& model, const std::string& backend,
                    const bench::ModelBenchReport& report) {
  constexpr const char* kColumns = "| %-30s | %10s | %10s | %-14s | %7s | %13s | %20s |\n";
  std::printf(kColumns, "model", "size", "params", "backend", "threads", "test", "t/s");
  std::printf(kColumns, "------------------------------", "---------:", "---------:", "--------------",
              "------:", "------------:", "-------------------:");
  const std::string size = scaled(static_cast<double>(report.size.bytes), 1024 * 1024, "MiB", "GiB", 1024);
  const std::string parameters = scaled(static_cast<double>(report.size.parameters), 1e6, "M", "B", 1000);
  for (const bench::ModelBenchRow& row : report.rows) {
    char speed[64];
    std::snprintf(speed, sizeof speed, "%.2f ± %.2f", bench::mean(row.tokens_per_s),
                  bench::deviation(row.tokens_per_s));
    // ± takes two bytes, and printf counts bytes.
    std::printf("| %-30s | %10s | %10s | %-14s | %7d | %13s | %21s |\n", model.c_str(), size.c_str(),
                parameters.c_str(), backend.c_str(), row.threads, row.test().c_str(), speed);
  }
}

// Names as in llama-bench's JSON where it has them.
void print_json(const std::string& model, const std::string& backend, const bench::ModelBenchOptions& options,
                const bench::ModelBenchReport& report) {
  OrderedJson rows = OrderedJson::array();
  for (const bench::ModelBenchRow& row : report.rows)
    rows.push_back({{"test", row.test()},
                    {"n_threads", row.threads},
                    {"n_prompt", row.prompt},
                    {"n_gen", row.generate},
                    {"avg_ts", bench::mean(row.tokens_per_s)},
                    {"stddev_ts", bench::deviation(row.tokens_per_s)},
                    {"median_ts", bench::median(row.tokens_per_s)},
                    {"samples_ts", row.tokens_per_s}});
  const OrderedJson json = {{"model", model},
                            {"model_size", report.size.bytes},
                            {"model_n_params", report.size.parameters},
                            {"backend", backend},
                            {"cpu_info", cpu_name()},
                            {"group", options.recipe.group},
                            {"weights", kWeights[options.recipe.fine]},
                            {"head", kHeads[options.recipe.head]},
                            {"act_block", options.static_scales    ? OrderedJson("static")
                                          : options.act_block == 0 ? OrderedJson("row")
                                                                   : OrderedJson(128)},
                            {"type_kv", options.kv == KvType::f32 ? "f32" : "int8"},
                            {"rows", std::move(rows)}};
  std::printf("%s\n", json.dump(2).c_str());
}

}  // namespace

Result<int> bench_model(const Arguments& arguments) {
  Options options{
      "dgq bench model --shape NAME",
      "Tokens per second of a model with the given sizes and random weights,\n"
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
  if (!options.has("shape"))
    return Error{Errc::invalid, "--shape is missing (see --list-shapes and dgq bench model --help)"};
  DGQ_TRY(const bench::ModelBenchOptions chosen, read_options(options));
  DGQ_TRY(const bench::Shape shape, bench::load_shape(options.get<std::string>("shape")));
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  Progress progress;
  DGQ_TRY(const bench::ModelBenchReport report,
          bench::bench_model(shape, chosen, kernels,
                             [&](const std::string& label, double done) { progress.update(label, done); }));
  progress.finish();
  const std::string backend = "dgq " + kernels.isa;
  if (options.get<bool>("json")) {
    print_json(shape.name, backend, chosen, report);
  } else {
    std::string model =
        shape.name + " " + kWeightNames[chosen.recipe.fine] + " g" + std::to_string(chosen.recipe.group);
    if (chosen.recipe.head != bench::Recipe::head_w8) model += " head " + kHeads[chosen.recipe.head];
    print_markdown(model, backend, report);
  }
  return 0;
}

}  // namespace dgq::tools

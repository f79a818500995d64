// bench/model_bench.h - how fast a model of given sizes reads a prompt and writes tokens, measured as llama-bench does.
//
// pp: a prompt of random tokens into an empty cache, logits of the last only. tg: random tokens one by one from an empty
// cache. Each test has a warm-up run that does not count; every repetition starts empty. What the machine can do at most is
// measured right before each test, before its warm-up run.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/energy.h"
#include "bench/limits.h"
#include "bench/progress.h"
#include "kernels/table.h"
#include "runtime/config.h"
#include "runtime/kv_cache.h"
#include "runtime/weights.h"

namespace dgq::bench {

struct ModelBenchRow;

struct ModelBenchOptions {
  std::size_t prompt = 512, generate = 64;  // tokens of the two tests; 0 leaves one out
  int repetitions = 5;
  std::vector<int> threads = {1};     // the tests run with each
  std::size_t act_block = kActBlock;  // or 0: one activation scale per row
  KvType kv = KvType::int8;
  std::size_t cold_bytes = std::size_t{256} << 20;  // that the limit of reading is measured on
  // Called after every repetition, when others measure the same test in turns; then each repetition has a warm-up run.
  std::function<void(const ModelBenchRow&)> turn = {};
};

struct BenchedModel {
  std::string name;
  const ModelConfig& config;
  const ModelWeights& weights;
};

struct ModelBenchRow {
  int threads;
  std::size_t prompt, generate;      // tokens; one of them is 0
  std::vector<double> tokens_per_s;  // one per repetition
  double bytes = 0, macs = 0;  // of weights that one repetition reads (0: more than once), and multiplies
  double read_limit = 0, multiply_add_limit = 0;  // per second, of so many threads; 0: there is none
  std::optional<double> joules;                   // of all repetitions
  std::string test() const;                       // "pp512", "tg64"
  std::size_t tokens() const { return prompt + generate; }  // of one repetition
};

struct ModelBenchReport {
  std::vector<ModelBenchRow> rows;
  std::vector<ReadLimit> read;  // one measurement for each row
  std::vector<MultiplyAddLimit> multiply_adds;
};

// Weights of the linears; a tied head counts once.
std::size_t parameters_of(const ModelWeights& weights);

// invalid: options out of range, more positions than the model knows.
Result<void> check_model_bench(const ModelConfig& config, const ModelBenchOptions& options);

// As check_model_bench(), or more memory than there is. energy: null where it cannot be measured.
Result<ModelBenchReport> bench_model(const BenchedModel& model, const ModelBenchOptions& options,
                                     const Kernels& kernels, EnergyMeter* energy, const Progress& progress);

}  // namespace dgq::bench

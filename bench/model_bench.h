// bench/model_bench.h - how fast a model of given sizes reads a prompt and writes tokens, measured as llama-bench does.
//
// pp: a prompt of random tokens into an empty cache, logits of the last only. tg: random tokens one by one from an empty
// cache. Each test has a warm-up run that does not count; every repetition starts empty.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "bench/progress.h"
#include "bench/shapes.h"
#include "bench/synthetic_model.h"
#include "kernels/table.h"
#include "runtime/kv_cache.h"

namespace dgq::bench {

struct ModelBenchOptions {
  std::size_t prompt = 512, generate = 64;  // tokens of the two tests; 0 leaves one out
  int repetitions = 5;
  std::vector<int> threads = {1};  // the tests run with each
  Recipe recipe;
  std::size_t act_block = kActBlock;  // or 0: one activation scale per row
  bool static_scales = false;  // one scale for each input of the layers' linears but down, whatever the row
  KvType kv = KvType::int8;
};

struct ModelBenchRow {
  int threads;
  std::size_t prompt, generate;      // tokens; one of them is 0
  std::vector<double> tokens_per_s;  // one per repetition
  std::string test() const;          // "pp512", "tg64"
};

struct ModelBenchReport {
  ModelSize size;
  std::vector<ModelBenchRow> rows;
};

// invalid: options out of range, more positions than the model knows, more memory than there is (found before any is used).
Result<ModelBenchReport> bench_model(const Shape& shape, const ModelBenchOptions& options,
                                     const Kernels& kernels, const Progress& progress);

}  // namespace dgq::bench

// tests/plugin/ggml/llama_bench.cpp - tokens per second in llama.cpp and, in turns with it, in our own runtime.
//   llama_bench BACKENDS MODEL PP TG DEPTH ROUNDS THREADS [NAME]
// As llama-bench: prompts of PP tokens into an empty context, and TG tokens one by one from position DEPTH on. NAME: the version of the
// registry $DGQ_REGISTRY that MODEL was exported from; the ratio is the median of those of all rounds. BACKENDS: the folder of
// libggml-cpu-*.so; GGML_BACKEND_PATH works as everywhere. The log goes to stderr. Exit code 1: the load failed, 2: the evaluation did.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/statistics.h"
#include "plugin/dgq.h"
#include "tests/plugin/ggml/llama_model.h"

namespace {

using dgq::bench::median;

// What is measured: false is an error that was printed.
struct InLlama {
  LlamaModel model;
  bool clear() {
    llama_memory_clear(llama_get_memory(model.context), true);
    return true;
  }
  bool evaluate(const std::vector<std::int32_t>& tokens, std::size_t first, std::size_t count) {
    const bool done = model.evaluate(tokens, first, count, false);
    llama_synchronize(model.context);
    return done;
  }
};

struct InOurs {
  dgq_registry* registry = nullptr;
  dgq_model* model = nullptr;
  dgq_session* session = nullptr;

  ~InOurs() {
    if (session) dgq_session_close(session);
    if (model) dgq_model_close(model);
    if (registry) dgq_registry_close(registry);
  }
  static bool well(dgq_status status) {
    if (status != DGQ_OK) std::fprintf(stderr, "%s\n", dgq_last_error());
    return status == DGQ_OK;
  }
  bool open(const char* name, int threads, std::size_t context) {
    dgq_model_options options{};
    options.size = sizeof options;
    options.threads = threads;
    const char* path = std::getenv("DGQ_REGISTRY");
    return well(dgq_registry_open(path, &registry)) &&
           well(dgq_model_open(registry, name, &options, &model)) &&
           well(dgq_session_open(model, context, &session));
  }
  bool clear() { return well(dgq_session_reset(session)); }
  bool evaluate(const std::vector<std::int32_t>& tokens, std::size_t first, std::size_t count) {
    return well(count == 1 ? dgq_session_decode(session, tokens[first])
                           : dgq_session_prefill(session, tokens.data() + first, count));
  }
};

struct Sizes {
  std::size_t prompt, generated, depth;
};

// Tokens per second of each round.
struct Speeds {
  std::vector<double> prompt, generated;

  template <class Engine>
  bool measure(Engine& engine, const std::vector<std::int32_t>& tokens, const Sizes& sizes, bool count_it) {
    using Clock = std::chrono::steady_clock;
    const auto speed_since = [](Clock::time_point start, std::size_t count) {
      return static_cast<double>(count) / std::chrono::duration<double>(Clock::now() - start).count();
    };
    if (!engine.clear()) return false;
    auto start = Clock::now();
    if (sizes.prompt > 0 && !engine.evaluate(tokens, 0, sizes.prompt)) return false;
    const double of_prompt = speed_since(start, sizes.prompt);
    if (!engine.clear() || (sizes.depth > 0 && !engine.evaluate(tokens, 0, sizes.depth))) return false;
    start = Clock::now();
    for (std::size_t i = sizes.depth; i < sizes.depth + sizes.generated; ++i)
      if (!engine.evaluate(tokens, i, 1)) return false;
    if (count_it) prompt.push_back(of_prompt), generated.push_back(speed_since(start, sizes.generated));
    return true;
  }
};

void print(const std::string& what, const std::vector<double>& in_llama, const std::vector<double>& in_ours) {
  std::printf("%s %.1f tokens/s", what.c_str(), median(in_llama));
  if (!in_ours.empty()) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < in_ours.size(); ++i) ratios.push_back(in_llama[i] / in_ours[i]);
    std::printf(", ours %.1f, ratio %.3f", median(in_ours), median(ratios));
  }
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8 && argc != 9) return 64;
  const auto number = [&](int i) { return static_cast<std::size_t>(std::stoul(argv[i])); };
  const Sizes sizes{number(3), number(4), number(5)};
  const auto rounds = number(6);
  const int threads = std::stoi(argv[7]);
  const std::size_t context = std::max(sizes.prompt, sizes.depth + sizes.generated);
  llama_log_set([](ggml_log_level, const char* text, void*) { std::fputs(text, stderr); }, nullptr);
  ggml_backend_load_all_from_path(argv[1]);
  InLlama llama;
  InOurs ours;
  if (!llama.model.open(argv[2], threads, false)) return 1;
  if (argc == 9 && !ours.open(argv[8], threads, context)) return 1;
  std::vector<std::int32_t> tokens(context);
  for (std::size_t i = 0; i < context; ++i)
    tokens[i] =
        static_cast<std::int32_t>(i * 2654435761u % static_cast<std::size_t>(llama.model.vocabulary()));
  Speeds in_llama, in_ours;
  for (std::size_t round = 0; round <= rounds; ++round) {  // the first warms up
    if (argc == 9 && !in_ours.measure(ours, tokens, sizes, round > 0)) return 2;
    if (!in_llama.measure(llama, tokens, sizes, round > 0)) return 2;
  }
  const std::string depth = sizes.depth > 0 ? " @ " + std::to_string(sizes.depth) : "";
  if (sizes.prompt > 0) print("pp" + std::to_string(sizes.prompt), in_llama.prompt, in_ours.prompt);
  print("tg" + std::to_string(sizes.generated) + depth, in_llama.generated, in_ours.generated);
}

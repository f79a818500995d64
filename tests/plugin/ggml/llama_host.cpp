// tests/plugin/ggml/llama_host.cpp - a host as any other, on an unmodified llama.cpp: loads a GGUF file and evaluates it.
//   llama_host BACKENDS MODEL tokens TEXT              token ids
//   llama_host BACKENDS MODEL logits IDS OUT [THREADS] int32 ids from a file; float32 logits of every position to another.
//                                                      HOST_BATCH=N: as a host with default settings, N tokens at a time
//   llama_host BACKENDS MODEL bench PP TG ROUNDS THREADS   tokens/s of prompts of PP tokens, and of TG single tokens
//   llama_host BACKENDS MODEL quantize OUT             as Q4_0, by llama.cpp
//   llama_host BACKENDS - list                         backends that were loaded
// BACKENDS: the folder of libggml-cpu-*.so. GGML_BACKEND_PATH works as everywhere. The log goes to stderr. On the
// last line of stdout is what our backend counted, if it is there. HOST_WHEN_LOADED: a shell command that runs once
// the model is loaded; HOST_NO_MMAP: the file is read. Exit code 1: the load failed, 2: the evaluation did.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void print_counts() {
  ggml_backend_reg_t reg = ggml_backend_reg_by_name("DGQ");
  if (!reg) return void(std::puts("no dgq backend"));
  std::uint64_t weights = 0, products = 0, attentions = 0;
  reinterpret_cast<void (*)(std::uint64_t*, std::uint64_t*, std::uint64_t*)>(
      ggml_backend_reg_get_proc_address(reg, "dgq_counts"))(&weights, &products, &attentions);
  std::printf("dgq weights %llu products %llu attentions %llu\n", static_cast<unsigned long long>(weights),
              static_cast<unsigned long long>(products), static_cast<unsigned long long>(attentions));
}

struct Host {
  llama_model* model = nullptr;
  llama_context* context = nullptr;

  // KV in float32 and no flash attention: what is left between llama.cpp and others are norms, rope and softmax. A benchmark takes the
  // defaults, as users do.
  bool open(const char* path, int threads, bool exact) {
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    if (std::getenv("HOST_NO_MMAP")) model_params.load_mode = LLAMA_LOAD_MODE_NONE;
    model = llama_model_load_from_file(path, model_params);
    if (!model) return false;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 0;
    params.n_threads = params.n_threads_batch = threads;
    if (exact) {
      params.type_k = params.type_v = GGML_TYPE_F32;
      params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    context = llama_init_from_model(model, params);
    return context != nullptr;
  }

  // Logits of all tokens, or of none but the last.
  bool evaluate(const std::vector<llama_token>& tokens, std::size_t first, std::size_t count, bool all) {
    llama_batch batch = llama_batch_init(static_cast<int>(count), 0, 1);
    for (std::size_t i = 0; i < count; ++i) {
      batch.token[i] = tokens[first + i];
      batch.pos[i] = static_cast<llama_pos>(first + i);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = all || i + 1 == count;
    }
    batch.n_tokens = static_cast<int>(count);
    const bool done = llama_decode(context, batch) == 0;
    llama_batch_free(batch);
    return done;
  }
};

// batch 0: all tokens at once.
int write_logits(Host& host, const char* ids_file, const char* out_file, std::size_t batch) {
  std::ifstream in(ids_file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::vector<llama_token> tokens(bytes.size() / sizeof(llama_token));
  std::copy_n(bytes.data(), tokens.size() * sizeof(llama_token), reinterpret_cast<char*>(tokens.data()));
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(host.model));
  std::ofstream out(out_file, std::ios::binary);
  for (std::size_t first = 0, count; first < tokens.size(); first += count) {
    count = batch == 0 ? tokens.size() : std::min(batch, tokens.size() - first);
    if (!host.evaluate(tokens, first, count, true)) return 2;
    for (std::size_t i = 0; i < count; ++i)
      out.write(reinterpret_cast<const char*>(llama_get_logits_ith(host.context, static_cast<int>(i))),
                vocabulary * static_cast<std::streamsize>(sizeof(float)));
  }
  return 0;
}

int bench(Host& host, std::size_t prompt, std::size_t generated, int rounds) {
  std::vector<llama_token> tokens(prompt + generated);
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(host.model));
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int>(i * 2654435761u % vocabulary);
  std::vector<double> prefill, decode;
  for (int round = 0; round <= rounds; ++round) {
    llama_memory_clear(llama_get_memory(host.context), true);
    auto start = Clock::now();
    if (!host.evaluate(tokens, 0, prompt, false)) return 2;
    llama_synchronize(host.context);
    prefill.push_back(static_cast<double>(prompt) / seconds_since(start));
    start = Clock::now();
    for (std::size_t i = 0; i < generated; ++i)
      if (!host.evaluate(tokens, prompt + i, 1, false)) return 2;
    llama_synchronize(host.context);
    decode.push_back(static_cast<double>(generated) / seconds_since(start));
  }
  const auto best = [](const std::vector<double>& of) { return *std::max_element(of.begin() + 1, of.end()); };
  const auto median = [](std::vector<double> of) {
    std::sort(of.begin() + 1, of.end());
    return of[1 + (of.size() - 1) / 2];
  };
  std::printf("pp%zu %.1f (best %.1f) tokens/s, tg%zu %.1f (best %.1f) tokens/s\n", prompt, median(prefill),
              best(prefill), generated, median(decode), best(decode));
  return 0;
}

int quantize(const char* model, const char* out) {
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
  params.allow_requantize = true;
  return llama_model_quantize(model, out, &params) == 0 ? 0 : 2;
}

int tokenize(const Host& host, const std::string& text) {
  std::vector<llama_token> ids(text.size() + 8);
  const int count =
      llama_tokenize(llama_model_get_vocab(host.model), text.data(), static_cast<int>(text.size()),
                     ids.data(), static_cast<int>(ids.size()), true, false);
  for (int i = 0; i < count; ++i) std::printf("%s%d", i ? " " : "", ids[static_cast<std::size_t>(i)]);
  std::printf("\n");
  return count < 0 ? 2 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  if (argc < 4) return 64;
  llama_log_set([](ggml_log_level, const char* text, void*) { std::fputs(text, stderr); }, nullptr);
  ggml_backend_load_all_from_path(argv[1]);
  if (words[3] == "list") {
    for (std::size_t i = 0; i < ggml_backend_reg_count(); ++i)
      std::printf("%s\n", ggml_backend_reg_name(ggml_backend_reg_get(i)));
    return 0;
  }
  if (words[3] == "quantize" && argc == 5) return quantize(argv[2], argv[4]);
  const bool benchmark = words[3] == "bench" && argc == 8;
  const char* batch = std::getenv("HOST_BATCH");
  Host host;
  if (!host.open(argv[2],
                 benchmark  ? std::atoi(argv[7])
                 : argc > 6 ? std::atoi(argv[6])
                            : 2,
                 !benchmark && !batch))
    return 1;
  if (const char* command = std::getenv("HOST_WHEN_LOADED"))
    if (std::system(command) != 0) return 64;
  int code = 64;
  if (benchmark) code = bench(host, std::stoul(words[4]), std::stoul(words[5]), std::atoi(argv[6]));
  if (words[3] == "logits" && argc >= 6)
    code = write_logits(host, argv[4], argv[5], batch ? std::stoul(batch) : 0);
  if (words[3] == "tokens" && argc == 5) code = tokenize(host, words[4]);
  print_counts();
  llama_free(host.context);
  llama_model_free(host.model);
  return code;
}

// tests/plugin/ggml/llama_host.cpp - a host as any other, on an unmodified llama.cpp: loads a GGUF file and evaluates it.
//   llama_host BACKENDS MODEL tokens TEXT              token ids
//   llama_host BACKENDS MODEL logits IDS OUT [THREADS] int32 ids from a file; float32 logits of every position to another.
//                                                      HOST_BATCH=N: as a host with default settings, N tokens at a time
//   llama_host BACKENDS MODEL quantize OUT             as Q4_0, by llama.cpp
//   llama_host BACKENDS - list                         backends that were loaded
// BACKENDS: the folder of libggml-cpu-*.so. GGML_BACKEND_PATH works as everywhere. The log goes to stderr. On the
// last line of stdout is what our backend counted, if it is there. HOST_WHEN_LOADED: a shell command that runs once
// the model is loaded; HOST_NO_MMAP: the file is read. Exit code 1: the load failed, 2: the evaluation did.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/plugin/ggml/llama_model.h"

namespace {

void print_counts() {
  ggml_backend_reg_t reg = ggml_backend_reg_by_name("DGQ");
  if (!reg) return void(std::puts("no dgq backend"));
  std::uint64_t weights = 0, products = 0, attentions = 0;
  reinterpret_cast<void (*)(std::uint64_t*, std::uint64_t*, std::uint64_t*)>(
      ggml_backend_reg_get_proc_address(reg, "dgq_counts"))(&weights, &products, &attentions);
  std::printf("dgq weights %llu products %llu attentions %llu\n", static_cast<unsigned long long>(weights),
              static_cast<unsigned long long>(products), static_cast<unsigned long long>(attentions));
}

// batch 0: all tokens at once.
int write_logits(LlamaModel& host, const char* ids_file, const char* out_file, std::size_t batch) {
  std::ifstream in(ids_file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::vector<llama_token> tokens(bytes.size() / sizeof(llama_token));
  std::copy_n(bytes.data(), tokens.size() * sizeof(llama_token), reinterpret_cast<char*>(tokens.data()));
  std::ofstream out(out_file, std::ios::binary);
  for (std::size_t first = 0, count; first < tokens.size(); first += count) {
    count = batch == 0 ? tokens.size() : std::min(batch, tokens.size() - first);
    if (!host.evaluate(tokens, first, count, true)) return 2;
    for (std::size_t i = 0; i < count; ++i)
      out.write(reinterpret_cast<const char*>(llama_get_logits_ith(host.context, static_cast<int>(i))),
                host.vocabulary() * static_cast<std::streamsize>(sizeof(float)));
  }
  return 0;
}

int quantize(const char* model, const char* out) {
  llama_model_quantize_params params = llama_model_quantize_default_params();
  params.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
  params.allow_requantize = true;
  return llama_model_quantize(model, out, &params) == 0 ? 0 : 2;
}

int tokenize(const LlamaModel& host, const std::string& text) {
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
  const char* batch = std::getenv("HOST_BATCH");
  LlamaModel host;
  if (!host.open(argv[2], argc > 6 ? std::atoi(argv[6]) : 2, !batch)) return 1;
  if (const char* command = std::getenv("HOST_WHEN_LOADED"))
    if (std::system(command) != 0) return 64;
  int code = 64;
  if (words[3] == "logits" && argc >= 6)
    code = write_logits(host, argv[4], argv[5], batch ? std::stoul(batch) : 0);
  if (words[3] == "tokens" && argc == 5) code = tokenize(host, words[4]);
  print_counts();
  return code;
}

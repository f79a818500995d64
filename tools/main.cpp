// tools/main.cpp - the `dgq` command: one file per subcommand (cmd_*.cpp), listed here.
#include <csignal>
#include <cstdio>
#include <exception>

#include "tools/command.h"

namespace dgq::tools {

Result<int> run_bench(const Arguments&);
Result<int> run_kernels(const Arguments&);
Result<int> run_quantize(const Arguments&);
Result<int> run_registry(const Arguments&);
Result<int> run_key(const Arguments&);
Result<int> run_generate(const Arguments&);
Result<int> run_eval(const Arguments&);
Result<int> run_tokenize(const Arguments&);
Result<int> run_unpack(const Arguments&);

namespace {

constexpr Command kCommands[] = {
    {"quantize", "quantize a checkpoint and add it to a registry", run_quantize},
    {"run", "generate text with a model of the registry", run_generate},
    {"eval", "measure quality: perplexity of a model or checkpoint", run_eval},
    {"unpack", "write a model as a Hugging Face checkpoint with dequantized weights", run_unpack},
    {"tokenize", "text to token ids and back", run_tokenize},
    {"bench", "measure speed: kernels against limits, models in tokens per second", run_bench},
    {"registry", "manage the registry: list, show, tag, verify, gc, export, import, ...", run_registry},
    {"key", "keys that sign versions, and which of them a registry trusts", run_key},
    {"kernels", "list the kernels, what this CPU has, and which are chosen", run_kernels},
};

constexpr CommandGroup kDgq = {
    "dgq", "4-bit language models on edge devices, straight out of a SQLite registry.",
    "  dgq quantize models/demo --name demo\n  dgq run demo \"The old king\"\n  dgq --version\n", kCommands};

int main(const Arguments& arguments) {
  if (!arguments.empty() && arguments.front() == "--version") return std::puts("dgq " DGQ_VERSION), 0;
  const Result<int> code = dispatch(kDgq, arguments);
  if (code) return *code;
  // Only a command that was found can fail.
  std::fprintf(stderr, "dgq %s: %s\n", arguments.front().c_str(), one_line(code.error().what).c_str());
  return 1;
}

}  // namespace
}  // namespace dgq::tools

int main(int argc, char** argv) {
  // A reader that left is a write error, not a death in the middle of something.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return dgq::tools::main({argv + 1, argv + argc});
  } catch (const std::exception& error) {  // out of memory and the like
    std::fprintf(stderr, "dgq: %s\n", error.what());
    return 1;
  }
}

// tools/main.cpp - the `dgq` command: one file per subcommand (cmd_*.cpp), listed here.
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>

#include "tools/command.h"

namespace dgq::tools {

Result<int> run_agent(const Arguments&);
Result<int> run_compare(const Arguments&);
Result<int> run_completion(const Arguments&);
Result<int> run_deploy(const Arguments&);
Result<int> run_rollback(const Arguments&);
Result<int> run_status(const Arguments&);
Result<int> run_undeploy(const Arguments&);
Result<int> run_bench(const Arguments&);
Result<int> run_export(const Arguments&);
Result<int> run_kernels(const Arguments&);
Result<int> run_quantize(const Arguments&);
Result<int> run_registry(const Arguments&);
Result<int> run_key(const Arguments&);
Result<int> run_report(const Arguments&);
Result<int> run_generate(const Arguments&);
Result<int> run_eval(const Arguments&);
Result<int> run_tokenize(const Arguments&);
Result<int> run_unpack(const Arguments&);

namespace {

constexpr Command kCommands[] = {
    {"quantize", "quantize a checkpoint and add it to a registry", run_quantize},
    {"run", "generate text with a model of the registry", run_generate},
    {"agent", "serve a model, or the deployments of a registry, over HTTP", run_agent},
    {"deploy", "let the agent serve a model, or another version, and say under which conditions", run_deploy},
    {"rollback", "let the agent go back to the version before", run_rollback},
    {"undeploy", "let the agent serve a deployment no more", run_undeploy},
    {"status", "show the deployments: what is wanted, what serves, and why", run_status},
    {"eval", "measure quality: perplexity of a model or checkpoint", run_eval},
    {"unpack", "write a model as a Hugging Face checkpoint with dequantized weights", run_unpack},
    {"export", "write a model for other programs: a GGUF file for llama.cpp", run_export},
    {"tokenize", "text to token ids and back", run_tokenize},
    {"bench", "measure speed: kernels against limits, models in tokens per second", run_bench},
    {"compare", "compare benchmark runs: which is faster, and is it more than noise", run_compare},
    {"report", "write benchmark runs as one HTML page, with plots", run_report},
    {"registry", "manage the registry: list, show, log, diff, tag, verify, gc, export, import, ...",
     run_registry},
    {"key", "keys that sign versions, and which of them a registry trusts", run_key},
    {"kernels", "list the kernels, what this CPU has, and which are chosen", run_kernels},
    {"completion", "complete dgq commands in bash, zsh or fish", run_completion},
};

constexpr CommandGroup kDgq = {"dgq",
                               "4-bit language models on edge devices, straight out of a SQLite registry.",
                               "  dgq quantize models/demo --name demo\n  dgq run demo \"The old king\"\n  "
                               "dgq --version\n  dgq help exit-codes\n",
                               kCommands};

void print_exit_codes() {
  for (const auto& [code, meaning] : exit_codes()) std::printf("%d  %s\n", code, meaning);
}

// What was printed and could not be written, as on a full disk. A pipe whose reader has left is no fault: it had enough.
bool output_lost() {
  std::cout.flush();
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return false;
  struct stat info;
  return ::fstat(STDOUT_FILENO, &info) != 0 || !(S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

int run(const Arguments& arguments) {
  if (!arguments.empty() && arguments.front() == "--version") return std::puts("dgq " DGQ_VERSION), 0;
  if (arguments == Arguments{"help", "exit-codes"}) return print_exit_codes(), 0;
  Result<int> code = dispatch(kDgq, arguments);
  if (code && output_lost()) code = Error{Errc::io, "cannot write to standard output"};
  if (code) return *code;
  std::fprintf(stderr, "dgq %s: %s\n", arguments.empty() ? "" : arguments.front().c_str(),
               one_line(code.error().what).c_str());
  return exit_code(code.error().code);
}

}  // namespace

const CommandGroup& dgq_commands() { return kDgq; }

}  // namespace dgq::tools

int main(int argc, char** argv) {
  // A reader that left is a write error, not a death in the middle of something.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return dgq::tools::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {  // out of memory and the like
    std::fprintf(stderr, "dgq: %s\n", error.what());
    return dgq::tools::kExitInternal;
  }
}

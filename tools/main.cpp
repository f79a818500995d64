// tools/main.cpp - the `dgq` command: one file per subcommand (cmd_*.cpp), listed here.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>

#include "tools/command.h"

namespace dgq::tools {

Result<int> run_kernels(const Arguments&);
Result<int> run_quantize(const Arguments&);
Result<int> run_registry(const Arguments&);
Result<int> run_generate(const Arguments&);
Result<int> run_eval(const Arguments&);
Result<int> run_tokenize(const Arguments&);

namespace {

constexpr Command kCommands[] = {
    {"quantize", "quantize a checkpoint and add it to a registry", run_quantize},
    {"run", "generate text with a model of the registry", run_generate},
    {"eval", "measure quality: perplexity of a model or checkpoint", run_eval},
    {"tokenize", "text to token ids and back", run_tokenize},
    {"registry", "manage the registry: init, list, show, tag, verify, remove, gc", run_registry},
    {"kernels", "list the kernels, what this CPU has, and which are chosen", run_kernels},
};

void print_help(std::ostream& out) {
  out << "Usage: dgq COMMAND [options]\n\n4-bit language models on edge devices, straight out of a SQLite "
         "registry.\n\n"
         "Commands:\n";
  for (const Command& command : kCommands) {
    char line[128];
    std::snprintf(line, sizeof line, "  %-10s %s\n", command.name, command.summary);
    out << line;
  }
  out << "\n`dgq COMMAND --help` shows options and examples. `dgq --version` prints the version.\n";
}

// Messages quote what files and flags hold; whatever that is, an error stays one line.
std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
  return text;
}

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name == "--help" || name == "-h" || name == "help") return print_help(std::cout), 0;
  if (name == "--version") return std::cout << "dgq " DGQ_VERSION "\n", 0;
  for (const Command& command : kCommands) {
    if (name != command.name) continue;
    const Result<int> code = command.run(Arguments(argv + 2, argv + argc));
    if (code) return *code;
    std::fprintf(stderr, "dgq %s: %s\n", command.name, one_line(code.error().what).c_str());
    return 1;
  }
  if (name.empty()) {
    print_help(std::cerr);
  } else {
    std::fprintf(stderr, "dgq: no command '%s' (see dgq --help)\n", one_line(name).c_str());
  }
  return kExitUsage;
}

}  // namespace
}  // namespace dgq::tools

int main(int argc, char** argv) {
  std::signal(SIGPIPE,
              SIG_IGN);  // a reader that left is a write error, not a death in the middle of something
  try {
    return dgq::tools::main(argc, argv);
  } catch (const std::exception& error) {  // out of memory and the like
    std::fprintf(stderr, "dgq: %s\n", error.what());
    return 1;
  }
}

// tools/cmd_kernels.cpp - `dgq kernels`: every kernel there is, what this CPU has, what is chosen and why.
#include <cstdio>
#include <iostream>

#include "kernels/cpu.h"
#include "kernels/table.h"
#include "runtime/kernel_report.h"
#include "tools/command.h"

namespace dgq::tools {
namespace {

void print_table(const Kernels& kernels) {
  std::printf("CPU       %s (%s)\nfeatures  %s\n\n", cpu_name().c_str(), kArchitecture,
              feature_names(cpu_features()).c_str());
  constexpr const char* kLine = "%-14s %-11s %-25s %-7s %-7s %s\n";  // as wide as the longest names
  std::printf(kLine, "operation", "isa", "needs", "has it", "chosen", "why");
  std::string operation;
  for (const KernelListing& row : list_kernels(kernels)) {
    std::printf(kLine, row.operation == operation ? "" : row.operation.c_str(), row.isa.c_str(),
                feature_names(row.needs).c_str(), row.runnable ? "yes" : "no", row.chosen ? "yes" : "",
                row.reason.c_str());
    operation = row.operation;
  }
}

}  // namespace

Result<int> run_kernels(const Arguments& arguments) {
  Options options;
  options.usage = "dgq kernels [options]";
  options.about =
      "Lists the kernels of each operation, fastest first, what this CPU can run, and which rows a\n"
      "model would use. The environment variable DGQ_ISA forces a row by name.";
  options.examples = "  dgq kernels\n  dgq kernels --json\n  DGQ_ISA=ref dgq kernels\n";
  options.named.add_options()("json", "print one JSON object");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  if (options.has("json"))
    std::cout << kernel_report(kernels).dump(2) << "\n";
  else
    print_table(kernels);
  return 0;
}

}  // namespace dgq::tools

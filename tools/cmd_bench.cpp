// tools/cmd_bench.cpp - `dgq bench`: how fast this machine is.
#include "tools/command.h"

namespace dgq::tools {

Result<int> bench_model_command(const Arguments&);

namespace {

constexpr Command kCommands[] = {
    {"model", "tokens per second of a synthetic model, in the columns of llama-bench", bench_model_command},
};
constexpr CommandGroup kBench = {"dgq bench", "Measures speed on this machine. Nothing is downloaded.",
                                 "  dgq bench model --shape llama-3.2-1b\n", kCommands};

}  // namespace

Result<int> run_bench(const Arguments& arguments) { return dispatch(kBench, arguments); }

}  // namespace dgq::tools

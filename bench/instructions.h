// bench/instructions.h - how many instructions a kernel takes for a multiply-add: counted, not timed. Estimates of what a CPU would do
// that is not here, or that cannot be timed here.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/kernel_bench.h"
#include "bench/run.h"
#include "kernels/table.h"

namespace dgq::bench {

// One call as the decoder makes it, on one thread, repeated. Precondition: a gemm, c.m.front() rows.
void call_kernel(const KernelCase& c, std::size_t group, const Kernels& kernels, std::size_t calls);

// Instructions of this thread in user space meanwhile, by perf_event_open. unsupported: the kernel does not permit it, or has no counter.
Result<double> count_instructions(const std::function<void()>& work);

// What it takes to count from outside: a program that runs `words` plus "--calls N" and says how many instructions that were.
struct OutsideCounter {
  std::string by;                  // "callgrind", "qemu"
  std::string architecture;        // of what runs
  std::vector<std::string> words;  // of the command, up to `bench kernels`
};
// Instructions of one call: the difference of two runs. Errors say what is missing.
Result<double> count_outside(const OutsideCounter& counter, const std::string& isa, const KernelCase& c,
                             std::size_t group);

// A row of such a count.
RunRow instruction_row(const std::string& architecture, const std::string& isa, const KernelCase& c,
                       double instructions, const std::string& by);

// What `tools/arm_loops --json` prints: instructions of inner loops, which share of their vector instructions multiplies (SDOT, SMMLA, SMLAL:
// the figure of_vector_instructions), and products per cycle by llvm-mca's models of cores.
Result<std::vector<RunRow>> parse_arm_loops(std::string_view text, std::string_view where);

}  // namespace dgq::bench

// Any bytes as what other machines and programs say of benchmarks: runs, files of runs, llama-bench's JSON, arm_loops'. A run that is
// read must survive its own text.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "bench/bench_page.h"
#include "bench/compare.h"
#include "bench/instructions.h"
#include "bench/peer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dgq::bench;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto run = parse_run(text, "run")) {
    const std::string once = run_text(*run);
    const auto again = parse_run(once, "run");
    if (!again || run_text(*again) != once) std::abort();
    if (size < 4096) {
      (void)compare({*run}, {*again});
      (void)html({*run}, {});
    }
    const auto file = parse_runs_file(runs_file({*run}), "file");
    if (!file || run_text(file->front()) != once) std::abort();
  }
  (void)parse_runs_file(text, "file");
  (void)parse_llama_bench(text, "llama-bench");
  (void)parse_arm_loops(text, "loops");
  return 0;
}

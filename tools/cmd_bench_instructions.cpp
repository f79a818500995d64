// tools/cmd_bench_instructions.cpp - `dgq bench kernels --instructions`: counts instead of times.
#include <iostream>

#include "base/file.h"
#include "bench/instructions.h"
#include "bench/make_run.h"
#include "kernels/cpu.h"
#include "tools/cmd_bench.h"
#include "tools/registry_output.h"
#include "tools/run_output.h"

namespace dgq::tools {
namespace {

using bench::KernelCase;
using bench::Operation;

constexpr Operation kGemms[] = {Operation::gemm_w4a8, Operation::gemm_w6a8, Operation::gemm_w8a8};
constexpr std::size_t kGroup = 128;

// Few outputs, so that emulators are done in seconds; enough columns for every loop to be in its stride.
KernelCase small_case(Operation operation, std::size_t m) { return {operation, "-", 64, 1024, {m}}; }

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0, end; at < text.size(); at = end + 1) {
    end = std::min(text.find(' ', at), text.size());
    if (end > at) words.push_back(text.substr(at, end - at));
  }
  return words;
}

// The ISAs of an architecture that have a row for these weights.
std::vector<std::string> isas_of(const std::string& architecture) {
  if (architecture == "aarch64") return {"neon", "neon_dot", "neon_i8mm"};
  return {"avx2", "avxvnni", "avx512vnni", "amx_int8"};
}

constexpr std::size_t kRowsOfX[] = {1, 96};  // a token, a prompt
constexpr std::size_t kCasesOfIsa = std::size(kGemms) * std::size(kRowsOfX);

class Counts {
 public:
  // isas: how many there are to go through
  Counts(Progress& progress, std::size_t isas) : progress_(progress), cases_(isas * kCasesOfIsa) {}

  void inside() {
    for (const std::string& isa : isas_of(kArchitecture)) {
      const auto kernels = select_kernels(isa);
      if (!kernels) {
        note(isa + ": " + kernels.error().what);
        continue;
      }
      for_cases(
          isa,
          [&](const KernelCase& c) {
            constexpr std::size_t kCalls = 16;
            const auto count = [&](std::size_t calls) {
              return bench::count_instructions([&] { bench::call_kernel(c, kGroup, *kernels, calls); });
            };
            const auto few = count(1), many = count(1 + kCalls);
            if (!few) return few;
            if (!many) return many;
            return Result<double>((*many - *few) / kCalls);
          },
          kArchitecture, "perf");
    }
  }

  void outside(const bench::OutsideCounter& counter) {
    for (const std::string& isa : isas_of(counter.architecture))
      for_cases(
          isa, [&](const KernelCase& c) { return bench::count_outside(counter, isa, c, kGroup); },
          counter.architecture, counter.by);
  }

  std::vector<bench::RunRow> rows;
  std::vector<std::string> notes;
  void note(const std::string& text) {
    notes.push_back(text);
    std::cerr << "not counted: " << one_line(text) << '\n';
  }

 private:
  // After the first failure of an ISA the rest is not tried.
  template <class Count>
  void for_cases(const std::string& isa, const Count& count, const std::string& architecture,
                 const std::string& by) {
    std::size_t at = std::exchange(done_, done_ + kCasesOfIsa);
    for (const Operation operation : kGemms)
      for (const std::size_t m : kRowsOfX) {
        const KernelCase c = small_case(operation, m);
        progress_.update(isa + " by " + by, static_cast<double>(at++) / static_cast<double>(cases_));
        const auto instructions = count(c);
        if (!instructions) return note(isa + " by " + by + ": " + instructions.error().what);
        rows.push_back(bench::instruction_row(architecture, isa, c, *instructions, by));
      }
  }
  Progress& progress_;
  std::size_t cases_, done_ = 0;
};

Result<std::vector<bench::RunRow>> read_arm_loops(const std::string& file) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  DGQ_TRY(const std::string text, read_file(file, kMost));
  return bench::parse_arm_loops(text, file);
}

void print_table(const bench::Run& run) {
  std::cout << "Estimates: counted or modelled, not timed.\n";
  std::printf("%-8s %-11s %-7s %14s %-12s %10s %-17s %10s %s\n", "arch", "isa", "weights", "m", "core",
              "estimate", "unit", "multiplies", "by");
  for (const bench::RunRow& row : run.rows) {
    const auto text = [&](const char* key) {
      const Json value = row.of.value(key, Json());
      return one_line(value.is_string() ? value.get<std::string>() : value.dump());
    };
    const Json multiplies = row.figures.value("of_vector_instructions", Json());
    std::printf("%-8s %-11s %-7s %14s %-12s %10.4g %-17s %10s %s\n", text("architecture").c_str(),
                text("isa").c_str(), text("weights").c_str(), text("m").c_str(), text("core").c_str(),
                row.samples.front(), one_line(row.unit).c_str(),
                multiplies.is_number() ? number("%.0f%%", 100 * multiplies.get<double>()).c_str() : "-",
                text("by").c_str());
  }
}

}  // namespace

Result<int> bench_instructions(const Options& options) {
  bench::RunRecorder recorder("instructions");
  Progress progress;
  Counts counts(progress,
                isas_of(kArchitecture).size() + (options.has("arm-dgq") ? isas_of("aarch64").size() : 0));
  const auto permitted = bench::count_instructions([] {
    volatile int i = 0;
    while (i < 1000) i = i + 1;
  });
  if (permitted) {
    counts.inside();
  } else {
    counts.note(permitted.error().what + "; trying valgrind");
    std::error_code ignored;  // by its name: /proc/self/exe would be valgrind itself
    counts.outside(
        {"callgrind", kArchitecture, {std::filesystem::read_symlink("/proc/self/exe", ignored).string()}});
  }
  if (options.has("arm-dgq")) {
    std::vector<std::string> words = words_of(options.get<std::string>("qemu"));
    if (words.empty()) return Error{Errc::invalid, "--qemu is empty"};
    words.push_back(options.get<std::string>("arm-dgq"));
    counts.outside({"qemu", "aarch64", words});
  }
  if (options.has("arm-loops")) {
    const auto loops = read_arm_loops(options.get<std::string>("arm-loops"));
    if (loops)
      counts.rows.insert(counts.rows.end(), loops->begin(), loops->end());
    else
      counts.note("inner loops: " + loops.error().what);
  }
  progress.finish();
  if (counts.rows.empty())
    return Error{Errc::unsupported,
                 "nothing could be counted: " +
                     (counts.notes.empty() ? std::string("no kernels") : counts.notes.front())};
  std::string notes;
  for (const std::string& note : counts.notes) notes += (notes.empty() ? "" : "; ") + note;
  const Json settings = {{"group", kGroup}, {"not_counted", notes.empty() ? Json() : Json(notes)}};
  const bench::Run run = recorder.finish(settings, Json::object(), std::move(counts.rows));
  DGQ_CHECK(deliver(options, run, [&] { print_table(run); }));
  return 0;
}

}  // namespace dgq::tools

#include "bench/kernel_bench.h"

#include <algorithm>
#include <cstring>

#include "bench/kernel_case.h"
#include "bench/memory.h"
#include "bench/statistics.h"
#include "bench/timing.h"
#include "runtime/linear.h"
#include "runtime/parallel.h"

namespace dgq::bench {
namespace {

// A linear as often as it fits into `memory`; next() goes round.
class Copies {
 public:
  Copies(std::span<std::byte> memory, const KernelCase& c, const KernelBenchOptions& options)
      : first_(memory.data()),
        bytes_(section_bytes(c, options.group)),
        count_(std::max<std::size_t>(1, memory.size() / bytes_)),
        case_(c),
        group_(options.group) {
    make_section(first_, c, group_, options.threads);
    parallel_ranges(options.threads, count_ - 1, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t copy = begin + 1; copy <= end; ++copy)
        std::memcpy(first_ + copy * bytes_, first_, bytes_);
    });
  }
  Linear next() {
    at_ = (at_ + 1) % count_;
    return linear_at(first_ + at_ * bytes_, case_, group_);
  }

 private:
  std::byte* first_;
  std::size_t bytes_, count_, at_ = 0;
  const KernelCase& case_;
  std::size_t group_;
};

// One run over all cases.
class Run {
  static constexpr double kLimitShare = 4;  // a limit takes a fourth of the time of what it is beside

 public:
  Run(const KernelBenchOptions& options, std::span<std::byte> memory, const Progress& progress)
      : options_(options),
        memory_(memory),
        limits_(memory, options.threads, options.min_time_s / kLimitShare),
        progress_(progress) {
    std::memset(memory_.data(), 1, memory_.size());
  }

  KernelBenchReport run(const KernelRows& rows, const std::vector<KernelCase>& cases) {
    for (int threads = 1; threads < options_.threads; threads *= 2) limits_.read_now(threads);
    for (const KernelCase& c : cases) total_ += c.m.size() * rows_of(rows, c.operation);
    for (const KernelCase& c : cases) run_case(rows, c);
    report_.cold_bytes = memory_.size();
    report_.read = limits_.read();
    report_.multiply_adds = limits_.multiply_adds();
    return std::move(report_);
  }

 private:
  static std::size_t rows_of(const KernelRows& rows, Operation operation) {
    switch (operation) {
      case Operation::gemm_w4a8:
        return rows.gemm_w4a8.size();
      case Operation::gemm_w6a8:
        return rows.gemm_w6a8.size();
      case Operation::gemm_w8a8:
        return rows.gemm_w8a8.size();
      case Operation::gemm_f32:
        return rows.gemm_f32.size();
      case Operation::quantize_rows:
        return rows.quantize_rows.size();
    }
    return 0;
  }

  void run_case(const KernelRows& rows, const KernelCase& c) {
    if (c.operation == Operation::quantize_rows) {
      for (const QuantizeRowsKernel& row : rows.quantize_rows)
        for (const std::size_t m : c.m) time_quantize(c, row, m);
      return;
    }
    Copies copies(memory_, c, options_);
    const QuantizeRowsKernel& quantize = quantize_rows_kernels().back();  // not timed here
    const auto time_rows = [&](const auto& table, auto Kernels::*which) {
      for (const auto& row : table) {
        Kernels kernels{};
        kernels.*which = &row;
        for (const std::size_t m : c.m) time_gemm(c, copies, kernels, quantize, row.isa, m);
      }
    };
    if (c.operation == Operation::gemm_w4a8) time_rows(rows.gemm_w4a8, &Kernels::gemm_w4a8);
    if (c.operation == Operation::gemm_w6a8) time_rows(rows.gemm_w6a8, &Kernels::gemm_w6a8);
    if (c.operation == Operation::gemm_w8a8) time_rows(rows.gemm_w8a8, &Kernels::gemm_w8a8);
    if (c.operation == Operation::gemm_f32) time_rows(rows.gemm_f32, &Kernels::gemm_f32);
  }

  void time_gemm(const KernelCase& c, Copies& copies, const Kernels& kernels,
                 const QuantizeRowsKernel& quantize, const char* isa, std::size_t m) {
    const bool f32 = c.operation == Operation::gemm_f32;
    const std::vector<float> x = random_activations(m * c.k);
    AlignedBuffer<float> y;  // as a decoder's: off the lines of the cache every store would touch two
    y.at_least(m * c.n);
    QuantizedBuffer buffer(options_.act_block);
    LinearInput input{x.data(), m, c.k, {}};
    if (!f32) input = quantize_input(x.data(), m, c.k, quantize, buffer, options_.threads);
    const auto bytes = static_cast<double>(section_bytes(c, options_.group));
    const auto macs = static_cast<double>(m * c.n * c.k);
    measure({c.operation, isa, c.linear, m, c.n, c.k}, bytes, macs, [&] {
      const Linear linear = copies.next();
      parallel_ranges(options_.threads, output_blocks(linear), [&](std::size_t begin, std::size_t end, int) {
        run_blocks(linear, input, kernels, begin, end, y.data() + begin * kRowBlock, c.n);
      });
    });
  }

  void time_quantize(const KernelCase& c, const QuantizeRowsKernel& row, std::size_t m) {
    const std::vector<float> x = random_activations(m * c.k);
    QuantizedBuffer buffer(options_.act_block);
    measure({c.operation, row.isa, c.linear, m, c.n, c.k}, static_cast<double>(m * c.k * sizeof(float)), 0,
            [&] { (void)quantize_input(x.data(), m, c.k, row, buffer, options_.threads); });
  }

  // bytes and macs: of one call of the operation.
  void measure(KernelBenchRow row, double bytes, double macs, const std::function<void()>& operation) {
    progress_(std::string(name_of(row.operation)) + " " + row.isa + ", m " + std::to_string(row.m),
              static_cast<double>(done_++) / static_cast<double>(total_));
    const bool reads = row.operation != Operation::quantize_rows;  // its input is in a cache, as in a decoder
    const bool multiplies = reads && row.operation != Operation::gemm_f32;
    std::vector<double> of_read, of_multiply_add;
    for (int i = 0; i < options_.repetitions; ++i) {
      const double read = reads ? limits_.read_now(options_.threads) : 0;
      const double multiply_adds = multiplies ? limits_.multiply_adds_now(row.isa) : 0;
      const double taken = seconds_per_call(options_.min_time_s, operation);
      row.samples_s.push_back(taken);
      of_read.push_back(read > 0 ? bytes / taken / read : 0);
      of_multiply_add.push_back(multiply_adds > 0 ? macs / taken / multiply_adds : 0);
    }
    row.seconds = median(row.samples_s);
    row.bytes_per_s = bytes / row.seconds;
    row.macs_per_s = macs / row.seconds;
    row.of_read = median(of_read);
    row.of_multiply_add = median(of_multiply_add);
    report_.rows.push_back(std::move(row));
  }

  const KernelBenchOptions& options_;
  std::span<std::byte> memory_;
  Limits limits_;
  const Progress& progress_;
  KernelBenchReport report_{};
  std::size_t done_ = 0, total_ = 0;
};

// Largest need of memory over the cases, beside the weights: x and its int8 form, y.
std::size_t working_bytes(const std::vector<KernelCase>& cases) {
  std::size_t bytes = 0;
  for (const KernelCase& c : cases)
    for (const std::size_t m : c.m) bytes = std::max(bytes, m * (c.k * 6 + c.n * sizeof(float)));
  return bytes;
}

}  // namespace

const char* name_of(Operation operation) {
  constexpr const char* kNames[] = {"gemm_w4a8", "gemm_w6a8", "gemm_w8a8", "gemm_f32", "quantize_rows"};
  return kNames[static_cast<std::size_t>(operation)];
}

std::vector<KernelCase> cases_of(const ModelConfig& c) {
  const std::vector<std::size_t> all = {1, 2, 4, 8, 128, 512}, few = {1, 4}, ends = {1, 512};
  const std::size_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  std::vector<KernelCase> cases;
  const auto add = [&](const char* linear, std::size_t n, std::size_t k) {
    for (KernelCase& same : cases)
      if (same.n == n && same.k == k) return void(same.linear += std::string(" ") + linear);
    cases.push_back({Operation::gemm_w4a8, linear, n, k, all});
  };
  add("q", q, c.hidden);
  add("k v", kv, c.hidden);
  add("o", c.hidden, q);
  add("gate up", c.ffn, c.hidden);
  add("down", c.hidden, c.ffn);
  cases.push_back({Operation::gemm_w8a8, "head", c.vocab, c.hidden, few});
  cases.push_back({Operation::gemm_f32, "q", q, c.hidden, ends});
  cases.push_back({Operation::quantize_rows, "hidden", 1, c.hidden, ends});
  cases.push_back({Operation::quantize_rows, "ffn", 1, c.ffn, ends});
  return cases;
}

Result<KernelBenchReport> bench_kernels(const KernelRows& rows, const std::vector<KernelCase>& cases,
                                        const KernelBenchOptions& options, const Progress& progress) {
  std::size_t bytes = options.cold_bytes;
  for (const KernelCase& c : cases) bytes = std::max(bytes, section_bytes(c, options.group));
  DGQ_CHECK(check_memory("this benchmark", bytes + working_bytes(cases)));
  DGQ_TRY(const Pages pages, Pages::map(bytes));
  return Run(options, pages.bytes(), progress).run(rows, cases);
}

}  // namespace dgq::bench

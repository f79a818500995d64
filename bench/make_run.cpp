#include "bench/make_run.h"

#include <chrono>

#include "bench/build.h"
#include "bench/conditions.h"
#include "bench/machine.h"
#include "bench/statistics.h"

namespace dgq::bench {
namespace {

constexpr double kGiga = 1e9;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Json or_null(double value) { return value > 0 ? Json(value) : Json(); }

Json merged(Json object, const Json& more) {
  object.update(more);
  return object;
}

}  // namespace

RunRecorder::RunRecorder(std::string kind) : before_(conditions_now()), started_s_(now_s()) {
  using namespace std::chrono;
  run_.kind = std::move(kind);
  run_.tool = "dgq " DGQ_VERSION;
  run_.started_unix_s = duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
  run_.machine = machine_facts();
  run_.build = build_facts();
}

Run RunRecorder::finish(Json settings, Json limits, std::vector<RunRow> rows) {
  run_.seconds = now_s() - started_s_;
  run_.conditions = conditions_between(before_, conditions_now());
  if (const auto peak = peak_memory_bytes()) run_.conditions["peak_memory_bytes"] = *peak;
  run_.settings = std::move(settings);
  run_.limits = std::move(limits);
  run_.rows = std::move(rows);
  for (RunRow& row : run_.rows) row.warm_up = warm_up_of(row.samples);
  return std::move(run_);
}

Json kernel_settings(const Kernels& kernels) {
  Json settings = {{"isa", kernels.isa}};
  for (const KernelListing& row : list_kernels(kernels))
    if (row.chosen) settings["kernel_" + row.operation] = row.isa;
  return settings;
}

Json limits_of(const std::vector<ReadLimit>& read, const std::vector<MultiplyAddLimit>& multiply_adds) {
  Json reads = Json::array(), ceilings = Json::array();
  for (const ReadLimit& limit : read)
    reads.push_back({{"threads", limit.threads},
                     {"gb_per_s", median(limit.bytes_per_s) / kGiga},
                     {"samples_bytes_per_s", limit.bytes_per_s}});
  for (const MultiplyAddLimit& limit : multiply_adds)
    ceilings.push_back({{"isa", limit.isa},
                        {"threads", limit.threads},
                        {"instructions", limit.instructions},
                        {"gmac_per_s", median(limit.macs_per_s) / kGiga},
                        {"samples_macs_per_s", limit.macs_per_s}});
  return {{"read", std::move(reads)}, {"multiply_add", std::move(ceilings)}};
}

std::vector<RunRow> rows_of(const ModelBenchReport& report, const Json& of) {
  std::vector<RunRow> rows;
  for (const ModelBenchRow& model : report.rows) {
    RunRow row;
    row.of = merged(of, {{"test", model.test()},
                         {"n_threads", model.threads},
                         {"n_prompt", model.prompt},
                         {"n_gen", model.generate}});
    row.unit = "tokens/s";
    row.samples = model.tokens_per_s;
    const double tokens = static_cast<double>(model.tokens()), speed = median(row.samples);
    const double bytes_per_s = model.bytes * speed / tokens, macs_per_s = model.macs * speed / tokens;
    row.figures = {
        {"ttft_ms", model.prompt > 0 ? Json(1e3 * tokens / speed) : Json()},
        {"gb_per_s", or_null(bytes_per_s / kGiga)},
        {"of_read", model.read_limit > 0 ? or_null(bytes_per_s / model.read_limit) : Json()},
        {"gmac_per_s", macs_per_s / kGiga},
        {"of_multiply_add",
         model.multiply_add_limit > 0 ? Json(macs_per_s / model.multiply_add_limit) : Json()},
        {"joules_per_token",
         model.joules ? Json(*model.joules / tokens / static_cast<double>(row.samples.size())) : Json()}};
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<RunRow> rows_of(const KernelBenchReport& report, const Json& of) {
  std::vector<RunRow> rows;
  for (const KernelBenchRow& kernel : report.rows) {
    RunRow row;
    row.of = merged(of, {{"operation", name_of(kernel.operation)},
                         {"isa", kernel.isa},
                         {"linear", kernel.linear},
                         {"m", kernel.m},
                         {"n", kernel.n},
                         {"k", kernel.k}});
    row.unit = "s";
    row.more_is_better = false;
    row.samples = kernel.samples_s;
    row.figures = {{"gb_per_s", kernel.bytes_per_s / kGiga},
                   {"of_read", or_null(kernel.of_read)},
                   {"gmac_per_s", or_null(kernel.macs_per_s / kGiga)},
                   {"of_multiply_add", or_null(kernel.of_multiply_add)}};
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<RunRow> rows_of(const RegistryBenchReport& report) {
  std::vector<RunRow> rows;
  for (const RegistryBenchRow& measured : report.rows) {
    RunRow row;
    row.of = {{"operation", measured.operation}, {"data", measured.data}, {"bytes", report.bytes}};
    row.unit = "s";
    row.more_is_better = false;
    row.samples = measured.seconds;
    row.figures = {{"cpu_s", median(measured.cpu_s)},
                   {"mb_per_s", static_cast<double>(report.bytes) / median(measured.seconds) * 1e-6},
                   {"zstd_s", measured.zstd_s.empty() ? Json() : Json(median(measured.zstd_s))},
                   {"beside", measured.limit.empty() ? Json() : Json(measured.limit)},
                   {"ratio", measured.ratio.empty() ? Json() : Json(median(measured.ratio))},
                   {"ratio_with_zstd",
                    measured.ratio_with_zstd.empty() ? Json() : Json(median(measured.ratio_with_zstd))}};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace dgq::bench

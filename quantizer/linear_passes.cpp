#include "quantizer/linear_passes.h"

namespace dgq {
namespace {

// Those that every linear does not go through by itself.
bool concerns_model(const Pass& pass) {
  return std::holds_alternative<SmoothOptions>(pass) || std::holds_alternative<AllocateOptions>(pass) ||
         std::holds_alternative<WeighOptions>(pass) || std::holds_alternative<StaticOptions>(pass);
}

}  // namespace

const ErrorFeedback& LinearPasses::feedback(std::size_t k, std::size_t group, double damping) {
  const auto key = std::pair(group, damping);
  auto found = feedback_.find(key);
  if (found == feedback_.end())
    found = feedback_.emplace(key, ErrorFeedback(h_, k, group, damping, threads_)).first;
  return found->second;
}

LinearResult LinearPasses::run_coarse(const F32Matrix& w) {
  const CoarseLinear rounded = round_w8(w, threads_);
  TensorReport report;
  report.input = input_report_;
  report.error_minmax = report.error =
      relative(output_loss(gemm_, w, h_, rounded, threads_), output_energy(gemm_, w, h_, threads_));
  report.clipped = 0;  // its grid reaches from -max |w| to max |w|
  return {PackedTensor::w8(w, rounded), std::move(report)};
}

LinearResult LinearPasses::run(const F32Matrix& w, const FineFormat& format) {
  if (format.bits == 8) return run_coarse(w);
  FineLinear linear = round_min_max(w, format, threads_);
  const double energy = output_energy(gemm_, w, h_, threads_);
  const auto error = [&] { return relative(output_loss(gemm_, w, h_, format, linear, threads_), energy); };
  TensorReport report;
  report.input = input_report_;
  report.error_minmax = report.error = error();
  const struct {
    LinearPasses& all;
    const FineFormat& format;
    FineLinear& linear;
    const F32Matrix& w;
    void operator()(const SmoothOptions&) const {}  // of the whole model
    void operator()(const AllocateOptions&) const {}
    void operator()(const WeighOptions&) const {}
    void operator()(const StaticOptions&) const {}
    void operator()(const RoundOptions&) const { linear = round_min_max(w, format, all.threads_); }
    void operator()(const SearchOptions& o) const {
      linear = search(all.gemm_, w, all.h_, format, o, all.threads_);
    }
    void operator()(const CompensateOptions& o) const {
      compensate(all.gemm_, w, all.feedback(w.k, format.group, o.damping), format, o, all.threads_, linear);
    }
    void operator()(const DescendOptions& o) const {
      descend(all.gemm_, w, all.h_, format, o, all.threads_, linear);
    }
  } apply{*this, format, linear, w};
  for (const Pass& pass : recipe_.passes) {
    std::visit(apply, pass);
    if (concerns_model(pass)) continue;
    report.error = error();
    report.passes.push_back({pass_name(pass), report.error});
  }
  report.clipped = clipped_share(w, format, linear, threads_);
  return {PackedTensor::fine(w, format, linear), std::move(report)};
}

}  // namespace dgq

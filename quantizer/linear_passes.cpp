#include "quantizer/linear_passes.h"

namespace dgq {

const ErrorFeedback& LinearPasses::feedback(std::size_t k, std::size_t group, double damping) {
  const auto key = std::pair(group, damping);
  auto found = feedback_.find(key);
  if (found == feedback_.end())
    found = feedback_.emplace(key, ErrorFeedback(h_, k, group, damping, threads_)).first;
  return found->second;
}

LinearResult LinearPasses::run(const F32Matrix& w, const FineFormat& format) {
  if (format.bits == 8) {
    const CoarseLinear rounded = round_w8(w, threads_);
    return {PackedTensor::w8(w, rounded), rounded.error, rounded.error};
  }
  FineLinear linear = round_min_max(w, format, threads_);
  const double loss_minmax = output_loss(gemm_, w, h_, format, linear, threads_);
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
  for (const Pass& pass : recipe_.passes) std::visit(apply, pass);
  const double loss = output_loss(gemm_, w, h_, format, linear, threads_);
  const double energy = output_energy(gemm_, w, h_, threads_);
  const auto relative = [&](double x) { return energy > 0 ? x / energy : x; };
  return {PackedTensor::fine(w, format, linear), relative(loss_minmax), relative(loss)};
}

}  // namespace dgq

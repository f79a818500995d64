// quantizer/report.h - what quantizing cost each tensor, as JSON in the manifest and from `dgq quantize --report`. Everything
// here depends on checkpoint, recipe and tool only, as the version does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace dgq {

// A channel is an outlier when its root mean square is more than this many times that of the median channel.
inline constexpr double kOutlierRatio = 6;

// The inputs of a linear on the calibration text, rounded to int8 as at run time. With the pass `weigh-tokens`, squares count
// as the tokens do.
struct InputReport {
  std::size_t outliers = 0;  // channels
  double range = 0;          // max |x| over the root mean square of all x
};

struct PassError {
  std::string pass;  // as in the recipe; those that concern the whole model are not among them
  double error;  // after it, as TensorReport's; before it, it was that of the pass before, or error_minmax
};

// One linear layer, the embedding or the head.
struct TensorReport {
  std::string name = {};  // "layers.0.q_proj"
  std::string kind = {};  // "w4", "w6", "w8", "f32"
  std::size_t n = 0, k = 0;
  std::size_t group = 0;    // 0 for w8 and f32
  std::uint64_t bytes = 0;  // of its section, scales and padding included
  // Of linears: relative output error on the calibration text, sum d H d^T / sum w H w^T (quantizer/fine_linear.h), of plain
  // rounding and of what is stored. Of embedding and head: relative error of the weights, twice.
  double error_minmax = 0, error = 0;
  // Of linears. Versions made before these were measured lack them.
  std::vector<PassError> passes = {};
  std::optional<double> clipped = {};  // share of weights beyond their grid, clipped_share()
  std::optional<InputReport> input = {};

  double bits_per_weight() const { return 8.0 * static_cast<double>(bytes) / static_cast<double>(n * k); }
};

// {"layers": [{"name", "kind", "n", "k", "group", "bytes", "bpw", "error_minmax", "error",
//              "passes": [{"pass", "error"}, ...], "clipped", "outliers", "range"}, ...],
//  "total": {"weights", "bytes", "bpw", "error_minmax", "error"}}; members that a tensor has not are left out.
Json to_json(const std::vector<TensorReport>& tensors);
// Back from a manifest, which may be anyone's.
Result<std::vector<TensorReport>> report_from_json(const Json& report, std::string_view where);

inline bool is_fine(const TensorReport& tensor) { return tensor.kind == "w4" || tensor.kind == "w6"; }
// Whether its errors are output errors.
inline bool is_judged(const TensorReport& tensor) { return is_fine(tensor) || tensor.input; }

struct ReportTotal {
  std::size_t tensors = 0, weights = 0;
  std::uint64_t bytes = 0;
  double error_minmax = 0, error = 0;  // means over the w4 and w6 tensors
  double bits_per_weight() const {
    return weights ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0;
  }
};
ReportTotal total(const std::vector<TensorReport>& tensors);
// The same for each kind that there is, in the order w4, w6, w8, f32, others.
std::vector<std::pair<std::string, ReportTotal>> totals_by_kind(const std::vector<TensorReport>& tensors);

}  // namespace dgq

// quantizer/report.h - a quantization's figures as JSON: in the manifest, from `dgq quantize --report`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace dgq {

// One linear layer, the embedding or the head.
struct TensorReport {
  std::string name;  // "layers.0.q_proj"
  std::string kind;  // "w4", "w6", "w8", "f32"
  std::size_t n, k;
  std::size_t group;    // 0 for w8 and f32
  std::uint64_t bytes;  // of its section, scales and padding included
  double
      error_minmax;  // w4, w6: relative output error of plain rounding, on the calibration text; w8: relative weight error
  double error;  // w4, w6: the same after the passes; w8: the same
  double bits_per_weight() const { return 8.0 * static_cast<double>(bytes) / static_cast<double>(n * k); }
};

// {"layers": [{"name", "kind", "n", "k", "group", "bytes", "bpw", "error_minmax", "error"}, ...],
//  "total": {"weights", "bytes", "bpw", "error_minmax", "error"}}; the total errors are means over the w4 and w6 layers.
Json to_json(const std::vector<TensorReport>& tensors);
// Back from a manifest.
Result<std::vector<TensorReport>> report_from_json(const Json& report, std::string_view where);

inline bool is_fine(const TensorReport& tensor) { return tensor.kind == "w4" || tensor.kind == "w6"; }

struct ReportTotal {
  std::size_t weights = 0;
  std::uint64_t bytes = 0;
  double error_minmax = 0, error = 0;
  double bits_per_weight() const {
    return weights ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0;
  }
};
ReportTotal total(const std::vector<TensorReport>& tensors);

}  // namespace dgq

#include "quantizer/report.h"

#include <algorithm>

namespace dgq {
namespace {

Json to_json(const TensorReport& t) {
  Json json = {{"name", t.name},
               {"kind", t.kind},
               {"n", t.n},
               {"k", t.k},
               {"group", t.group},
               {"bytes", t.bytes},
               {"bpw", t.bits_per_weight()},
               {"error_minmax", t.error_minmax},
               {"error", t.error}};
  for (const PassError& pass : t.passes)
    json["passes"].push_back({{"pass", pass.pass}, {"error", pass.error}});
  if (t.clipped) json["clipped"] = *t.clipped;
  if (t.input) {
    json["outliers"] = t.input->outliers;
    json["range"] = t.input->range;
  }
  return json;
}

Result<std::vector<PassError>> passes_from_json(const Json& tensor, std::string_view where) {
  std::vector<PassError> passes;
  const auto list = tensor.find("passes");
  if (list == tensor.end()) return passes;
  if (!list->is_array()) return Error{Errc::corrupt, std::string(where) + ": \"passes\" must be an array"};
  for (const Json& json : *list) {
    PassError pass;
    DGQ_TRY(pass.pass, json_string(json, "pass", where));
    DGQ_TRY(pass.error, json_number(json, "error", where));
    passes.push_back(std::move(pass));
  }
  return passes;
}

Result<TensorReport> tensor_from_json(const Json& json, std::string_view where) {
  TensorReport t;
  constexpr std::int64_t kMaxSide = std::int64_t{1} << 31;  // n * k fits
  const auto count = [&](const char* key, std::int64_t low, std::int64_t high = INT64_MAX) {
    return json_int(json, key, low, high, where);
  };
  DGQ_TRY(t.name, json_string(json, "name", where));
  DGQ_TRY(t.kind, json_string(json, "kind", where));
  DGQ_TRY(t.n, count("n", 1, kMaxSide));
  DGQ_TRY(t.k, count("k", 1, kMaxSide));
  DGQ_TRY(t.group, count("group", 0));
  DGQ_TRY(t.bytes, count("bytes", 0));
  DGQ_TRY(t.error_minmax, json_number(json, "error_minmax", where));
  DGQ_TRY(t.error, json_number(json, "error", where));
  DGQ_TRY(t.passes, passes_from_json(json, where));
  if (json.contains("clipped")) {
    DGQ_TRY(t.clipped, json_number(json, "clipped", where));
  }
  if (json.contains("outliers")) {
    t.input.emplace();
    DGQ_TRY(t.input->outliers, count("outliers", 0));
    DGQ_TRY(t.input->range, json_number(json, "range", where));
  }
  return t;
}

}  // namespace

ReportTotal total(const std::vector<TensorReport>& tensors) {
  ReportTotal sum;
  std::size_t searched = 0;
  for (const TensorReport& tensor : tensors) {
    ++sum.tensors;
    sum.weights += tensor.n * tensor.k;
    sum.bytes += tensor.bytes;
    if (!is_fine(tensor)) continue;
    ++searched;
    sum.error_minmax += tensor.error_minmax;
    sum.error += tensor.error;
  }
  if (searched > 0) {
    sum.error_minmax /= static_cast<double>(searched);
    sum.error /= static_cast<double>(searched);
  }
  return sum;
}

std::vector<std::pair<std::string, ReportTotal>> totals_by_kind(const std::vector<TensorReport>& tensors) {
  std::vector<std::string> kinds = {"w4", "w6", "w8", "f32"};
  for (const TensorReport& tensor : tensors)
    if (std::find(kinds.begin(), kinds.end(), tensor.kind) == kinds.end()) kinds.push_back(tensor.kind);
  std::vector<std::pair<std::string, ReportTotal>> totals;
  for (const std::string& kind : kinds) {
    std::vector<TensorReport> of_kind;
    std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(of_kind),
                 [&](const TensorReport& tensor) { return tensor.kind == kind; });
    if (!of_kind.empty()) totals.emplace_back(kind, total(of_kind));
  }
  return totals;
}

Json to_json(const std::vector<TensorReport>& tensors) {
  Json layers = Json::array();
  for (const TensorReport& tensor : tensors) layers.push_back(to_json(tensor));
  const ReportTotal sum = total(tensors);
  return {{"layers", layers},
          {"total",
           {{"weights", sum.weights},
            {"bytes", sum.bytes},
            {"bpw", sum.bits_per_weight()},
            {"error_minmax", sum.error_minmax},
            {"error", sum.error}}}};
}

Result<std::vector<TensorReport>> report_from_json(const Json& report, std::string_view where) {
  const auto layers = report.is_object() ? report.find("layers") : report.end();
  if (layers == report.end() || !layers->is_array())
    return Error{Errc::corrupt, std::string(where) + ": the report has no \"layers\""};
  std::vector<TensorReport> tensors;
  for (const Json& layer : *layers) {
    DGQ_TRY(TensorReport tensor, tensor_from_json(layer, where));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace dgq

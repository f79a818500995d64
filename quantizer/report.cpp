#include "quantizer/report.h"

namespace dgq {

ReportTotal total(const std::vector<TensorReport>& tensors) {
  ReportTotal sum;
  std::size_t searched = 0;
  for (const TensorReport& tensor : tensors) {
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

Json to_json(const std::vector<TensorReport>& tensors) {
  Json layers = Json::array();
  for (const TensorReport& t : tensors)
    layers.push_back({{"name", t.name},
                      {"kind", t.kind},
                      {"n", t.n},
                      {"k", t.k},
                      {"group", t.group},
                      {"bytes", t.bytes},
                      {"bpw", t.bits_per_weight()},
                      {"error_minmax", t.error_minmax},
                      {"error", t.error}});
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
    TensorReport t;
    const auto count = [&](const char* key) { return json_int(layer, key, 0, INT64_MAX, where); };
    DGQ_TRY(t.name, json_string(layer, "name", where));
    DGQ_TRY(t.kind, json_string(layer, "kind", where));
    DGQ_TRY(t.n, count("n"));
    DGQ_TRY(t.k, count("k"));
    DGQ_TRY(t.group, count("group"));
    DGQ_TRY(t.bytes, count("bytes"));
    DGQ_TRY(t.error_minmax, json_number(layer, "error_minmax", where));
    DGQ_TRY(t.error, json_number(layer, "error", where));
    tensors.push_back(std::move(t));
  }
  return tensors;
}

}  // namespace dgq

// Any bytes as the report of a manifest, and as costs: what is read survives its own JSON and makes a page; the rest is an Error.
#include <cstdlib>

#include "quantizer/report_page.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  dgq::ReportPage page;
  if (auto costs = dgq::parse_costs(text, "costs")) page.costs = std::move(*costs);
  if (const auto json = dgq::parse_json(text, "report")) {
    page.manifest.recipe = *json;
    if (auto tensors = dgq::report_from_json(*json, "report")) {
      const auto again = dgq::report_from_json(dgq::to_json(*tensors), "report");
      if (!again || dgq::to_json(*again).dump() != dgq::to_json(*tensors).dump()) std::abort();
      page.tensors = std::move(*tensors);
    }
  }
  page.name = text;
  if (dgq::html(page).empty()) std::abort();
  return 0;
}

#include "runtime/kernel_report.h"

#include "kernels/cpu.h"

namespace dgq {

OrderedJson kernel_report(const Kernels& kernels) {
  OrderedJson rows = OrderedJson::array();
  for (const KernelListing& row : list_kernels(kernels))
    rows.push_back({{"operation", row.operation},
                    {"isa", row.isa},
                    {"needs", feature_names(row.needs)},
                    {"made_for", row.made_for ? OrderedJson(feature_names(row.made_for)) : OrderedJson()},
                    {"runnable", row.runnable},
                    {"chosen", row.chosen},
                    {"reason", row.reason}});
  return {{"cpu", cpu_name()},
          {"architecture", kArchitecture},
          {"features", feature_names(cpu_features())},
          {"isa", kernels.isa},
          {"kernels", std::move(rows)}};
}

}  // namespace dgq

#include "plugin/ggml/host.h"

#include <string_view>

namespace dgq::ggml {

void log_line(ggml_log_level level, const std::string& text) {
  ggml_log_callback callback = nullptr;
  void* user = nullptr;
  ggml_log_get(&callback, &user);
  if (callback) callback(level, ("dgq: " + text + "\n").c_str(), user);
}

bool host_is_known() {
  const std::string_view version = ggml_version(), commit = ggml_commit();
  if (version == DGQ_GGML_VERSION && commit == DGQ_GGML_COMMIT) return true;
  log_line(GGML_LOG_LEVEL_ERROR, "this backend was built for ggml " DGQ_GGML_VERSION " (" DGQ_GGML_COMMIT
                                 "), this is ggml " +
                                     std::string(version) + " (" + std::string(commit) +
                                     "): not used; build it for this one (docs/PLUGIN.md)");
  return false;
}

}  // namespace dgq::ggml

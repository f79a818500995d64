// plugin/ggml/host.h - what the backend asks of the ggml that has loaded it.
#pragma once

#include <string>

#include "ggml-backend-impl.h"

namespace dgq::ggml {

// A line in the host's log, which starts with "dgq: ".
void log_line(ggml_log_level level, const std::string& text);

// Whether this is the ggml whose headers the backend was built with: of the same version and commit. Structs that both sides
// fill in have changed while ggml's own number for them stayed the same, so anything else would crash. Says so in the log when not.
bool host_is_known();

}  // namespace dgq::ggml

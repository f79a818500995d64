// bench/shapes.h - the models whose sizes are measured: bench/shapes/NAME.json, each the config.json of a model, built in.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/config.h"

namespace dgq::bench {

struct Shape {
  std::string name;
  ModelConfig config;
};

std::vector<std::string> shape_names();  // of those built in, sorted

// A built-in name, or a file (anything with a '/' or '.json' at its end) in the format of Hugging Face's config.json.
// not_found: no such name (lists those there are) or file; else the errors of parse_config.
Result<Shape> load_shape(const std::string& name_or_file);

}  // namespace dgq::bench

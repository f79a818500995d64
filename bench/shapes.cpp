#include "bench/shapes.h"

#include <filesystem>
#include <string_view>

#include "base/file.h"
#include "bench/shapes_built_in.h"

namespace dgq::bench {
namespace {

constexpr std::size_t kMaxFile = std::size_t{1} << 20;

Result<Shape> parse(std::string name, std::string_view text, const std::string& where) {
  DGQ_TRY(const Json json, parse_json(text, where));
  DGQ_TRY(const ModelConfig config, parse_config(json, where));
  return Shape{std::move(name), config};
}

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  for (const BuiltInShape& shape : kBuiltInShapes) names.emplace_back(shape.name);
  return names;
}

Result<Shape> load_shape(const std::string& name_or_file) {
  std::string names;
  for (const BuiltInShape& shape : kBuiltInShapes) {
    if (name_or_file == shape.name) return parse(shape.name, shape.config, "shape " + name_or_file);
    names += (names.empty() ? "" : ", ") + std::string(shape.name);
  }
  if (!name_or_file.ends_with(".json") && name_or_file.find('/') == std::string::npos)
    return Error{Errc::not_found, "there is no shape '" + name_or_file + "'; there are " + names +
                                      ", or give a config.json (FILE.json)"};
  DGQ_TRY(const std::string text, read_file(name_or_file, kMaxFile));
  return parse(std::filesystem::path(name_or_file).stem().string(), text, name_or_file);
}

}  // namespace dgq::bench

// Any bytes as a recipe: parse_recipe must answer with one that survives its own JSON, or with an Error.
#include <cstdlib>

#include "quantizer/recipe.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = dgq::parse_json(text, "recipe.json");
  if (!json) return 0;
  const auto recipe = dgq::parse_recipe(*json, "recipe.json");
  if (!recipe) return 0;
  const auto again = dgq::parse_recipe(dgq::to_json(*recipe), "recipe.json");
  if (!again || dgq::to_json(*again) != dgq::to_json(*recipe)) std::abort();
  return 0;
}

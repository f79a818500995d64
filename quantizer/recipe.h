// quantizer/recipe.h - how a checkpoint is quantized: an ordered list of passes, as data. JSON, stored with the version.
//
//   {"name": "mine", "bits": 4, "group": 64, "ends": "w8", "calibration_tokens": 65536,
//    "passes": [{"pass": "search", "all_of_h": false}, {"pass": "compensate", "damping": 0.03}, {"pass": "descend"}]}
//
// A member that is left out has its default; one that is unknown is refused. Every linear goes through the passes in their
// order, one after the other: `search` or `round` makes the grid, the others change it.
// `smooth`, `allocate`, `weigh-tokens` and `static-activations`, which concern the whole model, come before all.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "quantizer/compensate.h"
#include "quantizer/descend.h"
#include "quantizer/dgq_search.h"

namespace dgq {

// Plain min-max rounding: the pass that does nothing more.
struct RoundOptions {};
// quantizer/token_weights.h
struct WeighOptions {
  double strength = 1, limit = 4;
};
// quantizer/smooth.h
struct SmoothOptions {
  double percentile = 99.5;
  std::size_t tokens = 2048;  // of the calibration text, for the channels' maxima
};
// quantizer/static_scales.h
struct StaticOptions {
  double limit = 0.0005;      // KLD that all static scales together may cost, by its estimate
  std::size_t tokens = 1024;  // of the calibration text, for the estimates
};
// Bits for each linear, quantizer/allocate.h.
struct AllocateOptions {
  double bpw = 4.35;  // bits per weight of the linears, all scales included; 0: max_bytes counts alone
  std::size_t max_bytes = 0;  // of embedding, layers and head together; 0: bpw counts alone
  std::size_t tokens = 1024;  // of the calibration text, for the sensitivities
  double damping = 0.03;
  bool strict = false;  // a budget below what the model needs is refused; else the model gets that
};

using Pass = std::variant<SmoothOptions, AllocateOptions, WeighOptions, StaticOptions, RoundOptions,
                          SearchOptions, CompensateOptions, DescendOptions>;

// What embedding and head become. f32 is for measuring linear layers alone.
enum class Ends { w8, f32 };

struct Recipe {
  std::string name;
  FineFormat format{64, 4};  // of every linear, unless a pass says otherwise
  Ends ends = Ends::w8;
  std::size_t calibration_tokens = 65536;
  std::vector<Pass> passes;

  template <class P>
  const P* find() const {
    for (const Pass& pass : passes)
      if (const P* found = std::get_if<P>(&pass)) return found;
    return nullptr;
  }
};

// As in JSON: "search".
const char* pass_name(const Pass& pass);

// "fast", "default", "best", "search"; not_found lists them.
Result<Recipe> built_in_recipe(std::string_view name);
// One line per mistake: `where` and the member.
Result<Recipe> parse_recipe(const Json& json, std::string_view where);
// A built-in name, or a file.
Result<Recipe> load_recipe(const std::string& name_or_file);

// Everything, defaults included: parse_recipe() gives the same back.
Json to_json(const Recipe& recipe);

}  // namespace dgq

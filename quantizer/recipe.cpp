#include "quantizer/recipe.h"

#include <filesystem>

#include "base/file.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxRecipeBytes = 1u << 20;

// The members of each pass, once: for reading and for writing. visit(key, value, lowest, highest).
template <class Visit>
void members(SmoothOptions& o, const Visit& visit) {
  visit("percentile", o.percentile, 0, 100);
  visit("tokens", o.tokens, 64, 1 << 20);
}
template <class Visit>
void members(AllocateOptions& o, const Visit& visit) {
  visit("bpw", o.bpw, 0, 9);
  visit("max_bytes", o.max_bytes, 0, 1e15);
  visit("tokens", o.tokens, 64, 1 << 20);
  visit("damping", o.damping, 0, 10);
  visit("strict", o.strict, 0, 1);
}
template <class Visit>
void members(WeighOptions& o, const Visit& visit) {
  visit("strength", o.strength, 0, 1);
  visit("limit", o.limit, 1, 1000);
}
template <class Visit>
void members(StaticOptions& o, const Visit& visit) {
  visit("limit", o.limit, 0, 100);
  visit("tokens", o.tokens, 64, 1 << 20);
}
template <class Visit>
void members(RoundOptions&, const Visit&) {}
template <class Visit>
void members(SearchOptions& o, const Visit& visit) {
  visit("clips", o.clips, 1, 64);
  visit("clip_step", o.clip_step, 0, 0.5);
  visit("shifts", o.shifts, 1, 64);
  visit("shift_step", o.shift_step, 0, 4);
  visit("coarse", o.coarse, 0, 256);
  visit("coarse_first", o.coarse_first, 0.01, 4);
  visit("coarse_step", o.coarse_step, 0, 1);
  visit("sweeps", o.sweeps, 0, 64);
  visit("all_of_h", o.all_of_h, 0, 1);
}
template <class Visit>
void members(CompensateOptions& o, const Visit& visit) {
  visit("damping", o.damping, 0, 10);
  visit("steps", o.steps, 1, 64);
  visit("shifts", o.shifts, 1, 64);
}
template <class Visit>
void members(DescendOptions& o, const Visit& visit) {
  visit("rounds", o.rounds, 0, 64);
  visit("sweeps", o.sweeps, 0, 64);
}

struct PassName {
  const char* name;
  Pass defaults;
};
// In the order of the alternatives of Pass.
const PassName kPasses[] = {{"smooth", SmoothOptions{}},         {"allocate", AllocateOptions{}},
                            {"weigh-tokens", WeighOptions{}},    {"static-activations", StaticOptions{}},
                            {"round", RoundOptions{}},           {"search", SearchOptions{}},
                            {"compensate", CompensateOptions{}}, {"descend", DescendOptions{}}};

std::string pass_names() {
  std::string all;
  for (const PassName& pass : kPasses) all += (all.empty() ? "" : ", ") + std::string(pass.name);
  return all;
}

// An object whose members are taken one by one; finish() refuses those that nobody took.
class Members {
 public:
  Members(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) fail("must be an object");
  }

  template <class Value>
  void take(const char* key, Value& value, double lowest, double highest) {
    taken_.emplace_back(key);
    if (error_.what.empty() && json_.contains(key)) read(key, value, lowest, highest);
  }
  void take(const char* key, std::string& value) {
    taken_.emplace_back(key);
    if (!error_.what.empty() || !json_.contains(key)) return;
    if (!json_[key].is_string()) return fail(std::string("\"") + key + "\" must be a string");
    value = json_[key].get<std::string>();
  }
  void take_array(const char* key, Json& value) {
    taken_.emplace_back(key);
    if (!error_.what.empty()) return;
    if (!json_.contains(key) || !json_[key].is_array())
      return fail(std::string("\"") + key + "\" must be an array");
    value = json_[key];
  }
  void fail(const std::string& what) {
    if (error_.what.empty()) error_ = {Errc::invalid, where_ + ": " + what};
  }

  Result<void> finish() {
    if (error_.what.empty() && json_.is_object())
      for (const auto& [key, value] : json_.items())
        if (std::find(taken_.begin(), taken_.end(), key) == taken_.end())
          fail("\"" + key + "\" is not known here");
    if (!error_.what.empty()) return error_;
    return {};
  }

 private:
  void out_of_range(const char* key, double lowest, double highest) {
    const Json range = {lowest, highest};
    fail(std::string("\"") + key + "\" must be a number from " + range[0].dump() + " to " + range[1].dump());
  }
  void read(const char* key, std::size_t& value, double lowest, double highest) {
    const Json& member = json_[key];
    if (!member.is_number_integer() || member.get<double>() < lowest || member.get<double>() > highest)
      return out_of_range(key, lowest, highest);
    value = member.get<std::size_t>();
  }
  void read(const char* key, double& value, double lowest, double highest) {
    const Json& member = json_[key];
    if (!member.is_number() || member.get<double>() < lowest || member.get<double>() > highest)
      return out_of_range(key, lowest, highest);
    value = member.get<double>();
  }
  void read(const char* key, bool& value, double, double) {
    if (!json_[key].is_boolean()) return fail(std::string("\"") + key + "\" must be true or false");
    value = json_[key].get<bool>();
  }

  const Json& json_;
  std::string where_;
  std::vector<std::string> taken_;
  Error error_{};
};

Result<Pass> parse_pass(const Json& json, const std::string& where) {
  std::string name;
  Members all(json, where);
  all.take("pass", name);
  const auto found = std::find_if(std::begin(kPasses), std::end(kPasses),
                                  [&](const PassName& pass) { return pass.name == name; });
  if (found == std::end(kPasses)) {
    all.fail("\"pass\" must be one of " + pass_names());
    return all.finish().error();
  }
  Pass pass = found->defaults;
  std::visit(
      [&](auto& options) {
        members(options, [&](const char* key, auto& value, auto lowest, auto highest) {
          all.take(key, value, lowest, highest);
        });
      },
      pass);
  DGQ_CHECK(all.finish());
  return pass;
}

// Those of the whole model, each at most once and only if wanted; then what makes the grid; then what changes it.
Result<void> check_passes(const std::vector<Pass>& passes, std::string_view where) {
  const auto stage = [](const Pass& pass) {
    if (std::holds_alternative<SmoothOptions>(pass)) return 0;
    if (std::holds_alternative<AllocateOptions>(pass)) return 1;
    if (std::holds_alternative<WeighOptions>(pass)) return 2;
    if (std::holds_alternative<StaticOptions>(pass)) return 3;
    const bool grid =
        std::holds_alternative<RoundOptions>(pass) || std::holds_alternative<SearchOptions>(pass);
    return grid ? 4 : 5;
  };
  int last = -1;
  bool grid = false;
  for (const Pass& pass : passes) {
    const int now = stage(pass);
    if (now < last || (now == last && now < 5) || (now == 5 && !grid)) {
      grid = false;
      break;
    }
    grid = grid || now == 4;
    last = now;
  }
  if (grid) return {};
  return Error{Errc::invalid, std::string(where) +
                                  ": \"passes\" must be, in this order: smooth, allocate, weigh-tokens and "
                                  "static-activations (each may be left out); "
                                  "search or round; then any of compensate and descend"};
}

SearchOptions quick_search() {
  SearchOptions search;
  search.all_of_h = false;
  search.sweeps = 0;
  return search;
}

}  // namespace

const char* pass_name(const Pass& pass) { return kPasses[pass.index()].name; }

Result<Recipe> built_in_recipe(std::string_view name) {
  AllocateOptions bits;
  if (name == "fast") {
    SearchOptions coarse = quick_search();
    coarse.clips = coarse.coarse = 6;
    coarse.clip_step = 0.08;
    coarse.coarse_step = 0.07;
    return Recipe{"fast", {64, 4}, Ends::w8, 4096, {coarse, DescendOptions{0, 3}}};
  }
  if (name == "search") return Recipe{"search", {32, 4}, Ends::w8, 65536, {SearchOptions{}}};
  if (name == "best") bits.bpw = 4.65;
  if (name == "default" || name == "best")
    return Recipe{std::string(name),
                  {64, 4},
                  Ends::w8,
                  name == "best" ? 131072u : 65536u,
                  {SmoothOptions{}, bits, quick_search(), CompensateOptions{}, DescendOptions{}}};
  return Error{Errc::not_found,
               "there is no recipe \"" + std::string(name) + "\": fast, default, best, search, or a file"};
}

Result<Recipe> parse_recipe(const Json& json, std::string_view where) {
  Recipe recipe;
  std::size_t bits = 4;
  std::string ends = "w8";
  Members all(json, std::string(where));
  Json passes = Json::array();
  all.take("name", recipe.name);
  all.take("bits", bits, 4, 6);
  all.take("group", recipe.format.group, 32, 128);
  all.take("ends", ends);
  all.take("calibration_tokens", recipe.calibration_tokens, 64, 1 << 24);
  if (ends != "w8" && ends != "f32") all.fail("\"ends\" must be w8 or f32");
  if (bits == 5) all.fail("\"bits\" must be 4 or 6");
  if (recipe.format.group % 32 != 0 || recipe.format.group == 96) all.fail("\"group\" must be 32, 64 or 128");
  all.take_array("passes", passes);
  DGQ_CHECK(all.finish());
  recipe.format.bits = static_cast<int>(bits);
  recipe.ends = ends == "w8" ? Ends::w8 : Ends::f32;
  for (std::size_t i = 0; i < passes.size(); ++i) {
    DGQ_TRY(Pass pass, parse_pass(passes[i], std::string(where) + ": pass " + std::to_string(i)));
    recipe.passes.push_back(std::move(pass));
  }
  DGQ_CHECK(check_passes(recipe.passes, where));
  return recipe;
}

Result<Recipe> load_recipe(const std::string& name_or_file) {
  std::error_code ignored;
  if (!std::filesystem::exists(name_or_file, ignored)) return built_in_recipe(name_or_file);
  DGQ_TRY(const std::string text, read_file(name_or_file, kMaxRecipeBytes));
  DGQ_TRY(const Json json, parse_json(text, name_or_file));
  return parse_recipe(json, name_or_file);
}

Json to_json(const Recipe& recipe) {
  Json passes = Json::array();
  for (Pass pass : recipe.passes) {
    Json json = {{"pass", pass_name(pass)}};
    std::visit(
        [&](auto& options) {
          members(options, [&](const char* key, auto& value, auto, auto) { json[key] = value; });
        },
        pass);
    passes.push_back(std::move(json));
  }
  return {{"name", recipe.name},
          {"bits", recipe.format.bits},
          {"group", recipe.format.group},
          {"ends", recipe.ends == Ends::w8 ? "w8" : "f32"},
          {"calibration_tokens", recipe.calibration_tokens},
          {"passes", passes}};
}

}  // namespace dgq

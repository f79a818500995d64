#include "quantizer/recipe.h"

#include <gtest/gtest.h>

#include "tests/support/command.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

TEST(Recipe, BuiltInOnesSurviveTheirJson) {
  for (const char* name : {"fast", "default", "best"}) {
    const Recipe recipe = *built_in_recipe(name);
    EXPECT_EQ(recipe.name, name);
    const Json json = to_json(recipe);
    const Result<Recipe> again = parse_recipe(json, "recipe");
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(to_json(*again), json);
    EXPECT_EQ(again->passes.size(), recipe.passes.size());
  }
  EXPECT_EQ(built_in_recipe("slow").error().code, Errc::not_found);
}

TEST(Recipe, MembersLeftOutHaveTheirDefaults) {
  const Recipe recipe = *parse_recipe(
      Json::parse(R"({"group": 32, "passes": [{"pass": "search", "sweeps": 5}, {"pass": "descend"}]})"), "r");
  EXPECT_EQ(recipe.format.group, 32u);
  EXPECT_EQ(recipe.format.bits, 4);
  ASSERT_TRUE(recipe.find<SearchOptions>());
  EXPECT_EQ(recipe.find<SearchOptions>()->sweeps, 5u);
  EXPECT_EQ(recipe.find<SearchOptions>()->clips, SearchOptions().clips);
  EXPECT_FALSE(recipe.find<CompensateOptions>());
  EXPECT_FALSE(recipe.find<StaticOptions>());
}

TEST(Recipe, EveryPassSurvivesItsJson) {
  const char* text = R"({"passes": [{"pass": "smooth", "percentile": 98}, {"pass": "allocate", "bpw": 5},
    {"pass": "weigh-tokens", "limit": 2}, {"pass": "static-activations", "limit": 0.25}, {"pass": "round"},
    {"pass": "compensate", "damping": 0.5}, {"pass": "descend", "rounds": 1}]})";
  const Result<Recipe> recipe = parse_recipe(Json::parse(text), "r");
  ASSERT_TRUE(recipe) << recipe.error().what;
  EXPECT_EQ(recipe->find<StaticOptions>()->limit, 0.25);
  const Json json = to_json(*recipe);
  EXPECT_EQ(to_json(*parse_recipe(json, "r")), json);
  EXPECT_EQ(json["passes"][3]["limit"], 0.25);
  EXPECT_EQ(json["passes"][5]["damping"], 0.5);
}

TEST(Recipe, OneLinePerMistake) {
  for (const auto& [text, part] : {
           std::pair<const char*, const char*>{"3", "r: must be an object"},
           {"{}", "\"passes\" must be an array"},
           {R"({"passes": []})", "\"passes\" must be, in this order"},
           {R"({"passes": [{"pass": "descend"}]})", "\"passes\" must be, in this order"},
           {R"({"passes": [{"pass": "search"}, {"pass": "smooth"}]})", "\"passes\" must be, in this order"},
           {R"({"passes": [{"pass": "search"}, {"pass": "round"}]})", "\"passes\" must be, in this order"},
           {R"({"passes": [{"pass": "search"}, {"pass": "static-activations"}]})",
            "\"passes\" must be, in this order"},
           {R"({"passes": [{"pass": "static-activations", "limit": -1}, {"pass": "search"}]})",
            "pass 0: \"limit\" must be a number from 0"},
           {R"({"passes": [{"pass": "magic"}]})",
            "pass 0: \"pass\" must be one of smooth, allocate, weigh-tokens"},
           {R"({"passes": [3]})", "pass 0: must be an object"},
           {R"({"passes": [{"pass": "search", "clip": 3}]})", "pass 0: \"clip\" is not known here"},
           {R"({"passes": [{"pass": "search", "clips": 0}]})", "\"clips\" must be a number from 1"},
           {R"({"passes": [{"pass": "search", "clips": -1}]})", "\"clips\" must be a number from 1"},
           {R"({"passes": [{"pass": "search", "clips": 1e300}]})", "\"clips\" must be a number from 1"},
           {R"({"passes": [{"pass": "search", "all_of_h": 1}]})", "\"all_of_h\" must be true or false"},
           {R"({"passes": [{"pass": "search"}, {"pass": "compensate", "damping": "much"}]})",
            "pass 1: \"damping\""},
           {R"({"bits": 5, "passes": [{"pass": "search"}]})", "\"bits\" must be 4 or 6"},
           {R"({"group": 48, "passes": [{"pass": "search"}]})", "\"group\" must be 32, 64 or 128"},
           {R"({"ends": "w4", "passes": [{"pass": "search"}]})", "\"ends\" must be w8 or f32"},
           {R"({"colour": 1, "passes": [{"pass": "search"}]})", "\"colour\" is not known here"},
       }) {
    const Result<Recipe> refused = parse_recipe(Json::parse(text), "r");
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Errc::invalid);
    EXPECT_NE(refused.error().what.find(part), std::string::npos) << text << ": " << refused.error().what;
  }
}

TEST(RecipeCommand, PrintsWhatItTakes) {
  const test::ScratchFolder scratch;
  const test::Outcome printed = test::run_dgq("quantize --print-recipe --recipe best --bpw 5.5");
  ASSERT_EQ(printed.exit_code, 0) << printed.err;
  const Json json = Json::parse(printed.out);
  EXPECT_EQ(json["passes"][1]["pass"], "allocate");
  EXPECT_EQ(json["passes"][1]["bpw"], 5.5);
  const Json same_group = Json::parse(test::run_dgq("quantize --print-recipe --group 32").out);
  EXPECT_EQ(same_group["group"], 32);
  for (const Json& pass : same_group["passes"]) EXPECT_NE(pass["pass"], "allocate");
  test::write_text(scratch / "r.json", printed.out);
  const test::Outcome again =
      test::run_dgq("quantize --print-recipe --recipe " + (scratch / "r.json").string());
  EXPECT_EQ(again.out, printed.out) << again.err;
  for (const auto& [arguments, part] :
       {std::pair<const char*, const char*>{"--group 32 --bpw 4.5", "give either"},
        {"--bpw 0.5", "--bpw must be 1 to 9"},
        {"--recipe slow", "there is no recipe \"slow\""}}) {
    const test::Outcome refused = test::run_dgq(std::string("quantize --print-recipe ") + arguments);
    EXPECT_NE(refused.exit_code, 0) << arguments;
    EXPECT_NE(refused.err.find(part), std::string::npos) << refused.err;
  }
  test::write_text(scratch / "r.json", "{\"passes\": 1}");
  const test::Outcome refused =
      test::run_dgq("quantize --print-recipe --recipe " + (scratch / "r.json").string());
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("r.json: \"passes\" must be an array"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace dgq

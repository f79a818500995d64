// JSON Schemas: which are refused, and which texts those that are taken mean.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/runtime/json_answers.h"

namespace dgq::test {
namespace {

TEST(JsonSchema, RefusesByNameAndPlace) {
  const struct {
    const char *schema, *message;
  } cases[] = {
      {R"({"type": "integer", "pattern": "a*"})", "the schema at #: \"pattern\" is not supported here"},
      {R"({"properties": {"a": {"type": "string", "format": "uri"}}})",
       "at #/properties/a: \"format\" is none of date, time,"},
      {R"({"type": "string", "multipleOf": 1})", "\"multipleOf\" is not supported here"},
      {R"({"type": "number", "multipleOf": 0.01})", "halves, quarters and so on to 64ths"},
      {R"({"type": "integer", "multipleOf": 1e16})", "of at most 15 digits"},
      {R"({"type": "integer", "multipleOf": 0})", "\"multipleOf\" must be a number above 0"},
      {R"({"type": "integer", "multipleOf": "7"})", "\"multipleOf\" must be a number above 0"},
      {R"({"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 6})", "no integer"},
      {R"({"type": "number", "minimum": 2, "exclusiveMaximum": 2})", "no number of at most 9 digits"},
      {R"({"type": "number", "exclusiveMinimum": 0, "maximum": 1e-7})", "no number of at most 9 digits"},
      {R"({"type": "number", "minimum": 1e9})", "no number of at most 9 digits"},
      {R"({"type": "number", "minimum": "1"})", "\"minimum\" must be a number"},
      {R"({"type": "string", "pattern": 5})", "\"pattern\" must be a regular expression"},
      {R"({"type": "string", "format": 5})", "\"format\" must be a name"},
      {R"x({"type": "string", "pattern": "a(?=b)"})x",
       "\"pattern\": this kind of group is not supported at byte 1"},
      {R"({"type": "string", "pattern": "(a)\\1"})", "\\1 is not supported at byte 3"},
      {R"({"type": "string", "pattern": "\\bword"})", "\\b is not supported"},
      {R"({"type": "string", "pattern": "\\p{L}"})", "\\p is not supported"},
      {R"({"type": "string", "pattern": "a^b"})", "^ inside of a choice is not supported"},
      {R"({"type": "string", "pattern": "a$b"})", "$ that is not at the end of a choice is not supported"},
      {R"x({"type": "string", "pattern": "(^a|b)"})x", "^ inside of a choice"},
      {R"({"type": "string", "pattern": "a**"})", "nothing that could be repeated"},
      {R"({"type": "string", "pattern": "*"})", "nothing that could be repeated"},
      {R"x({"type": "string", "pattern": "(a"})x", "a ( without its )"},
      {R"x({"type": "string", "pattern": "a)"})x", "a ) without its ("},
      {R"({"type": "string", "pattern": "[a"})", "a [ without its ]"},
      {R"({"type": "string", "pattern": "[b-a]"})", "a range in [ ]"},
      {R"({"type": "string", "pattern": "a{3,2}"})", "below m"},
      {R"({"type": "string", "pattern": "a{x}"})", "begins no {m,n}"},
      {R"({"type": "string", "pattern": "a{5000}"})", "a count above 4096"},
      {R"({"type": "string", "pattern": "a\\"})", "a \\ at the end"},
      {R"({"type": "string", "pattern": "\\ud800"})", "without its other half"},
      {R"({"type": "string", "pattern": "((a{1000}){1000}){1000}"})", "too large an automaton"},
      {R"({"type": "string", "pattern": "(((){4000}){4000}){4000}"})", "too large an automaton"},
      {R"({"type": "string", "pattern": "(a|b)*a(a|b){30}$"})", "too large an automaton"},
      {R"({"type": "string", "pattern": "^a$", "minLength": 2})", "no string matches"},
      {R"({"type": "string", "pattern": "^[]$"})", "no string matches"},
      {R"({"type": "array", "prefixItems": []})", "\"prefixItems\" is not"},
      {R"({"type": "array", "uniqueItems": true})",
       "\"uniqueItems\" is supported for \"items\" of at most 48"},
      {R"({"uniqueItems": true, "items": {"type": "array", "items": {"enum": [1]}}})", "is supported for"},
      {R"({"uniqueItems": 1})", "\"uniqueItems\" must be true or false"},
      {R"({"uniqueItems": true, "items": {"enum": [1, 1.0, 2]}, "minItems": 3})", "number of different"},
      {R"({"minProperties": 2})", "one name might be written twice"},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "minProperties": 2})", "is supported up to 1"},
      {R"({"properties": {"a": {}}, "minProperties": 2})", "is above 1, the number of names"},
      {R"({"required": ["a", "b"], "maxProperties": 1})", "names more than \"maxProperties\""},
      {R"({"minProperties": 3, "maxProperties": 2})", "\"minProperties\" is above \"maxProperties\""},
      {R"({"patternProperties": {"a": {}, "b$": {}}})", "\"b$\": a name may match \"a\" as well"},
      {R"({"patternProperties": {"^a": {}}, "properties": {"ab": {}}})",
       "\"ab\" of \"properties\" matches \"^a\""},
      {R"({"patternProperties": {"(": {}}})", "\"patternProperties\", \"(\": a ( without its )"},
      {R"({"patternProperties": []})", "\"patternProperties\" must be an object"},
      {R"({"allOf": [{"type": "string"}, {"minLength": 2}]})",
       "\"allOf\" of more than one schema is supported for"},
      {R"({"allOf": [{"properties": {"a": {}}, "maxProperties": 1}, {}]})",
       "#/allOf/0: \"maxProperties\" is not supported here"},
      {R"({"properties": {"a": {}}, "allOf": [{"properties": {"a": {"type": "null"}}}]})",
       "#/allOf/0: \"a\" has another schema"},
      {R"({"allOf": [{"properties": {"a": {}}, "additionalProperties": false}, {"properties": {"b": {}}}]})",
       "#/allOf/0: \"additionalProperties\": false forbids \"b\""},
      {R"({"allOf": [{"$ref": "#"}, {}]})", "or of itself"},
      {R"({"allOf": [{"$ref": "#/x", "not": {}}, {}], "x": {}})", "\"not\" is not supported here"},
      {R"({"allOf": [{"required": [1]}, {}]})", "\"required\" must be a list of names"},
      {R"({"allOf": [1, {}]})", "#/allOf/0 must be an object"},
      {R"({"not": {}})", "\"not\" is not supported"},
      {R"({"$ref": "https://example.com/s"})", "must point into the same schema"},
      {R"({"$ref": "#/$defs/x"})", "names #/$defs/x, which is not there"},
      {R"({"type": "thing"})", "\"type\" must be object, array"},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "\"minLength\" is above \"maxLength\""},
      {R"({"type": "integer", "minimum": 5, "maximum": 4})", "no integer"},
      {R"({"required": ["a"], "additionalProperties": false})", "forbids"},
      {R"({"properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "it never ends"},
      {R"({"$ref": "#"})", "it never ends"},
      {R"({"enum": []})", "\"enum\" must be a list"},
      {R"({"enum": ["a"], "type": "integer"})", "has the \"type\""},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})",
       "choices 0 and 1 of \"oneOf\" may both hold"},
      {R"({"oneOf": [{"type": "string"}, {"properties": {}}]})", "may both hold"},
      {R"([])", "must be an object"},
      {R"({"properties": {"a": false}})", "#/properties/a must be an object, or true"},
  };
  for (const auto& c : cases) {
    const auto grammar = compile_json_schema(json(c.schema));
    ASSERT_FALSE(grammar) << c.schema;
    EXPECT_NE(grammar.error().what.find(c.message), std::string::npos)
        << c.schema << ": " << grammar.error().what;
  }
}

TEST(JsonSchema, PatternsAreTheStringsThatStdRegexFindsThemIn) {
  SplitMix64 random(5);
  for (const char* pattern : kPatterns) {
    const OrderedJson schema = {{"type", "string"}, {"pattern", pattern}};
    const auto grammar = compile(schema);
    ASSERT_TRUE(grammar);
    int taken = 0;
    for (int i = 0; i < 2000; ++i) {
      constexpr std::string_view kPieces[] = {
          "a",  "b",  "c",  "d",  "x",    "y",    "0",    "7", "Z", "_", " ",
          "\"", "\\", "\n", "\t", "\x01", "\x1f", "\x7f", "é", "Ā", "☃", "\xE2\x80\xA8",
          "😀",  "😎"};
      std::string text;
      for (std::uint64_t n = random.next() % 5; n > 0; --n)
        text += kPieces[random.next() % std::size(kPieces)];
      const bool matches = finds(pattern, text);
      taken += matches;
      EXPECT_EQ(takes(*grammar, OrderedJson(text).dump()), matches) << pattern << ": " << OrderedJson(text);
    }
    EXPECT_GT(taken, 0) << pattern;
  }
}

TEST(JsonSchema, RandomPatternsAreRefusedOrMeanWhatStdRegexReads) {
  constexpr std::string_view kParts[] = {"a",    "b",     "é", "[ab]", "[^a]", ".",     "\\d", "\\W",
                                         "(",    "(?:",   ")", "|",    "*",    "+",     "?",   "{2}",
                                         "{1,}", "{0,2}", "^", "$",    "*?",   "[a-é]", "\\."};
  SplitMix64 random(9);
  int compiled = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string pattern;
    for (std::uint64_t n = 1 + random.next() % 9; n > 0; --n)
      pattern += kParts[random.next() % std::size(kParts)];
    const auto grammar = compile_json_schema({{"type", "string"}, {"pattern", pattern}});
    if (!grammar) {
      EXPECT_FALSE(grammar.error().what.empty());
      continue;
    }
    ++compiled;
    for (int k = 0; k < 20; ++k) {
      std::string text;
      for (std::uint64_t n = random.next() % 6; n > 0; --n)
        text += std::string_view("aab.5\n")[random.next() % 6];
      if (random.next() % 3 == 0) text += "é";
      EXPECT_EQ(takes(*grammar, OrderedJson(text).dump()), finds(pattern, text))
          << pattern << ": " << OrderedJson(text);
    }
  }
  EXPECT_GT(compiled, 300);
}

TEST(JsonSchema, NumbersWithLimitsAreThoseWithinThem) {
  SplitMix64 random(3);
  for (int i = 0; i < 300; ++i) {
    const auto number = [&] {
      return (static_cast<double>(random.next() % 4001) - 2000) / std::pow(10, random.next() % 5);
    };
    OrderedJson schema = {{"type", "number"}};
    for (const char* limit : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
      if (random.next() % 3 == 0) schema[limit] = number();
    const auto grammar = compile_json_schema(schema);
    if (schema.size() == 1 || !grammar) continue;
    for (int k = 0; k < 100; ++k) {
      char text[40];
      std::snprintf(text, sizeof text, "%.*f", static_cast<int>(random.next() % 7), number());
      const OrderedJson value = OrderedJson::parse(text);
      if (text[0] == '-' && value.get<double>() == 0) continue;  // never written with a sign
      EXPECT_EQ(takes(*grammar, text), validates(value, schema, schema)) << schema << ": " << text;
    }
    expect_valid(schema, 4 + random.next() % 10, static_cast<std::uint64_t>(i));
  }
}

TEST(JsonSchema, ChoicesOfOneOfThatExcludeEachOtherAreTaken) {
  for (const char* schema :
       {R"({"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]})",
        R"({"oneOf": [{"type": "string", "enum": ["a", "b"]}, {"const": "c"}]})",
        R"({"oneOf": [{"type": "object", "required": ["k"], "properties": {"k": {"const": "x"}, "v": {}}},
                      {"type": "object", "required": ["k"], "properties": {"k": {"const": "y"}}}]})"})
    for (std::uint64_t seed = 0; seed < 10; ++seed) expect_valid(json(schema), 60, seed);
}

TEST(JsonSchema, ObjectsOfAllOfHaveThePropertiesOfAll) {
  for (
      const char* schema :
      {R"({"allOf": [{"$ref": "#/$defs/named"}, {"$ref": "#/$defs/aged"}], "required": ["kids"], "type": "object",
            "properties": {"kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2}},
            "$defs": {"named": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                      "aged": {"allOf": [{"properties": {"age": {"type": "integer", "minimum": 0}}}]}}})",
       R"({"anyOf": [{"allOf": [{"required": ["a", "b"]}, {"properties": {"a": {"enum": [1, 2]}}}]}, {"type": "null"}]})"})
    for (std::uint64_t seed = 0; seed < 20; ++seed) expect_valid(json(schema), 20 + 4 * seed, seed);
}

TEST(JsonSchema, LargeAndTangledOnesEndSoon) {
  OrderedJson wide = {{"enum", OrderedJson::array()}},
              tangled = {{"$ref", "#/$defs/0"}, {"$defs", OrderedJson::object()}};
  for (int i = 0; i < 2000; ++i) wide["enum"].push_back("value " + std::to_string(i));
  expect_valid(wide, 40, 1);
  for (int i = 0; i < 25; ++i) {  // 2^25 ways through it
    const OrderedJson next = {{"$ref", "#/$defs/" + std::to_string(i + 1)}};
    tangled["$defs"][std::to_string(i)]["anyOf"] = OrderedJson::array({next, next, {{"const", i}}});
  }
  tangled["$defs"]["25"]["const"] = 25;
  const auto grammar = compile(tangled);
  ASSERT_TRUE(grammar);
  EXPECT_TRUE(takes(*grammar, "25") && takes(*grammar, "0") && !takes(*grammar, "26"));
}

}  // namespace
}  // namespace dgq::test

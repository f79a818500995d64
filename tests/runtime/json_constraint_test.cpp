// Answers under a schema: with whatever logits, whole and valid, in as many tokens as they may have.
#include "runtime/json_constraint.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/runtime/json_answers.h"
#include "tests/support/command.h"
#include "tests/support/not_covered.h"

namespace dgq::test {
namespace {

constexpr const char* kFormats[] = {"date", "time", "date-time", "uuid", "email", "ipv4"};

// Schemas of every kind, nested up to `depth`.
OrderedJson random_schema(SplitMix64& random, int depth) {
  const auto below = [&](std::uint64_t n) { return random.next() % n; };
  const auto maybe = [&] { return below(2) == 0; };
  OrderedJson schema = OrderedJson::object();
  switch (below(depth > 0 ? 9 : 6)) {
    case 0:
      schema["type"] = "string";
      if (maybe()) schema["minLength"] = below(4);
      if (maybe()) schema["maxLength"] = 4 + below(4);
      if (below(3) == 0) schema["pattern"] = kPatterns[below(std::size(kPatterns))];
      return schema;
    case 1:
      schema["type"] = "integer";
      if (maybe()) schema["minimum"] = static_cast<std::int64_t>(below(300)) - 200;
      if (maybe()) schema["exclusiveMaximum"] = 101 + below(5000);
      if (below(3) == 0) schema["multipleOf"] = below(2) == 0 ? 1 + below(40) : 2.5;
      return schema;
    case 2:
      schema["type"] = "number";
      if (maybe()) schema["minimum"] = static_cast<double>(below(2000)) / 7 - 200;
      if (maybe()) schema["maximum"] = 90 + static_cast<double>(below(1000)) / 3;
      if (maybe()) schema["exclusiveMinimum"] = -0.5 - static_cast<double>(below(3)) / 8;
      if (below(3) == 0) schema["multipleOf"] = static_cast<double>(1 + below(200)) / 64;
      return schema;
    case 3:
      return {{"type", OrderedJson::array({"boolean", "null", "string"})}};
    case 4:
      return {{"enum", OrderedJson::array({"a", "ab", "é\n", 1, -12, nullptr, true, {{"k", 1}}})}};
    case 5:
      if (maybe()) return {{"type", "string"}, {"format", kFormats[below(std::size(kFormats))]}};
      return maybe() ? OrderedJson{{"const", "x\"y"}} : OrderedJson::object();
    case 6: {
      if (below(3) == 0) {
        schema = {{"type", "array"}, {"items", {{"enum", {"a", "ab", 1, 1.0, {{"k", 1}}, 12, -1, "é"}}}}};
        schema["uniqueItems"] = true;
      } else {
        schema = {{"type", "array"}, {"items", random_schema(random, depth - 1)}};
      }
      if (maybe()) schema["minItems"] = below(3);
      if (maybe()) schema["maxItems"] = 2 + below(3);
      return schema;
    }
    case 7:
      schema["anyOf"] = OrderedJson::array();
      for (std::uint64_t i = 0; i <= below(3); ++i)
        schema["anyOf"].push_back(random_schema(random, depth - 1));
      return schema;
    default: {
      schema["type"] = "object";
      schema["properties"] = OrderedJson::object();
      schema["required"] = OrderedJson::array();
      for (std::uint64_t i = below(5); i > 0; --i) {
        const std::string name = "p" + std::to_string(i);
        schema["properties"][name] = random_schema(random, depth - 1);
        if (maybe()) schema["required"].push_back(name);
      }
      if (below(3) == 0)
        schema["maxProperties"] = std::max<std::size_t>(1, schema["required"].size() + below(2));
      if (below(3) == 0 && (schema["properties"].empty() || schema["required"].empty()))
        schema["minProperties"] = 1u;
      if (below(3) == 0) {
        schema["patternProperties"] = {{"^[a-f]{1,3}$", random_schema(random, depth - 1)},
                                       {"[0-9]\"$", random_schema(random, depth - 1)}};
      } else if (maybe() && !schema.contains("minProperties")) {
        schema["additionalProperties"] = false;
      }
      return schema;
    }
  }
}

TEST(JsonConstraint, WhateverTheLogitsAnswersAreWholeAndValid) {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    SplitMix64 random(seed);
    expect_valid(random_schema(random, 3), 1 + random.next() % 120, seed);
  }
}

// Python's re knows other \w.
bool reads_alike(const OrderedJson& schema) { return schema.dump().find("\\\\w") == std::string::npos; }

TEST(JsonConstraint, AnswersAreValidForPythonsJsonschemaToo) {
  if (run_shell("python3 -c 'import jsonschema'").exit_code != 0)
    return not_covered("answers judged by python3-jsonschema: it is not installed");
  const ScratchFolder folder;
  std::ofstream lines(folder / "answers");
  for (std::uint64_t seed = 1000; seed < 1400; ++seed) {
    SplitMix64 random(seed);
    const OrderedJson schema = random_schema(random, 2);
    if (!reads_alike(schema)) continue;
    const Answer got = answer(compile(schema), byte_level(), kEnd, 1 + random.next() % 120, seed);
    lines << OrderedJson::array({schema, OrderedJson::parse(got.text)}) << "\n";
  }
  lines.close();
  std::ofstream(folder / "judge.py")
      << "import json, sys\n"
         "from jsonschema import Draft202012Validator as Validator\n"
         "for line in open(sys.argv[1], encoding='utf-8'):\n"
         "  schema, value = json.loads(line)\n"
         "  Validator.check_schema(schema)\n"
         "  Validator(schema, format_checker=Validator.FORMAT_CHECKER).validate(value)\n";
  const auto judged =
      run_shell("python3 " + (folder / "judge.py").string() + " " + (folder / "answers").string());
  EXPECT_EQ(judged.exit_code, 0) << judged.err;
}

TEST(JsonConstraint, RecursionEndsWhateverTheLogits) {
  const OrderedJson tree =
      json(R"({"type": "object", "required": ["v", "kids"], "additionalProperties": false,
      "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#"}}}})");
  const OrderedJson list =
      json(R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["next"],
      "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}}}})");
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (const OrderedJson& schema : {tree, list}) expect_valid(schema, 20 + 40 * seed, seed);
}

TEST(JsonConstraint, AnyObjectIsOneWhateverTheLogits) {
  const auto grammar = std::make_shared<const JsonGrammar>(any_json_object());
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Answer got = answer(grammar, byte_level(), kEnd, 10 + 5 * seed, seed);
    const OrderedJson value = OrderedJson::parse(got.text, nullptr, false);
    EXPECT_TRUE(value.is_object()) << got.text;
    EXPECT_LE(got.tokens, 10 + 5 * seed);
  }
}

TEST(JsonConstraint, TheFewestTokensAreEnoughAndSaidSo) {
  const auto grammar = compile(json(R"({"type": "object", "required": ["name", "tags"], "properties": {
      "name": {"type": "string", "minLength": 3}, "nick": {"type": "string"},
      "tags": {"type": "array", "minItems": 2, "items": {"type": "integer", "minimum": 10}}}})"));
  auto constraint = JsonConstraint::make(grammar, byte_level(), {kEnd});
  ASSERT_TRUE(constraint);
  EXPECT_EQ((*constraint)->least_tokens(), std::string(R"({"name":"abc","tags":[10,11]})").size());
  const Answer got = answer(grammar, byte_level(), kEnd, 0, 1);
  EXPECT_EQ(got.text.size(), (*constraint)->least_tokens()) << got.text;
  EXPECT_TRUE(got.hurried);
}

TEST(JsonConstraint, TheSameLogitsAndSeedGiveTheSameText) {
  const auto grammar = compile(json(R"({"type": "array", "items": {}})"));
  EXPECT_EQ(answer(grammar, byte_level(), kEnd, 200, 5).text,
            answer(grammar, byte_level(), kEnd, 200, 5).text);
}

TEST(JsonConstraint, TokensOfByteFallbackTokenizersToo) {
  const auto trie = trie_of(*parse(byte_fallback_json()));
  const auto grammar = compile(json(R"({"type": "object", "required": ["ab"],
      "properties": {"ab": {"type": "string", "maxLength": 12}}})"));
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Answer got = answer(grammar, trie, 2, 80, seed);
    EXPECT_TRUE(OrderedJson::accept(got.text)) << got.text;
  }
}

TEST(JsonConstraint, ManyStatesAreForgottenWithoutATrace) {
  const auto grammar = compile(json(R"({"type": "string", "minLength": 3000})"));
  const Answer got = answer(grammar, byte_level(), kEnd, 0, 3);
  EXPECT_EQ(code_points(OrderedJson::parse(got.text).get<std::string>()), 3000u);
}

TEST(JsonAutomaton, TakesWhatTheGrammarSays) {
  const struct {
    const char *schema, *text;
    bool taken;
  } cases[] = {
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})",
       R"({"a":1, "b": [true,null]})", true},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})", R"({"b":1})", true},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})", R"({"b":1,"a":2})", false},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})", R"({"a":1,})", false},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})", R"({"a":1.0})", false},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}})", R"({"a":01})", false},
      {R"({"type": "object", "properties": {"a": {}}, "required": ["a"]})", "{}", false},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})", R"({"x": 1,"y": -20})", true},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})", R"({"x":"1"})", false},
      {R"({"type": "object", "additionalProperties": false})", "{}", true},
      {R"({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2})", "[]", false},
      {R"({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2})", "[true, false]",
       true},
      {R"({"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2})", "[true,true,true]",
       false},
      {R"({"type": "string"})", R"("\u00e9\n\"é😀")", true},
      {R"({"type": "string"})", R"("\ud83d")", false},
      {R"({"type": "string"})", "\"\xE0\x80\x80\"", false},
      {R"({"type": "string"})", "\"a\nb\"", false},
      {R"({"type": "string", "maxLength": 2})", R"("é\n")", true},
      {R"({"type": "string", "maxLength": 2})", R"("abc")", false},
      {R"({"type": "number"})", "-0.5e-3", true},
      {R"({"type": "number"})", "1e999", false},
      {R"({"type": "number"})", ".5", false},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})", "-4", false},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})", "-3", true},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})", "0", true},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})", "12", true},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})", "13", false},
      {R"({"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 101})", "100", true},
      {R"({"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 101})", "10", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "-1.5", true},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "-1.500001", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "-1", true},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "-0.25", true},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "-0", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "0", true},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "19.999999", true},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "20", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "7.", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "7.1234567", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "01", false},
      {R"({"type": "number", "minimum": -1.5, "exclusiveMaximum": 20})", "1e0", false},
      {R"({"type": "number", "exclusiveMinimum": 0.1, "maximum": 0.3})", "0.1", false},
      {R"({"type": "number", "exclusiveMinimum": 0.1, "maximum": 0.3})", "0.100001", true},
      {R"({"type": "number", "exclusiveMinimum": 0.1, "maximum": 0.3})", "0.3", true},
      {R"({"type": "number", "exclusiveMinimum": 0.1, "maximum": 0.3})", "0.300001", false},
      {R"({"minimum": 3})", "3.5", true},
      {R"({"type": "integer", "multipleOf": 7})", "0", true},
      {R"({"type": "integer", "multipleOf": 7})", "-21", true},
      {R"({"type": "integer", "multipleOf": 7})", "22", false},
      {R"({"type": "integer", "multipleOf": 2.5})", "15", true},
      {R"({"type": "integer", "multipleOf": 2.5})", "12", false},
      {R"({"type": "integer", "multipleOf": 1000, "minimum": 1, "maximum": 2500})", "2000", true},
      {R"({"type": "integer", "multipleOf": 1000, "minimum": 1, "maximum": 2500})", "0", false},
      {R"({"type": "integer", "multipleOf": 1000, "minimum": 1, "maximum": 2500})", "3", false},
      {R"({"type": "number", "multipleOf": 0.25})", "-3.75", true},
      {R"({"type": "number", "multipleOf": 0.25})", "3.7", false},
      {R"({"type": "number", "multipleOf": 0.25})", "3.750", true},
      {R"({"type": "number", "multipleOf": 3})", "6.0", true},
      {R"({"type": "number", "multipleOf": 3})", "6.3", false},
      {R"({"multipleOf": 0.015625, "maximum": 1})", "0.984375", true},
      {R"({"uniqueItems": true, "items": {"enum": ["a", "b"]}})", "[\"b\", \"a\"]", true},
      {R"({"uniqueItems": true, "items": {"enum": ["a", "b"]}})", "[\"b\",\"b\"]", false},
      {R"({"uniqueItems": true, "items": {"enum": ["a", "b"]}})", "[]", true},
      {R"({"uniqueItems": true, "items": {"enum": ["a", "b"]}, "minItems": 2})", "[\"a\"]", false},
      {R"({"uniqueItems": true, "items": {"enum": [1, 12, 2]}, "maxItems": 2})", "[12,1]", true},
      {R"({"uniqueItems": true, "items": {"enum": [1, 12, 2]}, "maxItems": 2})", "[12,1,2]", false},
      {R"({"uniqueItems": true, "items": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}})",
       "[null,false,true]", true},
      {R"({"uniqueItems": true, "maxItems": 1})", "[5]", true},
      {R"({"uniqueItems": false, "items": {"type": "integer"}})", "[5,5]", true},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 2})", R"({"a":1,"c":2})", true},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 2})", R"({"a":1,"b":2,"c":3})", false},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 2})",
       R"({"a":1,"b":2})", false},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 1})", R"({"c":2})",
       true},
      {R"({"properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 1})",
       R"({"a":1,"c":2})", false},
      {R"({"properties": {"a": {}, "b": {}}, "minProperties": 1})", "{}", false},
      {R"({"properties": {"a": {}, "b": {}}, "minProperties": 1})", R"({"b":0})", true},
      {R"({"properties": {"a": {}, "b": {}}, "minProperties": 2})", R"({"b":0})", false},
      {R"({"properties": {"a": {}, "b": {}}, "minProperties": 2})", R"({"a":0,"b":0})", true},
      {R"({"additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2})", "{}",
       false},
      {R"({"additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2})",
       R"({"x":1,"y":2})", true},
      {R"({"additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2})",
       R"({"x":1,"y":2,"z":3})", false},
      {R"({"allOf": [{"$ref": "#/$defs/a"}, {"type": "object", "properties": {"y": {"type": "null"}}, "required": ["y"]}],
           "properties": {"z": {}}, "$defs": {"a": {"allOf": [{"properties": {"x": {"type": "integer"}}}]}}})",
       R"({"z":1,"x":2,"y":null})", true},
      {R"({"allOf": [{"properties": {"x": {"type": "integer"}}}, {"required": ["x"]}]})", "{}", false},
      {R"({"allOf": [{"properties": {"x": {"type": "integer"}}}, {"required": ["x"]}]})", R"({"x":null})",
       false},
      {R"({"allOf": [{"properties": {"x": {"type": "integer"}}}, {"required": ["x", "w"]}]})",
       R"({"x":1,"w":[]})", true},
      {R"({"allOf": [{"properties": {"x": {}}}, {"properties": {"x": {}}, "additionalProperties": false}]})",
       R"({"x":1})", true},
      {R"({"allOf": [{"type": "object"}, {}]})", R"({"any":1})", true},
      {R"({"allOf": [{"properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}, {}]})",
       R"({"kids":[{"kids":[]}]})", true},
      {R"({"type": "object", "maxProperties": 0})", "{}", true},
      {R"({"type": "object", "maxProperties": 0})", R"({"a":1})", false},
      {R"({"patternProperties": {"^a": {"type": "integer"}, "^b+$": {"type": "null"}}})",
       R"({"ax": 1,"bb":null,"a":2})", true},
      {R"({"patternProperties": {"^a": {"type": "integer"}, "^b+$": {"type": "null"}}})", R"({"ax":null})",
       false},
      {R"({"patternProperties": {"^a": {"type": "integer"}, "^b+$": {"type": "null"}}})", R"({"c":null})",
       false},
      {R"({"patternProperties": {"^a": {"type": "integer"}}, "required": ["ab"], "additionalProperties": false})",
       R"({"ab":1})", true},
      {R"({"patternProperties": {"^a": {"type": "integer"}}, "required": ["ab"]})", R"({"ab":null})", false},
      {R"({"patternProperties": {"^\"$": {"type": "integer"}}})", R"({"\"":1})", true},
      {R"({"type": "string", "pattern": "^a{2,3}$"})", "\"aa\"", true},
      {R"({"type": "string", "pattern": "^a{2,3}$"})", "\"aaaa\"", false},
      {R"({"type": "string", "pattern": "^a{2,3}$", "minLength": 3})", "\"aa\"", false},
      {R"({"type": "string", "pattern": "^a{2,3}$", "minLength": 3})", "\"aaa\"", true},
      {R"({"type": "string", "pattern": "b", "maxLength": 3})", "\"abc\"", true},
      {R"({"type": "string", "pattern": "b", "maxLength": 3})", "\"acdb\"", false},
      {R"({"type": "string", "pattern": "^.$"})", R"("\"")", true},
      {R"({"type": "string", "pattern": "^.$"})", R"("\n")", false},
      {R"({"type": "string", "pattern": "^\\s$"})", R"("\n")", true},
      {R"({"type": "string", "pattern": "^[^b]$"})", R"("\u0001")", true},
      {R"({"type": "string", "pattern": "^[^b]$"})", "\"😀\"", true},
      {R"({"type": "string", "pattern": "^\\ud83d\\ude00\\u00e9\\x41$"})", "\"😀éA\"", true},
      {R"({"pattern": "^[\\]\\-a]+?$"})", R"("]-a")", true},
      {R"({"pattern": "^(?:|x)y$"})", R"("y")", true},
      {R"({"type": "string", "format": "date"})", R"("2024-02-29")", true},
      {R"({"type": "string", "format": "date"})", R"("1900-02-29")", false},
      {R"({"type": "string", "format": "date"})", R"("2000-02-29")", true},
      {R"({"type": "string", "format": "date"})", R"("2023-04-31")", false},
      {R"({"type": "string", "format": "date"})", R"("0000-01-01")", false},
      {R"({"type": "string", "format": "time"})", R"("23:59:59.5+05:30")", true},
      {R"({"type": "string", "format": "time"})", R"("24:00:00Z")", false},
      {R"({"type": "string", "format": "time"})", R"("12:00:00")", false},
      {R"({"type": "string", "format": "date-time"})", R"("2026-11-29T10:00:00Z")", true},
      {R"({"type": "string", "format": "date-time", "pattern": "Z$"})", R"("2026-11-29T10:00:00+01:00")",
       false},
      {R"({"type": "string", "format": "uuid"})", R"("123e4567-e89b-12d3-A456-426614174000")", true},
      {R"({"type": "string", "format": "uuid"})", R"("123e4567e89b12d3a456426614174000")", false},
      {R"({"type": "string", "format": "email"})", R"("a.b+c@mail.example.org")", true},
      {R"({"type": "string", "format": "email"})", R"("a..b@example.org")", false},
      {R"({"type": "string", "format": "ipv4"})", R"("192.168.0.255")", true},
      {R"({"type": "string", "format": "ipv4"})", R"("192.168.0.256")", false},
      {R"({"const": {"a": [1, "x"]}})", R"({"a":[1,"x"]})", true},
      {R"({"enum": [1, 12]})", "12", true},
      {R"({"enum": [1, 12]})", "1", true},
      {R"({"type": "string", "enum": ["a", 1]})", "1", false},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})", "null", true},
  };
  for (const auto& c : cases) {
    const auto grammar = compile(json(c.schema));
    ASSERT_TRUE(grammar);
    EXPECT_EQ(takes(*grammar, c.text), c.taken) << c.schema << ": " << c.text;
  }
}

TEST(JsonAutomaton, NestsSoDeepAndNoDeeper) {
  const auto grammar = compile(json(R"({"type": "array", "items": {"$ref": "#"}})"));
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(takes(*grammar, nested(kMaxJsonDepth)));
  EXPECT_FALSE(takes(*grammar, nested(kMaxJsonDepth + 1)));
}

}  // namespace
}  // namespace dgq::test

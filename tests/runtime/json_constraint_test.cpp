// Answers under a schema: with whatever logits, whole and valid, in as many tokens as they may have.
#include "runtime/json_constraint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "runtime/sampler.h"
#include "tests/runtime/json_validator.h"
#include "tests/runtime/small_tokenizer.h"
#include "tests/support/command.h"
#include "tests/support/not_covered.h"

namespace dgq {
namespace {

std::shared_ptr<const TokenTrie> trie_of(const Tokenizer& tokenizer) {
  auto trie = TokenTrie::make(tokenizer);
  EXPECT_TRUE(trie) << trie.error().what;
  return std::make_shared<const TokenTrie>(std::move(*trie));
}

const std::shared_ptr<const TokenTrie>& byte_level() {
  static const auto trie = trie_of(*test::parse(test::byte_level_json()));
  return trie;
}
constexpr std::int32_t kEnd = 260;

std::shared_ptr<const JsonGrammar> compile(const OrderedJson& schema) {
  auto grammar = compile_json_schema(schema);
  EXPECT_TRUE(grammar) << schema << ": " << grammar.error().what;
  return grammar ? std::make_shared<const JsonGrammar>(std::move(*grammar)) : nullptr;
}
OrderedJson json(const char* text) { return OrderedJson::parse(text); }

bool takes(const JsonGrammar& grammar, std::string_view text) {
  JsonAutomaton automaton(grammar);
  JsonAutomaton::State state = automaton.start();
  for (const char byte : text) {
    state = automaton.next(state, static_cast<unsigned char>(byte));
    if (state == JsonAutomaton::kDead) return false;
  }
  return automaton.least(state) == 0;
}

// A model that knows nothing. In some of its steps ASCII is likelier, so that texts are of many kinds.
struct Answer {
  std::string text;
  std::size_t tokens = 0;
  bool hurried = false;
};
Answer answer(const std::shared_ptr<const JsonGrammar>& grammar, const std::shared_ptr<const TokenTrie>& trie,
              std::int32_t eos, std::size_t max_tokens, std::uint64_t seed) {
  auto made = JsonConstraint::make(grammar, trie, {eos});
  EXPECT_TRUE(made) << made.error().what;
  JsonConstraint& constraint = **made;
  SplitMix64 random(seed);
  Sampler sampler({.temperature = 1, .seed = seed});
  std::vector<float> logits(std::max(trie->vocabulary_size(), static_cast<std::size_t>(eos) + 1));
  Answer answer;
  const std::size_t limit = std::max(max_tokens, constraint.least_tokens());
  const double ends = random.next_unit() * 8;  // how much the model likes to close what is open
  while (!constraint.is_over() && answer.tokens < limit) {
    for (float& logit : logits) logit = static_cast<float>(random.next_unit() * 4);
    for (const char end : std::string("\"]},"))
      logits[static_cast<unsigned char>(end)] += static_cast<float>(ends);
    const auto id = sampler.sample(logits, {}, constraint.allowed(limit - answer.tokens));
    EXPECT_TRUE(id) << "nothing is allowed after " << answer.text;
    if (!id || *id == eos) break;
    constraint.accept(*id);
    answer.text += trie->bytes(*id);
    ++answer.tokens;
  }
  answer.hurried = constraint.was_hurried();
  return answer;
}

void expect_valid(const OrderedJson& schema, std::size_t max_tokens, std::uint64_t seed) {
  const auto grammar = compile(schema);
  ASSERT_TRUE(grammar);
  const Answer got = answer(grammar, byte_level(), kEnd, max_tokens, seed);
  const OrderedJson value = OrderedJson::parse(got.text, nullptr, false);
  ASSERT_FALSE(value.is_discarded()) << schema << "\nseed " << seed << ": " << got.text;
  EXPECT_TRUE(test::validates(value, schema, schema)) << schema << "\nseed " << seed << ": " << got.text;
}

// Each has strings of 4 characters.
constexpr const char* kPatterns[] = {R"(^[a-z]+$)",
                                     R"(^(ab|cd)*$)",
                                     R"([0-9])",
                                     R"(^\d{2}.?.$)",
                                     R"(^[^a-zA-Z]*$)",
                                     R"(^"?\\?[\t\n]?.*$)",
                                     R"(\w\W|^é+$)",
                                     R"(^(a|(b|c){2})+$)",
                                     R"(^[Ā-ɏ☀-☃😀-😎]{2,}$)",
                                     R"(x$|^y)",
                                     ""};
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
  if (test::run_shell("python3 -c 'import jsonschema'").exit_code != 0)
    return test::not_covered("answers judged by python3-jsonschema: it is not installed");
  const test::ScratchFolder folder;
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
      test::run_shell("python3 " + (folder / "judge.py").string() + " " + (folder / "answers").string());
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
  const auto trie = trie_of(*test::parse(test::byte_fallback_json()));
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
  EXPECT_EQ(test::code_points(OrderedJson::parse(got.text).get<std::string>()), 3000u);
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
      const bool matches = test::finds(pattern, text);
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
      EXPECT_EQ(takes(*grammar, OrderedJson(text).dump()), test::finds(pattern, text))
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
      EXPECT_EQ(takes(*grammar, text), test::validates(value, schema, schema)) << schema << ": " << text;
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
}  // namespace dgq

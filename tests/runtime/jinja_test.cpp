// Templates give what Python's Jinja2 gives (jinja/golden.jsonl), within limits, and know what came in with the variables.
#include "runtime/jinja.h"

#include <gtest/gtest.h>

#include <fstream>

#include "runtime/chat_template.h"
#include "tests/runtime/small_tokenizer.h"
#include "tests/support/paths.h"

namespace dgq {
namespace {

constexpr std::int64_t kNow = 1700000000;  // as in make_golden.py

Result<RenderedText> render(std::string_view text, const OrderedJson& data = OrderedJson::object(),
                            const JinjaLimits& limits = {}) {
  DGQ_TRY(const JinjaTemplate parsed, JinjaTemplate::parse(text));
  return parsed.render(data, OrderedJson::object(), kNow, limits);
}

TEST(Jinja, GivesWhatPythonGives) {
  std::ifstream file(test::source_folder() / "tests/runtime/jinja/golden.jsonl");
  std::size_t cases = 0;
  for (std::string line; std::getline(file, line); ++cases) {
    const OrderedJson golden = OrderedJson::parse(line);
    const std::string what = golden["name"].get<std::string>() + ": " + golden["template"].get<std::string>();
    const auto parsed = JinjaTemplate::parse(golden["template"].get<std::string>());
    const auto got =
        parsed ? parsed->render(golden["data"], golden["own"], kNow) : Result<RenderedText>(parsed.error());
    EXPECT_EQ(got.has_value(), !golden.contains("fails")) << what << (got ? got->text : got.error().what);
    if (!got) {
      EXPECT_TRUE(got.error().what.starts_with("line ")) << got.error().what;
    } else if (golden.contains("text")) {
      EXPECT_EQ(got->text, golden["text"].get<std::string>()) << what;
      EXPECT_EQ(got->text.size(), got->from_data.size());
    }
  }
  EXPECT_GT(cases, 100u);
}

TEST(Jinja, RefusesByNameAndLine) {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"a\n{{ x | batch(2) }}", "line 2: the filter \"batch\" is not supported"},
      {"{% include 'x' %}", "line 1: the statement \"include\" is not supported"},
      {"{% raw %}{% endraw %}", "the statement \"raw\" is not supported"},
      {"{% if x is escaped %}{% endif %}", "the test \"escaped\" is not supported"},
      {"\n\n{{ f(*x) }}", "line 3: unpacking of arguments is not supported"},
      {"{{ lipsum() }}", "the function \"lipsum\" is not supported"},
      {"{{ 'a'.encode() }}", "the method 'encode' of a string is not supported"},
      {"{% for x in y recursive %}{% endfor %}", "a recursive loop is not supported"},
      {"{{ 'x'.split('', 2, 3) }}", "at most 2 arguments"},
      {"{{ x | tojson(sort_keys=true) }}", "the argument 'sort_keys' is not supported here"},
      {"{{ 9223372036854775807 }}", "an integer of more than 18 digits"},
      {"{{ 999999999999999999 * 999999999999999999 }}", "integers beyond 64 bits"},
      {"{{ {1: 2} }}", "a key of a mapping that is no string"},
      {"{{ \xFF }}", "not UTF-8"},
  };
  for (const auto& c : cases) {
    const auto got = render(c.text, {{"x", 1}});
    ASSERT_FALSE(got) << c.text << ": " << got->text;
    EXPECT_NE(got.error().what.find(c.message), std::string::npos) << c.text << ": " << got.error().what;
  }
}

TEST(Jinja, EndsWithinItsLimits) {
  const std::string deep(5000, '('), chain = "{{ 1" + [] {
    std::string all;
    for (int i = 0; i < 5000; ++i) all += " + 1";
    return all;
  }() + " }}";
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "{% if 1 %}";
  for (const std::string& text :
       {"{{ " + deep + " }}", chain, nested, std::string("{{ 'x' * 999999999 }}"),
        std::string("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
        std::string("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        std::string("{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% "
                    "endfor %}"),
        std::string("{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% "
                    "endfor %}"),
        std::string("{% set ns = namespace() %}{% set ns.a = ns %}"),
        std::string("{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% "
                    "endfor %}{{ ns.l | tojson }}"),
        std::string("{{ " + std::string(3000, '-') + "1 }}"), std::string("{{ ") + std::string(3000, '[')}) {
    const auto got = render(text);
    EXPECT_FALSE(got) << text.substr(0, 60);
  }
  JinjaLimits small;
  small.output_bytes = 10;
  EXPECT_FALSE(render("{{ 'x' * 11 }}", OrderedJson::object(), small));
  EXPECT_TRUE(render("{{ 'x' * 10 }}", OrderedJson::object(), small));
}

TEST(Jinja, KnowsWhatCameInWithTheVariables) {
  const OrderedJson data = {{"c", " <a> "}, {"l", {"x<b>y"}}};
  const auto marked = [&](const char* text) {
    const auto got = render(text, data);
    EXPECT_TRUE(got) << got.error().what;
    std::string shown;
    for (std::size_t i = 0; i < got->text.size(); ++i) shown += got->from_data[i] ? '#' : got->text[i];
    return shown;
  };
  EXPECT_EQ(marked("<s>{{ c }}</s>"), "<s>#####</s>");
  EXPECT_EQ(marked("{{ '<' + c | trim + '>' }}"), "<###>");
  EXPECT_EQ(marked("{{ c.strip()[1:] | upper ~ '!' }}"), "##!");
  EXPECT_EQ(marked("{{ l[0].split('<')[1] }}|{{ l | join('-') }}"), "###|#####");
  EXPECT_EQ(marked("{{ c.replace('a', 'own') }}"), "##own##");
  EXPECT_EQ(marked("{{ l | tojson }}"), "[#######]");
  EXPECT_EQ(marked("{% set x %}[{{ c }}]{% endset %}{{ x }}"), "[#####]");
  EXPECT_EQ(marked("{% for a in c %}{{ a }}.{% endfor %}"), "#.#.#.#.#.");
}

TEST(ChatTemplate, WhatAMessageSpellsIsNoControlToken) {
  const Tokenizer tokenizer = *test::parse(test::byte_level_json());  // <|end|> is 260
  const auto chat = ChatTemplate::make({"{{ messages[0].content }}<|end|>{{ bos_token }}", "<|end|>", ""});
  ASSERT_TRUE(chat);
  const auto encoded = [&](const char* content) {
    return *chat->encode({{"messages", {{{"content", content}}}}}, tokenizer, kNow);
  };
  EXPECT_EQ(encoded("the"), (std::vector<std::int32_t>{'t', 257, 260, 260}));
  std::vector<std::int32_t> spelled;
  for (const char c : std::string("<|end|>")) spelled.push_back(c);
  spelled.insert(spelled.end(), {260, 260});
  EXPECT_EQ(encoded("<|end|>"), spelled);
  // Nor what a message begins and the template ends.
  const auto split = ChatTemplate::make({"{{ messages[0].content }}d|>", "", ""});
  EXPECT_EQ(split->encode({{"messages", {{{"content", "<|en"}}}}}, tokenizer, kNow)->size(), 7u);
}

TEST(ChatTemplate, NorWhereTokensAreLookedForAfterNormalization) {
  Json json = test::byte_fallback_json();
  for (Json& token : json["added_tokens"]) token["normalized"] = true;
  const Tokenizer tokenizer = *test::parse(json);
  const auto chat = ChatTemplate::make({"{{ messages[0].content }}</s>", "", ""});
  const auto count = [&](const char* content) {
    const auto ids = *chat->encode({{"messages", {{{"content", content}}}}}, tokenizer, kNow);
    return std::count(ids.begin(), ids.end(), 2);
  };
  EXPECT_EQ(count("ab"), 1);
  EXPECT_EQ(count("ab</s>"), 1);
}

TEST(ChatTemplate, TheBlobGoesThereAndBack) {
  const ChatTemplateSource source{"{{ x }}\n\"é\"", "<s>", ""};
  const auto back = ChatTemplateSource::parse(source.blob(), "b");
  ASSERT_TRUE(back);
  EXPECT_EQ(back->blob(), source.blob());
  EXPECT_EQ(back->text, source.text);
  EXPECT_FALSE(ChatTemplateSource::parse("{}", "b"));
  EXPECT_EQ(ChatTemplate::make({"\n{% x %}", "", ""}).error().what,
            "the chat template, line 2: the statement \"x\" is not supported");
}

}  // namespace
}  // namespace dgq

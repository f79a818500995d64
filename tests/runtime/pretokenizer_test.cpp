#include "runtime/pretokenizer.h"

#include <gtest/gtest.h>

namespace dgq {
namespace {

using Texts = std::vector<std::string>;

Texts words(const std::vector<PretokenizerStep>& steps, std::string text) {
  const auto result = pretokenize(steps, std::move(text), true);
  if (!result) return {"error: " + result.error().what};
  Texts out;
  for (const auto [begin, end] : result->ranges) out.push_back(result->text.substr(begin, end - begin));
  return out;
}

Pattern regex(std::string_view expression) {
  auto pattern = Pattern::regex(expression, "t.json");
  EXPECT_TRUE(pattern) << pattern.error().what;
  return *pattern;
}

Texts split(std::string_view expression, SplitBehavior behavior, std::string text, bool invert = false) {
  return words({SplitStep{regex(expression), behavior, invert}}, std::move(text));
}

TEST(Pretokenizer, SplitBehaviors) {
  const std::string text = "--ab-c--";
  EXPECT_EQ(split("-", SplitBehavior::removed, text), (Texts{"ab", "c"}));
  EXPECT_EQ(split("-", SplitBehavior::isolated, text), (Texts{"-", "-", "ab", "-", "c", "-", "-"}));
  EXPECT_EQ(split("-", SplitBehavior::merged_with_previous, text), (Texts{"-", "-", "ab-", "c-", "-"}));
  EXPECT_EQ(split("-", SplitBehavior::merged_with_next, text), (Texts{"-", "-ab", "-c", "-", "-"}));
  EXPECT_EQ(split("-", SplitBehavior::contiguous, text), (Texts{"--", "ab", "-", "c", "--"}));
  EXPECT_EQ(split("-", SplitBehavior::removed, text, true), (Texts{"-", "-", "-", "-", "-"}));
}

TEST(Pretokenizer, EmptyMatchesCut) {
  // Groups of three digits from the right, as some tokenizers cut numbers.
  EXPECT_EQ(split(R"((?=(\d{3})+(?!\d)))", SplitBehavior::isolated, "1234567"), (Texts{"1", "234", "567"}));
  EXPECT_EQ(split("x*", SplitBehavior::merged_with_next, "axé"), (Texts{"a", "xé"}));
}

TEST(Pretokenizer, Gpt2Words) {
  EXPECT_EQ(split(kGpt2Pattern, SplitBehavior::isolated, "I'll  go, at 10:30\u3000now\n\n x"),
            (Texts{"I", "'ll", " ", " go", ",", " at", " 10", ":", "30", "\u3000", "now", "\n\n", " x"}));
}

TEST(Pretokenizer, PrefixAndBytes) {
  EXPECT_EQ(words({PrefixStep{" "}, ByteLettersStep{}}, "é\n"), (Texts{"ĠÃ©Ċ"}));
  EXPECT_EQ(words({PrefixStep{" "}}, " a"), (Texts{" a"}));
  EXPECT_EQ(words({PrefixStep{" "}}, ""), Texts{});
}

TEST(Regex, WhiteSpaceIsUnicodes) {
  // PCRE2's own \s has U+180E, which Unicode and Oniguruma do not; both have U+0085.
  EXPECT_EQ(split(R"(\s)", SplitBehavior::removed, "a\u180Eb\u0085c\u00A0d\u2028e\u200Bf"),
            (Texts{"a\u180Eb", "c", "d", "e\u200Bf"}));
  EXPECT_EQ(split(R"([^\S\n])", SplitBehavior::removed, "a \n\tb"), (Texts{"a", "\n", "b"}));
}

TEST(Regex, Translation) {
  const auto translated = [](std::string_view expression) { return *translate_regex(expression, "t.json"); };
  EXPECT_EQ(translated(R"(\d+|\u4E00{,2}\x41\x{1F600}|\p{Han}\P{Lu}\p{^N})"),
            R"(\p{Nd}+|\x{4E00}{0,2}\x{41}\x{1F600}|\p{sc:Han}\P{Lu}\P{N})");
  EXPECT_EQ(translated(R"((?i:'s)[^\r\n\p{L}]?+x++(?<=a)(?!b)\.\n$)"),
            R"((?i:'s)[^\r\n\p{L}]?+x++(?<=a)(?!b)\.\n$)");
  EXPECT_EQ(translated("(?i)ab"), "(?i)ab");
}

TEST(Regex, RefusesWhatPcre2WouldReadDifferently) {
  for (const char* expression :
       {R"(\w)",          R"(\bx)",         R"(\h)",       R"((a)\1)",     R"(\k<a>)",   R"((?<name>a))",
        R"((?#c))",       R"((?m:.))",      R"(a(?i)b|c)", R"((*ACCEPT))", R"((?R))",    R"([a[b]])",
        R"([[:alpha:]])", R"([a&&b])",      R"([]a])",     R"(a{2}?)",     R"(a{1,2}+)", R"(a{)",
        R"(a**)",         R"(\xC3)",        R"(\C)",       R"(\Qa\E)",     R"(\R)",      R"(\X)",
        R"(\K)",          R"((?i:\p{Lu}))", "a\\"}) {
    const auto pattern = Pattern::regex(expression, "t.json");
    ASSERT_FALSE(pattern) << expression;
    EXPECT_EQ(pattern.error().code, Errc::unsupported) << pattern.error().what;
  }
}

TEST(Regex, HostilePatternsEnd) {
  const std::string text(5000, 'a');
  for (const char* expression : {"(a+)+[bc]", "(a|a)+[bc]", "(a*)*[bc]", "(?=(a+)+[bc])x|(a+a+)+[bc]"}) {
    std::vector<TextRange> matches;
    const auto found = regex(expression).find_all(text, matches);
    ASSERT_FALSE(found) << expression;
    EXPECT_EQ(found.error().code, Errc::unsupported);
  }
  EXPECT_FALSE(Pattern::regex(std::string(100, '(') + "a{60000}{60000}" + std::string(100, ')'), "t.json"));
  EXPECT_FALSE(Pattern::regex(std::string(5000, '(') + std::string(5000, ')'), "t.json"));
}

// What costs backtracking in real patterns, runs of white space, stays within the budget.
TEST(Regex, LongRunsOfWhiteSpacePass) {
  const std::string spaces(300000, ' ');
  const Pattern qwen = regex(R"(\p{L}+|\s*[\r\n]+|\s+(?!\S)|\s+)");
  std::vector<TextRange> matches;
  const auto found = qwen.find_all(spaces + "x" + spaces, matches);
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_EQ(matches,
            (std::vector<TextRange>{{0, 299999}, {299999, 300000}, {300000, 300001}, {300001, 600001}}));
}

TEST(Normalizer, PrependsAndReplaces) {
  const ReplaceStep spaces{*Pattern::literal(" ", "t.json"), "▁"};
  EXPECT_EQ(*normalize({PrependStep{"▁"}, spaces}, "a b"), "▁a▁b");
  EXPECT_EQ(*normalize({PrependStep{"▁"}, spaces}, ""), "");
  EXPECT_EQ(*normalize({ReplaceStep{regex(" {2,}"), "_"}}, "a  b c   "), "a_b c_");
}

TEST(Normalizer, UnicodeForms) {
  const std::string text = "e\u0301 \u00E9 \uFB01 \uAC00";
  EXPECT_EQ(*normalize({UnicodeForm::nfc}, text), "\u00E9 \u00E9 \uFB01 \uAC00");
  EXPECT_EQ(*normalize({UnicodeForm::nfd}, text), "e\u0301 e\u0301 \uFB01 \u1100\u1161");
  EXPECT_EQ(*normalize({UnicodeForm::nfkc}, text), "\u00E9 \u00E9 fi \uAC00");
  EXPECT_EQ(*normalize({UnicodeForm::nfc}, std::string("a\0\u0344", 4)), std::string("a\0\u0308\u0301", 6));
}

}  // namespace
}  // namespace dgq

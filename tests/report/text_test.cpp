#include "report/text.h"

#include <gtest/gtest.h>

#include <cmath>

namespace dgq {
namespace {

TEST(EscapeXml, MarkupAndCharactersThatAreNone) {
  EXPECT_EQ(escape_xml("a<b>&\"c'\n\t"), "a&lt;b&gt;&amp;&quot;c&#39;\n\t");
  EXPECT_EQ(escape_xml("\u00e9\u20ac\U0001f600"), "\u00e9\u20ac\U0001f600");
  const std::string replaced = "\ufffd";
  EXPECT_EQ(escape_xml(std::string_view("a\0b\x1b", 4)), "a" + replaced + "b" + replaced);
  // A lone lead byte, a cut character, an overlong '/', a surrogate, U+FFFF, beyond U+10FFFF.
  for (const char* bad :
       {"\xff", "\xe2\x82", "\xc0\xaf", "\xed\xa0\x80", "\xef\xbf\xbf", "\xf4\x90\x80\x80"}) {
    const std::string out = escape_xml(std::string(bad) + "<");
    EXPECT_EQ(out.find(replaced), 0u) << out;
    EXPECT_EQ(out.substr(out.size() - 4), "&lt;") << out;
    EXPECT_EQ(out.find_first_not_of(replaced), out.size() - 4) << out;
  }
}

TEST(ShortNumber, ReadsAsPeopleWrite) {
  const std::pair<double, const char*> cases[] = {
      {0, "0"},           {-0.0, "0"},      {1, "1"},       {12.5, "12.5"},         {0.012345, "0.01235"},
      {123456, "123456"}, {1.5e7, "1.5e7"}, {1e-5, "1e-5"}, {-2.25e-7, "-2.25e-7"}, {1e300, "1e300"},
      {-0.5, "-0.5"},     {9.99999, "10"},  {NAN, "-"},     {INFINITY, "-"},        {4.35e-120, "4.35e-120"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(short_number(value), text);
  EXPECT_EQ(short_number(0.2, 1), "0.2");
  EXPECT_EQ(short_number(1e-7, 1), "1e-7");
}

}  // namespace
}  // namespace dgq

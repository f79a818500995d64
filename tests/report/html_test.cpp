#include "report/html.h"

#include <gtest/gtest.h>

#include "report/chart.h"
#include "tests/support/xml.h"

namespace dgq {
namespace {

test::XmlElement parsed(const std::string& html) {
  std::string fault;
  const auto root = test::XmlReader::read(html, fault);
  EXPECT_TRUE(root) << fault;
  return root.value_or(test::XmlElement{});
}

TEST(HtmlPage, IsWellFormedAndFetchesNothing) {
  const std::string evil = "<img src=x onerror=\"alert(1)\">&'";
  BarChart chart;
  chart.title = evil;
  chart.categories = {"a"};
  chart.series.push_back({"", {1}, {}, {}});
  const auto page = parsed(
      html_page(evil, html_section(evil, html_paragraph(evil) + html_charts({draw(chart), draw(chart)}) +
                                             html_facts({{evil, evil}, {"b", ""}}) +
                                             html_table(evil, {"NAME", ">VALUE"}, {{evil, "1"}, {"", evil}}) +
                                             html_details(evil, evil + "\n" + evil))));
  EXPECT_EQ(page.name, "html");
  for (const char* name : {"img", "script", "link", "iframe", "a"})
    EXPECT_TRUE(page.all(name).empty()) << name;
  EXPECT_EQ(page.all("h1")[0]->text, evil);
  EXPECT_EQ(page.all("h2")[0]->text, evil);
  EXPECT_EQ(page.all("figure").size(), 2u);
  EXPECT_EQ(page.all("dt")[0]->text, evil);
  EXPECT_EQ(page.all("td").size(), 4u);
  EXPECT_EQ(page.all("td", "right")[1]->text, evil);
  EXPECT_EQ(page.all("th", "right")[0]->text, "VALUE");
  EXPECT_EQ(page.all("pre")[0]->text, evil + "\n" + evil);
  const std::string& style = page.all("style")[0]->text;
  EXPECT_EQ(style.find("url("), std::string::npos);
  EXPECT_EQ(style.find("@import"), std::string::npos);
  for (const char* needed : {"prefers-color-scheme:dark", "@media print", ".s0{"})
    EXPECT_NE(style.find(needed), std::string::npos) << needed;
}

TEST(HtmlPage, OfNothing) {
  EXPECT_EQ(parsed(html_page("", "")).name, "html");
  parsed(html_charts({}));
  parsed(html_facts({}));
  EXPECT_TRUE(parsed(html_table("", {}, {})).all("td").empty());
}

}  // namespace
}  // namespace dgq

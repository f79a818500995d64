#include "report/html.h"

#include "report/style.h"
#include "report/text.h"

namespace dgq {
namespace {

constexpr std::string_view kColours =
    ":root{color-scheme:light dark}body{background:#fff;color:#1c2733}"
    "h2,th,td,details{border-color:#dde3e8}.muted,dt,caption{color:#4a5764}pre{background:#f3f5f7}";
constexpr std::string_view kColoursDark =
    "body{background:#14191f;color:#e6ebf0}"
    "h2,th,td,details{border-color:#2c3640}.muted,dt,caption{color:#aeb9c4}pre{background:#1d242c}";
constexpr std::string_view kShapes =
    "body{font:15px/1.5 system-ui,sans-serif;margin:0}main{max-width:1180px;margin:0 auto;padding:16px}"
    "h1{font-size:24px;margin:8px 0}h2{font-size:18px;margin:28px 0 12px;border-bottom:1px "
    "solid;padding-bottom:4px}"
    "h1,p,dd{overflow-wrap:anywhere}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:20px 32px}"
    "figure{margin:0}.chart{display:block;width:100%;height:auto;overflow:visible}"
    "dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,160px),1fr));gap:10px "
    "20px;margin:0}"
    "dt{font-size:13px}dd{margin:0}"
    ".scroll{overflow-x:auto;margin-top:14px}table{border-collapse:collapse;font-size:13px;font-variant-"
    "numeric:tabular-nums}"
    "caption{text-align:left;padding:0 0 6px}"
    "th,td{padding:3px 10px 3px 0;text-align:left;border-bottom:1px solid;white-space:nowrap}"
    ".right{text-align:right}details{border-bottom:1px solid;padding:6px 0}summary{cursor:pointer}"
    "pre{font-size:12px;padding:10px;overflow-x:auto}";
constexpr std::string_view kPaper =
    "main{max-width:none;padding:0}figure,tr,dl{break-inside:avoid}h2{break-after:avoid}"
    ".scroll{overflow:visible}table{font-size:9px}"
    ".charts{grid-template-columns:1fr 1fr}pre{white-space:pre-wrap}";

std::string element(const char* name, const std::string& html) {
  return std::string("<") + name + ">" + html + "</" + name + ">\n";
}

std::string cell(const char* name, const std::string& attributes, bool right, const std::string& text) {
  return std::string("<") + name + attributes + (right ? " class=\"right\">" : ">") + escape_xml(text) +
         "</" + name + ">";
}

}  // namespace

std::string html_page(const std::string& title, const std::string& html) {
  std::string style;
  for (const std::string_view part : {kShapes, kChartShapes, kColours, kChartColours}) style += part;
  // Paper is always light.
  style += "@media screen and (prefers-color-scheme:dark){" + std::string(kColoursDark) +
           std::string(kChartColoursDark) + "}@media print{" + std::string(kPaper) + "}";
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
         "'unsafe-inline'\"/>\n" +
         element("title", escape_xml(title)) + element("style", style) + "</head>\n<body>\n<main>\n" +
         element("h1", escape_xml(title)) + html + "</main>\n</body>\n</html>\n";
}

std::string html_section(const std::string& heading, const std::string& html) {
  return element("section", element("h2", escape_xml(heading)) + html);
}

std::string html_paragraph(const std::string& text) { return element("p", escape_xml(text)); }

std::string html_charts(const std::vector<std::string>& charts) {
  std::string html;
  for (const std::string& chart : charts) html += element("figure", chart);
  return "<div class=\"charts\">\n" + html + "</div>\n";
}

std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string html;
  for (const auto& [name, value] : facts)
    html += element("div", element("dt", escape_xml(name)) + element("dd", escape_xml(value)));
  return element("dl", html);
}

std::string html_table(const std::string& caption, const std::vector<std::string>& titles,
                       const std::vector<std::vector<std::string>>& rows) {
  const auto right = [&](std::size_t column) { return titles[column].starts_with('>'); };
  std::string head, body;
  for (std::size_t c = 0; c < titles.size(); ++c)
    head += cell("th", " scope=\"col\"", right(c), titles[c].substr(right(c) ? 1 : 0));
  for (const std::vector<std::string>& row : rows) {
    std::string cells;
    for (std::size_t c = 0; c < titles.size(); ++c) cells += cell("td", "", right(c), row[c]);
    body += element("tr", cells);
  }
  // A scrolling region is reached and named for those who have no mouse.
  return "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" + escape_xml(caption) +
         "\">\n<table>" + element("caption", escape_xml(caption)) + element("thead", element("tr", head)) +
         element("tbody", body) + "</table>\n</div>\n";
}

std::string html_details(const std::string& summary, const std::string& text) {
  return element("details", element("summary", escape_xml(summary)) + element("pre", escape_xml(text)));
}

}  // namespace dgq

#include "report/style.h"
#include "report/chart.h"

namespace dgq {

// Colours of series have a contrast of 3 and more against the background, text of 4.5 and more (WCAG 2.1).
const std::string_view kChartColours =
    ".chart{color:#1c2733}"
    ".chart .label,.chart .tick{fill:#4a5764}.chart .grid{stroke:#dde3e8}.chart .axis{stroke:#7b8794}"
    ".s0{color:#1f6fb4}.s1{color:#c8500c}.s2{color:#0d8560}.s3{color:#b0418a}"
    ".s4{color:#94690a}.s5{color:#5b57c9}.s6{color:#bb3434}.s7{color:#5f6b76}"
    ".chart .bar{stroke:#fff}.chart .bar~.interval{color:#1c2733}";
const std::string_view kChartColoursDark =
    ".chart{color:#e6ebf0}"
    ".chart .label,.chart .tick{fill:#aeb9c4}.chart .grid{stroke:#2c3640}.chart .axis{stroke:#76828e}"
    ".s0{color:#6db3f2}.s1{color:#ff9a5c}.s2{color:#4fd0a5}.s3{color:#ef8fca}"
    ".s4{color:#e0b64a}.s5{color:#a9a6ff}.s6{color:#ff8a86}.s7{color:#a9b4be}"
    ".chart .bar{stroke:#14191f}.chart .bar~.interval{color:#e6ebf0}";
const std::string_view kChartShapes =
    ".chart{font:12px system-ui,sans-serif}.chart text{fill:currentColor}"
    ".chart .title{font-size:14px;font-weight:600}.chart .end{text-anchor:end}.chart "
    ".middle{text-anchor:middle}"
    ".chart .grid,.chart .axis{stroke-width:1}"
    ".chart .line{fill:none;stroke:currentColor;stroke-width:1.6}"
    ".chart .s4.line,.chart .s5.line,.chart .s6.line,.chart .s7.line{stroke-dasharray:5 3}"
    ".chart .mark,.chart .bar{fill:currentColor}.chart .bar{stroke-width:.5}"
    ".chart .band{fill:currentColor;fill-opacity:.18}"
    ".chart .interval{stroke:currentColor;stroke-width:1.2}";

std::string svg_file(std::span<const std::string> charts) {
  std::string body;
  for (std::size_t i = 0; i < charts.size(); ++i)
    body += "<g transform=\"translate(12 " + std::to_string(12 + static_cast<int>(i) * (kChartHeight + 16)) +
            ")\">\n" + charts[i] + "</g>\n";
  const std::string width = std::to_string(kChartWidth + 24),
                    height = std::to_string(static_cast<int>(charts.size()) * (kChartHeight + 16) + 12);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + width + " " + height + "\" width=\"" +
         width + "\" height=\"" + height + "\">\n<style>" + std::string(kChartShapes) + ".page{fill:#fff}" +
         std::string(kChartColours) + "@media(prefers-color-scheme:dark){" + std::string(kChartColoursDark) +
         ".page{fill:#14191f}}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n" + body +
         "</svg>\n";
}

}  // namespace dgq

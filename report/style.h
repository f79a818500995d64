// report/style.h - style sheets of charts, for files and pages. Internal to report/.
#pragma once

#include <string_view>

namespace dgq {

extern const std::string_view kChartColours, kChartColoursDark;  // on a light and on a dark background
extern const std::string_view kChartShapes;                      // everything else, for both

}  // namespace dgq

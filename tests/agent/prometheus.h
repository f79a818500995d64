// tests/agent/prometheus.h - the text format 0.0.4 as Prometheus reads it, strictly: names, labels, escapes,
// numbers, and what must stand before what.
#pragma once

#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace dgq::agent::test {

// Sample (name and labels as written) -> value; `why` says what is wrong, and then there is none.
inline std::optional<std::map<std::string, double>> parse_prometheus(const std::string& page,
                                                                     std::string& why) {
  static const std::regex kHelp(R"(# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (?:[^\\]|\\\\|\\n)*)"),
      kType(R"(# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge))"),
      kSample(
          R"re((([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)*\})?) ([-+0-9.eE]+|NaN|[+-]Inf))re");
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;
  std::set<std::string> helped, ended;
  std::string group;  // whose lines come now: they stand together
  const auto begin = [&](const std::string& name) {
    if (name == group) return true;
    if (!group.empty()) ended.insert(group);
    group = name;
    return !ended.contains(name);
  };
  if (page.empty() || page.back() != '\n') return why = "the last line does not end", std::nullopt;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    bool good;
    if (std::regex_match(line, match, kHelp)) {
      good = begin(match[1]) && helped.insert(match[1]).second && !types.contains(match[1]);
    } else if (std::regex_match(line, match, kType)) {
      good = begin(match[1]) && types.emplace(match[1], match[2]).second;
    } else if (std::regex_match(line, match, kSample)) {
      const double value = std::stod(match[3]);
      good = begin(match[2]) && types.contains(match[2]) && samples.emplace(match[1], value).second &&
             (types[match[2]] != "counter" || value >= 0) &&
             (types[match[2]] != "counter" || match[2].str().ends_with("_total"));
    } else {
      good = false;
    }
    if (!good) return why = line, std::nullopt;
  }
  return samples;
}

}  // namespace dgq::agent::test

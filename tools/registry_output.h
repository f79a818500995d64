// tools/registry_output.h - how `dgq registry` prints: tables for people, JSON for programs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/time.h"
#include "tools/command.h"

namespace dgq::tools {

// One JSON object, and nothing else, on stdout. File names that are not UTF-8 are shown with U+FFFD.
inline void print_json(const Json& object) {
  std::cout << object.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

// Columns as wide as their widest cell. A title that starts with '>' aligns its column to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> titles) {
    for (std::string& title : titles) {
      right_.push_back(title.starts_with('>'));
      if (right_.back()) title.erase(0, 1);
    }
    rows_.push_back(std::move(titles));
  }
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print() const {
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::string pad(width(c) - row[c].size(), ' ');
        line += (c == 0 ? "" : "  ") + (right_[c] ? pad + row[c] : row[c] + pad);
      }
      std::cout << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
    }
  }

 private:
  std::size_t width(std::size_t column) const {
    std::size_t widest = 0;
    for (const auto& row : rows_) widest = std::max(widest, row[column].size());
    return widest;
  }
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// What every `dgq registry` command takes.
inline Options registry_options(std::string usage, std::string about, std::string examples) {
  Options options;
  options.usage = std::move(usage);
  options.about = std::move(about);
  options.examples = std::move(examples);
  add_registry_options(options);
  options.named.add_options()("json", boost::program_options::bool_switch(), "print one JSON object");
  return options;
}

Result<int> registry_show(const Arguments& arguments);    // tools/cmd_registry_show.cpp
Result<int> registry_export(const Arguments& arguments);  // tools/cmd_registry_bundle.cpp
Result<int> registry_import(const Arguments& arguments);

}  // namespace dgq::tools

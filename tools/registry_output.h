// tools/registry_output.h - how `dgq registry` prints: tables for people, JSON for programs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/time.h"
#include "registry/registry.h"
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
    std::vector<std::size_t> widths(right_.size());
    for (const auto& row : rows_)
      for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t c = 0; c < row.size(); ++c) {
        const std::string pad(widths[c] - row[c].size(), ' ');
        line += (c == 0 ? "" : "  ") + (right_[c] ? pad + row[c] : row[c] + pad);
      }
      std::cout << line.substr(0, line.find_last_not_of(' ') + 1) << '\n';
    }
  }

 private:
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

// "1 blob", "2 blobs"
inline std::string counted(std::uint64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// A number as printf writes it; bytes as people say them.
inline std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}
inline std::string size_text(std::uint64_t bytes) { return human_bytes(static_cast<double>(bytes)); }

inline Result<Registry> open_registry(const Options& options, Registry::Mode mode) {
  return Registry::open(registry_path(options), mode);
}

inline std::string abandoned_text(const AbandonedWork& work) {
  return std::to_string(work.folders) + " abandoned work folders of dgq quantize, " + size_text(work.bytes) +
         " (gc --work)";
}

Result<int> registry_show(const Arguments& arguments);    // tools/cmd_registry_show.cpp
Result<int> registry_export(const Arguments& arguments);  // tools/cmd_registry_bundle.cpp
Result<int> registry_import(const Arguments& arguments);
Result<int> registry_tag(const Arguments& arguments);  // tools/cmd_registry_names.cpp
Result<int> registry_untag(const Arguments& arguments);
Result<int> registry_remove(const Arguments& arguments);
Result<int> registry_copy(const Arguments& arguments);
Result<int> registry_rename(const Arguments& arguments);
Result<int> registry_cat(const Arguments& arguments);  // tools/cmd_registry_<name>.cpp, as the others
Result<int> registry_expect(const Arguments& arguments);
Result<int> registry_log(const Arguments& arguments);
Result<int> registry_stats(const Arguments& arguments);
Result<int> registry_diff(const Arguments& arguments);
Result<int> registry_verify(const Arguments& arguments);

}  // namespace dgq::tools

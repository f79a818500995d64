#include "bench/run_entries.h"

#include <algorithm>

#include "bench/machine.h"
#include "report/text.h"

namespace dgq::bench {

std::vector<RunEntry> latest_entries(const std::vector<Run>& runs) {
  std::vector<RunEntry> entries;
  for (const Run& run : runs)
    for (const RunRow& row : run.rows) {
      const auto same = std::find_if(entries.begin(), entries.end(), [&](const RunEntry& entry) {
        return entry.run->kind == run.kind && entry.row->of == row.of &&
               entry.isa() == run.settings.value("isa", Json()) &&
               machine_name(entry.run->machine) == machine_name(run.machine);
      });
      if (same == entries.end())
        entries.push_back({&run, &row});
      else if (run.started_unix_s >= same->run->started_unix_s)
        *same = {&run, &row};
    }
  return entries;
}

std::string text_of(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  return value.is_number_float() ? short_number(value.get<double>())
                                 : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string name_of(const RunRow& row) {
  const auto part = [&](const char* key) {
    const Json value = row.of.value(key, Json());
    return value.is_null() ? std::string() : text_of(value);
  };
  std::string name = row.of.contains("test") ? part("test") : part("operation");
  for (const char* key : {"isa", "linear", "data"})
    if (!part(key).empty() && part(key) != "-") name += " " + part(key);
  for (const char* key : {"m", "n", "k", "streams"})
    if (!part(key).empty()) name += std::string(" ") + key + " " + part(key);
  const std::string threads = part("n_threads"), engine = part("engine");
  if (!threads.empty()) name += ", " + threads + (threads == "1" ? " thread" : " threads");
  if (!engine.empty() && engine != "dgq") name += ", " + engine;
  return name;
}

}  // namespace dgq::bench

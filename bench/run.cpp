#include "bench/run.h"

#include <algorithm>
#include <cmath>

#include "bench/statistics.h"

namespace dgq::bench {
namespace {

constexpr std::string_view kFormat = "dgq-run";
constexpr std::string_view kFileStart = "{\"dgq_runs\":";
constexpr std::int64_t kMostSamples = 100'000, kMostRows = 100'000;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json to_json(const RunRow& row) {
  return {
      {"of", row.of},           {"unit", row.unit},       {"better", row.more_is_better ? "more" : "less"},
      {"samples", row.samples}, {"warm_up", row.warm_up}, {"figures", row.figures}};
}

Result<Json> flat_object(const Json& parent, const char* key, std::string_view where) {
  if (!parent.contains(key)) return Json(Json::object());
  const Json& object = parent[key];
  if (!object.is_object())
    return Error{Errc::corrupt, std::string(where) + ": \"" + key + "\" must be an object"};
  for (const auto& [name, value] : object.items())
    if (value.is_structured())
      return Error{Errc::corrupt, std::string(where) + ": \"" + key + "\": \"" + name +
                                      "\" must be a number, a text, true, false or null"};
  return object;
}

Result<Json> object(const Json& parent, const char* key, std::string_view where) {
  if (!parent.contains(key)) return Json(Json::object());
  if (parent[key].is_object()) return parent[key];
  return Error{Errc::corrupt, std::string(where) + ": \"" + key + "\" must be an object"};
}

Result<RunRow> parse_row(const Json& json, const std::string& where) {
  if (!json.is_object()) return Error{Errc::corrupt, where + " must be an object"};
  RunRow row;
  DGQ_TRY(row.of, flat_object(json, "of", where));
  DGQ_TRY(row.figures, flat_object(json, "figures", where));
  DGQ_TRY(row.unit, json_string(json, "unit", where));
  DGQ_TRY(const std::string better, json_string(json, "better", where));
  if (better != "more" && better != "less")
    return Error{Errc::corrupt, where + ": \"better\" must be \"more\" or \"less\""};
  row.more_is_better = better == "more";
  const auto samples = json.find("samples");
  if (samples == json.end() || !samples->is_array() || samples->empty() || samples->size() > kMostSamples)
    return Error{Errc::corrupt, where + ": \"samples\" must be an array of 1 to " +
                                    std::to_string(kMostSamples) + " numbers"};
  for (const Json& sample : *samples) {
    if (!sample.is_number() || !std::isfinite(sample.get<double>()))
      return Error{Errc::corrupt, where + ": \"samples\" must be finite numbers"};
    row.samples.push_back(sample.get<double>());
  }
  DGQ_TRY(const std::int64_t warm_up,
          json_int_or(json, "warm_up", 0, 0, static_cast<std::int64_t>(row.samples.size()) - 1, where));
  row.warm_up = static_cast<std::size_t>(warm_up);
  return row;
}

Result<Run> run_of(const Json& json, const std::string& where) {
  if (!json.is_object() || json.value("format", Json()) != Json(kFormat))
    return Error{Errc::corrupt, where + " is not a run of dgq bench"};
  DGQ_TRY(const std::int64_t version, json_int(json, "format_version", 1, INT64_MAX, where));
  if (version > kRunVersion)
    return Error{Errc::unsupported, where + " was made by a newer dgq (format " + std::to_string(version) +
                                        ", this one knows " + std::to_string(kRunVersion) + "): upgrade dgq"};
  Run run;
  DGQ_TRY(run.kind, json_string(json, "kind", where));
  DGQ_TRY(run.tool, json_string(json, "tool", where));
  DGQ_TRY(run.started_unix_s, json_int(json, "started", 0, std::int64_t{1} << 40, where));
  DGQ_TRY(run.seconds, json_number(json, "seconds", where));
  DGQ_TRY(run.session, json_string_or(json, "session", "", where));
  DGQ_TRY(run.machine, object(json, "machine", where));
  DGQ_TRY(run.build, object(json, "build", where));
  DGQ_TRY(run.conditions, object(json, "conditions", where));
  DGQ_TRY(run.settings, flat_object(json, "settings", where));
  DGQ_TRY(run.limits, object(json, "limits", where));
  const auto rows = json.find("rows");
  if (rows == json.end() || !rows->is_array() || rows->size() > kMostRows)
    return Error{Errc::corrupt, where + ": \"rows\" must be an array"};
  for (std::size_t i = 0; i < rows->size(); ++i) {
    DGQ_TRY(RunRow row, parse_row((*rows)[i], where + ": row " + std::to_string(i)));
    run.rows.push_back(std::move(row));
  }
  return run;
}

}  // namespace

std::vector<double> RunRow::counted() const {
  return {samples.begin() + static_cast<std::ptrdiff_t>(warm_up), samples.end()};
}

std::size_t warm_up_of(const std::vector<double>& samples) {
  constexpr double kNormal = 1.4826, kFar = 3;  // the MAD of a normal distribution is its deviation by 1.4826
  if (samples.size() < 4) return 0;
  std::vector<double> later(samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2), samples.end());
  const double middle = median(later);
  for (double& sample : later) sample = std::fabs(sample - middle);
  const double far = kFar * kNormal * median(later);
  std::size_t count = 0;
  while (count < samples.size() / 4 && std::fabs(samples[count] - middle) > far) ++count;
  return count;
}

std::string run_text(const Run& run) {
  Json rows = Json::array();
  for (const RunRow& row : run.rows) rows.push_back(to_json(row));
  Json json = {{"format", kFormat},
               {"format_version", kRunVersion},
               {"kind", run.kind},
               {"tool", run.tool},
               {"started", run.started_unix_s},
               {"seconds", run.seconds},
               {"machine", run.machine},
               {"build", run.build},
               {"conditions", run.conditions},
               {"settings", run.settings},
               {"limits", run.limits},
               {"rows", std::move(rows)}};
  if (!run.session.empty()) json["session"] = run.session;
  return dump(json);
}

Digest run_digest(const Run& run) { return sha256(run_text(run)); }

Result<Run> parse_run(std::string_view text, std::string_view where) {
  DGQ_TRY(const Json json, parse_json(text, where));
  return run_of(json, std::string(where));
}

std::string runs_file(const std::vector<Run>& runs) {
  std::string text = std::string(kFileStart) + std::to_string(kRunVersion) +
                     ",\"runs\":" + std::to_string(runs.size()) + "}\n";
  for (const Run& run : runs) text += run_text(run) + "\n";
  const std::string digest = sha256(text).hex();
  return text + "{\"sha256\":\"" + digest + "\"}\n";
}

bool is_runs_file(std::string_view beginning) { return beginning.starts_with(kFileStart); }

Result<std::vector<Run>> parse_runs_file(std::string_view text, std::string_view where) {
  const std::string file(where);
  if (!is_runs_file(text)) return Error{Errc::corrupt, file + " is not a file of benchmark runs"};
  const auto line_end = text.find('\n');
  DGQ_TRY(const Json header, parse_json(text.substr(0, line_end), file));
  DGQ_TRY(const std::int64_t version, json_int(header, "dgq_runs", 1, INT64_MAX, where));
  if (version > kRunVersion)
    return Error{Errc::unsupported, file + " was made by a newer dgq (format " + std::to_string(version) +
                                        ", this one knows " + std::to_string(kRunVersion) + "): upgrade dgq"};
  DGQ_TRY(const std::int64_t count, json_int(header, "runs", 0, kMostRows, where));
  const Error cut{Errc::corrupt, file + " is cut short or was changed: its end does not match its digest"};
  constexpr std::size_t kTrailer = sizeof "{\"sha256\":\"\"}\n" - 1 + 64;
  if (text.size() < kTrailer || line_end == text.npos) return cut;
  std::string_view body = text.substr(0, text.size() - kTrailer);
  if (text.substr(body.size()) != "{\"sha256\":\"" + sha256(body).hex() + "\"}\n") return cut;
  body.remove_prefix(line_end + 1);
  std::vector<Run> runs;
  while (!body.empty()) {
    const std::size_t end = std::min(body.find('\n'), body.size());
    DGQ_TRY(Run run, parse_run(body.substr(0, end), file + ": run " + std::to_string(runs.size() + 1)));
    runs.push_back(std::move(run));
    body.remove_prefix(std::min(end + 1, body.size()));
  }
  if (static_cast<std::int64_t>(runs.size()) != count)
    return Error{Errc::corrupt, file + " says that it has " + std::to_string(count) + " runs, and has " +
                                    std::to_string(runs.size())};
  return runs;
}

}  // namespace dgq::bench

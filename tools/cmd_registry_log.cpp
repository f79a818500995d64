// tools/cmd_registry_log.cpp - `dgq registry log`: who changed what, when, from which version to which.
#include <charconv>
#include <chrono>

#include "registry/registry.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kSubjectWidth = 48;  // of the table; costs are JSON of any length

std::optional<std::int64_t> parse_age(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, number);
  if (error != std::errc() || number < 0 || number > 1'000'000'000 || end != text.data() + text.size() - 1)
    return std::nullopt;
  switch (text.back()) {
    case 's':
      return number;
    case 'm':
      return number * 60;
    case 'h':
      return number * 3600;
    case 'd':
      return number * 86400;
    case 'w':
      return number * 7 * 86400;
    default:
      return std::nullopt;
  }
}

// "2026-11-01", "2026-11-01T10:30:00Z" (as the table prints them), or how long ago: "90m", "7d".
Result<std::int64_t> parse_since(const std::string& text) {
  const Error error{Errc::invalid,
                    "--since must be a time (2026-11-01, 2026-11-01T10:30:00Z) or an age (90m, 24h, 7d), "
                    "not '" +
                        text + "'"};
  if (text.empty()) return error;
  if (const auto age = parse_age(text))
    return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()) - *age;
  for (const char* format : {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    std::tm parts{};
    const char* end = ::strptime(text.c_str(), format, &parts);
    if (end && *end == '\0') return ::timegm(&parts);
  }
  return error;
}

std::string cut(std::string text) {
  if (text.size() <= kSubjectWidth) return text;
  std::size_t end = kSubjectWidth - 3;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;  // not inside a UTF-8 character
  return text.substr(0, end) + "...";
}

std::string digest_text(const std::optional<Digest>& digest) { return digest ? digest->short_hex() : "-"; }

void print_table(const std::vector<AuditEntry>& entries) {
  Table table({"TIME", "WHO", "TOOL", "ACTION", "SUBJECT", "FROM", "TO"});
  for (const AuditEntry& entry : entries)
    table.add({utc_time(entry.unix_s), one_line(entry.who), one_line(entry.tool), one_line(entry.action),
               cut(one_line(entry.subject)), digest_text(entry.from), digest_text(entry.to)});
  table.print();
}

Json as_json(const AuditEntry& entry) {
  const auto digest = [](const std::optional<Digest>& d) { return d ? Json(d->hex()) : Json(); };
  return {{"id", entry.id},
          {"time", utc_time(entry.unix_s)},
          {"who", entry.who},
          {"tool", entry.tool},
          {"action", entry.action},
          {"subject", entry.subject},
          {"from", digest(entry.from)},
          {"to", digest(entry.to)}};
}

}  // namespace

Result<int> registry_log(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry log [NAME[:TAG]] [options]",
      "Lists the audit log, newest last: time, who (user@host), with which dgq, what, and the version before "
      "and after. "
      "With a name: what happened to it (without a tag: to all tags of the model) and to its versions.",
      "  dgq registry log\n"
      "  dgq registry log demo:stable --limit 5\n"
      "  dgq registry log --since 7d\n"
      "  dgq registry log demo --json | jq -r '.entries[] | select(.action == \"costs\") | .subject'\n");
  options.named.add_options()  //
      ("since", po::value<std::string>()->value_name("TIME"),
       "from 2026-11-01, 2026-11-01T10:30:00Z (UTC), 7d or 24h ago on")  //
      ("limit", po::value<std::uint64_t>()->value_name("N"), "only the newest N");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments, {},
                     {{"name", "NAME[:TAG]", "only what concerns it, as the first argument or here"}}));
  if (!go_on) return 0;
  AuditQuery query;
  if (options.has("name")) query.name = options.get<std::string>("name");
  if (options.has("since")) {
    DGQ_TRY(query.since_unix_s, parse_since(options.get<std::string>("since")));
  }
  if (options.has("limit")) query.limit = options.get<std::uint64_t>("limit");
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  DGQ_TRY(const std::vector<AuditEntry> entries, registry.log(query));
  if (!options.get<bool>("json")) {
    print_table(entries);
    return 0;
  }
  Json list = Json::array();
  for (const AuditEntry& entry : entries) list.push_back(as_json(entry));
  print_json({{"registry", registry.path().string()}, {"entries", std::move(list)}});
  return 0;
}

}  // namespace dgq::tools

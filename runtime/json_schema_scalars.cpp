// Strings and numbers of a schema, and how many there are of something.
#include <algorithm>
#include <cmath>

#include "runtime/json_numbers.h"
#include "runtime/json_schema_parts.h"

namespace dgq {
namespace {

using Kind = GrammarNode::Kind;

constexpr std::int64_t kMaxCount = 1 << 20;  // of items, of characters

struct Format {
  const char* name;
  std::vector<std::string> patterns;
};

const std::vector<Format>& formats() {
  // RFC 3339, with the days that a month has, without the year 0000 and leap seconds.
  static const std::string year = R"((\d{3}[1-9]|\d\d[1-9]\d|\d[1-9]\d\d|[1-9]\d{3}))",
                           leap_year =
                               R"((\d\d(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00))",
                           day = R"(((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|)"
                                 R"(02-(0[1-9]|1\d|2[0-8])))",
                           date = "(" + year + "-" + day + "|" + leap_year + "-02-29)",
                           hour = R"(([01]\d|2[0-3]))",
                           time = hour + R"(:[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-])" + hour + R"(:[0-5]\d))";
  // RFC 5321: a dot-atom and a domain, with the lengths that they may have.
  static const std::string atom = R"([\w!#$%&'*+/=?^`{|}~-]+)",
                           label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  static const std::string byte = R"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))";
  static const std::vector<Format> all = {
      {"date", {"^" + date + "$"}},
      {"time", {"^" + time + "$"}},
      {"date-time", {"^" + date + "T" + time + "$"}},
      {"uuid", {"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}},
      {"email",
       {"^" + atom + R"((\.)" + atom + ")*@" + label + R"((\.)" + label + "){0,3}$", "^[^@]{1,64}@"}},
      {"ipv4", {"^" + byte + R"((\.)" + byte + "){3}$"}},
  };
  return all;
}

Result<void> read_pattern(SchemaPlace& place, std::vector<PatternNode>& patterns) {
  const OrderedJson* value = place.find("pattern");
  if (!value) return {};
  const auto* text = value->get_ptr<const std::string*>();
  if (!text) return place.wrong("pattern", "a regular expression");
  auto parsed = parse_pattern(*text);
  if (!parsed) return place.error(parsed.error().code, "\"pattern\": " + parsed.error().what);
  patterns.push_back(std::move(*parsed));
  return {};
}

Result<void> read_format(SchemaPlace& place, std::vector<PatternNode>& patterns) {
  const OrderedJson* value = place.find("format");
  if (!value) return {};
  const auto* name = value->get_ptr<const std::string*>();
  if (!name) return place.wrong("format", "a name");
  std::string names;
  for (const Format& format : formats()) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
    if (*name != format.name) continue;
    for (const std::string& pattern : format.patterns) {
      DGQ_TRY(PatternNode parsed, parse_pattern(pattern));
      patterns.push_back(std::move(parsed));
    }
    return {};
  }
  return place.error(Errc::unsupported, "\"format\" is none of " + names + ": no other is supported");
}

struct Limit {
  const char* key;
  bool lower, excluded;
};
constexpr Limit kLimits[] = {{"minimum", true, false},
                             {"exclusiveMinimum", true, true},
                             {"maximum", false, false},
                             {"exclusiveMaximum", false, true}};

// The first number within the limit, of those that are a whole number of parts of 1 / `unit`. All of them are exact, and so is
// the division: it gives the double that their text is read as.
std::int64_t first_within(const Limit& limit, double value, std::int64_t unit) {
  const double largest = static_cast<double>(GrammarNode::kLargest + 1) / static_cast<double>(unit);
  value = std::clamp(value, -largest, largest);
  const std::int64_t inwards = limit.lower ? 1 : -1;
  auto number = static_cast<std::int64_t>(value * static_cast<double>(unit)) - 2 * inwards;
  const auto outside = [&] {
    const double at = static_cast<double>(number) / static_cast<double>(unit);
    return at == value ? limit.excluded : (at < value) == limit.lower;
  };
  while (outside()) number += inwards;
  return number;
}

// multipleOf in parts of 1 / `unit`, of those numbers that are whole parts: a multiple of p / q in lowest terms that is a
// whole number is one of p. 0: it is no number of 64ths, or too large.
std::int64_t step_of(double value, std::int64_t unit) {
  constexpr std::int64_t kParts = 64;  // 1 / 64 has six places
  const double parts = value * static_cast<double>(kParts);
  if (parts != std::floor(parts) ||
      value > static_cast<double>(GrammarNode::kLargest) / static_cast<double>(unit))
    return 0;
  const auto whole = static_cast<std::int64_t>(parts);
  return unit % kParts == 0 ? whole * (unit / kParts) : whole / std::gcd(whole, kParts) * unit;
}

bool magnitudes_have_multiple(const GrammarNode& node, bool negative) {
  const Magnitudes within = magnitudes(node, negative);
  return has_multiple(within.low, within.high, node.step);
}

}  // namespace

Result<GrammarNode> read_counts(SchemaPlace& place, Kind kind, const char* low, const char* high) {
  GrammarNode made = json_node(kind);
  for (const auto& [key, to] : {std::pair(low, &made.low), std::pair(high, &made.high)}) {
    const OrderedJson* value = place.find(key);
    if (!value) continue;
    if (!value->is_number_unsigned() || value->get<std::uint64_t>() > kMaxCount)
      return place.wrong(key, "an integer from 0 to " + std::to_string(kMaxCount));
    *to = value->get<std::int64_t>();
  }
  if (made.low <= made.high) return made;
  return place.error(Errc::invalid, std::string("\"") + low + "\" is above \"" + high + "\"");
}

Result<GrammarNode> read_string(SchemaPlace& place, StringPattern::Budget& budget) {
  DGQ_TRY(GrammarNode made, read_counts(place, Kind::string, "minLength", "maxLength"));
  std::vector<PatternNode> patterns;
  DGQ_CHECK(read_pattern(place, patterns));
  DGQ_CHECK(read_format(place, patterns));
  if (patterns.empty()) return made;
  if (made.low > 0 || made.high != GrammarNode::kMany)
    patterns.push_back(any_string(
        static_cast<std::uint32_t>(made.low),
        made.high == GrammarNode::kMany ? PatternNode::kMany : static_cast<std::uint32_t>(made.high)));
  auto pattern = StringPattern::make(patterns, budget);
  if (!pattern) return place.error(pattern.error().code, pattern.error().what);
  made.pattern = std::make_shared<const StringPattern>(std::move(*pattern));
  return made;
}

Result<GrammarNode> read_number(SchemaPlace& place, Kind kind) {
  GrammarNode made = json_node(kind);
  made.low = -GrammarNode::kLargest, made.high = GrammarNode::kLargest;
  for (const Limit& limit : kLimits) {
    const OrderedJson* value = place.find(limit.key);
    if (!value) continue;
    if (!value->is_number()) return place.wrong(limit.key, "a number");
    const std::int64_t bound = first_within(limit, value->get<double>(), unit_of(made));
    (limit.lower ? made.low : made.high) =
        limit.lower ? std::max(made.low, bound) : std::min(made.high, bound);
    made.limited = true;
  }
  if (const OrderedJson* value = place.find("multipleOf")) {
    if (!value->is_number() || !(value->get<double>() > 0))
      return place.wrong("multipleOf", "a number above 0");
    made.step = step_of(value->get<double>(), unit_of(made));
    if (made.step == 0)
      return place.error(
          Errc::unsupported,
          "\"multipleOf\" is supported for whole numbers, halves, quarters and so on to 64ths, of at "
          "most 15 digits: of others, such as 0.01, programs do not agree what their multiples are");
    made.limited = true;
  }
  if (made.low <= made.high &&
      (magnitudes_have_multiple(made, false) || magnitudes_have_multiple(made, true)))
    return made;
  return place.error(Errc::invalid,
                     kind == Kind::integer
                         ? "no integer of at most 15 digits is within the limits"
                         : "no number of at most 9 digits and 6 after the point is within the limits");
}

}  // namespace dgq

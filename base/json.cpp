#include "base/json.h"

#include "base/ordered_json.h"

#include <cmath>

namespace dgq {
namespace {

constexpr int kMaxDepth = 64;

Error wrong(std::string_view where, std::string_view key, std::string_view expected) {
  return {Errc::corrupt, std::string(where) + ": \"" + std::string(key) + "\" " + std::string(expected)};
}

// The member, or null when it is missing or JSON null.
const Json* member(const Json& object, std::string_view key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<std::int64_t> as_int(const Json& value, std::string_view key, std::int64_t low, std::int64_t high,
                            std::string_view where) {
  const std::string range = "must be an integer from " + std::to_string(low) + " to " + std::to_string(high);
  if (!value.is_number_integer()) return wrong(where, key, range);
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return wrong(where, key, range);
  const auto number = value.get<std::int64_t>();
  if (number < low || number > high) return wrong(where, key, range + ", not " + std::to_string(number));
  return number;
}

Result<double> as_number(const Json& value, std::string_view key, std::string_view where) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) return wrong(where, key, "must be a finite number");
  return value.get<double>();
}

Result<std::string> as_string(const Json& value, std::string_view key, std::string_view where) {
  if (!value.is_string()) return wrong(where, key, "must be a string");
  return value.get<std::string>();
}

template <class Any>
Result<Any> parse_as(std::string_view text, std::string_view where) {
  bool too_deep = false;
  const auto depth_guard = [&](int depth, typename Any::parse_event_t, Any&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  try {
    Any value = Any::parse(text, depth_guard);
    if (too_deep) return Error{Errc::corrupt, std::string(where) + ": JSON nested deeper than " + std::to_string(kMaxDepth)};
    return value;
  } catch (const typename Any::exception& error) {
    const std::string what = error.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    return Error{Errc::corrupt, std::string(where) + ": not valid JSON: " + what.substr(what.find(' ') + 1)};
  }
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::string_view where) { return parse_as<Json>(text, where); }
Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view where) {
  return parse_as<OrderedJson>(text, where);
}

Result<std::int64_t> json_int(const Json& object, std::string_view key, std::int64_t low, std::int64_t high,
                              std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return wrong(where, key, "is missing");
  return as_int(*value, key, low, high, where);
}

Result<std::int64_t> json_int_or(const Json& object, std::string_view key, std::int64_t fallback, std::int64_t low,
                                 std::int64_t high, std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return fallback;
  return as_int(*value, key, low, high, where);
}

Result<double> json_number(const Json& object, std::string_view key, std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return wrong(where, key, "is missing");
  return as_number(*value, key, where);
}

Result<double> json_number_or(const Json& object, std::string_view key, double fallback, std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return fallback;
  return as_number(*value, key, where);
}

Result<bool> json_bool_or(const Json& object, std::string_view key, bool fallback, std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return fallback;
  if (!value->is_boolean()) return wrong(where, key, "must be true or false");
  return value->get<bool>();
}

Result<std::string> json_string(const Json& object, std::string_view key, std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return wrong(where, key, "is missing");
  return as_string(*value, key, where);
}

Result<std::string> json_string_or(const Json& object, std::string_view key, std::string_view fallback,
                                   std::string_view where) {
  const Json* value = member(object, key);
  if (!value) return std::string(fallback);
  return as_string(*value, key, where);
}

}  // namespace dgq

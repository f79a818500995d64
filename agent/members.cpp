#include "agent/members.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace dgq::agent {
namespace {

std::string shown(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

}  // namespace

const Json* Members::value(const char* name) {
  known_.insert(name);
  const auto found = object_.find(name);
  return error_ || found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int64_t> Members::integer(const char* name, std::int64_t low, std::int64_t high) {
  const Json* member = value(name);
  if (!member) return std::nullopt;
  const bool fits = member->is_number_integer() &&
                    (!member->is_number_unsigned() || member->get<std::uint64_t>() <= INT64_MAX);
  if (fits && member->get<std::int64_t>() >= low && member->get<std::int64_t>() <= high)
    return member->get<std::int64_t>();
  fail(name, "must be an integer from " + std::to_string(low) + " to " + std::to_string(high));
  return std::nullopt;
}

std::optional<double> Members::number(const char* name, double low, double high) {
  const Json* member = value(name);
  if (!member) return std::nullopt;
  if (member->is_number() && member->get<double>() >= low && member->get<double>() <= high)
    return member->get<double>();
  fail(name, "must be a number from " + shown(low) + " to " + shown(high));
  return std::nullopt;
}

std::optional<bool> Members::flag(const char* name) {
  const Json* member = value(name);
  if (!member) return std::nullopt;
  if (member->is_boolean()) return member->get<bool>();
  fail(name, "must be true or false");
  return std::nullopt;
}

std::optional<std::string> Members::text(const char* name) {
  const Json* member = value(name);
  if (!member) return std::nullopt;
  if (member->is_string()) return member->get<std::string>();
  fail(name, "must be a string");
  return std::nullopt;
}

std::optional<std::vector<std::int32_t>> Members::tokens(const char* name) {
  const Json* member = value(name);
  if (!member) return std::nullopt;
  auto list = token_list(*member);
  if (!list) fail(name, "must be a list of token ids");
  return list;
}

void Members::ignore(std::initializer_list<const char*> names) { known_.insert(names.begin(), names.end()); }

void Members::only(const char* name, std::initializer_list<Json> neutral, const char* why) {
  const Json* member = value(name);
  if (member && std::find(neutral.begin(), neutral.end(), *member) == neutral.end())
    fail(name, std::string("is not supported: ") + why);
}

void Members::fail(const char* name, const std::string& what) {
  if (!error_) error_ = ApiError{.message = "\"" + std::string(name) + "\" " + what, .param = name};
}

std::optional<ApiError> Members::error() {
  for (auto member = object_.begin(); !error_ && member != object_.end(); ++member)
    if (!known_.contains(member.key())) {
      constexpr std::size_t kShown = 64;
      const std::string name = member.key().substr(0, kShown);
      error_ = ApiError{
          .message = "\"" + name + "\" is not supported here", .param = name, .code = kUnknownParameter};
    }
  return error_;
}

std::optional<std::vector<std::int32_t>> token_list(const Json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<std::int32_t> tokens;
  for (const Json& token : value) {
    if (!token.is_number_unsigned() || token.get<std::uint64_t>() > INT32_MAX) return std::nullopt;
    tokens.push_back(token.get<std::int32_t>());
  }
  return tokens;
}

}  // namespace dgq::agent

// agent/members.h - reading the members of a request: each is asked for by name, and one that nobody asked
// for is refused.
#pragma once

#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/api_error.h"

namespace dgq::agent {

// Borrows the object. After the first error the rest is read as missing. A null member counts as missing.
class Members {
 public:
  explicit Members(const Json& object) : object_(object) {}

  std::optional<std::int64_t> integer(const char* name, std::int64_t low, std::int64_t high);
  std::optional<double> number(const char* name, double low, double high);
  std::optional<bool> flag(const char* name);
  std::optional<std::string> text(const char* name);
  std::optional<std::vector<std::int32_t>> tokens(const char* name);
  const Json* value(const char* name);

  // Known, and of no influence on the answer.
  void ignore(std::initializer_list<const char*> names);
  // Known, and taken only with a value that changes nothing: `missing`, null, or one of `neutral`.
  void only(const char* name, std::initializer_list<Json> neutral, const char* why);

  void fail(const char* name, const std::string& what);  // "\"name\" what"
  bool failed() const { return error_.has_value(); }
  std::optional<ApiError> error();  // the first, or that of a member that nobody asked for

 private:
  const Json& object_;
  std::set<std::string_view> known_;
  std::optional<ApiError> error_;
};

// The elements of a list of token ids; nullopt: it is none.
std::optional<std::vector<std::int32_t>> token_list(const Json& value);

}  // namespace dgq::agent

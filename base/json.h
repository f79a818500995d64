// base/json.h - JSON that people or other programs wrote, read with errors that name file and key.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dgq {

using Json = nlohmann::json;                // objects sorted by key: dump() is canonical
using OrderedJson = nlohmann::ordered_json;  // keeps the order of the file

// `where` (a file name) starts every message. corrupt: not JSON, not UTF-8, or nested
// deeper than 64 levels.
Result<Json> parse_json(std::string_view text, std::string_view where);

// Typed members of an object. A missing, null or wrongly typed member is an Error naming `where` and `key`;
// the `_or` forms take a missing or null member as the fallback. Integers must fit [low, high].
Result<std::int64_t> json_int(const Json& object, std::string_view key, std::int64_t low, std::int64_t high,
                              std::string_view where);
Result<std::int64_t> json_int_or(const Json& object, std::string_view key, std::int64_t fallback, std::int64_t low,
                                 std::int64_t high, std::string_view where);
Result<double> json_number(const Json& object, std::string_view key, std::string_view where);
Result<double> json_number_or(const Json& object, std::string_view key, double fallback, std::string_view where);
Result<bool> json_bool_or(const Json& object, std::string_view key, bool fallback, std::string_view where);
Result<std::string> json_string(const Json& object, std::string_view key, std::string_view where);
Result<std::string> json_string_or(const Json& object, std::string_view key, std::string_view fallback,
                                   std::string_view where);

}  // namespace dgq

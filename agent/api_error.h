// agent/api_error.h - what is wrong with a request, as OpenAI's clients expect it.
#pragma once

#include <string>

#include "base/json.h"

namespace dgq::agent {

struct ApiError {
  int status = 400;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param = {}, code = {};  // empty: null
};

inline constexpr const char* kUnknownParameter = "unknown_parameter";  // a code: param is the client's word

inline Json to_json(const ApiError& error) {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return {{"error",
           {{"message", error.message},
            {"type", error.type},
            {"param", or_null(error.param)},
            {"code", or_null(error.code)}}}};
}

// Text from clients may hold anything; what is no UTF-8 is shown as U+FFFD.
inline std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace dgq::agent

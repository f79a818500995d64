// runtime/tokenizer_json.h - the members of a tokenizer.json, one function each (tokenizer_json*.cpp).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "runtime/tokenizer_definition.h"

namespace dgq::tokenizer_json {

// The object's member, or null when it is missing, JSON null, or the object none.
const Json* find_member(const Json& object, const char* key);
Error corrupt(std::string_view where, std::string_view what);
Error unsupported(std::string_view where, std::string_view what);

// `value` may be null (absent). Steps are appended in order.
Result<void> parse_normalizer(const Json* value, std::string_view where, std::vector<NormalizerStep>& steps);
Result<void> parse_pretokenizer(const Json* value, std::string_view where,
                                std::vector<PretokenizerStep>& steps);
Result<void> parse_post_processor(const Json* value, std::string_view where,
                                  std::vector<SpecialFrame>& frames);
Result<std::vector<DecodeStep>> parse_decoder(const Json* value, std::string_view where);

}  // namespace dgq::tokenizer_json

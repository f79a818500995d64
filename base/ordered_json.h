// base/ordered_json.h - JSON whose objects keep the order of their text.
#pragma once

#include "base/json.h"

namespace dgq {

// As parse_json().
Result<OrderedJson> parse_ordered_json(std::string_view text, std::string_view where);

}  // namespace dgq

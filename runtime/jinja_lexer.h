// runtime/jinja_lexer.h - a template as tokens. Internal to jinja_*.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dgq::jinja {

struct Token {
  enum class Kind {
    text,
    output_begin,
    output_end,
    tag_begin,
    tag_end,
    name,
    string,
    integer,
    real,
    symbol,
    end
  };
  Kind kind;
  int line;
  std::string text;  // of strings: what they mean
};

// White space around tags is gone as trim_blocks, lstrip_blocks and - + ask; comments are. Ends with Kind::end.
Result<std::vector<Token>> read_tokens(std::string_view text);

}  // namespace dgq::jinja

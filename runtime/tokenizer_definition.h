// runtime/tokenizer_definition.h - what a tokenizer.json says, checked; tokenizer.cpp runs it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/bpe.h"
#include "runtime/normalizer.h"
#include "runtime/pretokenizer.h"
#include "runtime/tokenizer_added.h"
#include "runtime/tokenizer_decode.h"

namespace dgq {

// Ids around what one post-processor was given.
struct SpecialFrame {
  std::vector<std::int32_t> before, after;
};

struct TokenizerDefinition {
  std::vector<NormalizerStep> normalizer;
  std::vector<PretokenizerStep> pretokenizer;
  Bpe bpe;
  std::vector<AddedToken> added;     // ids unique, none that means another token in bpe's vocabulary
  std::vector<SpecialFrame> frames;  // innermost first
  std::vector<DecodeStep> decoder;
};

// Errors as Tokenizer::parse.
Result<TokenizerDefinition> parse_tokenizer_definition(std::string_view tokenizer_json,
                                                       std::string_view where);

}  // namespace dgq

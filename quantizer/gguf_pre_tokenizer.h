// quantizer/gguf_pre_tokenizer.h - what the names in a GGUF's tokenizer.ggml.pre stand for, in the words of a tokenizer.json.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"

namespace dgq {

// The normalizer, pre-tokenizer and habits of the models that have one of the names.
struct PreTokenizer {
  std::vector<std::string_view> names;  // the first is the one to write
  Json (*pre_tokenizer)();
  bool nfc, ignore_merges, add_bos;
};
const std::vector<PreTokenizer>& pre_tokenizers();

// tokenizer.ggml.token_type
namespace token_type {
enum : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };
}

// Steps of a tokenizer.json.
Json sequence(const char* key, Json steps);
Json byte_level(bool use_regex);
Json replace(std::string_view from, std::string_view to);

// In SentencePiece vocabularies a space is this.
inline constexpr std::string_view kSpaceMark = "\u2581";
// The normalizer of such a tokenizer. prefix: a text begins with a space.
Json space_marks(bool prefix);

}  // namespace dgq

// runtime/detokenizer.h - text while tokens are generated.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/tokenizer.h"

namespace dgq {

// All pieces of one sequence, finish() included, add up to Tokenizer::decode of the sequence. Each is well-formed UTF-8:
// bytes are held back until their character is complete. A run of byte-fallback tokens (<0xNN>) is held back to its end,
// since one ill-formed byte in it changes how decode shows all of them. One thread at a time.
class Detokenizer {
 public:
  // The tokenizer is borrowed.
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special), stream_(tokenizer.decode_steps()) {}

  // The text that this token completes; often empty. An id without a token (a head may have more rows than the
  // vocabulary has tokens) adds no text, as in the reference.
  std::string push(std::int32_t id);

  // What was held back at the end of the sequence. Ready for another sequence afterwards.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  DecodeStream stream_;
};

}  // namespace dgq

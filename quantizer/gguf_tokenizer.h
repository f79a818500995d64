// quantizer/gguf_tokenizer.h - the tokenizer in a GGUF's metadata as the text of a tokenizer.json.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace dgq {

// Gives the ids that the model's own tokenizer.json gives, for tokenizer.ggml.model
//   gpt2   byte-level BPE, where tokenizer.ggml.pre is one of the names in gguf_tokenizer.cpp
//   llama  SentencePiece BPE with scores and byte fallback
// Anything else is Error unsupported by name; lists that contradict each other are corrupt. `where` starts every message.
Result<std::string> tokenizer_from_gguf(const Json& metadata, const std::string& where);

}  // namespace dgq

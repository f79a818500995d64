// quantizer/gguf_tokenizer_output.h - a tokenizer.json as the metadata of a GGUF: the other way of quantizer/gguf_tokenizer.h.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "quantizer/gguf_output.h"
#include "runtime/config.h"

namespace dgq {

// Adds tokenizer.ggml.*, with which llama.cpp gives the ids that the tokenizer gives. unsupported: steps that no name in
// gguf_pre_tokenizer.h stands for, or special tokens other than a BOS before and an EOS behind a text. `where` starts the message.
Result<void> add_tokenizer(GgufMetadata& to, const ModelConfig& config, std::string_view tokenizer_json,
                           const std::string& where);

}  // namespace dgq

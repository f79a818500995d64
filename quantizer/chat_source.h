// quantizer/chat_source.h - the chat template of a checkpoint as the blob that a version stores (runtime/chat_template.h).
// Internal to quantizer/.
#pragma once

#include "base/json.h"
#include "quantizer/container.h"

namespace dgq {

// Of a folder: chat_template.jinja, else tokenizer_config.json's "chat_template" (a text, or a list whose "default" is
// taken). bos_token and eos_token are tokenizer_config.json's; where it has none, the tokens of config's ids. Sets
// out.chat_template, which stays empty where there is none. Precondition: config and tokenizer_json are read.
Result<void> read_folder_chat(Container& out);

// Of GGUF metadata: tokenizer.chat_template, and the tokens that the metadata's ids name.
Result<void> read_gguf_chat(const Json& metadata, Container& out);

}  // namespace dgq

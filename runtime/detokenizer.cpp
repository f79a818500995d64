#include "runtime/detokenizer.h"

namespace dgq {

std::string Detokenizer::push(std::int32_t id) {
  std::string text;
  if (tokenizer_->contains(id) && !(skip_special_ && tokenizer_->is_special(id)))
    stream_.push(tokenizer_->token(id), text);
  return text;
}

std::string Detokenizer::finish() {
  std::string text;
  stream_.finish(text);
  return text;
}

}  // namespace dgq

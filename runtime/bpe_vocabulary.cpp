#include "runtime/bpe_vocabulary.h"

#include <string>

#include "runtime/tokenizer_utf8.h"

namespace dgq {

Result<Vocabulary> Vocabulary::make(const std::vector<std::pair<std::string_view, std::int64_t>>& tokens,
                                    std::string_view where) {
  Vocabulary out;
  std::size_t bytes = 0;
  std::int64_t largest = -1;
  for (const auto& [token, id] : tokens) {
    if (id < 0 || id >= kMaxTokens)
      return Error{Errc::corrupt, std::string(where) + ": id " + std::to_string(id) + " of token " +
                                      in_quotes(token) + " is not from 0 to " +
                                      std::to_string(kMaxTokens - 1)};
    bytes += token.size();
    largest = std::max(largest, id);
  }
  out.text_.reserve(bytes);
  out.begins_.assign(largest + 1, kNone);
  out.lengths_.assign(largest + 1, 0);
  out.ids_.reserve(tokens.size());
  for (const auto& [token, id] : tokens) {
    if (out.begins_[id] != kNone)
      return Error{Errc::corrupt, std::string(where) + ": tokens " + in_quotes(out.token(id)) + " and " +
                                      in_quotes(token) + " have the same id " + std::to_string(id)};
    out.begins_[id] = out.text_.size();
    out.lengths_[id] = token.size();
    out.text_.insert(out.text_.end(), token.begin(), token.end());
    out.ids_.emplace(out.token(id), id);
  }
  return out;
}

}  // namespace dgq

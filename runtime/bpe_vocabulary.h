// runtime/bpe_vocabulary.h - tokens by id and ids by token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dgq {

inline constexpr std::int32_t kMaxTokens = 1
                                           << 21;  // ids are below; eight times the largest vocabulary in use

class Vocabulary {
 public:
  // Copies the tokens. Ids may leave gaps. corrupt: an id outside [0, kMaxTokens) or used twice.
  static Result<Vocabulary> make(const std::vector<std::pair<std::string_view, std::int64_t>>& tokens,
                                 std::string_view where);

  std::size_t size() const { return begins_.size(); }  // largest id + 1
  std::int32_t find(std::string_view token) const {    // -1: none
    const auto found = ids_.find(token);
    return found == ids_.end() ? -1 : found->second;
  }
  bool contains(std::int32_t id) const { return id >= 0 && std::size_t(id) < size() && begins_[id] != kNone; }
  std::string_view token(std::int32_t id) const {  // contains(id)
    return {text_.data() + begins_[id], lengths_[id]};
  }

 private:
  static constexpr std::size_t kNone = SIZE_MAX;
  std::vector<char> text_;  // all tokens; a vector, so that moving it keeps the views in ids_ valid
  std::vector<std::size_t> begins_, lengths_;  // by id
  std::unordered_map<std::string_view, std::int32_t> ids_;
};

}  // namespace dgq

// runtime/tokenizer_added.h - tokens found in the text as they stand, before anything splits it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace dgq {

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool special = false;  // left out of decoded text on request
  bool normalized =
      false;  // looked for after normalization, its content normalized as well; otherwise before
  bool lstrip = false, rstrip = false;  // takes the white space before, after it along
};

// A part of a text: an added token, or what stands between them.
struct AddedPart {
  std::string_view text;
  std::int32_t id;  // -1: between
};

// Finds tokens in text, leftmost first, the longest where several begin.
class AddedMatcher {
 public:
  struct Entry {
    std::string content;  // what is looked for
    std::int32_t id;
    bool lstrip, rstrip;
  };
  AddedMatcher() = default;
  explicit AddedMatcher(std::vector<Entry> entries);  // empty contents never match

  bool empty() const { return entries_.empty(); }

  // All of text, in order, without empty parts. Time: length times the longest token, however many tokens.
  // marks: as long as text, or empty; bytes whose mark is not 0 are no part of an added token (lstrip and rstrip take
  // them along all the same).
  std::vector<AddedPart> split(std::string_view text, std::string_view marks = {}) const;

 private:
  const Entry* longest_at(std::string_view text) const;

  std::vector<Entry> entries_;      // ascending by content
  std::array<bool, 256> starts_{};  // bytes with which a content starts
};

}  // namespace dgq

// runtime/token_trie.h - the tokens of a vocabulary by the bytes that they add to a text.
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "runtime/tokenizer.h"

namespace dgq {

class TokenTrie {
 public:
  // A node for every prefix of a token, in depth-first order without the root.
  struct Node {
    std::uint32_t end;               // the first node that does not begin with this prefix
    std::uint32_t first_id, end_id;  // of ids(): the tokens that are this prefix
    std::uint16_t depth;             // bytes of the prefix
    unsigned char byte;              // the last of them
  };

  // Without special tokens, and without those that add nothing. unsupported: what a token adds depends on its neighbours.
  static Result<TokenTrie> make(const Tokenizer& tokenizer);

  const std::vector<Node>& nodes() const { return nodes_; }
  std::span<const std::int32_t> ids(const Node& node) const {
    return std::span(ids_).subspan(node.first_id, node.end_id - node.first_id);
  }
  std::string_view bytes(std::int32_t id) const;                     // empty: the token is not in here
  bool has_byte(unsigned char byte) const { return single_[byte]; }  // as a token of its own
  std::size_t vocabulary_size() const { return bytes_.size(); }
  std::size_t longest() const { return longest_; }  // bytes of a token

 private:
  std::vector<Node> nodes_;
  std::vector<std::int32_t> ids_;
  std::vector<std::string> bytes_;  // by id
  std::bitset<256> single_;
  std::size_t longest_ = 0;
};

}  // namespace dgq

#include "runtime/token_trie.h"

#include <algorithm>

namespace dgq {
namespace {

constexpr std::size_t kLongest = UINT16_MAX;  // longer tokens are left out

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

Result<TokenTrie> TokenTrie::make(const Tokenizer& tokenizer) {
  TokenTrie trie;
  trie.bytes_.resize(tokenizer.vocabulary_size());
  for (std::size_t i = 0; i < trie.bytes_.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (!tokenizer.contains(id) || tokenizer.is_special(id)) continue;
    auto bytes = bytes_of_token(tokenizer.decode_steps(), tokenizer.token(id));
    if (!bytes)
      return Error{Errc::unsupported,
                   "answers in JSON are not supported: what a token of this model's tokenizer adds to a text "
                   "depends on its neighbours"};
    if (bytes->empty() || bytes->size() > kLongest) continue;
    if (bytes->size() == 1) trie.single_.set(static_cast<unsigned char>(bytes->front()));
    trie.longest_ = std::max(trie.longest_, bytes->size());
    trie.bytes_[i] = std::move(*bytes);
    trie.ids_.push_back(id);
  }
  const auto text = [&](std::int32_t id) -> std::string_view {
    return trie.bytes_[static_cast<std::size_t>(id)];
  };
  std::sort(trie.ids_.begin(), trie.ids_.end(),
            [&](std::int32_t a, std::int32_t b) { return text(a) != text(b) ? text(a) < text(b) : a < b; });

  std::vector<std::size_t> open;  // the nodes of the last token's prefixes
  const auto close = [&](std::size_t depth) {
    for (; open.size() > depth; open.pop_back())
      trie.nodes_[open.back()].end = static_cast<std::uint32_t>(trie.nodes_.size());
  };
  std::string_view last;
  for (std::uint32_t i = 0; i < trie.ids_.size(); ++i) {
    const std::string_view token = text(trie.ids_[i]);
    close(common_prefix(last, token));
    for (std::size_t at = open.size(); at < token.size(); ++at) {
      open.push_back(trie.nodes_.size());
      trie.nodes_.push_back(
          {0, i, i, static_cast<std::uint16_t>(at + 1), static_cast<unsigned char>(token[at])});
    }
    trie.nodes_[open.back()].end_id = i + 1;
    last = token;
  }
  close(0);
  return trie;
}

std::string_view TokenTrie::bytes(std::int32_t id) const {
  return id >= 0 && static_cast<std::size_t>(id) < bytes_.size()
             ? std::string_view(bytes_[static_cast<std::size_t>(id)])
             : std::string_view();
}

}  // namespace dgq

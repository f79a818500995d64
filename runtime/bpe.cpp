#include "runtime/bpe.h"

#include <algorithm>
#include <cstdio>

#include "runtime/pretokenizer.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

// Top of the heap: lowest rank, then leftmost.
bool later(const Bpe::Scratch::Candidate& a, const Bpe::Scratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
}

struct RankedMerge {
  std::int32_t left, right, rank, merged;
};

Result<RankedMerge> look_up(const Vocabulary& vocabulary, const TokenPair& pair, std::size_t rank,
                            std::string_view where) {
  const std::string whole = std::string(pair.first) + std::string(pair.second);
  const RankedMerge merge{vocabulary.find(pair.first), vocabulary.find(pair.second),
                          static_cast<std::int32_t>(rank), vocabulary.find(whole)};
  if (merge.left >= 0 && merge.right >= 0 && merge.merged >= 0) return merge;
  const std::string unknown(merge.left < 0    ? pair.first
                            : merge.right < 0 ? pair.second
                                              : std::string_view(whole));
  return Error{Errc::corrupt, std::string(where) + ": merge " + std::to_string(rank) + " needs " +
                                  in_quotes(unknown) + ", which is not in the vocabulary"};
}

}  // namespace

Result<Bpe> Bpe::make(Vocabulary vocabulary, const std::vector<TokenPair>& merges, const BpeOptions& options,
                      std::string_view where) {
  std::vector<RankedMerge> ranked;
  ranked.reserve(merges.size());
  for (const TokenPair& pair : merges) {
    DGQ_TRY(const RankedMerge merge, look_up(vocabulary, pair, ranked.size(), where));
    ranked.push_back(merge);
  }
  std::sort(ranked.begin(), ranked.end(), [](const RankedMerge& a, const RankedMerge& b) {
    return std::tie(a.left, a.right, b.rank) <
           std::tie(b.left, b.right, a.rank);  // the latest rank of a pair first
  });
  ranked.erase(
      std::unique(ranked.begin(), ranked.end(),
                  [](const auto& a, const auto& b) { return a.left == b.left && a.right == b.right; }),
      ranked.end());

  Bpe bpe;
  bpe.first_.assign(vocabulary.size() + 1, 0);
  for (const RankedMerge& merge : ranked) {
    ++bpe.first_[merge.left + 1];
    bpe.merges_.push_back({merge.right, merge.rank, merge.merged});
  }
  for (std::size_t i = 1; i < bpe.first_.size(); ++i) bpe.first_[i] += bpe.first_[i - 1];

  if (options.unk_token) {
    bpe.unk_ = vocabulary.find(*options.unk_token);
    if (bpe.unk_ < 0)
      return Error{Errc::corrupt, std::string(where) + ": unk_token " + in_quotes(*options.unk_token) +
                                      " is not in the vocabulary"};
  }
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    bpe.fallback_[byte] = vocabulary.find(name);
  }
  for (char32_t letter = 0; letter < kByteLetterEnd; ++letter) {
    std::string character;
    append_utf8(letter, character);
    bpe.small_characters_.push_back(vocabulary.find(character));
  }
  bpe.options_ = options;
  bpe.vocabulary_ = std::move(vocabulary);
  return bpe;
}

std::int32_t Bpe::character_id(std::string_view character) const {
  const char32_t value = utf8_code_point(character);
  return value < small_characters_.size() ? small_characters_[value] : vocabulary_.find(character);
}

// An unknown character waits in `unknown` until a known one comes: so the reference does it, and so unk_token stands
// after the bytes of a fallback between them.
void Bpe::split_characters(std::string_view word, std::vector<Scratch::Symbol>& symbols) const {
  const auto add = [&](std::int32_t id) { symbols.push_back({id, 0, 0}); };
  bool unknown = false;
  for (std::size_t at = 0, length = 0; at < word.size(); at += length) {
    length = utf8_length(word.substr(at));
    const std::string_view character = word.substr(at, length);
    if (const std::int32_t id = character_id(character); id >= 0) {
      if (unknown) add(unk_);
      unknown = false;
      add(id);
      continue;
    }
    const auto fallback = [&](char byte) { return fallback_[static_cast<unsigned char>(byte)]; };
    if (options_.byte_fallback &&
        std::all_of(character.begin(), character.end(), [&](char byte) { return fallback(byte) >= 0; })) {
      for (const char byte : character) add(fallback(byte));
    } else if (unk_ >= 0) {
      if (unknown && !options_.fuse_unk) add(unk_);
      unknown = true;
    }
  }
  if (unknown) add(unk_);
}

const Bpe::Merge* Bpe::find_merge(std::int32_t left, std::int32_t right) const {
  const auto begin = merges_.begin() + first_[left], end = merges_.begin() + first_[left + 1];
  const auto found = std::lower_bound(begin, end, right,
                                      [](const Merge& merge, std::int32_t id) { return merge.right < id; });
  return found != end && found->right == right ? &*found : nullptr;
}

void Bpe::propose(std::int32_t left, Scratch& scratch) const {
  const auto& symbols = scratch.symbols;
  const Merge* merge = find_merge(symbols[left].id, symbols[symbols[left].next].id);
  if (!merge) return;
  scratch.heap.push_back({merge->rank, left, merge->merged});
  std::push_heap(scratch.heap.begin(), scratch.heap.end(), later);
}

void Bpe::merge_all(Scratch& scratch) const {
  auto& [symbols, heap] = scratch;
  const auto count = static_cast<std::int32_t>(symbols.size());
  heap.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : -1;
  }
  for (std::int32_t i = 0; i + 1 < count; ++i) propose(i, scratch);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto [rank, left, merged] = heap.back();
    heap.pop_back();
    auto& symbol = symbols[left];
    if (symbol.id < 0 || symbol.next < 0) continue;
    const std::int32_t right = symbol.next;
    // The pair here may be another one by now. What counts, in the reference too, is the token it would give.
    const Merge* merge = find_merge(symbol.id, symbols[right].id);
    if (!merge || merge->merged != merged) continue;
    symbol.id = merged;
    symbol.next = symbols[right].next;
    symbols[right].id = -1;
    if (symbol.next >= 0) {
      symbols[symbol.next].previous = left;
      propose(left, scratch);
    }
    if (symbol.previous >= 0) propose(symbol.previous, scratch);
  }
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& ids) const {
  if (options_.ignore_merges) {
    if (const std::int32_t id = vocabulary_.find(word); id >= 0) return ids.push_back(id);
  }
  scratch.symbols.clear();
  split_characters(word, scratch.symbols);
  merge_all(scratch);
  for (const auto& symbol : scratch.symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

}  // namespace dgq

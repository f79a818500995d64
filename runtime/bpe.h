// runtime/bpe.h - byte pair encoding (Sennrich et al., arXiv 1508.07909): a word's characters, merged pair by pair, the
// pair that stands first in the list of merges first, leftmost first among equals.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "runtime/bpe_vocabulary.h"

namespace dgq {

struct BpeOptions {
  bool byte_fallback =
      false;  // an unknown character becomes the tokens <0xNN> of its bytes, when all of them exist
  bool fuse_unk = false;       // neighbouring unknown characters become one unk_token
  bool ignore_merges = false;  // a word that is a token stays whole
  std::optional<std::string>
      unk_token;  // of other unknown characters; none: they vanish (as in the reference)
};

using TokenPair = std::pair<std::string_view, std::string_view>;

class Bpe {
 public:
  // merges in order of rank; of a pair that occurs twice the later rank holds. corrupt: a merge whose parts or whole are
  // not in the vocabulary, or an unk_token that is not.
  static Result<Bpe> make(Vocabulary vocabulary, const std::vector<TokenPair>& merges,
                          const BpeOptions& options, std::string_view where);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  // Working memory of encode(); reuse it from word to word. 40 bytes per byte of the longest word.
  struct Scratch {
    struct Symbol {
      std::int32_t id, previous, next;
    };  // a list over the word; id < 0: merged away
    struct Candidate {
      std::int32_t rank, left, merged;
    };
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // Appends the ids of one word (well-formed UTF-8, shorter than 2 GiB). O(n log n) for n characters.
  void encode(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    std::int32_t right, rank, merged;
  };

  std::int32_t character_id(std::string_view character) const;
  void split_characters(std::string_view word, std::vector<Scratch::Symbol>& symbols) const;
  const Merge* find_merge(std::int32_t left, std::int32_t right) const;
  void propose(std::int32_t left, Scratch& scratch) const;
  void merge_all(Scratch& scratch) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::int32_t unk_ = -1;
  std::array<std::int32_t, 256> fallback_{};    // ids of <0xNN>, -1: none
  std::vector<std::int32_t> small_characters_;  // ids of the first code points, -1: none
  // Merges grouped by left token: those of token t are merges_[first_[t], first_[t + 1]), ascending in `right`. A search
  // takes a few steps, and no choice of tokens makes it slow, as it could with a hash.
  std::vector<std::int32_t> first_;
  std::vector<Merge> merges_;
};

}  // namespace dgq

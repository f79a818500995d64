#include "runtime/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "runtime/sampler.h"

namespace dgq {
namespace {

// Characters a..d and random merges on top. No token is made by two merges: there the order of ours and of the plain
// loop below would be two valid readings.
struct RandomBpe {
  explicit RandomBpe(std::uint64_t seed) {
    SplitMix64 random(seed);
    tokens = {"a", "b", "c", "d"};
    std::set<std::string> known(tokens.begin(), tokens.end());
    while (merges.size() < 60) {
      const std::string left = tokens[random.next() % tokens.size()],
                        right = tokens[random.next() % tokens.size()];
      if (!known.insert(left + right).second) continue;
      tokens.push_back(left + right);
      merges.emplace_back(left, right);
    }
    std::vector<std::pair<std::string_view, std::int64_t>> ids;
    for (std::size_t i = 0; i < tokens.size(); ++i) ids.emplace_back(tokens[i], i);
    std::vector<TokenPair> pairs(merges.begin(), merges.end());
    bpe = *Bpe::make(*Vocabulary::make(ids, "t"), pairs, {}, "t");
  }

  // The definition: again and again, merge the leftmost pair of lowest rank.
  std::vector<std::int32_t> plain(const std::string& word) const {
    std::vector<std::string> parts;
    for (const char c : word) parts.emplace_back(1, c);
    for (const auto& [left, right] : merges) rank_of[{left, right}] = &left - &merges[0].first;
    for (;;) {
      std::size_t best = 0;
      std::ptrdiff_t best_rank = PTRDIFF_MAX;
      for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto found = rank_of.find({parts[i], parts[i + 1]});
        if (found != rank_of.end() && found->second < best_rank) best = i, best_rank = found->second;
      }
      if (best_rank == PTRDIFF_MAX) break;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    std::vector<std::int32_t> ids;
    for (const std::string& part : parts) ids.push_back(bpe.vocabulary().find(part));
    return ids;
  }

  std::vector<std::string> tokens;
  std::vector<std::pair<std::string, std::string>> merges;
  mutable std::map<std::pair<std::string, std::string>, std::ptrdiff_t> rank_of;
  Bpe bpe;
};

TEST(Bpe, MatchesThePlainLoop) {
  Bpe::Scratch scratch;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomBpe random(seed);
    SplitMix64 letters(seed + 1000);
    for (std::size_t length : {0, 1, 2, 3, 7, 50, 200}) {
      std::string word;
      for (std::size_t i = 0; i < length; ++i) word += static_cast<char>('a' + letters.next() % 4);
      std::vector<std::int32_t> ids;
      random.bpe.encode(word, scratch, ids);
      EXPECT_EQ(ids, random.plain(word)) << "seed " << seed << " word " << word;
    }
  }
}

// One word of a million characters: quadratic work would take hours.
TEST(Bpe, LongWord) {
  const std::vector<std::pair<std::string_view, std::int64_t>> tokens = {{"a", 0}, {"aa", 1}, {"aaaa", 2}};
  const std::vector<TokenPair> merges = {{"a", "a"}, {"aa", "aa"}};
  const Bpe bpe = *Bpe::make(*Vocabulary::make(tokens, "t"), merges, {}, "t");
  Bpe::Scratch scratch;
  std::vector<std::int32_t> ids;
  bpe.encode(std::string(1'000'003, 'a'), scratch, ids);
  ASSERT_EQ(ids.size(), 250'002u);
  EXPECT_EQ(std::set<std::int32_t>(ids.begin(), ids.end() - 2), std::set<std::int32_t>{2});
  EXPECT_EQ(ids[250'000], 1);
  EXPECT_EQ(ids[250'001], 0);
}

TEST(Bpe, LaterRankOfAPairHolds) {
  const std::vector<std::pair<std::string_view, std::int64_t>> tokens = {
      {"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}};
  Bpe::Scratch scratch;
  const auto encode = [&](const std::vector<TokenPair>& merges) {
    std::vector<std::int32_t> ids;
    Bpe::make(*Vocabulary::make(tokens, "t"), merges, {}, "t")->encode("abc", scratch, ids);
    return ids;
  };
  EXPECT_EQ(encode({{"a", "b"}, {"b", "c"}}), (std::vector<std::int32_t>{3, 2}));
  EXPECT_EQ(encode({{"a", "b"}, {"b", "c"}, {"a", "b"}}), (std::vector<std::int32_t>{0, 4}));
}

}  // namespace
}  // namespace dgq

// The beginnings of prompts, kept and given back: the same bits as without, within the budget, over a
// restart.
#include "agent/prefix_cache.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/agent/served_synthetic.h"
#include "tests/support/command.h"

namespace dgq::agent {
namespace {

using test::Recorder;
using test::request_of;
using test::SyntheticEngine;

constexpr std::size_t kBlock = PrefixCache::kBlock;
constexpr std::uint64_t kPlenty = 100'000'000;
const Digest kVersion = sha256("a version");

// Of one block, what it counts as.
std::uint64_t bytes_of_block(KvType type = KvType::int8) {
  PrefixCache one(dgq::test::small_config(), type, kPlenty);
  KvCache cache(dgq::test::small_config(), kBlock, type);
  one.store(std::vector<std::int32_t>(kBlock), cache);
  EXPECT_EQ(one.stats().blocks, 1u);
  return one.stats().bytes;
}

std::shared_ptr<PrefixCache> make(std::uint64_t budget) {
  return std::make_shared<PrefixCache>(dgq::test::small_config(), KvType::int8, budget);
}

// A cache for whole sequences, each position of which has bytes of its own.
KvCache filled(KvType type, unsigned seed, std::size_t capacity = 128) {
  KvCache cache(dgq::test::small_config(), capacity, type);
  std::mt19937 random(seed);
  for (const auto part : cache.parts(capacity / kBlock * kBlock))
    for (std::byte& byte : part) byte = static_cast<std::byte>(random());
  return cache;
}

std::vector<std::int32_t> tokens_of(std::size_t count, int salt = 0) {
  return request_of(count, 1, salt).prompt;
}

bool equal(KvCache& a, KvCache& b, std::size_t positions) {
  const auto left = a.parts(positions), right = b.parts(positions);
  for (std::size_t i = 0; i < left.size(); ++i)
    if (!std::equal(left[i].begin(), left[i].end(), right[i].begin(), right[i].end())) return false;
  return left.size() == right.size();
}

// Prompts that begin alike, in many lengths, with room for all of them, for a few, and for none.
TEST(PrefixCache, AnswersAreTheBitsThatThereAreWithoutIt) {
  for (const std::uint64_t budget : {kPlenty, 5 * bytes_of_block(), std::uint64_t{1}}) {
    const auto cache = make(budget);
    SyntheticEngine served(3, 64, 8, 128, dgq::test::small_config(), 1, cache);  // three at once
    std::uint64_t cached = 0, prompts = 0;
    for (int i = 0; i < 24;) {
      std::vector<std::pair<Generation, std::shared_ptr<Recorder>>> together;
      for (const int end = i + 4; i < end; ++i) {
        Generation request = request_of(20 + static_cast<std::size_t>(i * 29 % 80), 20, i % 2);
        if (i % 3 == 0) request.prompt[static_cast<std::size_t>(i) % request.prompt.size()] = 7;
        together.emplace_back(request, std::make_shared<Recorder>());
        ASSERT_TRUE(served.engine->submit(request, together.back().second));
      }
      for (const auto& pair : together) {
        const Generation& request = pair.first;
        ASSERT_EQ(pair.second->wait(), Finish::length);
        EXPECT_EQ(pair.second->ids(), served.expected(request)) << "request " << i << ", budget " << budget;
        EXPECT_LT(pair.second->cached(), request.prompt.size());
        EXPECT_LE(cache->stats().bytes, budget);
        cached += pair.second->cached();
        prompts += request.prompt.size();
      }
    }
    const PrefixStats stats = cache->stats();
    EXPECT_EQ(stats.restored_tokens, cached);
    EXPECT_EQ(served.engine->stats().prompt_tokens + cached, prompts);
    EXPECT_EQ(cached > 0, budget > 1);
    EXPECT_EQ(stats.evicted_blocks > 0, budget > 1 && budget < kPlenty);
  }
}

TEST(PrefixCache, ALaterPromptHasTheAnswerBeforeItAsWell) {
  SyntheticEngine served(1, 64, 8, 128, dgq::test::small_config(), 1, make(kPlenty));
  const Generation first = request_of(40, 30);
  const auto answer = std::make_shared<Recorder>();
  ASSERT_TRUE(served.engine->submit(first, answer));
  ASSERT_EQ(answer->wait(), Finish::length);
  Generation second = first;
  for (const std::int32_t id : answer->ids()) second.prompt.push_back(id);
  second.max_tokens = 10;
  const auto sink = std::make_shared<Recorder>();
  ASSERT_TRUE(served.engine->submit(second, sink));
  ASSERT_EQ(sink->wait(), Finish::length);
  EXPECT_EQ(sink->cached(), 2 * kBlock);  // 40 + 30 tokens, of which 69 were computed
  EXPECT_EQ(sink->ids(), served.expected(second));
}

TEST(PrefixCache, GivesBackWhatWasStoredInEitherType) {
  for (const KvType type : {KvType::int8, KvType::f32}) {
    PrefixCache cache(dgq::test::small_config(), type, kPlenty);
    KvCache from = filled(type, 1, 100), to = filled(type, 2, 120);  // capacities may differ
    const auto tokens = tokens_of(100);
    cache.store(tokens, from);
    EXPECT_EQ(cache.stats().blocks, 3u);
    // The last token is always computed: its logits are wanted.
    EXPECT_EQ(cache.restore(std::span(tokens).first(2 * kBlock), to), kBlock);
    EXPECT_TRUE(equal(from, to, kBlock));
    EXPECT_FALSE(equal(from, to, 2 * kBlock));
    EXPECT_EQ(cache.restore(std::span(tokens).first(2 * kBlock + 1), to), 2 * kBlock);
    EXPECT_TRUE(equal(from, to, 2 * kBlock));
    auto other = tokens;
    other[kBlock + 3] ^= 1;
    EXPECT_EQ(cache.restore(other, to), kBlock);
    other[0] ^= 1;
    EXPECT_EQ(cache.restore(other, to), 0u);
    EXPECT_EQ(cache.restore(std::span(tokens).first(1), to), 0u);
  }
}

TEST(PrefixCache, WhatWasNotUsedForLongestGoesFirstAndItsEndBeforeItsBeginning) {
  PrefixCache cache(dgq::test::small_config(), KvType::int8, 4 * bytes_of_block());
  KvCache kv = filled(KvType::int8, 1);
  const auto a = tokens_of(3 * kBlock + 1, 1), b = tokens_of(kBlock + 1, 2), c = tokens_of(kBlock + 1, 3),
             d = tokens_of(5 * kBlock, 4);
  cache.store(a, kv);
  cache.store(b, kv);
  cache.restore(b, kv);
  cache.store(c, kv);  // takes the place of the last block of a
  EXPECT_EQ(cache.restore(c, kv), kBlock);
  EXPECT_EQ(cache.restore(b, kv), kBlock);
  EXPECT_EQ(cache.restore(a, kv), 2 * kBlock);
  EXPECT_EQ(cache.stats().evicted_blocks, 1u);
  cache.store(d, kv);  // longer than all there is room for: its beginning
  EXPECT_EQ(cache.restore(d, kv), 4 * kBlock);
  EXPECT_EQ(cache.restore(a, kv), 0u);
  EXPECT_EQ(cache.stats().blocks, 4u);
}

TEST(PrefixCache, AFileBringsItOverARestart) {
  const dgq::test::ScratchFolder folder;
  const auto file = folder / "prefixes";
  PrefixCache before(dgq::test::small_config(), KvType::int8, kPlenty);
  KvCache first = filled(KvType::int8, 1), second = filled(KvType::int8, 2), got = filled(KvType::int8, 3);
  auto a = tokens_of(3 * kBlock + 1), b = a;
  b[kBlock] ^= 1;
  before.store(a, first);
  for (std::size_t i = 0; i < first.parts(kBlock).size(); ++i)  // what comes first depends on the same tokens
    std::ranges::copy(first.parts(kBlock)[i], second.parts(kBlock)[i].begin());
  before.store(b, second);
  ASSERT_TRUE(before.save(file, kVersion));
  EXPECT_EQ(std::filesystem::status(file).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);

  PrefixCache after(dgq::test::small_config(), KvType::int8, kPlenty);
  const auto loaded = after.load(file, kVersion);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(after.stats().blocks, 5u);
  EXPECT_EQ(after.restore(a, got), 3 * kBlock);
  EXPECT_TRUE(equal(first, got, 3 * kBlock));
  EXPECT_EQ(after.restore(b, got), 3 * kBlock);
  EXPECT_TRUE(equal(second, got, 3 * kBlock));
  ASSERT_TRUE(after.load(file, kVersion));  // nothing new
  EXPECT_EQ(after.stats().blocks, 5u);

  // With less room: what was used last, from its beginning.
  PrefixCache small(dgq::test::small_config(), KvType::int8, 3 * bytes_of_block());
  ASSERT_TRUE(small.load(file, kVersion));
  EXPECT_EQ(small.restore(b, got), 3 * kBlock);
  EXPECT_EQ(small.restore(a, got), kBlock);
}

TEST(PrefixCache, FilesThatAreNoneChangeNothing) {
  const dgq::test::ScratchFolder folder;
  const auto file = folder / "prefixes";
  PrefixCache cache(dgq::test::small_config(), KvType::int8, kPlenty);
  KvCache kv = filled(KvType::int8, 1);
  cache.store(tokens_of(3 * kBlock), kv);
  ASSERT_TRUE(cache.save(file, kVersion));
  const std::string good = dgq::test::file_text(file);

  const auto refused = [&](const std::string& bytes, Errc code, const char* expected,
                           KvType type = KvType::int8) {
    PrefixCache empty(dgq::test::small_config(), type, kPlenty);
    const auto loaded = empty.load(std::as_bytes(std::span(bytes)), kVersion, "f");
    ASSERT_FALSE(loaded) << expected;
    EXPECT_EQ(loaded.error().code, code) << loaded.error().what;
    EXPECT_NE(loaded.error().what.find(expected), std::string::npos) << loaded.error().what;
    EXPECT_EQ(empty.stats().blocks, 0u);
  };
  const auto with_digest = [](std::string bytes) {
    const Digest digest = sha256(std::string_view(bytes).substr(0, bytes.size() - 32));
    bytes.replace(bytes.size() - 32, 32, reinterpret_cast<const char*>(digest.bytes.data()), 32);
    return bytes;
  };
  refused("", Errc::corrupt, "no saved prefix cache");
  refused(std::string(1000, 'x'), Errc::corrupt, "no saved prefix cache");
  for (std::size_t i = 12; i < good.size(); i += good.size() / 40 + 1) {
    std::string damaged = good;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    refused(damaged, Errc::corrupt, "damaged");
    refused(good.substr(0, i + 100), Errc::corrupt, "");
  }
  std::string changed = good;
  changed[8] = 9;
  refused(with_digest(changed), Errc::invalid, "format 9");
  changed = good;
  changed[64] = 100;  // blocks
  refused(with_digest(changed), Errc::corrupt, "length");
  changed = good;
  changed[72] = 0;  // the first block follows itself
  for (std::size_t i = 73; i < 80; ++i) changed[i] = 0;
  refused(with_digest(changed), Errc::corrupt, "before the one");
  refused(good, Errc::invalid, "type of KV cache", KvType::f32);
  const auto other = cache.load(file, sha256("another"));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::invalid);
  EXPECT_EQ(cache.load(folder / "none", kVersion).error().code, Errc::not_found);
}

}  // namespace
}  // namespace dgq::agent

// agent/prefix_cache.h - keys and values of prompts that were there before, so that their beginnings need not
// be computed again.
//
// Holds blocks of kBlock tokens, each under the tokens that stood before it (a tree): what a block holds
// depends on those, and on nothing else (runtime/decoder.h), so a sequence that begins with restored blocks
// gets the bits that it would compute. Blocks are found by comparing tokens, not hashes. Beyond the budget
// the blocks go that were longest not used; those under a block go before it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "base/digest.h"
#include "runtime/kv_cache.h"

namespace dgq::agent {

struct PrefixStats {
  std::uint64_t restored_tokens = 0, stored_blocks = 0, evicted_blocks = 0;  // since the start
  std::size_t blocks = 0;                                                    // now
  std::uint64_t bytes = 0, budget_bytes = 0;  // bytes: of all blocks, counts included
};

// Every member is thread-safe.
class PrefixCache {
 public:
  static constexpr std::size_t kBlock = 32;  // tokens
  static_assert(kBlock % KvCache::kPartPositions == 0);

  // For sequences of one model version: config and type are those of every KvCache that comes.
  PrefixCache(const ModelConfig& config, KvType type, std::uint64_t budget_bytes);
  ~PrefixCache();

  // Fills the cache with what is known of the beginning of the tokens, all but the last of which may be;
  // returns how many positions that is, a multiple of kBlock.
  std::size_t restore(std::span<const std::int32_t> tokens, KvCache& cache);
  // Keeps the full blocks of `tokens`, all of which are in the cache at their positions. What there is no
  // memory for is not kept.
  void store(std::span<const std::int32_t> tokens, KvCache& cache);

  PrefixStats stats() const;

  // A file for the next process (prefix_cache.cpp has its format), readable by its owner only: prompts are in
  // it. All of it is there, or the file is as it was.
  Result<void> save(const std::filesystem::path& path, const Digest& version) const;
  // Adds what the file holds, as far as the budget goes. not_found: there is none; corrupt: it is no such
  // file, or damaged; invalid: it is of another version, type of cache or block size. Then nothing changes.
  Result<void> load(const std::filesystem::path& path, const Digest& version);
  // Whether a file begins as saved ones do.
  static bool is_saved(const std::filesystem::path& path);
  // As load(), of bytes; `name` is for the error only.
  Result<void> load(std::span<const std::byte> file, const Digest& version, const std::string& name);

 private:
  using Tokens = std::array<std::int32_t, kBlock>;
  struct Block;
  using Blocks = std::map<Tokens, std::unique_ptr<Block>>;

  Blocks& after(Block* parent);  // null: those that begin a prompt
  Block* find(Block* parent, const Tokens& tokens);
  Block* add(Block* parent, const Tokens& tokens);
  void remove(Block* last);  // no other is under it
  void touch(Block* last);
  std::uint64_t bytes_of_one() const;

  const KvType type_;
  const std::size_t block_bytes_;
  const std::uint64_t budget_bytes_;
  mutable std::mutex mutex_;  // guards what follows
  Blocks roots_;
  std::list<Block*> used_;  // the last used first; a block stands before those under it
  PrefixStats stats_;
};

}  // namespace dgq::agent

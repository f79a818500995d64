// The file, all integers little-endian:
//
//   8 bytes     DGQKVPFX
//   4           u32 format, 1
//   4           u32 type of cache: 0 int8, 1 f32
//   32          digest of the version
//   8           u64 tokens of a block
//   8           u64 bytes of a block
//   8           u64 blocks n
//   n times, the last used first:
//     8         i64 number of the block before it, which is smaller than its own; -1: it begins a prompt
//     ..        i32 tokens
//     ..        for each part of KvCache::parts(): its bytes
//   32          SHA-256 of everything before
#include "agent/prefix_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"

namespace dgq::agent {
namespace {

constexpr std::array<char, 8> kMagic = {'D', 'G', 'Q', 'K', 'V', 'P', 'F', 'X'};
constexpr std::uint32_t kFormat = 1;

struct Head {
  std::array<char, 8> magic;
  std::uint32_t format, type;
  Digest version;
  std::uint64_t block_tokens, block_bytes, blocks;
};
static_assert(sizeof(Head) == 72 && std::endian::native == std::endian::little);

std::size_t block_bytes(const ModelConfig& config, KvType type) {
  KvCache one(config, PrefixCache::kBlock, type);  // reserves addresses, touches no memory
  std::size_t bytes = 0;
  for (const auto part : one.parts(PrefixCache::kBlock)) bytes += part.size();
  return bytes;
}

}  // namespace

struct PrefixCache::Block {
  Tokens tokens;
  Block* parent;
  std::unique_ptr<std::byte[]> bytes;
  Blocks next;
  std::list<Block*>::iterator place = {};
};

PrefixCache::PrefixCache(const ModelConfig& config, KvType type, std::uint64_t budget_bytes)
    : type_(type), block_bytes_(block_bytes(config, type)), budget_bytes_(budget_bytes) {}

// Long prompts are long chains, and each link would be destroyed inside the one before it.
PrefixCache::~PrefixCache() {
  while (!used_.empty()) remove(used_.back());
}

std::uint64_t PrefixCache::bytes_of_one() const {
  constexpr std::size_t kNodes = 128;  // of map and list, and what the allocator adds
  return block_bytes_ + sizeof(Block) + sizeof(Tokens) + kNodes;
}

PrefixCache::Blocks& PrefixCache::after(Block* parent) { return parent ? parent->next : roots_; }

PrefixCache::Block* PrefixCache::find(Block* parent, const Tokens& tokens) {
  Blocks& among = after(parent);
  const auto found = among.find(tokens);
  return found == among.end() ? nullptr : found->second.get();
}

void PrefixCache::remove(Block* last) {
  const Tokens tokens = last->tokens;
  used_.erase(last->place);
  after(last->parent).erase(tokens);
}

// Null: there is no room, not even without all that is older than the parent.
PrefixCache::Block* PrefixCache::add(Block* parent, const Tokens& tokens) {
  while ((used_.size() + 1) * bytes_of_one() > budget_bytes_) {
    if (used_.empty()) return nullptr;
    Block* oldest = used_.back();
    if (oldest == parent || !oldest->next.empty()) return nullptr;  // of the parent's own chain
    remove(oldest);
    ++stats_.evicted_blocks;
  }
  auto block = std::make_unique<Block>(
      Block{tokens, parent, std::unique_ptr<std::byte[]>(new std::byte[block_bytes_]), {}, {}});
  used_.push_front(block.get());
  block->place = used_.begin();
  Block* added = block.get();
  try {
    after(parent).emplace(tokens, std::move(block));
  } catch (...) {
    used_.pop_front();
    throw;
  }
  return added;
}

// From the last block of a chain to its first, so that a block stands before those under it.
void PrefixCache::touch(Block* last) {
  for (Block* block = last; block; block = block->parent) used_.splice(used_.begin(), used_, block->place);
}

std::size_t PrefixCache::restore(std::span<const std::int32_t> tokens, KvCache& cache) {
  const std::lock_guard lock(mutex_);
  Block* last = nullptr;
  std::size_t position = 0;
  Tokens key;
  while (position + kBlock < tokens.size()) {
    std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(position), kBlock, key.begin());
    Block* block = find(last, key);
    if (!block) break;
    const std::byte* from = block->bytes.get();
    for (const auto part : cache.parts(position, kBlock)) {
      std::memcpy(part.data(), from, part.size());
      from += part.size();
    }
    last = block;
    position += kBlock;
  }
  touch(last);
  stats_.restored_tokens += position;
  return position;
}

void PrefixCache::store(std::span<const std::int32_t> tokens, KvCache& cache) {
  const std::lock_guard lock(mutex_);
  Block* last = nullptr;
  Tokens key;
  try {
    for (std::size_t position = 0; position + kBlock <= tokens.size(); position += kBlock) {
      std::copy_n(tokens.begin() + static_cast<std::ptrdiff_t>(position), kBlock, key.begin());
      Block* block = find(last, key);
      if (block) {
        used_.splice(used_.begin(), used_, block->place);  // not to be evicted for those under it
      } else {
        block = add(last, key);
        if (!block) break;
        std::byte* to = block->bytes.get();
        for (const auto part : cache.parts(position, kBlock)) {
          std::memcpy(to, part.data(), part.size());
          to += part.size();
        }
        ++stats_.stored_blocks;
      }
      last = block;
    }
  } catch (const std::bad_alloc&) {
  }
  touch(last);
}

PrefixStats PrefixCache::stats() const {
  const std::lock_guard lock(mutex_);
  PrefixStats stats = stats_;
  stats.blocks = used_.size();
  stats.bytes = used_.size() * bytes_of_one();
  stats.budget_bytes = budget_bytes_;
  return stats;
}

Result<void> PrefixCache::save(const std::filesystem::path& path, const Digest& version) const {
  const std::lock_guard lock(mutex_);
  DGQ_TRY(AtomicFile file, AtomicFile::create(path));
  Sha256 hash;
  const auto append = [&](const void* data, std::size_t size) {
    const std::span bytes(static_cast<const std::byte*>(data), size);
    hash.update(bytes);
    return file.append(bytes);
  };
  const Head head{kMagic,       kFormat,     static_cast<std::uint32_t>(type_), version, kBlock,
                  block_bytes_, used_.size()};
  DGQ_CHECK(append(&head, sizeof head));
  std::unordered_map<const Block*, std::int64_t> numbers = {{nullptr, -1}};
  for (const Block* block : used_) {
    const std::int64_t parent = numbers.at(block->parent);
    numbers.emplace(block, static_cast<std::int64_t>(numbers.size()) - 1);
    DGQ_CHECK(append(&parent, sizeof parent));
    DGQ_CHECK(append(&block->tokens, sizeof block->tokens));
    DGQ_CHECK(append(block->bytes.get(), block_bytes_));
  }
  const Digest digest = hash.finish();
  DGQ_CHECK(file.append(std::as_bytes(std::span(digest.bytes))));
  return file.commit(0600);
}

bool PrefixCache::is_saved(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return file && file->bytes().size() >= kMagic.size() &&
         std::memcmp(file->bytes().data(), kMagic.data(), kMagic.size()) == 0;
}

Result<void> PrefixCache::load(const std::filesystem::path& path, const Digest& version) {
  DGQ_TRY(const MappedFile file, MappedFile::open(path));
  return load(file.bytes(), version, path.string());
}

Result<void> PrefixCache::load(std::span<const std::byte> file, const Digest& version,
                               const std::string& name) {
  const auto refuse = [&](Errc code, const std::string& what) { return Error{code, name + what}; };
  Head head{};
  Digest digest;
  if (file.size() < sizeof head + sizeof digest) return refuse(Errc::corrupt, " is no saved prefix cache");
  std::memcpy(&head, file.data(), sizeof head);
  if (head.magic != kMagic) return refuse(Errc::corrupt, " is no saved prefix cache");
  if (head.format != kFormat)
    return refuse(Errc::invalid, " has format " + std::to_string(head.format) + ": made by another dgq");
  std::memcpy(&digest, file.data() + file.size() - sizeof digest, sizeof digest);
  if (sha256(file.first(file.size() - sizeof digest)) != digest)
    return refuse(Errc::corrupt, " is damaged: its bytes do not match its digest");
  if (head.version != version)
    return refuse(Errc::invalid, " was saved with version " + head.version.short_hex() + ", this one is " +
                                     version.short_hex());
  if (head.type != static_cast<std::uint32_t>(type_) || head.block_tokens != kBlock ||
      head.block_bytes != block_bytes_)
    return refuse(Errc::invalid, " was saved with another type of KV cache, or another block size");
  const std::span rest = file.subspan(sizeof head, file.size() - sizeof head - sizeof digest);
  const std::size_t record = sizeof(std::int64_t) + sizeof(Tokens) + block_bytes_;
  if (rest.size() % record != 0 || rest.size() / record != head.blocks)
    return refuse(Errc::corrupt, " has the wrong length");
  for (std::uint64_t i = 0; i < head.blocks; ++i) {
    std::int64_t parent;
    std::memcpy(&parent, rest.data() + i * record, sizeof parent);
    if (parent < -1 || parent >= static_cast<std::int64_t>(i))
      return refuse(Errc::corrupt, " has a block before the one that it continues");
  }

  const std::lock_guard lock(mutex_);
  std::vector<Block*> blocks;
  try {
    for (std::uint64_t i = 0; i < head.blocks && (used_.size() + 1) * bytes_of_one() <= budget_bytes_; ++i) {
      const std::byte* from = rest.data() + i * record;
      std::int64_t number;
      Tokens tokens;
      std::memcpy(&number, from, sizeof number);
      std::memcpy(tokens.data(), from + sizeof number, sizeof tokens);
      Block* parent = number < 0 ? nullptr : blocks[static_cast<std::size_t>(number)];
      Block* block = find(parent, tokens);
      if (!block) {
        block = add(parent, tokens);
        std::memcpy(block->bytes.get(), from + sizeof number + sizeof tokens, block_bytes_);
        used_.splice(used_.end(), used_, block->place);  // older than all that came before
      }
      blocks.push_back(block);
    }
  } catch (const std::bad_alloc&) {  // then it is as much as there is memory for
  }
  return {};
}

}  // namespace dgq::agent

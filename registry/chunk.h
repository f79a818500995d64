// registry/chunk.h - a blob is stored in chunks: one row each, one zstd frame each, or raw where zstd gains
// too little. A frame may need another chunk as its prefix (docs/REGISTRY.md, deltas): the decoder is given it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace dgq {

inline constexpr std::size_t kChunkBytes = 4 << 20;  // raw bytes of every chunk but the last of a blob

enum class ChunkCodec : std::int64_t { raw = 0, zstd = 1 };

class ChunkEncoder {
 public:
  ChunkEncoder();
  ~ChunkEncoder();
  struct Chunk {
    ChunkCodec codec;
    std::span<const std::byte> stored;  // borrows from `raw` or from the encoder, until the next encode()
  };
  Chunk encode(std::span<const std::byte> raw);  // 0 < raw.size() <= kChunkBytes
  // A zstd frame with `base` as its prefix (ZSTD_CCtx_refPrefix), both of 1..kChunkBytes; borrowed until the next call. Empty
  // when it takes more than max_bytes (at most kChunkBytes).
  std::span<const std::byte> encode_against(std::span<const std::byte> base, std::span<const std::byte> raw,
                                            std::size_t max_bytes);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  std::vector<std::byte> buffer_;
};

class ChunkDecoder {
 public:
  ChunkDecoder();
  ~ChunkDecoder();
  // The raw bytes, borrowed from `stored` or from the decoder until the next decode(). corrupt when they are
  // not exactly raw_bytes long, whatever the frame claims: memory is bounded by kChunkBytes. base: the prefix that
  // the frame was made with, empty without one.
  Result<std::span<const std::byte>> decode(std::int64_t codec, std::int64_t raw_bytes,
                                            std::span<const std::byte> stored,
                                            std::span<const std::byte> base = {});

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  std::vector<std::byte> buffer_;
};

}  // namespace dgq

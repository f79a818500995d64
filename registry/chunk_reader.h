// registry/chunk_reader.h - the rows of table `chunk`, as stored and decoded. Internal to registry/.
#pragma once

#include <functional>
#include <optional>

#include "registry/chunk.h"
#include "registry/sqlite.h"

namespace dgq {

struct StoredChunk {
  std::int64_t position, codec, raw_bytes;
  std::optional<std::int64_t>
      base;  // id of the blob whose chunk at this position is the prefix; that one has no base
  std::span<const std::byte> data;
};

// Call inside a transaction. Errors start with "chunk N".
class ChunkReader {
 public:
  explicit ChunkReader(sqlite::Db& db) : db_(db) {}

  // The rows of a blob in order, as they are stored; `data` is valid during the call of sink.
  Result<void> for_each(std::int64_t blob, const std::function<Result<void>(const StoredChunk&)>& sink);
  // The raw bytes, borrowed from `chunk` or from this reader until the next call.
  Result<std::span<const std::byte>> decode(const StoredChunk& chunk);

  struct Found {
    std::span<const std::byte> raw;
    std::size_t stored_bytes;
    bool based;
  };
  // One chunk of a blob, decoded; nullopt when there is none. Borrowed from this reader until the next call.
  Result<std::optional<Found>> find(std::int64_t blob, std::int64_t position);

 private:
  sqlite::Db& db_;
  ChunkDecoder decoder_, base_decoder_;
  std::optional<sqlite::Statement> row_, base_row_;  // own the bytes that are borrowed
};

}  // namespace dgq

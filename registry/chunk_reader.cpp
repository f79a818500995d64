#include "registry/chunk_reader.h"

namespace dgq {
namespace {

constexpr const char* kSelectOne =
    "SELECT position, codec, raw_bytes, base, data FROM chunk WHERE blob = ? AND position = ?";

StoredChunk chunk_of(const sqlite::Statement& row) {
  return {row.integer(0), row.integer(1), row.integer(2),
          row.is_null(3) ? std::nullopt : std::optional(row.integer(3)), row.blob(4)};
}

Error fault(std::int64_t position, Errc code, const std::string& what) {
  return {code, "chunk " + std::to_string(position) + " " + what};
}

}  // namespace

Result<void> ChunkReader::for_each(std::int64_t blob,
                                   const std::function<Result<void>(const StoredChunk&)>& sink) {
  DGQ_TRY(
      sqlite::Statement rows,
      db_.query("SELECT position, codec, raw_bytes, base, data FROM chunk WHERE blob = ? ORDER BY position",
                blob));
  for (std::int64_t expected = 0;; ++expected) {
    DGQ_TRY(const bool row, rows.step());
    if (!row) return {};
    const StoredChunk chunk = chunk_of(rows);
    if (chunk.position != expected) return fault(expected, Errc::corrupt, "is missing");
    DGQ_CHECK(sink(chunk));
  }
}

Result<std::span<const std::byte>> ChunkReader::decode(const StoredChunk& chunk) {
  std::span<const std::byte> base;
  if (chunk.base) {
    DGQ_TRY(base_row_, db_.query(kSelectOne, *chunk.base, chunk.position));
    DGQ_TRY(const bool found, base_row_->step());
    if (!found) return fault(chunk.position, Errc::corrupt, "needs a base that is missing");
    const StoredChunk stored = chunk_of(*base_row_);
    if (stored.base) return fault(chunk.position, Errc::corrupt, "has a base that has a base itself");
    const auto raw = base_decoder_.decode(stored.codec, stored.raw_bytes, stored.data);
    if (!raw) return fault(chunk.position, raw.error().code, "has a base that " + raw.error().what);
    base = *raw;
  }
  auto raw = decoder_.decode(chunk.codec, chunk.raw_bytes, chunk.data, base);
  if (!raw) return fault(chunk.position, raw.error().code, raw.error().what);
  return raw;
}

Result<std::optional<ChunkReader::Found>> ChunkReader::find(std::int64_t blob, std::int64_t position) {
  DGQ_TRY(row_, db_.query(kSelectOne, blob, position));
  DGQ_TRY(const bool found, row_->step());
  if (!found) return std::optional<Found>();
  const StoredChunk chunk = chunk_of(*row_);
  DGQ_TRY(const std::span<const std::byte> raw, decode(chunk));
  return std::optional(Found{raw, chunk.data.size(), chunk.base.has_value()});
}

}  // namespace dgq

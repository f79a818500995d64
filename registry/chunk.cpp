#include "registry/chunk.h"

#include <zstd.h>

#include <cassert>
#include <new>

namespace dgq {
namespace {

// Packed 4-bit weights have no repeats for zstd to find, only an uneven distribution of nibbles, so all that
// helps is its Huffman stage. Measured on 105 MB of Gaussian weights in 4 bits (group 128), one 3 GHz-class
// x86-64 core, chunks of 1 and of 4 MiB alike, MB/s of raw bytes:
//   level   size     encode  decode
//   -5, -1  100.0 %    1250    4800   (no Huffman stage: all chunks end up raw)
//    1       92.5 %     630     960
//    2, 3    92.5 %     610     950
//    5       92.5 %     210     950
// With it, SHA-256 (1.1 GB/s) and SQLite, adding runs at 220 MB/s and materialising at 330 MB/s, where
// writing the same files plainly with fsync takes 300 to 1300 MB/s on that disk.
constexpr int kLevel = 1;

// Of a frame with a prefix: the first level whose match finder remembers all of a prefix of 4 MiB (level 3 takes 7 times the
// bytes, 5 and 6 find next to nothing, 12 is no smaller; docs/REGISTRY.md). The window must reach from the end of a chunk to
// the start of its base, 8 MiB back.
constexpr int kDeltaLevel = 4, kDeltaWindowLog = 23;
static_assert((std::size_t{1} << kDeltaWindowLog) >= 2 * kChunkBytes);

// Stored raw unless zstd saves 3 %: below that the space is not worth the decoding.
constexpr std::size_t worthwhile_bytes(std::size_t raw) { return raw - raw * 3 / 100; }

}  // namespace

struct ChunkEncoder::Context {
  ZSTD_CCtx* zstd = ZSTD_createCCtx();
  Context() {
    if (!zstd) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
  }
  void set_level(int level, int window_log) {  // 0: as the level says
    ZSTD_CCtx_reset(zstd, ZSTD_reset_session_only);  // one that failed for want of room would refuse parameters
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
  }
  ~Context() { ZSTD_freeCCtx(zstd); }
};

struct ChunkDecoder::Context {
  ZSTD_DCtx* zstd = ZSTD_createDCtx();
  Context() {
    if (!zstd) throw std::bad_alloc();
  }
  ~Context() { ZSTD_freeDCtx(zstd); }
};

ChunkEncoder::ChunkEncoder() : context_(std::make_unique<Context>()), buffer_(kChunkBytes) {}
ChunkEncoder::~ChunkEncoder() = default;

ChunkEncoder::Chunk ChunkEncoder::encode(std::span<const std::byte> raw) {
  assert(!raw.empty() && raw.size() <= kChunkBytes);
  context_->set_level(kLevel, 0);
  // The limit on the output makes zstd give up as soon as it gains too little.
  const std::size_t size =
      ZSTD_compress2(context_->zstd, buffer_.data(), worthwhile_bytes(raw.size()), raw.data(), raw.size());
  if (ZSTD_isError(size)) return {ChunkCodec::raw, raw};
  return {ChunkCodec::zstd, std::span(buffer_).first(size)};
}

std::span<const std::byte> ChunkEncoder::encode_against(std::span<const std::byte> base,
                                                        std::span<const std::byte> raw,
                                                        std::size_t max_bytes) {
  assert(!base.empty() && base.size() <= kChunkBytes && !raw.empty() && raw.size() <= kChunkBytes &&
         max_bytes <= buffer_.size());
  context_->set_level(kDeltaLevel, kDeltaWindowLog);
  ZSTD_CCtx_refPrefix(context_->zstd, base.data(), base.size());  // for one frame
  const std::size_t size = ZSTD_compress2(context_->zstd, buffer_.data(), max_bytes, raw.data(), raw.size());
  ZSTD_CCtx_refPrefix(context_->zstd, nullptr, 0);
  return ZSTD_isError(size) ? std::span<const std::byte>() : std::span(buffer_).first(size);
}

ChunkDecoder::ChunkDecoder() : context_(std::make_unique<Context>()) {}
ChunkDecoder::~ChunkDecoder() = default;

Result<std::span<const std::byte>> ChunkDecoder::decode(std::int64_t codec, std::int64_t raw_bytes,
                                                        std::span<const std::byte> stored,
                                                        std::span<const std::byte> base) {
  if (raw_bytes <= 0 || raw_bytes > static_cast<std::int64_t>(kChunkBytes))
    return Error{Errc::corrupt, "says " + std::to_string(raw_bytes) + " bytes"};
  const auto size = static_cast<std::size_t>(raw_bytes);
  const Error wrong_size{Errc::corrupt, "does not hold the " + std::to_string(size) + " bytes it says"};
  if (codec == static_cast<std::int64_t>(ChunkCodec::raw)) {
    if (stored.size() != size) return wrong_size;
    return stored;
  }
  if (codec != static_cast<std::int64_t>(ChunkCodec::zstd))
    return Error{Errc::unsupported, "has the unknown codec " + std::to_string(codec)};
  buffer_.resize(size);
  ZSTD_DCtx_refPrefix(context_->zstd, base.data(), base.size());  // for one frame
  const std::size_t got =
      ZSTD_decompressDCtx(context_->zstd, buffer_.data(), size, stored.data(), stored.size());
  if (ZSTD_isError(got))
    return Error{Errc::corrupt, std::string("does not decode: ") + ZSTD_getErrorName(got)};
  if (got != size) return wrong_size;
  return std::span<const std::byte>(buffer_);
}

}  // namespace dgq

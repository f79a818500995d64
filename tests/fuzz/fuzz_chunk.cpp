// Bytes as a stored chunk: codec (1 byte, 128 more: with a base), the raw bytes that it says (i32), what is stored. It decodes to
// exactly those bytes or gives an Error, and the decoder is as good as new after it. What is stored, as raw bytes, comes
// back from encoder and decoder, plainly and against the base.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "registry/chunk.h"

namespace {

using Bytes = std::vector<std::byte>;
using Span = std::span<const std::byte>;

// Also what tests/fuzz/make_corpus.cpp makes its deltas against.
const Bytes& base() {
  static const Bytes bytes = [] {
    Bytes made(5000);
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<std::byte>(i * i / 7);
    return made;
  }();
  return bytes;
}

void require_same(dgq::ChunkDecoder& decoder, dgq::ChunkCodec codec, Span raw, Span stored, Span prefix) {
  const auto decoded =
      decoder.decode(static_cast<std::int64_t>(codec), static_cast<std::int64_t>(raw.size()), stored, prefix);
  if (!decoded || !std::ranges::equal(*decoded, raw)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHead = 1 + sizeof(std::int32_t);
  if (size < kHead) return 0;
  std::int32_t raw_bytes;
  std::memcpy(&raw_bytes, data + 1, sizeof raw_bytes);
  const Span rest = std::as_bytes(std::span(data + kHead, size - kHead));
  dgq::ChunkDecoder decoder;
  const auto decoded =
      decoder.decode(data[0] & 0x7f, raw_bytes, rest, data[0] & 0x80 ? Span(base()) : Span());
  if (decoded && static_cast<std::int64_t>(decoded->size()) != raw_bytes) std::abort();
  if (rest.empty()) return 0;

  static dgq::ChunkEncoder encoder;
  const auto plain = encoder.encode(rest);
  require_same(decoder, plain.codec, rest, plain.stored, {});
  const Span delta = encoder.encode_against(base(), rest, dgq::kChunkBytes);
  if (delta.empty()) std::abort();
  require_same(decoder, dgq::ChunkCodec::zstd, rest, delta, base());
  return 0;
}

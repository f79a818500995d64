#include "runtime/gguf_carrier.h"

#include <cstring>
#include <string>

namespace dgq {
namespace {

constexpr unsigned kSign = 0x80;  // of the second byte of a float16

std::string little_endian(std::uint64_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

}  // namespace

void write_signs(const CarrierBytes& carrier, std::span<std::byte> q8_0) {
  for (std::size_t i = 0; i < kCarrierBytes * 8; ++i) {
    if ((std::to_integer<unsigned>(carrier[i / 8]) >> (i % 8) & 1) == 0) continue;
    const auto block = q8_0.subspan(i * kQ8BlockBytes, kQ8BlockBytes);
    block[1] |= std::byte{kSign};
    for (std::byte& q : block.subspan(2)) q = static_cast<std::byte>(-std::to_integer<int>(q));
  }
}

CarrierBytes read_signs(std::span<const std::byte> q8_0) {
  CarrierBytes carrier{};
  if (q8_0.size() < kCarrierBytes * 8 * kQ8BlockBytes) return carrier;
  for (std::size_t i = 0; i < kCarrierBytes * 8; ++i)
    if ((q8_0[i * kQ8BlockBytes + 1] & std::byte{kSign}) != std::byte{0})
      carrier[i / 8] |= static_cast<std::byte>(1u << (i % 8));
  return carrier;
}

std::optional<Digest> read_fat_mark(std::span<const std::byte> beginning) {
  if (beginning.size() < kGgufMarkBytes) return std::nullopt;
  const std::string_view text(reinterpret_cast<const char*>(beginning.data()), kGgufMarkBytes);
  constexpr std::uint64_t kString = 8;
  const std::string key = little_endian(kFatKey.size(), 8) + std::string(kFatKey) +
                          little_endian(kString, 4) + little_endian(64, 8);
  if (!text.starts_with("GGUF" + little_endian(3, 4)) || text.substr(24, key.size()) != key)
    return std::nullopt;
  auto digest = Digest::parse(text.substr(24 + key.size()));
  if (!digest) return std::nullopt;
  return *digest;
}

}  // namespace dgq

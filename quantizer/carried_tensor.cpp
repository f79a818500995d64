#include "quantizer/carried_tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "quantizer/stored_tensor.h"
#include "runtime/gguf_carrier.h"
#include "runtime/linear.h"

namespace dgq {
namespace {

constexpr float kMaxF16 = 65504;

// Of 0 <= value <= kMaxF16, half to even.
std::uint16_t to_f16(float value) {
  constexpr float kSmallestNormal = 0x1p-14F;
  if (value < kSmallestNormal) return static_cast<std::uint16_t>(std::nearbyint(double{value} * 0x1p24));
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13);
}

// Blocks of 32: d = max |w| / 127 as float16, q = w / d rounded.
Result<void> to_q8(std::span<const float> row, std::vector<std::byte>& out, const std::string& name) {
  for (std::size_t at = 0; at < row.size(); at += kQ8Block) {
    const auto block = row.subspan(at, kQ8Block);
    float largest = 0;
    for (const float w : block) largest = std::max(largest, std::abs(w));
    if (largest > kMaxF16 * 127)
      return Error{Errc::unsupported, name + ": its weights are too large for Q8_0; export it thin"};
    const std::uint16_t half = to_f16(largest / 127);
    const float scale = f16_to_f32(half);
    out.push_back(static_cast<std::byte>(half & 0xff));
    out.push_back(static_cast<std::byte>(half >> 8));
    for (const float w : block) {
      const float q = scale > 0 ? std::nearbyint(w / scale) : 0;
      out.push_back(static_cast<std::byte>(static_cast<int>(std::clamp(q, -127.0F, 127.0F))));
    }
  }
  return {};
}

template <class Matrix>
GgufTensor carry(const std::string& name, const Matrix& w, const Carrier& carrier, GgufWeights weights) {
  const bool fat = weights == GgufWeights::fat;
  const std::uint64_t n = w.n, k = w.k, count = n * k;
  const CarrierBytes bytes_of_carrier = encode_carrier(carrier);
  if (!fat && count >= kCarrierBytes)
    return {name, {n, k}, GgufType::i8, [=](AtomicFile& file) -> Result<void> {
              DGQ_CHECK(file.append(bytes_of_carrier));
              return file.append_hole(count - kCarrierBytes);
            }};
  const bool q8 = fat && k % kQ8Block == 0 && count >= kFatWeights;
  const std::size_t pairs = carrier.rotary;
  return {name, {n, k}, q8 ? GgufType::q8_0 : GgufType::f32, [=](AtomicFile& file) -> Result<void> {
            std::vector<float> row(k);
            std::vector<std::byte> bytes;
            for (std::size_t r = 0; r < n; ++r) {
              copy_row(w, row_of_ours(r, pairs), row.data());
              if (q8) {
                DGQ_CHECK(to_q8(row, bytes, name));
              } else {
                const auto plain = std::as_bytes(std::span(row));
                bytes.insert(bytes.end(), plain.begin(), plain.end());
              }
            }
            if (q8) write_signs(bytes_of_carrier, bytes);
            return file.append(bytes);
          }};
}

}  // namespace

std::size_t row_of_ours(std::size_t row, std::size_t head_dim) {
  if (head_dim == 0) return row;
  const std::size_t in_head = row % head_dim;
  return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

GgufTensor carried_tensor(const std::string& name, const Linear& linear, const Carrier& carrier,
                          GgufWeights weights) {
  return std::visit([&](const auto& w) { return carry(name, w, carrier, weights); }, linear);
}

GgufMetadata begin_carrier_metadata(const Digest& version, const std::string& name, GgufWeights weights) {
  const bool thin = weights == GgufWeights::thin;
  GgufMetadata metadata;
  metadata.add(thin ? kThinKey : kFatKey, version.hex());  // the first, see gguf_carrier.h
  metadata.add(
      "general.name",
      thin ? name + " (no weights inside: needs GGML_BACKEND_PATH=libggml-dgq and DGQ_REGISTRY)" : name);
  metadata.add("general.quantization_version", 2u);
  if (!thin) metadata.add("general.file_type", 7u);  // mostly Q8_0
  return metadata;
}

}  // namespace dgq

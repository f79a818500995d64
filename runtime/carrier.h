// runtime/carrier.h - what stands in another program's model file where a weight of ours belongs: which linear of which version.
//
//   0   4  "DGQ1"
//   4   2  u16 role of the linear, or 256 + its index among the tensors of the layer blob, below
//   6   2  u16 rotary: 0, or the head_dim by which the file's rows are paired (2i, 2i + 1) where ours are halves (i, i + head_dim / 2)
//   8  32  digest of the version
//   40 32  digest of the layer blob that holds the tensor
//   72  8  first bytes of the SHA-256 of the bytes before
//
// Integers are little-endian. docs/PLUGIN.md says how a GGUF file holds these bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/digest.h"
#include "base/result.h"

namespace dgq {

// Of our own families; others name a tensor of the blob by its index.
enum class LinearRole : std::uint16_t { embedding, head, q, k, v, o, gate, up, down };
inline constexpr std::size_t kLinearRoles = 9;
// index: below kMaxTensors of registry/layer_blob.h.
LinearRole role_of_tensor(std::size_t index);
// None: one of the roles above.
std::optional<std::size_t> tensor_index(LinearRole role);

inline constexpr std::size_t kCarrierBytes = 80;
using CarrierBytes = std::array<std::byte, kCarrierBytes>;

struct Carrier {
  LinearRole role;
  std::uint16_t rotary;
  Digest version, blob;
  bool operator==(const Carrier&) const = default;
};

CarrierBytes encode_carrier(const Carrier& carrier);
// corrupt: the bytes are no carrier, or were changed; unsupported: one of a newer format. `where` starts the message.
Result<Carrier> parse_carrier(std::span<const std::byte> bytes, const std::string& where);

}  // namespace dgq

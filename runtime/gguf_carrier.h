// runtime/gguf_carrier.h - how GGUF files hold carriers (runtime/carrier.h), for who writes them and for who reads them in a host.
//
// thin: a tensor of type I8 that begins with the carrier; the rest of its n * k bytes is a hole.
// fat:  a tensor of type Q8_0, usable by everybody. Bit i of the carrier (lowest first in each byte) is the sign of the scale of block
//       i: a scale d with values q and -d with -q are the same weights, to the last bit of every product.
// The first metadata entry of either is the version, a string of 64 hex digits, under a key that says which it is.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "runtime/carrier.h"

namespace dgq {

inline constexpr std::string_view kThinKey = "dgq.thin.version", kFatKey = "dgq.fat.version";

// Q8_0: along the rows blocks of 32 weights d * q, a float16 d and then 32 int8 q.
inline constexpr std::size_t kQ8Block = 32, kQ8BlockBytes = 34;
// Weights that a Q8_0 tensor needs to hold a carrier.
inline constexpr std::size_t kFatWeights = kCarrierBytes * 8 * kQ8Block;

// Precondition: q8_0 holds kFatWeights at least, with q from -127 on and d not negative.
void write_signs(const CarrierBytes& carrier, std::span<std::byte> q8_0);
// Of any bytes; zeros when there are too few.
CarrierBytes read_signs(std::span<const std::byte> q8_0);

// The beginning of a file, up to its first metadata value.
inline constexpr std::size_t kGgufMarkBytes = 24 + 8 + kFatKey.size() + 4 + 8 + 64;
// The version that a fat file names, of any bytes; none: it is no such file.
std::optional<Digest> read_fat_mark(std::span<const std::byte> beginning);

}  // namespace dgq

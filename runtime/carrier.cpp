#include "runtime/carrier.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace dgq {
namespace {

constexpr std::string_view kMagic = "DGQ1";
constexpr std::size_t kRole = 4, kRotary = 6, kVersion = 8, kBlob = 40, kCheck = 72;

void put_u16(CarrierBytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::byte>(value & 0xff);
  bytes[at + 1] = static_cast<std::byte>(value >> 8);
}

std::uint16_t get_u16(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) |
                                    std::to_integer<unsigned>(bytes[at + 1]) << 8);
}

bool check_matches(std::span<const std::byte> bytes) {
  const Digest digest = sha256(bytes.first(kCheck));
  return std::memcmp(&bytes[kCheck], digest.bytes.data(), kCarrierBytes - kCheck) == 0;
}

std::string blob_name(LinearRole role, std::size_t layer) {
  if (role == LinearRole::embedding) return "embedding";
  if (role == LinearRole::head) return "head";
  return "layers." + std::to_string(layer);
}

CarriedLinear of_layer(const LayerWeights& layer, LinearRole role) {
  switch (role) {
    case LinearRole::q:
      return {layer.q, layer.input_scale[0]};
    case LinearRole::k:
      return {layer.k, layer.input_scale[0]};
    case LinearRole::v:
      return {layer.v, layer.input_scale[0]};
    case LinearRole::o:
      return {layer.o, layer.input_scale[1]};
    case LinearRole::gate:
      return {layer.gate, layer.input_scale[2]};
    case LinearRole::up:
      return {layer.up, layer.input_scale[2]};
    default:
      return {layer.down, layer.input_scale[3]};
  }
}

}  // namespace

CarrierBytes encode_carrier(const Carrier& carrier) {
  CarrierBytes bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  put_u16(bytes, kRole, static_cast<std::uint16_t>(carrier.role));
  put_u16(bytes, kRotary, carrier.rotary);
  std::memcpy(&bytes[kVersion], carrier.version.bytes.data(), carrier.version.bytes.size());
  std::memcpy(&bytes[kBlob], carrier.blob.bytes.data(), carrier.blob.bytes.size());
  const Digest digest = sha256(std::span(bytes).first(kCheck));
  std::memcpy(&bytes[kCheck], digest.bytes.data(), kCarrierBytes - kCheck);
  return bytes;
}

Result<Carrier> parse_carrier(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kCarrierBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size() - 1) != 0)
    return Error{Errc::corrupt, where + ": the weight names no dgq version; export the file again"};
  if (std::to_integer<char>(bytes[kMagic.size() - 1]) != kMagic.back())
    return Error{Errc::unsupported, where + ": was written by a newer dgq"};
  if (!check_matches(bytes))
    return Error{Errc::corrupt, where + ": the name of the dgq version is damaged; export the file again"};
  const std::uint16_t role = get_u16(bytes, kRole);
  if (role >= kLinearRoles) return Error{Errc::unsupported, where + ": was written by a newer dgq"};
  Carrier carrier{static_cast<LinearRole>(role), get_u16(bytes, kRotary), {}, {}};
  std::memcpy(carrier.version.bytes.data(), &bytes[kVersion], carrier.version.bytes.size());
  std::memcpy(carrier.blob.bytes.data(), &bytes[kBlob], carrier.blob.bytes.size());
  return carrier;
}

Digest carrying_blob(const Model& model, LinearRole role, std::size_t layer) {
  const bool tied = role == LinearRole::head && model.config().tied_head;
  return model.version().manifest.find(blob_name(tied ? LinearRole::embedding : role, layer))->digest;
}

Result<CarriedLinear> find_carried(const Model& model, const Carrier& carrier, const std::string& where) {
  const ModelWeights& weights = model.weights();
  const bool of_layers = carrier.role != LinearRole::embedding && carrier.role != LinearRole::head;
  const std::size_t layers = of_layers ? weights.layers.size() : 1;
  for (std::size_t i = 0; i < layers; ++i) {
    if (carrying_blob(model, carrier.role, i) != carrier.blob) continue;
    if (carrier.role == LinearRole::embedding) return CarriedLinear{weights.embedding, 0};
    if (carrier.role == LinearRole::head) return CarriedLinear{weights.head, 0};
    return of_layer(weights.layers[i], carrier.role);
  }
  return Error{Errc::corrupt, where + ": version " + carrier.version.short_hex() + " has no layer blob " +
                                  carrier.blob.short_hex() + "; export the file again"};
}

}  // namespace dgq

#include "runtime/carrier.h"

#include <cstring>
#include <string_view>

#include "registry/layer_blob.h"

namespace dgq {
namespace {

constexpr std::string_view kMagic = "DGQ1";
constexpr std::size_t kRole = 4, kRotary = 6, kVersion = 8, kBlob = 40, kCheck = 72;
constexpr std::size_t kFirstTensor = 256;  // roles from here on are indices

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

}  // namespace

LinearRole role_of_tensor(std::size_t index) { return static_cast<LinearRole>(kFirstTensor + index); }

std::optional<std::size_t> tensor_index(LinearRole role) {
  const auto number = static_cast<std::size_t>(role);
  if (number < kFirstTensor) return std::nullopt;
  return number - kFirstTensor;
}

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
  const bool is_index = role >= kFirstTensor && role < kFirstTensor + kMaxTensors;
  if (role >= kLinearRoles && !is_index)
    return Error{Errc::unsupported, where + ": was written by a newer dgq"};
  Carrier carrier{static_cast<LinearRole>(role), get_u16(bytes, kRotary), {}, {}};
  std::memcpy(carrier.version.bytes.data(), &bytes[kVersion], carrier.version.bytes.size());
  std::memcpy(carrier.blob.bytes.data(), &bytes[kBlob], carrier.blob.bytes.size());
  return carrier;
}

}  // namespace dgq

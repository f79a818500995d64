#include "quantizer/stored_tensor.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/gguf_carrier.h"

namespace dgq {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checkpoints are little-endian and their data is used in place");

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T, class Convert>
std::vector<float> convert_all(std::span<const std::byte> data, Convert convert) {
  std::vector<float> out(data.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = convert(load<T>(data.data() + i * sizeof(T)));
  return out;
}

std::vector<float> from_q8(std::span<const std::byte> data) {
  std::vector<float> out(data.size() / kQ8BlockBytes * kQ8Block);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::byte* block = data.data() + i / kQ8Block * kQ8BlockBytes;
    const auto q = load<std::int8_t>(block + sizeof(std::uint16_t) + i % kQ8Block);
    out[i] = f16_to_f32(load<std::uint16_t>(block)) * static_cast<float>(q);
  }
  return out;
}

struct FloatType {
  const char* dtype;
  std::vector<float> (*read)(std::span<const std::byte>);
};
constexpr FloatType kFloatTypes[] = {
    {"F32",
     [](std::span<const std::byte> data) { return convert_all<float>(data, [](float x) { return x; }); }},
    {"F16", [](std::span<const std::byte> data) { return convert_all<std::uint16_t>(data, f16_to_f32); }},
    {"BF16", [](std::span<const std::byte> data) { return convert_all<std::uint16_t>(data, bf16_to_f32); }},
    {"Q8_0", from_q8}};

const FloatType* find_type(std::string_view dtype) {
  for (const FloatType& type : kFloatTypes)
    if (dtype == type.dtype) return &type;
  return nullptr;
}

}  // namespace

float bf16_to_f32(std::uint16_t half) { return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16); }

Result<std::vector<float>> to_f32(const StoredTensor& tensor, std::string_view where) {
  const FloatType* type = find_type(tensor.dtype);
  if (!type)
    return Error{Errc::unsupported,
                 std::string(where) + ": dtype " + tensor.dtype + " is not F32, F16, BF16 or Q8_0"};
  std::vector<float> values = type->read(tensor.data);
  const auto bad = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
  if (bad != values.end())
    return Error{Errc::corrupt, std::string(where) + ": element " + std::to_string(bad - values.begin()) +
                                    " is " + (std::isnan(*bad) ? "NaN" : "infinite") +
                                    "; the checkpoint is damaged"};
  return values;
}

Result<std::vector<std::int32_t>> to_i32(const StoredTensor& tensor, std::string_view where) {
  if (tensor.dtype != "I32")
    return Error{Errc::unsupported, std::string(where) + ": dtype " + tensor.dtype + " is not I32"};
  std::vector<std::int32_t> values(tensor.data.size() / sizeof(std::int32_t));
  if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

bool holds_floats(std::string_view dtype) { return find_type(dtype) != nullptr; }

std::string shape_text(std::span<const std::uint64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace dgq

#include "quantizer/gguf_output.h"

#include <bit>
#include <numeric>

#include "kernels/packed.h"
#include "runtime/gguf_carrier.h"

namespace dgq {
namespace {

constexpr std::size_t kAlignment = 32;
// Types of metadata.
constexpr std::uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9;

void put(std::string& to, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}
void put(std::string& to, std::string_view text) {
  put(to, text.size(), 8);
  to += text;
}
void pad(std::string& to) { to.resize(round_up(to.size(), kAlignment)); }

std::string header(const GgufMetadata& metadata, const std::vector<GgufTensor>& tensors) {
  std::string text = "GGUF";
  put(text, 3, 4);
  put(text, tensors.size(), 8);
  put(text, metadata.count(), 8);
  text += metadata.bytes();
  std::uint64_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    put(text, tensor.name);
    put(text, tensor.shape.size(), 4);
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put(text, *size, 8);
    put(text, static_cast<std::uint32_t>(tensor.type), 4);
    put(text, offset, 8);
    offset += round_up(gguf_bytes(tensor), kAlignment);
  }
  pad(text);
  return text;
}

}  // namespace

void GgufMetadata::begin(std::string_view key, std::uint32_t type) {
  put(bytes_, key);
  put(bytes_, type, 4);
  ++count_;
}
void GgufMetadata::begin_array(std::string_view key, std::uint32_t type, std::size_t count) {
  begin(key, kArray);
  put(bytes_, type, 4);
  put(bytes_, count, 8);
}
void GgufMetadata::add(std::string_view key, std::uint32_t value) {
  begin(key, kU32);
  put(bytes_, value, 4);
}
void GgufMetadata::add(std::string_view key, float value) {
  begin(key, kF32);
  put(bytes_, std::bit_cast<std::uint32_t>(value), 4);
}
void GgufMetadata::add(std::string_view key, bool value) {
  begin(key, kBool);
  put(bytes_, value ? 1 : 0, 1);
}
void GgufMetadata::add(std::string_view key, std::string_view value) {
  begin(key, kString);
  put(bytes_, value);
}
void GgufMetadata::add(std::string_view key, const std::vector<std::string>& values) {
  begin_array(key, kString, values.size());
  for (const std::string& value : values) put(bytes_, value);
}
void GgufMetadata::add(std::string_view key, const std::vector<std::int32_t>& values) {
  begin_array(key, kI32, values.size());
  for (const std::int32_t value : values) put(bytes_, static_cast<std::uint32_t>(value), 4);
}
void GgufMetadata::add(std::string_view key, const std::vector<float>& values) {
  begin_array(key, kF32, values.size());
  for (const float value : values) put(bytes_, std::bit_cast<std::uint32_t>(value), 4);
}

void GgufMetadata::add(const GgufEntry& entry) {
  bytes_.append(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size());
  ++count_;
}

std::uint64_t gguf_bytes(const GgufTensor& tensor) {
  const std::uint64_t elements =
      std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::uint64_t{1}, std::multiplies<>());
  switch (tensor.type) {
    case GgufType::f32:
      return elements * sizeof(float);
    case GgufType::f16:
    case GgufType::bf16:
      return elements * sizeof(std::uint16_t);
    case GgufType::q8_0:
      return elements / kQ8Block * kQ8BlockBytes;
    case GgufType::i8:
      break;
  }
  return elements;
}

GgufTensor same_tensor(const std::string& name, const StoredTensor& tensor) {
  const GgufType type = tensor.dtype == "F32"    ? GgufType::f32
                        : tensor.dtype == "F16"  ? GgufType::f16
                        : tensor.dtype == "BF16" ? GgufType::bf16
                                                 : GgufType::q8_0;
  return {name, tensor.shape, type, [data = tensor.data](AtomicFile& file) -> Result<void> {
            DGQ_CHECK(file.append(data));
            forget_pages(data);
            return {};
          }};
}

Result<void> write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                        const std::vector<GgufTensor>& tensors, const Fraction& progress) {
  DGQ_TRY(AtomicFile file, AtomicFile::create(path));
  const std::string begin = header(metadata, tensors);
  DGQ_CHECK(file.append(std::as_bytes(std::span(begin))));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    DGQ_CHECK(tensors[i].write(file));
    const std::uint64_t bytes = gguf_bytes(tensors[i]);
    DGQ_CHECK(file.append_hole(round_up(bytes, kAlignment) - bytes));
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(tensors.size()));
  }
  return file.commit();
}

}  // namespace dgq

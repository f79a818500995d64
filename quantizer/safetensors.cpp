#include "quantizer/safetensors.h"

#include <algorithm>
#include <cstring>

#include "base/json.h"

namespace dgq {
namespace {

// Bytes per element; 0 for a name we do not know.
std::size_t element_bytes(std::string_view dtype) {
  static constexpr struct {
    const char* name;
    std::size_t bytes;
  } kTypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};
  for (const auto& type : kTypes)
    if (dtype == type.name) return type.bytes;
  return 0;
}

Error corrupt(std::string_view where, const std::string& what) {
  return {Errc::corrupt, std::string(where) + ": " + what};
}

// An array of non-negative integers.
Result<std::vector<std::uint64_t>> integers(const Json& tensor, const char* key, const std::string& where) {
  const auto member = tensor.find(key);
  if (member == tensor.end() || !member->is_array())
    return corrupt(where, "\"" + std::string(key) + "\" must be an array");
  std::vector<std::uint64_t> values;
  for (const Json& value : *member) {
    if (!value.is_number_unsigned())
      return corrupt(where, "\"" + std::string(key) + "\" must hold integers >= 0");
    values.push_back(value.get<std::uint64_t>());
  }
  return values;
}

// product(shape) * element, or an Error when that does not fit.
Result<std::uint64_t> byte_size(const StoredTensor& tensor, std::size_t element, const std::string& where) {
  std::uint64_t size = element;
  for (const std::uint64_t dimension : tensor.shape)
    if (__builtin_mul_overflow(size, dimension, &size))
      return corrupt(where, "shape " + shape_text(tensor.shape) + " has more elements than can be counted");
  return size;
}

Result<StoredTensor> parse_tensor(const Json& json, std::span<const std::byte> data,
                                  const std::string& where) {
  if (!json.is_object()) return corrupt(where, "must be an object");
  StoredTensor tensor;
  DGQ_TRY(tensor.dtype, json_string(json, "dtype", where));
  DGQ_TRY(tensor.shape, integers(json, "shape", where));
  DGQ_TRY(const std::vector<std::uint64_t> range, integers(json, "data_offsets", where));
  if (range.size() != 2 || range[0] > range[1])
    return corrupt(where, "\"data_offsets\" must be [begin, end]");
  if (range[1] > data.size())
    return corrupt(where, "ends at byte " + std::to_string(range[1]) +
                              " of the data, but the file holds only " + std::to_string(data.size()) +
                              " (truncated? fetch it again)");
  tensor.data = data.subspan(range[0], range[1] - range[0]);
  if (const std::size_t element = element_bytes(tensor.dtype)) {
    DGQ_TRY(const std::uint64_t size, byte_size(tensor, element, where));
    if (size != tensor.data.size())
      return corrupt(where, "has " + std::to_string(tensor.data.size()) + " bytes, but shape " +
                                shape_text(tensor.shape) + " in " + tensor.dtype + " takes " +
                                std::to_string(size));
  } else if (holds_floats(tensor.dtype)) {  // GGUF's, of a size that nothing here has checked
    return corrupt(where, "dtype " + tensor.dtype + " is none of safetensors'");
  }
  return tensor;
}

// The format asks that tensors fill the data back to back, so that no bytes are hidden or read twice.
Result<void> check_coverage(const SafeTensors& tensors, std::span<const std::byte> data,
                            std::string_view where) {
  std::vector<std::pair<std::size_t, const SafeTensors::value_type*>> order;
  for (const auto& tensor : tensors)
    order.emplace_back(static_cast<std::size_t>(tensor.second.data.data() - data.data()), &tensor);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->second.data.size()) <
           std::pair(b.first, b.second->second.data.size());
  });
  std::size_t end = 0;
  for (const auto& [begin, tensor] : order) {
    if (begin < end) return corrupt(where, "tensor " + tensor->first + " overlaps the one before it");
    if (begin > end)
      return corrupt(where,
                     "a hole of " + std::to_string(begin - end) + " bytes before tensor " + tensor->first);
    end = begin + tensor->second.data.size();
  }
  if (end != data.size())
    return corrupt(where, std::to_string(data.size() - end) + " bytes after the last tensor belong to none");
  return {};
}

}  // namespace

Result<SafeTensors> parse_safetensors(std::span<const std::byte> bytes, std::string_view where) {
  if (bytes.size() < 8)
    return corrupt(where, "not a safetensors file: only " + std::to_string(bytes.size()) + " bytes");
  std::uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), sizeof header_size);
  if (header_size > kMaxSafetensorsHeader)
    return corrupt(where, "not a safetensors file: a header of " + std::to_string(header_size) +
                              " bytes, more than the format's limit of " +
                              std::to_string(kMaxSafetensorsHeader));
  if (header_size > bytes.size() - 8)
    return corrupt(where, "truncated: the header has " + std::to_string(header_size) +
                              " bytes, the file only " + std::to_string(bytes.size()) + " (fetch it again)");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_size);
  if (!header.starts_with('{'))
    return corrupt(where, "not a safetensors file: its header does not start with '{'");
  DGQ_TRY(const Json json, parse_json(header, std::string(where) + ": header"));
  const std::span<const std::byte> data = bytes.subspan(8 + header_size);
  SafeTensors tensors;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") continue;
    DGQ_TRY(StoredTensor tensor, parse_tensor(value, data, std::string(where) + ": tensor " + name));
    tensors.emplace(name, std::move(tensor));
  }
  DGQ_CHECK(check_coverage(tensors, data, where));
  return tensors;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  SafetensorsFile file;
  file.path = path;
  DGQ_TRY(file.map, MappedFile::open(path));
  DGQ_TRY(file.tensors, parse_safetensors(file.map.bytes(), path.string()));
  return file;
}

}  // namespace dgq

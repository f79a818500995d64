#include "quantizer/gguf.h"

#include <array>
#include <charconv>
#include <cstring>

#include "runtime/gguf_carrier.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

constexpr std::uint64_t kMaxKey = 65535, kMaxAlignment = 1u << 20, kDefaultAlignment = 32;
constexpr std::uint32_t kMaxDimensions = 4;

enum ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

// A type of tensor elements; block values take bytes bytes.
struct TensorType {
  const char* name;
  std::uint32_t id;
  std::uint64_t block, bytes;
};
constexpr TensorType kTensorTypes[] = {
    {"F32", 0, 1, 4}, {"F16", 1, 1, 2}, {"Q8_0", 8, kQ8Block, kQ8BlockBytes}, {"BF16", 30, 1, 2}};
// Names by id, for what is refused.
constexpr std::array kTypeNames = {
    "F32",   "F16",    "Q4_0", "Q4_1", "type 4", "type 5",  "Q5_0",   "Q5_1",    "Q8_0",  "Q8_1",   "Q2_K",
    "Q3_K",  "Q4_K",   "Q5_K", "Q6_K", "Q8_K",   "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S",
    "IQ2_S", "IQ4_XS", "I8",   "I16",  "I32",    "I64",     "F64",    "IQ1_M",   "BF16"};

std::string type_name(std::uint32_t id) {
  return id < kTypeNames.size() ? kTypeNames[id] : "type " + std::to_string(id);
}

std::uint64_t round_up_to(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;  // value < 2^63: a position in a file
}

double shortest_decimal(float value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  double decimal = value;  // stays: infinities and NaN
  if (error == std::errc()) std::from_chars(text, end, decimal);
  return decimal;
}

// Takes values off the front of a file, never past its end.
class Reader {
 public:
  Reader(std::span<const std::byte> bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  std::uint64_t position() const { return at_; }
  std::uint64_t left() const { return bytes_.size() - at_; }
  std::span<const std::byte> since(std::uint64_t begin) const { return bytes_.subspan(begin, at_ - begin); }

  Error corrupt(const std::string& what) const { return {Errc::corrupt, where_ + ": " + what}; }
  Error unsupported(const std::string& what) const { return {Errc::unsupported, where_ + ": " + what}; }
  Error truncated() const {
    return corrupt("truncated: the header goes on past the file's " + std::to_string(bytes_.size()) +
                   " bytes (fetch it again)");
  }

  template <class T>
  Result<T> number() {
    if (left() < sizeof(T)) return truncated();
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  // `what` names the string in an Error.
  Result<std::string_view> text(const std::string& what, std::uint64_t limit = UINT64_MAX) {
    DGQ_TRY(const auto size, number<std::uint64_t>());
    if (size > limit)
      return corrupt(what + " has " + std::to_string(size) + " bytes, more than the format's limit of " +
                     std::to_string(limit));
    if (size > left()) return truncated();
    const std::string_view value(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    if (find_invalid_utf8(value) != std::string_view::npos) return corrupt(what + " is not UTF-8");
    return value;
  }

  // A count of things that take at least `smallest` bytes each.
  Result<std::uint64_t> count(const char* what, std::uint64_t smallest) {
    DGQ_TRY(const auto count, number<std::uint64_t>());
    if (count > bytes_.size() / smallest)
      return corrupt(std::to_string(count) + " " + what + " do not fit in the file's " +
                     std::to_string(bytes_.size()) + " bytes");
    return count;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string where_;
  std::uint64_t at_ = 0;
};

template <class T>
Result<Json> number_json(Reader& in) {
  DGQ_TRY(const T value, in.number<T>());
  return Json(value);
}

Result<Json> parse_scalar(Reader& in, std::uint32_t type, const std::string& what) {
  switch (type) {
    case u8:
      return number_json<std::uint8_t>(in);
    case i8:
      return number_json<std::int8_t>(in);
    case u16:
      return number_json<std::uint16_t>(in);
    case i16:
      return number_json<std::int16_t>(in);
    case u32:
      return number_json<std::uint32_t>(in);
    case i32:
      return number_json<std::int32_t>(in);
    case u64:
      return number_json<std::uint64_t>(in);
    case i64:
      return number_json<std::int64_t>(in);
    case f64:
      return number_json<double>(in);
    case f32: {
      DGQ_TRY(const auto value, in.number<float>());
      return Json(shortest_decimal(value));
    }
    case boolean: {
      DGQ_TRY(const auto value, in.number<std::uint8_t>());
      if (value > 1) return in.corrupt(what + " is a boolean of value " + std::to_string(value));
      return Json(value == 1);
    }
    case string: {
      DGQ_TRY(const std::string_view value, in.text(what));
      return Json(value);
    }
    default:
      return in.corrupt(what + " is of unknown type " + std::to_string(type));
  }
}

Result<Json> parse_value(Reader& in, std::uint32_t type, const std::string& what) {
  if (type != array) return parse_scalar(in, type, what);
  DGQ_TRY(const auto element, in.number<std::uint32_t>());
  if (element == array) return in.unsupported(what + " is an array of arrays, which is not supported");
  DGQ_TRY(const auto count, in.number<std::uint64_t>());
  if (count > kMaxGgufArray)
    return in.corrupt(what + " has " + std::to_string(count) + " elements, more than " +
                      std::to_string(kMaxGgufArray));
  Json values = Json::array();
  for (std::uint64_t i = 0; i < count; ++i) {
    DGQ_TRY(Json value, parse_scalar(in, element, what));
    values.push_back(std::move(value));
  }
  return values;
}

Result<void> parse_metadata(Reader& in, std::uint64_t entries, Gguf& out) {
  out.metadata = Json::object();
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t begin = in.position();
    DGQ_TRY(const std::string_view key, in.text("the key of metadata entry " + std::to_string(i), kMaxKey));
    const std::string what = in_quotes(key);
    DGQ_TRY(const auto type, in.number<std::uint32_t>());
    DGQ_TRY(Json value, parse_value(in, type, what));
    if (!out.metadata.emplace(key, std::move(value)).second) return in.corrupt(what + " stands there twice");
    out.entries.push_back({std::string(key), in.since(begin)});
  }
  return {};
}

// What the table of tensors says of one.
struct Entry {
  std::string name;
  StoredTensor tensor;
  std::uint64_t offset, bytes;
};

Result<std::uint64_t> byte_size(const Reader& in, const TensorType& type, const StoredTensor& tensor,
                                const std::string& what) {
  const std::uint64_t row = tensor.shape.back();
  if (row % type.block != 0)
    return in.corrupt(what + " has rows of " + std::to_string(row) + ", which is no multiple of " +
                      type.name + "'s blocks of " + std::to_string(type.block));
  std::uint64_t size = type.bytes;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i)
    if (__builtin_mul_overflow(size, i + 1 == tensor.shape.size() ? row / type.block : tensor.shape[i],
                               &size))
      return in.corrupt(what + ": shape " + shape_text(tensor.shape) +
                        " has more elements than can be counted");
  return size;
}

Result<Entry> parse_entry(Reader& in) {
  DGQ_TRY(const std::string_view name, in.text("the name of a tensor", kMaxKey));
  Entry entry{std::string(name), {}, 0, 0};
  const std::string what = "tensor " + in_quotes(name);
  DGQ_TRY(const auto dimensions, in.number<std::uint32_t>());
  if (dimensions < 1 || dimensions > kMaxDimensions)
    return in.corrupt(what + " has " + std::to_string(dimensions) + " dimensions");
  entry.tensor.shape.resize(dimensions);
  for (std::uint32_t i = dimensions; i-- > 0;) {
    DGQ_TRY(entry.tensor.shape[i], in.number<std::uint64_t>());
    if (entry.tensor.shape[i] == 0) return in.corrupt(what + " has a dimension of 0");
  }
  DGQ_TRY(const auto type_id, in.number<std::uint32_t>());
  DGQ_TRY(entry.offset, in.number<std::uint64_t>());
  for (const TensorType& type : kTensorTypes) {
    if (type.id != type_id) continue;
    entry.tensor.dtype = type.name;
    DGQ_TRY(entry.bytes, byte_size(in, type, entry.tensor, what));
    return entry;
  }
  return in.unsupported(what + " is of type " + type_name(type_id) +
                        "; only F32, F16, BF16 and Q8_0 are supported: take a GGUF in one of them");
}

Result<std::uint64_t> parse_alignment(const Reader& in, const Json& metadata, std::string_view where) {
  DGQ_TRY(const std::int64_t alignment,
          json_int_or(metadata, "general.alignment", kDefaultAlignment, 1, kMaxAlignment, where));
  const auto value = static_cast<std::uint64_t>(alignment);
  if (value % 8 != 0 || (value & (value - 1)) != 0)
    return in.corrupt("\"general.alignment\" must be a power of two from 8 on, not " + std::to_string(value));
  return value;
}

Result<Reader> parse_header(std::span<const std::byte> bytes, std::string_view where) {
  Reader in(bytes, where);
  if (bytes.size() < 24 || std::memcmp(bytes.data(), "GGUF", 4) != 0)
    return in.corrupt("not a GGUF file: it does not start with GGUF and a header");
  static_cast<void>(in.number<std::uint32_t>());
  DGQ_TRY(const auto version, in.number<std::uint32_t>());
  if (version != 0 && (version & 0xffff) == 0) return in.unsupported("big-endian GGUF is not supported");
  if (version != 2 && version != 3)
    return in.unsupported("GGUF version " + std::to_string(version) + " is not supported (2 and 3 are)");
  return in;
}

}  // namespace

Result<Gguf> parse_gguf(std::span<const std::byte> bytes, std::string_view where) {
  DGQ_TRY(Reader in, parse_header(bytes, where));
  // At least: name, dimensions, one of them, type, offset; and key, type, a byte.
  DGQ_TRY(const std::uint64_t tensors, in.count("tensors", 32));
  DGQ_TRY(const std::uint64_t entries, in.count("metadata entries", 13));
  Gguf gguf;
  DGQ_CHECK(parse_metadata(in, entries, gguf));
  DGQ_TRY(const std::uint64_t alignment, parse_alignment(in, gguf.metadata, where));
  std::vector<Entry> table;
  for (std::uint64_t i = 0; i < tensors; ++i) {
    DGQ_TRY(Entry entry, parse_entry(in));
    table.push_back(std::move(entry));
  }
  const std::uint64_t start = round_up_to(in.position(), alignment);
  std::uint64_t end = start;
  for (Entry& entry : table) {
    const std::string what = "tensor " + in_quotes(entry.name);
    const std::uint64_t begin = round_up_to(end, alignment);
    if (entry.offset != begin - start)
      return in.corrupt(what + " starts at byte " + std::to_string(entry.offset) +
                        " of the data; the format asks for " + std::to_string(begin - start) +
                        ", where the one before it ends");
    if (begin > bytes.size() || entry.bytes > bytes.size() - begin)
      return in.corrupt(what + " goes on past the file's " + std::to_string(bytes.size()) +
                        " bytes (truncated? fetch it again)");
    entry.tensor.data = bytes.subspan(begin, entry.bytes);
    end = begin + entry.bytes;
    if (!gguf.tensors.emplace(std::move(entry.name), std::move(entry.tensor)).second)
      return in.corrupt(what + " stands there twice");
  }
  if (bytes.size() > round_up_to(end, alignment))
    return in.corrupt(std::to_string(bytes.size() - end) + " bytes after the last tensor belong to none");
  return gguf;
}

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
  GgufFile file;
  file.path = path;
  DGQ_TRY(file.map, MappedFile::open(path));
  DGQ_TRY(file.content, parse_gguf(file.map.bytes(), path.string()));
  return file;
}

}  // namespace dgq

#include "registry/layer_blob.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <unordered_set>

namespace dgq {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and used in place");

constexpr char kMagic[8] = {'D', 'G', 'Q', 'L', 'A', 'Y', 'E', 'R'};
constexpr std::uint32_t kNewestVersion = 3;
constexpr std::size_t kAlign = 64;
constexpr std::uint32_t kFlagBias = 1;

// The structs are the bytes of the file: every member lies at its natural alignment, so nothing is padded.
struct Header {
  char magic[8];
  std::uint32_t version, count;
  std::uint64_t total;
  std::uint8_t zero[40];
};
static_assert(sizeof(Header) == 64);

struct Row {
  char name[48];
  std::uint32_t kind, flags;
  std::uint64_t n, k;
  std::uint32_t group, zero;
  std::uint64_t offset, bytes;
};
static_assert(sizeof(Row) == 96);

std::size_t aligned(std::size_t x) { return (x + kAlign - 1) / kAlign * kAlign; }

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

// The format version that a kind came with. A blob has the highest of its kinds, so that a reader that knows them all
// accepts it, and one that does not says that it is too old.
std::uint32_t version_of(TensorKind kind) {
  if (kind == TensorKind::scales) return 3;
  return kind == TensorKind::w6_n16k8 ? 2 : 1;
}

constexpr std::size_t table_bytes(std::size_t tensors) { return sizeof(Header) + tensors * sizeof(Row); }
static_assert(table_bytes(kMaxTensors) == kMaxTableBytes);

Error corrupt(std::string_view where, const std::string& what) {
  return {Errc::corrupt, std::string(where) + ": not a valid layer blob: " + what};
}

// What is wrong with one row of the table, or null; `name` is the row's name once that has been found good.
const char* row_fault(const Row& row, std::string& name) {
  const std::size_t length = ::strnlen(row.name, sizeof row.name);
  if (length == 0 || length == sizeof row.name || !printable({row.name, length}) ||
      !all_zero(std::as_bytes(std::span(row.name)).subspan(length)))
    return "its name is not 1..47 printable ASCII characters";
  name.assign(row.name, length);
  const auto kind = static_cast<TensorKind>(row.kind);
  const bool fine = kind == TensorKind::w4_n16k8 || kind == TensorKind::w6_n16k8;
  const bool f32 = kind == TensorKind::f32 || kind == TensorKind::scales;
  if (!fine && !f32 && kind != TensorKind::w8_n16k4) return "unknown kind";
  if (row.zero != 0 || (row.flags & ~kFlagBias) != 0) return "a reserved field is not zero";
  if (f32 && row.flags != 0) return "a tensor of floats cannot have a bias";
  if (row.n == 0 || row.k == 0) return "an empty shape";
  if (fine ? row.group != 32 && row.group != 64 && row.group != 128 : row.group != 0)
    return "a group that its kind lacks";
  if (row.bytes == 0) return "an empty section";
  if (f32 && (row.bytes % sizeof(float) != 0 || row.bytes / sizeof(float) / row.n != row.k ||
              row.bytes / sizeof(float) % row.n != 0))
    return "its section is not n * k floats";
  return nullptr;
}

}  // namespace

void LayerBlobBuilder::add(const TensorInfo& info, std::span<const std::byte> section) {
  assert(!section.empty() && !info.name.empty() && info.name.size() < sizeof(Row::name) &&
         printable(info.name));
  assert(std::none_of(entries_.begin(), entries_.end(),
                      [&](const Entry& e) { return e.info.name == info.name; }));
  entries_.push_back({info, {section.begin(), section.end()}});
}

std::vector<std::byte> LayerBlobBuilder::finish() {
  assert(!entries_.empty() && entries_.size() <= kMaxTensors);
  const std::size_t first = aligned(table_bytes(entries_.size()));
  std::size_t total = first;
  for (const Entry& entry : entries_) total = aligned(total + entry.section.size());

  std::vector<std::byte> blob(total);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  for (const Entry& entry : entries_) header.version = std::max(header.version, version_of(entry.info.kind));
  header.count = static_cast<std::uint32_t>(entries_.size());
  header.total = total;
  std::memcpy(blob.data(), &header, sizeof header);

  std::size_t offset = first;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    Row row{};
    std::memcpy(row.name, entry.info.name.data(), entry.info.name.size());
    row.kind = static_cast<std::uint32_t>(entry.info.kind);
    row.flags = entry.info.bias ? kFlagBias : 0;
    row.n = entry.info.n;
    row.k = entry.info.k;
    row.group = entry.info.group;
    row.offset = offset;
    row.bytes = entry.section.size();
    std::memcpy(blob.data() + table_bytes(i), &row, sizeof row);
    std::memcpy(blob.data() + offset, entry.section.data(), entry.section.size());
    offset = aligned(offset + entry.section.size());
    entry.section = {};  // an embedding is large: do not hold it twice longer than needed
  }
  entries_.clear();
  return blob;
}

Result<std::vector<TensorPlace>> parse_layer_table(std::span<const std::byte> beginning,
                                                   std::uint64_t total_bytes, std::string_view where) {
  Header header;
  if (beginning.size() < sizeof header) return corrupt(where, "shorter than its header");
  std::memcpy(&header, beginning.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0)
    return corrupt(where, "does not start with DGQLAYER");
  if (header.version > kNewestVersion)
    return Error{Errc::unsupported, std::string(where) + ": layer blob format " +
                                        std::to_string(header.version) + ", this dgq reads up to format " +
                                        std::to_string(kNewestVersion) + ": upgrade dgq"};
  if (header.total != total_bytes || header.total % kAlign != 0)
    return corrupt(where,
                   "says " + std::to_string(header.total) + " bytes, has " + std::to_string(total_bytes));
  if (!all_zero(std::as_bytes(std::span(header.zero)))) return corrupt(where, "a reserved field is not zero");
  if (header.count == 0 || header.count > kMaxTensors)
    return corrupt(where, std::to_string(header.count) + " tensors (1.." + std::to_string(kMaxTensors) + ")");
  std::uint64_t end = table_bytes(header.count);  // of what has been read so far
  if (end > beginning.size()) return corrupt(where, "shorter than its tensor table");

  std::vector<TensorPlace> tensors;
  tensors.reserve(header.count);
  std::unordered_set<std::string> names;
  std::uint32_t version = 0;  // that the kinds ask for
  for (std::uint32_t i = 0; i < header.count; ++i) {
    Row row;
    std::memcpy(&row, beginning.data() + table_bytes(i), sizeof row);
    TensorPlace tensor;
    if (const char* fault = row_fault(row, tensor.name))
      return corrupt(where,
                     "tensor " + (tensor.name.empty() ? std::to_string(i) : tensor.name) + ": " + fault);
    if (!names.insert(tensor.name).second) return corrupt(where, "two tensors named " + tensor.name);
    if (row.offset % kAlign != 0 || row.offset < end || row.offset > total_bytes ||
        row.bytes > total_bytes - row.offset)
      return corrupt(where, "tensor " + tensor.name + ": its section is out of place");
    end = row.offset + row.bytes;
    tensor.kind = static_cast<TensorKind>(row.kind);
    version = std::max(version, version_of(tensor.kind));
    tensor.bias = (row.flags & kFlagBias) != 0;
    tensor.n = row.n;
    tensor.k = row.k;
    tensor.group = row.group;
    tensor.offset = row.offset;
    tensor.bytes = row.bytes;
    tensors.push_back(std::move(tensor));
  }
  if (version != header.version)
    return corrupt(where, "says format " + std::to_string(header.version) + ", its tensors are of format " +
                              std::to_string(version));
  return tensors;
}

Result<LayerBlob> LayerBlob::parse(std::span<const std::byte> bytes, std::string_view where) {
  DGQ_TRY(const std::vector<TensorPlace> table, parse_layer_table(bytes, bytes.size(), where));
  LayerBlob blob;
  blob.tensors_.reserve(table.size());
  std::uint64_t end = table_bytes(table.size());
  for (const TensorPlace& place : table) {
    if (!all_zero(bytes.subspan(end, place.offset - end)))
      return corrupt(where, "the gap before " + place.name + " is not zero");
    end = place.offset + place.bytes;
    blob.tensors_.push_back({place, bytes.subspan(place.offset, place.bytes)});
  }
  if (!all_zero(bytes.subspan(end))) return corrupt(where, "bytes after the last section are not zero");
  return blob;
}

const Tensor* LayerBlob::find(std::string_view name) const {
  for (const Tensor& tensor : tensors_)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

}  // namespace dgq

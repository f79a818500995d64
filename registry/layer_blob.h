// registry/layer_blob.h - the unit of storage and of execution: one decoder layer (or the embedding, or the
// head) as one self-describing run of bytes, executed in place from a mapped file. docs/FORMAT.md has it byte
// by byte.
//
//   0   "DGQLAYER"            8 bytes
//   8   format version        u32: 3 with a tensor of kind scales, else 2 with one of kind w6_n16k8, else 1
//   12  tensor count          u32, 1..kMaxTensors
//   16  total bytes           u64, a multiple of 64
//   24  zero                  40 bytes
//   64  tensor table          count * 96 bytes: name[48] (NUL padded), kind u32, flags u32 (bit 0: bias), n
//   u64, k u64,
//                             group u32, zero u32, offset u64, bytes u64
//   ..  sections              each at a multiple of 64, ascending, not overlapping; gaps are zero
//
// All integers little-endian. The layer blob does not know kernels: what a section holds is kernels/packed.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace dgq {

enum class TensorKind : std::uint32_t {
  f32 = 1,       // n * k floats, row-major, k fastest
  w4_n16k8 = 2,  // packed_w4_bytes(n, k, group, bias)
  w8_n16k4 = 3,  // packed_w8_bytes(n, k, bias)
  w6_n16k8 = 4,  // packed_w6_bytes(n, k, group, bias)
  scales = 5,    // n * k floats, as f32: what readers of format 2 must not overlook
};

struct TensorInfo {
  std::string name;  // 1..47 printable ASCII characters
  TensorKind kind;
  bool bias = false;
  std::uint64_t n, k;       // logical rows and columns (a vector: n = 1)
  std::uint32_t group = 0;  // w4 and w6 only
};

struct Tensor : TensorInfo {
  std::span<const std::byte> section;  // into the blob
};

inline constexpr std::uint32_t kMaxTensors = 1024;
inline constexpr std::size_t kMaxTableBytes = 64 + kMaxTensors * 96;  // where the table ends at the latest

struct TensorPlace : TensorInfo {
  std::uint64_t offset, bytes;  // of its section in the blob
};
// The tensors of a blob of total_bytes by its beginning: kMaxTableBytes, or all of it when it is shorter. Checks and Errors are
// those of LayerBlob::parse, but for the gaps.
Result<std::vector<TensorPlace>> parse_layer_table(std::span<const std::byte> beginning,
                                                   std::uint64_t total_bytes, std::string_view where);

class LayerBlobBuilder {
 public:
  // Copies the section (not empty). Names must be unique.
  void add(const TensorInfo& info, std::span<const std::byte> section);
  std::vector<std::byte> finish();  // the blob; the builder is empty afterwards

 private:
  struct Entry {
    TensorInfo info;
    std::vector<std::byte> section;
  };
  std::vector<Entry> entries_;
};

// A parsed blob: tensors borrow from `bytes`. parse() checks everything above (corrupt; a newer format version is
// unsupported) and names the blob as `where`. Whether a packed section has the length of its shape is for kernels/.
class LayerBlob {
 public:
  static Result<LayerBlob> parse(std::span<const std::byte> bytes, std::string_view where);
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor* find(std::string_view name) const;

 private:
  std::vector<Tensor> tensors_;
};

}  // namespace dgq

// quantizer/pack_layer.h - quantized tensors as the runtime reads them: for the layers that are quantized after them, and in
// layer blobs (registry/layer_blob.h), each with a line for the report.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantizer/fine_linear.h"
#include "quantizer/report.h"
#include "quantizer/round_w8.h"
#include "registry/layer_blob.h"
#include "runtime/buffer.h"
#include "runtime/weights.h"

namespace dgq {

// One tensor: its section, aligned for the kernels. Moving keeps `linear` valid.
class PackedTensor {
 public:
  // The bias of w goes with the weights (not with f32(), which has no place for it: w.bias is null).
  static PackedTensor fine(const F32Matrix& w, const FineFormat& format, const FineLinear& quantized);
  static PackedTensor w8(const F32Matrix& w, const CoarseLinear& quantized);
  static PackedTensor f32(const F32Matrix& w);

  const Linear& linear() const { return linear_; }
  std::span<const std::byte> section() const { return {section_.data(), bytes_}; }
  TensorKind kind() const { return kind_; }
  std::size_t group() const { return group_; }

 private:
  PackedTensor(TensorKind kind, std::size_t group, std::size_t bytes)
      : kind_(kind), group_(group), bytes_(bytes) {
    section_.at_least(bytes);
  }

  TensorKind kind_;
  std::size_t group_;  // 0: none
  AlignedBuffer<std::byte> section_;
  std::size_t bytes_;
  Linear linear_;
};

// `blob` and `name` make up the report's name: "layers.0" and "q_proj".
class LayerPacker {
 public:
  LayerPacker(std::string blob, std::vector<TensorReport>& reports)
      : blob_(std::move(blob)), reports_(reports) {}
  const std::string& blob() const { return blob_; }
  void add_norm(const std::string& name, std::span<const float> values);
  void add_scales(const std::string& name, std::span<const float> values);
  // report: what the tensor does not say.
  void add(const std::string& name, const PackedTensor& tensor, TensorReport report);
  std::vector<std::byte> finish() { return builder_.finish(); }

 private:
  std::string blob_;
  std::vector<TensorReport>& reports_;
  LayerBlobBuilder builder_;
};

}  // namespace dgq

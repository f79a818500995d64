// quantizer/pack_layer.h - quantized tensors into layer blobs (registry/layer_blob.h), each with a line for the report.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "quantizer/dgq_search.h"
#include "quantizer/quantize.h"
#include "registry/layer_blob.h"

namespace dgq {

// `blob` and `name` make up the report's name: "layers.0" and "q_proj".
class LayerPacker {
 public:
  LayerPacker(std::string blob, std::vector<TensorReport>& reports)
      : blob_(std::move(blob)), reports_(reports) {}
  void add_norm(const std::string& name, std::span<const float> values);
  void add_w4(const std::string& name, const F32Matrix& w, std::size_t group,
              const QuantizedLinear& quantized);
  void add_w6(const std::string& name, const F32Matrix& w, std::size_t group,
              const QuantizedLinear& quantized);  // q 0..63
  void add_w8(const std::string& name, const F32Matrix& w, const QuantizedRowsW8& quantized);
  std::vector<std::byte> finish() { return builder_.finish(); }

 private:
  template <int kBits>
  void add_fine(const std::string& name, TensorKind kind, const F32Matrix& w, std::size_t group,
                const QuantizedLinear& quantized);
  void report(const std::string& name, const char* kind, const F32Matrix& w, std::size_t group,
              std::size_t bytes, double error_minmax, double error);

  std::string blob_;
  std::vector<TensorReport>& reports_;
  LayerBlobBuilder builder_;
};

}  // namespace dgq

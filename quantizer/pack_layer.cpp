#include "quantizer/pack_layer.h"

#include "kernels/packed.h"

namespace dgq {
namespace {

const char* kind_name(TensorKind kind) {
  switch (kind) {
    case TensorKind::w4_n16k8:
      return "w4";
    case TensorKind::w6_n16k8:
      return "w6";
    case TensorKind::w8_n16k4:
      return "w8";
    case TensorKind::f32:
    case TensorKind::scales:
      break;
  }
  return "f32";
}

}  // namespace

PackedTensor PackedTensor::fine(const F32Matrix& w, const FineFormat& format, const FineLinear& quantized) {
  const PlainFine plain{quantized.q.data(), quantized.s2.data(), quantized.o.data(), quantized.s1.data(),
                        w.bias};
  const auto pack = [&]<int kBits>() {
    PackedTensor packed(kBits == 4 ? TensorKind::w4_n16k8 : TensorKind::w6_n16k8, format.group,
                        packed_fine_bytes<kBits>(w.n, w.k, format.group, w.bias));
    pack_fine<kBits>(plain, w.n, w.k, format.group, packed.section_.data());
    packed.linear_ = bind_fine<kBits>(packed.section_.data(), w.n, w.k, format.group, w.bias);
    return packed;
  };
  return format.bits == 4 ? pack.operator()<4>() : pack.operator()<6>();
}

PackedTensor PackedTensor::w8(const F32Matrix& w, const CoarseLinear& quantized) {
  PackedTensor packed(TensorKind::w8_n16k4, 0, packed_w8_bytes(w.n, w.k, w.bias));
  pack_w8({quantized.q.data(), quantized.s1.data(), w.bias}, w.n, w.k, packed.section_.data());
  packed.linear_ = bind_w8(packed.section_.data(), w.n, w.k, w.bias);
  return packed;
}

PackedTensor PackedTensor::f32(const F32Matrix& w) {
  const auto bytes = std::as_bytes(std::span(w.w, w.n * w.k));
  PackedTensor packed(TensorKind::f32, 0, bytes.size());
  std::copy(bytes.begin(), bytes.end(), packed.section_.data());
  packed.linear_ = F32Matrix{w.n, w.k, reinterpret_cast<const float*>(packed.section_.data()), nullptr};
  return packed;
}

void LayerPacker::add_norm(const std::string& name, std::span<const float> values) {
  builder_.add({name, TensorKind::f32, false, 1, values.size(), 0}, std::as_bytes(values));
}

void LayerPacker::add_scales(const std::string& name, std::span<const float> values) {
  builder_.add({name, TensorKind::scales, false, 1, values.size(), 0}, std::as_bytes(values));
}

void LayerPacker::add(const std::string& name, const PackedTensor& tensor, TensorReport report) {
  const auto [n, k, bias] =
      std::visit([](const auto& w) { return std::tuple(w.n, w.k, w.bias != nullptr); }, tensor.linear());
  builder_.add({name, tensor.kind(), bias, n, k, static_cast<std::uint32_t>(tensor.group())},
               tensor.section());
  report.name = blob_ + "." + name;
  report.kind = kind_name(tensor.kind());
  report.n = n;
  report.k = k;
  report.group = tensor.group();
  report.bytes = tensor.section().size();
  reports_.push_back(std::move(report));
}

}  // namespace dgq

#include "quantizer/pack_layer.h"

#include "kernels/packed.h"

namespace dgq {

void LayerPacker::add_norm(const std::string& name, std::span<const float> values) {
  builder_.add({name, TensorKind::f32, false, 1, values.size(), 0}, std::as_bytes(values));
}

template <int kBits>
void LayerPacker::add_fine(const std::string& name, TensorKind kind, const F32Matrix& w, std::size_t group,
                           const QuantizedLinear& quantized) {
  std::vector<std::byte> section(packed_fine_bytes<kBits>(w.n, w.k, group, w.bias));
  const PlainFine plain{quantized.q.data(), quantized.s2.data(), quantized.o.data(), quantized.s1.data(),
                        w.bias};
  pack_fine<kBits>(plain, w.n, w.k, group, section.data());
  builder_.add({name, kind, w.bias != nullptr, w.n, w.k, static_cast<std::uint32_t>(group)}, section);
  report(name, kBits == 4 ? "w4" : "w6", w, group, section.size(), quantized.error_minmax, quantized.error);
}

void LayerPacker::add_w4(const std::string& name, const F32Matrix& w, std::size_t group,
                         const QuantizedLinear& quantized) {
  add_fine<4>(name, TensorKind::w4_n16k8, w, group, quantized);
}

void LayerPacker::add_w6(const std::string& name, const F32Matrix& w, std::size_t group,
                         const QuantizedLinear& quantized) {
  add_fine<6>(name, TensorKind::w6_n16k8, w, group, quantized);
}

void LayerPacker::add_w8(const std::string& name, const F32Matrix& w, const QuantizedRowsW8& quantized) {
  std::vector<std::byte> section(packed_w8_bytes(w.n, w.k, w.bias));
  pack_w8({quantized.q.data(), quantized.s1.data(), w.bias}, w.n, w.k, section.data());
  builder_.add({name, TensorKind::w8_n16k4, w.bias != nullptr, w.n, w.k, 0}, section);
  report(name, "w8", w, 0, section.size(), quantized.error, quantized.error);
}

void LayerPacker::report(const std::string& name, const char* kind, const F32Matrix& w, std::size_t group,
                         std::size_t bytes, double error_minmax, double error) {
  reports_.push_back({blob_ + "." + name, kind, w.n, w.k, group, bytes, error_minmax, error});
}

}  // namespace dgq

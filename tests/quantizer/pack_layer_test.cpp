#include "quantizer/pack_layer.h"

#include <gtest/gtest.h>

#include "kernels/packed.h"

namespace dgq {
namespace {

// What is put in under a kind comes out of the blob as that kind, bias included, with its line in the report.
TEST(LayerPacker, FineKindsComeOutAsTheyWentIn) {
  constexpr std::size_t kN = 20, kK = 72, kGroup = 32, kGroups = 3;
  FineLinear quantized;
  for (std::size_t i = 0; i < kN * kK; ++i) quantized.q.push_back(static_cast<std::uint8_t>(i * 7 % 16));
  quantized.s2.assign(kN * kGroups, 3);
  quantized.o.assign(kN * kGroups, -90);
  quantized.s1.assign(kN, 0.5f);
  const std::vector<float> bias(kN, 2.0f);
  const F32Matrix w{kN, kK, nullptr, bias.data()};

  std::vector<TensorReport> reports;
  LayerPacker packer("layers.3", reports);
  TensorReport report;
  report.error_minmax = 0.5;
  report.error = 0.25;
  packer.add("q_proj", PackedTensor::fine(w, {kGroup, 4}, quantized), report);
  for (std::uint8_t& q : quantized.q) q = static_cast<std::uint8_t>(q * 4 + 3);
  packer.add("v_proj", PackedTensor::fine(w, {kGroup, 6}, quantized), report);
  const std::vector<std::byte> bytes = packer.finish();
  const auto blob = LayerBlob::parse(bytes, "test");
  ASSERT_TRUE(blob) << blob.error().what;

  const auto expect = [&](const Tensor& tensor, TensorKind kind, const auto& bound, int times, int plus) {
    EXPECT_EQ(tensor.kind, kind);
    EXPECT_EQ(tensor.group, kGroup);
    EXPECT_EQ(find_fault(bound), nullptr);
    EXPECT_EQ(bound.bias[19], 2.0f);
    for (std::size_t i = 0; i < kN; ++i)
      for (std::size_t j = 0; j < kK; ++j)
        ASSERT_EQ(w8_at(bound, i, j), 3 * (static_cast<int>((i * kK + j) * 7 % 16) * times + plus) - 90);
  };
  const Tensor &q = *blob->find("q_proj"), &v = *blob->find("v_proj");
  expect(q, TensorKind::w4_n16k8, bind_w4(q.section.data(), kN, kK, kGroup, true), 1, 0);
  expect(v, TensorKind::w6_n16k8, bind_w6(v.section.data(), kN, kK, kGroup, true), 4, 3);

  ASSERT_EQ(reports.size(), 2u);
  EXPECT_EQ(reports[0].kind, "w4");
  EXPECT_EQ(reports[1].name, "layers.3.v_proj");
  EXPECT_EQ(reports[1].kind, "w6");
  EXPECT_EQ(reports[1].bytes, v.section.size());
  EXPECT_EQ(reports[1].error_minmax, 0.5);
  EXPECT_EQ(reports[1].error, 0.25);
}

}  // namespace
}  // namespace dgq

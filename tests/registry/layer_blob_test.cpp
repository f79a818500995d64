#include "registry/layer_blob.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

namespace dgq {
namespace {

using Bytes = std::vector<std::byte>;

Bytes section(std::size_t size, int value) { return Bytes(size, static_cast<std::byte>(value)); }

// Three tensors: 24 bytes of f32 (so that a gap follows), w4 with bias, w8.
Bytes sample() {
  LayerBlobBuilder builder;
  builder.add({"norm", TensorKind::f32, false, 1, 6, 0}, section(24, 1));
  builder.add({"q_proj", TensorKind::w4_n16k8, true, 16, 64, 64}, section(704, 2));
  builder.add({"head", TensorKind::w8_n16k4, false, 5, 32, 0}, section(576, 3));
  return builder.finish();
}

// The same with w6, whose q_proj is 256 bytes longer.
Bytes sample_w6() {
  LayerBlobBuilder builder;
  builder.add({"norm", TensorKind::f32, false, 1, 6, 0}, section(24, 1));
  builder.add({"q_proj", TensorKind::w6_n16k8, true, 16, 64, 64}, section(960, 2));
  builder.add({"head", TensorKind::w8_n16k4, false, 5, 32, 0}, section(576, 3));
  return builder.finish();
}

// The norm as scales.
Bytes sample_scales() {
  Bytes blob = sample_w6();
  blob[8] = std::byte{3}, blob[64 + 48] = std::byte{5};
  return blob;
}

TEST(LayerBlob, RoundTrip) {
  const Bytes blob = sample();
  EXPECT_EQ(blob.size() % 64, 0u);
  const auto parsed = LayerBlob::parse(blob, "sample");
  ASSERT_TRUE(parsed) << parsed.error().what;
  ASSERT_EQ(parsed->tensors().size(), 3u);
  const Tensor* q = parsed->find("q_proj");
  ASSERT_TRUE(q);
  EXPECT_EQ(q->kind, TensorKind::w4_n16k8);
  EXPECT_TRUE(q->bias);
  EXPECT_EQ(q->n, 16u);
  EXPECT_EQ(q->k, 64u);
  EXPECT_EQ(q->group, 64u);
  EXPECT_EQ(Bytes(q->section.begin(), q->section.end()), section(704, 2));
  for (const Tensor& tensor : parsed->tensors()) EXPECT_EQ((tensor.section.data() - blob.data()) % 64, 0);
  EXPECT_EQ(parsed->find("norm")->section.size(), 24u);
  EXPECT_EQ(parsed->find("q"), nullptr);
}

TEST(LayerBlob, BytesAreWhatTheFormatSays) {
  const Bytes blob = sample();
  const auto u32 = [&](std::size_t at) {
    std::uint32_t v;
    std::memcpy(&v, &blob[at], 4);
    return v;
  };
  const auto u64 = [&](std::size_t at) {
    std::uint64_t v;
    std::memcpy(&v, &blob[at], 8);
    return v;
  };
  EXPECT_EQ(std::memcmp(blob.data(), "DGQLAYER", 8), 0);
  EXPECT_EQ(u32(8), 1u);
  EXPECT_EQ(u32(12), 3u);
  EXPECT_EQ(u64(16), blob.size());
  const std::size_t row = 64 + 96;  // of q_proj
  EXPECT_STREQ(reinterpret_cast<const char*>(&blob[row]), "q_proj");
  EXPECT_EQ(u32(row + 48), 2u);
  EXPECT_EQ(u32(row + 52), 1u);
  EXPECT_EQ(u64(row + 56), 16u);
  EXPECT_EQ(u64(row + 64), 64u);
  EXPECT_EQ(u32(row + 72), 64u);
  EXPECT_EQ(u64(row + 80), 448u);  // 64 + 3 * 96 = 352 -> 384 is norm, then 384 + 64
  EXPECT_EQ(u64(row + 88), 704u);
}

struct Malformed {
  const char* what;
  std::function<void(Bytes&)> spoil;
};

void put32(Bytes& blob, std::size_t at, std::uint32_t value) { std::memcpy(&blob[at], &value, 4); }
void put64(Bytes& blob, std::size_t at, std::uint64_t value) { std::memcpy(&blob[at], &value, 8); }

constexpr std::size_t kNorm = 64, kQ = 64 + 96, kHead = 64 + 2 * 96;  // rows of the table

TEST(LayerBlob, EveryMalformedFieldIsFound) {
  const Malformed cases[] = {
      {"empty", [](Bytes& b) { b.clear(); }},
      {"shorter than the header", [](Bytes& b) { b.resize(63); }},
      {"truncated", [](Bytes& b) { b.resize(b.size() - 64); }},
      {"one byte short", [](Bytes& b) { b.pop_back(); }},
      {"too long", [](Bytes& b) { b.resize(b.size() + 64); }},
      {"magic", [](Bytes& b) { b[0] = std::byte{'d'}; }},
      {"no tensors", [](Bytes& b) { put32(b, 12, 0); }},
      {"too many tensors", [](Bytes& b) { put32(b, 12, kMaxTensors + 1); }},
      {"table past the end", [](Bytes& b) { put32(b, 12, kMaxTensors); }},
      {"reserved header bytes", [](Bytes& b) { b[24] = std::byte{1}; }},
      {"empty name", [](Bytes& b) { std::memset(&b[kNorm], 0, 48); }},
      {"name without end", [](Bytes& b) { std::memset(&b[kNorm], 'a', 48); }},
      {"name with a space", [](Bytes& b) { b[kNorm + 1] = std::byte{' '}; }},
      {"name not ASCII", [](Bytes& b) { b[kNorm] = std::byte{0xc3}; }},
      {"bytes after the name's end", [](Bytes& b) { b[kNorm + 47] = std::byte{1}; }},
      {"same name twice", [](Bytes& b) { std::memcpy(&b[kHead], &b[kQ], 48); }},
      {"kind 0", [](Bytes& b) { put32(b, kNorm + 48, 0); }},
      {"kind 6", [](Bytes& b) { put32(b, kNorm + 48, 6); }},
      {"scales in format 1", [](Bytes& b) { put32(b, kNorm + 48, 5); }},
      {"format 3 without scales", [](Bytes& b) { put32(b, 8, 3); }},
      {"bias on scales", [](Bytes& b) { put32(b, 8, 3), put32(b, kNorm + 48, 5), put32(b, kNorm + 52, 1); }},
      {"scales of another shape",
       [](Bytes& b) { put32(b, 8, 3), put32(b, kNorm + 48, 5), put64(b, kNorm + 64, 7); }},
      {"w6 in format 1", [](Bytes& b) { put32(b, kQ + 48, 4); }},
      {"format 2 without w6", [](Bytes& b) { put32(b, 8, 2); }},
      {"format 0", [](Bytes& b) { put32(b, 8, 0); }},
      {"unknown flag", [](Bytes& b) { put32(b, kQ + 52, 2); }},
      {"bias on f32", [](Bytes& b) { put32(b, kNorm + 52, 1); }},
      {"n 0", [](Bytes& b) { put64(b, kQ + 56, 0); }},
      {"k 0", [](Bytes& b) { put64(b, kQ + 64, 0); }},
      {"f32 of another shape", [](Bytes& b) { put64(b, kNorm + 64, 7); }},
      {"f32 shape that overflows",
       [](Bytes& b) { put64(b, kNorm + 56, 1ull << 62), put64(b, kNorm + 64, 4); }},
      {"group 0 on w4", [](Bytes& b) { put32(b, kQ + 72, 0); }},
      {"group 16 on w4", [](Bytes& b) { put32(b, kQ + 72, 16); }},
      {"group on w8", [](Bytes& b) { put32(b, kHead + 72, 64); }},
      {"reserved row field", [](Bytes& b) { put32(b, kQ + 76, 1); }},
      {"offset inside the table", [](Bytes& b) { put64(b, kNorm + 80, 320); }},
      {"offset not aligned", [](Bytes& b) { put64(b, kHead + 80, 448 + 704 + 32); }},
      {"offset past the end", [](Bytes& b) { put64(b, kHead + 80, 1 << 20); }},
      {"offset near 2^64", [](Bytes& b) { put64(b, kHead + 80, ~std::uint64_t{63}); }},
      {"sections overlap", [](Bytes& b) { put64(b, kHead + 80, 448); }},
      {"section past the end", [](Bytes& b) { put64(b, kHead + 88, 640); }},
      {"section near 2^64", [](Bytes& b) { put64(b, kHead + 88, ~std::uint64_t{0}); }},
      {"empty section", [](Bytes& b) { put64(b, kHead + 88, 0); }},
      {"gap before the first section", [](Bytes& b) { b[383] = std::byte{1}; }},
      {"gap between sections", [](Bytes& b) { b[384 + 24] = std::byte{1}; }},
      {"bytes after the last section", [](Bytes& b) { put64(b, kHead + 88, 512); }},
  };
  for (const Malformed& test : cases) {
    Bytes blob = sample();
    test.spoil(blob);
    const auto parsed = LayerBlob::parse(blob, "layer 12");
    ASSERT_FALSE(parsed) << test.what;
    EXPECT_EQ(parsed.error().code, Errc::corrupt) << test.what;
    EXPECT_EQ(parsed.error().what.rfind("layer 12: ", 0), 0u) << parsed.error().what;
  }
}

// What a reader that knows only format 1 sees of a blob with w6: a version that is too new, before any tensor.
TEST(LayerBlob, OnlyW6RaisesTheFormat) {
  const auto format = [](const Bytes& blob) { return static_cast<int>(blob[8]); };
  EXPECT_EQ(format(sample()), 1);
  const Bytes blob = sample_w6();
  EXPECT_EQ(format(blob), 2);
  const auto parsed = LayerBlob::parse(blob, "sample");
  ASSERT_TRUE(parsed) << parsed.error().what;
  const Tensor* q = parsed->find("q_proj");
  ASSERT_TRUE(q);
  EXPECT_EQ(q->kind, TensorKind::w6_n16k8);
  EXPECT_EQ(q->group, 64u);
  EXPECT_EQ(Bytes(q->section.begin(), q->section.end()), section(960, 2));
}

TEST(LayerBlob, ScalesRaiseTheFormat) {
  LayerBlobBuilder builder;
  builder.add({"norm", TensorKind::scales, false, 1, 6, 0}, section(24, 1));
  builder.add({"q_proj", TensorKind::w6_n16k8, true, 16, 64, 64}, section(960, 2));
  builder.add({"head", TensorKind::w8_n16k4, false, 5, 32, 0}, section(576, 3));
  const Bytes blob = builder.finish();
  EXPECT_EQ(blob, sample_scales());
  const auto parsed = LayerBlob::parse(blob, "sample");
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(parsed->find("norm")->kind, TensorKind::scales);
}

TEST(LayerBlob, NewerFormatSaysSo) {
  Bytes blob = sample_w6();
  put32(blob, 8, 4);
  const auto parsed = LayerBlob::parse(blob, "layer 12");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, Errc::unsupported);
  EXPECT_EQ(parsed.error().what, "layer 12: layer blob format 4, this dgq reads up to format 3: upgrade dgq");
}

TEST(LayerBlob, NoByteOfHeaderOrTableIsIgnored) {
  // Any changed bit in front of the sections is refused or changes what is read; none is silently dropped.
  const auto describe = [](const LayerBlob& blob) {
    std::string text;
    for (const Tensor& t : blob.tensors())
      text += t.name + std::to_string(static_cast<int>(t.kind)) + (t.bias ? "b" : "-") + std::to_string(t.n) +
              "x" + std::to_string(t.k) + "g" + std::to_string(t.group) + "s" +
              std::to_string(t.section.size()) + ";";
    return text;
  };
  for (const Bytes& good : {sample(), sample_w6(), sample_scales()}) {
    const std::string before = describe(*LayerBlob::parse(good, "x"));
    for (std::size_t bit = 0; bit < 384 * 8; ++bit) {
      Bytes blob = good;
      blob[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
      const auto parsed = LayerBlob::parse(blob, "x");
      EXPECT_TRUE(!parsed || describe(*parsed) != before) << "bit " << bit;
    }
  }
}

}  // namespace
}  // namespace dgq

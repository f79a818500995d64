// The GGUF reader: what it says of good files, and one line for every way of being bad.
#include "quantizer/gguf.h"

#include <gtest/gtest.h>

#include "tests/support/gguf_writer.h"

namespace dgq {
namespace {

using test::gguf_array;
using test::gguf_string;
using test::GgufWriter;
using test::little_endian;

Result<Gguf> parse(const std::string& bytes) { return parse_gguf(std::as_bytes(std::span(bytes)), "m.gguf"); }

void expect_fault(const std::string& bytes, Errc code, const std::string& part) {
  const auto gguf = parse(bytes);
  ASSERT_FALSE(gguf) << part;
  EXPECT_EQ(gguf.error().code, code) << gguf.error().what;
  EXPECT_NE(gguf.error().what.find(part), std::string::npos)
      << gguf.error().what << "\nshould hold: " << part;
  EXPECT_TRUE(gguf.error().what.starts_with("m.gguf: ")) << gguf.error().what;
  EXPECT_EQ(gguf.error().what.find('\n'), std::string::npos) << gguf.error().what;
}

GgufWriter small() {
  GgufWriter gguf;
  gguf.set("a.text", "xyz");
  gguf.set("a.count", 7u);
  gguf.tensors = {{"w", {2, 3}, 0, std::string(24, '\1')}, {"b", {5}, 1, std::string(10, '\2')}};
  return gguf;
}

TEST(Gguf, ReadsWhatItSays) {
  for (const std::uint32_t version : {2u, 3u}) {
    GgufWriter file = small();
    file.version = version;
    file.set("a.eps", 1e-5f);
    file.set("a.yes", true);
    file.set("a.list", std::vector<std::int32_t>{-1, 2});
    file.set("a.names", std::vector<std::string>{"p", ""});
    const std::string bytes = file.bytes();
    const auto gguf = parse(bytes);
    ASSERT_TRUE(gguf) << gguf.error().what;
    EXPECT_EQ(gguf->metadata, Json::parse(R"({"a.text": "xyz", "a.count": 7, "a.eps": 1e-05, "a.yes": true,
                                              "a.list": [-1, 2], "a.names": ["p", ""]})"));
    const StoredTensor& w = gguf->tensors.at("w");
    EXPECT_EQ(w.dtype, "F32");
    EXPECT_EQ(w.shape, (std::vector<std::uint64_t>{2, 3}));  // slowest first, as everywhere
    EXPECT_EQ(w.data.size(), 24u);
    EXPECT_EQ(gguf->tensors.at("b").data[9], std::byte{2});
  }
}

TEST(Gguf, EveryKindOfNumber) {
  GgufWriter file;
  file.metadata = {{"u8", little_endian(0u) + "\xff"},
                   {"i8", little_endian(1u) + "\xff"},
                   {"u16", little_endian(2u) + "\xff\xff"},
                   {"i16", little_endian(3u) + "\xff\xff"},
                   {"i32", little_endian(5u) + little_endian(-5)},
                   {"u64", little_endian(10u) + little_endian(UINT64_MAX)},
                   {"i64", little_endian(11u) + little_endian(INT64_MIN)},
                   {"f64", little_endian(12u) + little_endian(0.1)}};
  const std::string bytes = file.bytes();
  const auto gguf = parse(bytes);
  ASSERT_TRUE(gguf) << gguf.error().what;
  EXPECT_EQ(gguf->metadata, Json::parse(R"({"u8": 255, "i8": -1, "u16": 65535, "i16": -1, "i32": -5,
      "u64": 18446744073709551615, "i64": -9223372036854775808, "f64": 0.1})"));
}

TEST(Gguf, AlignmentOfTheFile) {
  GgufWriter file = small();
  file.alignment = 128;
  expect_fault(file.bytes(), Errc::corrupt,
               "tensor \"b\" starts at byte 128 of the data; the format asks for 32");
  file.set("general.alignment", 128u);
  EXPECT_TRUE(parse(file.bytes()));
  for (const std::uint32_t bad : {0u, 4u, 48u, 1u << 30}) {
    file.set("general.alignment", bad);
    expect_fault(file.bytes(), Errc::corrupt, "general.alignment");
  }
}

TEST(Gguf, Q8IsScaleTimesInteger) {
  GgufWriter file;
  std::string block = little_endian<std::uint16_t>(0x3800);  // 0.5
  for (int i = 0; i < 32; ++i) block += static_cast<char>(i - 16);
  file.tensors = {{"w", {2, 32}, 8, block + little_endian<std::uint16_t>(0xc000) + std::string(32, '\3')}};
  const std::string bytes = file.bytes();
  const auto gguf = parse(bytes);
  ASSERT_TRUE(gguf) << gguf.error().what;
  const auto values = to_f32(gguf->tensors.at("w"), "w");
  ASSERT_TRUE(values) << values.error().what;
  ASSERT_EQ(values->size(), 64u);
  EXPECT_EQ((*values)[0], -8.0f);
  EXPECT_EQ((*values)[31], 7.5f);
  EXPECT_EQ((*values)[32], -6.0f);
  file.tensors[0].shape = {2, 33};
  expect_fault(file.bytes(), Errc::corrupt, "rows of 33, which is no multiple of Q8_0's blocks of 32");
}

TEST(Gguf, OtherVersionsAndFiles) {
  expect_fault("", Errc::corrupt, "not a GGUF file");
  expect_fault(std::string(100, 'x'), Errc::corrupt, "not a GGUF file");
  GgufWriter file = small();
  for (const std::uint32_t version : {0u, 1u, 4u}) {
    file.version = version;
    expect_fault(file.bytes(), Errc::unsupported, "GGUF version " + std::to_string(version));
  }
  file.version = 0x03000000;
  expect_fault(file.bytes(), Errc::unsupported, "big-endian");
}

TEST(Gguf, EveryTruncationIsSeen) {
  const std::string whole = small().bytes();
  for (std::size_t size = 0; size + 32 - 10 < whole.size(); ++size)  // the last padding may be missing
    EXPECT_FALSE(parse(whole.substr(0, size))) << size;
  EXPECT_TRUE(parse(whole.substr(0, whole.size() - 22)));
  expect_fault(whole.substr(0, 80), Errc::corrupt, "truncated: the header goes on past the file's 80 bytes");
  expect_fault(whole.substr(0, whole.size() - 23), Errc::corrupt, "tensor \"b\" goes on past the file's");
  expect_fault(whole + "x", Errc::corrupt, "after the last tensor belong to none");
}

TEST(Gguf, AbsurdCounts) {
  const auto header = [](std::uint64_t tensors, std::uint64_t entries) {
    return "GGUF" + little_endian(3u) + little_endian(tensors) + little_endian(entries) +
           std::string(100, '\0');
  };
  expect_fault(header(1ull << 60, 0), Errc::corrupt, "1152921504606846976 tensors do not fit");
  expect_fault(header(0, UINT64_MAX), Errc::corrupt, "18446744073709551615 metadata entries do not fit");
  GgufWriter file = small();
  file.metadata = {{"k", gguf_array(4, 1ull << 40, "")}};
  expect_fault(file.bytes(), Errc::corrupt, "\"k\" has 1099511627776 elements");
  file.metadata = {{"k", little_endian(8u) + little_endian(UINT64_MAX)}};
  expect_fault(file.bytes(), Errc::corrupt, "truncated");
  file.metadata = {{std::string(70000, 'k'), test::gguf_value(1u)}};
  expect_fault(file.bytes(), Errc::corrupt, "70000 bytes, more than the format's limit");
  file = small();
  file.tensors[0].shape = {1ull << 33, 1ull << 33};
  expect_fault(file.bytes(), Errc::corrupt, "more elements than can be counted");
  file.tensors[0].shape = {1ull << 30, 1ull << 30};
  expect_fault(file.bytes(), Errc::corrupt, "tensor \"w\" goes on past the file's");
  file.tensors[0].shape = {2, 0};
  expect_fault(file.bytes(), Errc::corrupt, "tensor \"w\" has a dimension of 0");
  file.tensors[0].shape = {1, 1, 1, 1, 6};
  expect_fault(file.bytes(), Errc::corrupt, "tensor \"w\" has 5 dimensions");
  file.tensors[0].shape = {};
  expect_fault(file.bytes(), Errc::corrupt, "tensor \"w\" has 0 dimensions");
}

TEST(Gguf, WrongMetadata) {
  GgufWriter file = small();
  file.metadata.push_back(file.metadata[0]);
  expect_fault(file.bytes(), Errc::corrupt, "\"a.text\" stands there twice");
  file.metadata = {{"k", little_endian(13u)}};
  expect_fault(file.bytes(), Errc::corrupt, "\"k\" is of unknown type 13");
  file.metadata = {{"k", gguf_array(9, 0, "")}};
  expect_fault(file.bytes(), Errc::unsupported, "\"k\" is an array of arrays");
  file.metadata = {{"k", little_endian(7u) + "\2"}};
  expect_fault(file.bytes(), Errc::corrupt, "\"k\" is a boolean of value 2");
  file.metadata = {{"k", test::gguf_value("\xff")}};
  expect_fault(file.bytes(), Errc::corrupt, "\"k\" is not UTF-8");
  file.metadata = {{"k\xff", test::gguf_value(1u)}};
  expect_fault(file.bytes(), Errc::corrupt, "the key of metadata entry 0 is not UTF-8");
}

TEST(Gguf, WrongTensors) {
  for (const auto& [type, name] : {std::pair(2u, "Q4_0"),
                                   {12u, "Q4_K"},
                                   {14u, "Q6_K"},
                                   {20u, "IQ4_NL"},
                                   {26u, "I32"},
                                   {99u, "type 99"}}) {
    GgufWriter file = small();
    file.tensors[0].type = type;
    expect_fault(file.bytes(), Errc::unsupported, std::string("tensor \"w\" is of type ") + name + ";");
  }
  GgufWriter file = small();
  file.tensors[1].name = "w";
  expect_fault(file.bytes(), Errc::corrupt, "tensor \"w\" stands there twice");
  file = small();
  const std::string offset_of_b =
      gguf_string("b") + little_endian(1u) + little_endian<std::uint64_t>(5) + little_endian(1u);
  for (const std::uint64_t offset :
       {std::uint64_t{0}, std::uint64_t{24}, std::uint64_t{33}, std::uint64_t{64}, UINT64_MAX - 31}) {
    std::string bytes = file.bytes();
    const std::size_t at = bytes.find(offset_of_b) + offset_of_b.size();
    bytes.replace(at, 8, little_endian(offset));
    expect_fault(bytes, Errc::corrupt, "tensor \"b\" starts at byte " + std::to_string(offset));
  }
}

}  // namespace
}  // namespace dgq

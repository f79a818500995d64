#include "quantizer/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/support/command.h"
#include "tests/support/shared.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

using test::safetensors_bytes;

Result<SafeTensors> parse(const std::string& text) {
  return parse_safetensors(std::as_bytes(std::span(text)), "f");
}

// The message of the Error that a header and so many bytes of data lead to.
std::string fault(const std::string& header, std::size_t data_bytes) {
  const std::string file = safetensors_bytes(header, std::string(data_bytes, '\0'));
  const Result<SafeTensors> parsed = parse(file);
  if (parsed) return "accepted";
  EXPECT_EQ(parsed.error().code, Errc::corrupt);
  EXPECT_TRUE(parsed.error().what.starts_with("f: ")) << parsed.error().what;
  return parsed.error().what;
}

testing::AssertionResult says(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "\"" << message << "\" does not say \"" << part << "\"";
}

TEST(Safetensors, ReadsWhatItSays) {
  const std::string file = safetensors_bytes(
      R"({"__metadata__":{"a":"b"},"y":{"dtype":"I32","shape":[],"data_offsets":[8,12]},)"
      R"("x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"z":{"dtype":"F32","shape":[0,5],"data_offsets":[8,8]}}   )",
      std::string("\0\0\x80\x3f\0\0\0\xc0\x07\0\0\0", 12));
  const Result<SafeTensors> parsed = parse(file);
  ASSERT_TRUE(parsed) << parsed.error().what;
  EXPECT_EQ(parsed->size(), 3u);
  EXPECT_EQ(*to_f32(parsed->at("x"), "x"), (std::vector<float>{1, -2}));
  EXPECT_EQ(*to_i32(parsed->at("y"), "y"), std::vector<std::int32_t>{7});
  EXPECT_TRUE(to_f32(parsed->at("z"), "z")->empty());
  EXPECT_EQ(to_f32(parsed->at("y"), "y").error().what, "y: dtype I32 is not F32, F16, BF16 or Q8_0");
  EXPECT_FALSE(to_i32(parsed->at("x"), "x"));
}

TEST(Safetensors, RefusesBrokenFrames) {
  EXPECT_TRUE(says(parse("").error().what, "only 0 bytes"));
  EXPECT_TRUE(says(parse(std::string(7, '\0')).error().what, "only 7 bytes"));
  EXPECT_TRUE(says(parse(std::string(8, '\xff')).error().what, "more than the format's limit"));
  std::string oversized = safetensors_bytes("{}", "");
  const std::uint64_t size = kMaxSafetensorsHeader + 1;
  std::memcpy(oversized.data(), &size, sizeof size);
  EXPECT_TRUE(says(parse(oversized).error().what, "more than the format's limit"));
  const std::string whole =
      safetensors_bytes(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "abcd");
  ASSERT_TRUE(parse(whole));
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(parse(whole.substr(0, length))) << length;
  EXPECT_TRUE(says(parse(whole.substr(0, 20)).error().what, "truncated"));
  EXPECT_TRUE(says(parse(whole.substr(0, whole.size() - 1)).error().what, "truncated"));
}

TEST(Safetensors, RefusesBrokenHeaders) {
  EXPECT_TRUE(says(fault("[]", 0), "does not start with '{'"));
  EXPECT_TRUE(says(fault("{", 0), "not valid JSON"));
  EXPECT_TRUE(says(fault("{\"\xff\":1}", 0), "not valid JSON"));
  EXPECT_TRUE(says(fault(R"({"x":3})", 0), "must be an object"));
  EXPECT_TRUE(says(fault(R"({"x":{"shape":[],"data_offsets":[0,1]}})", 1), "\"dtype\" is missing"));
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"U8","data_offsets":[0,1]}})", 1), "\"shape\" must be an array"));
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1), "integers >= 0"));
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1), "integers >= 0"));
  EXPECT_TRUE(
      says(fault(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", 1), "must be [begin, end]"));
  EXPECT_TRUE(
      says(fault(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1), "must be [begin, end]"));
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 1), "holds only 1"));
  EXPECT_TRUE(says(
      fault(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[18446744073709551614,18446744073709551615]}})",
            1),
      "holds only 1"));
}

TEST(Safetensors, RefusesWrongSizes) {
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}})", 20),
                   "tensor x: has 20 bytes, but shape [2, 3] in F32 takes 24"));
  // 2^33 * 2^31 * 4 wraps around to 0: the product is checked, not computed.
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"F32","shape":[8589934592,2147483648],"data_offsets":[0,0]}})", 0),
                   "more elements than can be counted"));
  EXPECT_TRUE(says(fault(R"({"x":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4),
                   "more elements than can be counted"));
}

TEST(Safetensors, RefusesOverlapHolesAndLeftovers) {
  const auto two = [](const char* x, const char* y) {
    return std::string(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":)") + x +
           R"(},"y":{"dtype":"U8","shape":[4],"data_offsets":)" + y + "}}";
  };
  EXPECT_EQ(fault(two("[0,4]", "[4,8]"), 8), "accepted");
  EXPECT_EQ(fault(two("[4,8]", "[0,4]"), 8), "accepted");
  EXPECT_TRUE(says(fault(two("[0,4]", "[3,7]"), 7), "tensor y overlaps"));
  EXPECT_TRUE(says(fault(two("[0,4]", "[0,4]"), 4), "overlaps"));
  EXPECT_TRUE(says(fault(two("[0,4]", "[5,9]"), 9), "a hole of 1 bytes before tensor y"));
  EXPECT_TRUE(says(fault(two("[1,5]", "[5,9]"), 9), "a hole of 1 bytes before tensor x"));
  EXPECT_TRUE(says(fault(two("[0,4]", "[4,8]"), 9), "1 bytes after the last tensor"));
}

TEST(Safetensors, UnknownDtypeIsRefusedWhenUsed) {
  const std::string file =
      safetensors_bytes(R"({"x":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})", "ab");
  const Result<SafeTensors> parsed = parse(file);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(to_f32(parsed->at("x"), "f: tensor x").error().what,
            "f: tensor x: dtype F4 is not F32, F16, BF16 or Q8_0");
  EXPECT_EQ(to_f32(parsed->at("x"), "f").error().code, Errc::unsupported);
}

TEST(Safetensors, NamesTheElementThatIsNotFinite) {
  const auto convert = [](const char* dtype, std::vector<std::uint16_t> halves) {
    return to_f32({dtype, {halves.size()}, std::as_bytes(std::span(halves))}, "t").error().what;
  };
  EXPECT_EQ(convert("F16", {0, 0x7e00}), "t: element 1 is NaN; the checkpoint is damaged");
  EXPECT_EQ(convert("BF16", {0, 0, 0xff80}), "t: element 2 is infinite; the checkpoint is damaged");
}

// sign * fraction * 2^exponent, straight from IEEE 754's definition of a format with so many fraction bits.
double by_definition(unsigned bits, int exponent_bits, int fraction_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
  const int exponent = static_cast<int>(bits >> fraction_bits) & top;
  const int fraction = static_cast<int>(bits & ((1u << fraction_bits) - 1));
  const double sign = bits >> (exponent_bits + fraction_bits) & 1 ? -1 : 1;
  if (exponent == top) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

TEST(Safetensors, EveryHalfConvertsExactly) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const std::pair<double, float> pairs[] = {{by_definition(bits, 5, 10), f16_to_f32(half)},
                                              {by_definition(bits, 8, 7), bf16_to_f32(half)}};
    for (const auto& [expected, got] : pairs) {
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(got)) << bits;
      } else {
        ASSERT_EQ(static_cast<double>(got), expected) << bits;
        ASSERT_EQ(std::signbit(got), std::signbit(expected)) << bits;
      }
    }
  }
}

TEST(Safetensors, ReadsTheBundledFiles) {
  const auto path = test::repository_file("models/demo/reference_logits.safetensors");
  const Result<SafetensorsFile> file = SafetensorsFile::open(path);
  ASSERT_TRUE(file) << file.error().what;
  EXPECT_EQ(to_i32(file->tensors.at("input_ids"), "ids")->size(), 256u);
  EXPECT_EQ(to_f32(file->tensors.at("logits"), "logits")->size(), 6u * 4096);
  EXPECT_EQ(SafetensorsFile::open(path.parent_path() / "none.safetensors").error().code, Errc::not_found);
}

}  // namespace
}  // namespace dgq

#include <gtest/gtest.h>

#include <fstream>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"

namespace dgq {
namespace {

std::filesystem::path scratch(const char* name) {
  const auto folder = std::filesystem::temp_directory_path() / ("dgq_base_test_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  return folder / name;
}

Result<int> half(int x) {
  if (x % 2) return Error{Errc::invalid, "odd"};
  return x / 2;
}

Result<int> quarter(int x) {
  DGQ_TRY(const int h, half(x));
  DGQ_TRY(const int q, half(h));
  return q;
}

TEST(Result, TryReturnsTheFirstError) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().what, "odd");
  EXPECT_EQ(quarter(7).error().code, Errc::invalid);
}

TEST(Sha256, MatchesFips180Example) {
  EXPECT_EQ(sha256("abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 pieces;
  pieces.update(std::as_bytes(std::span("ab", 2)));
  pieces.update(std::as_bytes(std::span("c", 1)));
  EXPECT_EQ(pieces.finish(), sha256("abc"));
}

TEST(Digest, ParsesOnlyItsOwnForm) {
  const Digest digest = sha256("x");
  EXPECT_EQ(*Digest::parse(digest.hex()), digest);
  EXPECT_FALSE(Digest::parse(digest.hex().substr(1)));
  EXPECT_FALSE(Digest::parse(std::string(64, 'g')));
  EXPECT_FALSE(Digest::parse(std::string(64, 'A')));  // one spelling only
}

TEST(File, AtomicWriteReplacesAndMaps) {
  const auto path = scratch("file");
  ASSERT_TRUE(write_file_atomic(path, std::as_bytes(std::span("old", 3))));
  ASSERT_TRUE(write_file_atomic(path, std::as_bytes(std::span("newer", 5))));
  EXPECT_EQ(*read_file(path, 100), "newer");
  EXPECT_EQ(MappedFile::open(path)->bytes().size(), 5u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path.parent_path()), {}), 1);  // no temporary left
}

TEST(File, SaysWhatAndWhere) {
  const auto missing = MappedFile::open(scratch("missing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  EXPECT_NE(missing.error().what.find("missing"), std::string::npos);
  std::ofstream(scratch("long")) << "12345";
  EXPECT_EQ(read_file(scratch("long"), 4).error().code, Errc::invalid);
  EXPECT_FALSE(MappedFile::open(std::filesystem::temp_directory_path()));
}

TEST(Json, NamesTheKey) {
  const Json object = *parse_json(R"({"a": 3, "b": null, "c": 1.5, "d": 18446744073709551615})", "f.json");
  EXPECT_EQ(*json_int(object, "a", 0, 3, "f.json"), 3);
  EXPECT_EQ(json_int(object, "a", 4, 9, "f.json").error().what, "f.json: \"a\" must be an integer from 4 to 9, not 3");
  EXPECT_FALSE(json_int(object, "b", 0, 9, "f.json"));
  EXPECT_EQ(*json_int_or(object, "b", 7, 0, 9, "f.json"), 7);
  EXPECT_FALSE(json_int(object, "c", 0, 9, "f.json"));
  EXPECT_FALSE(json_int(object, "d", 0, INT64_MAX, "f.json"));
  EXPECT_FALSE(json_string(object, "a", "f.json"));
}

TEST(Json, RefusesBrokenTextAndDepthBombs) {
  EXPECT_EQ(parse_json("{\"a\": ", "f.json").error().code, Errc::corrupt);
  EXPECT_EQ(parse_json("\"\xff\"", "f.json").error().code, Errc::corrupt);
  EXPECT_EQ(parse_json(std::string(100000, '['), "f.json").error().code, Errc::corrupt);
  EXPECT_EQ(parse_json(std::string(70, '[') + std::string(70, ']'), "f.json").error().code, Errc::corrupt);
  EXPECT_TRUE(parse_json(std::string(60, '[') + std::string(60, ']'), "f.json"));
}

}  // namespace
}  // namespace dgq

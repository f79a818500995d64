// The tokenizer on bytes we did not write. The first byte chooses what the others are:
//   0  a tokenizer.json, a zero byte, a text
//   1  a regular expression for Split, a zero byte, a text
//   2  a text for a byte-level tokenizer, 3 for one with byte fallback: decoding must give the text back
// Never a crash or a hang; every text that comes out is well-formed; streamed pieces add up to the whole.
#include <cstdlib>

#include "runtime/detokenizer.h"
#include "runtime/tokenizer_utf8.h"
#include "tests/runtime/small_tokenizer.h"

namespace {

using dgq::Json;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string round_trip(const dgq::Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text, true);
  if (!ids) return {};
  for (const std::int32_t id : *ids) require(tokenizer.contains(id));
  const auto whole = tokenizer.decode(*ids, true);
  require(whole.has_value() && dgq::find_invalid_utf8(*whole) == std::string::npos);
  dgq::Detokenizer stream(tokenizer);
  std::string streamed;
  for (const std::int32_t id : *ids) streamed += stream.push(id);
  require(streamed + stream.finish() == *whole);
  return *whole;
}

dgq::Result<dgq::Tokenizer> with_split(std::string_view expression) {
  Json json = dgq::test::byte_level_json();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "MergedWithNext"}};
  return dgq::test::parse(json);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const dgq::Tokenizer byte_level = *dgq::test::parse(dgq::test::byte_level_json());
  static const dgq::Tokenizer fallback = *dgq::test::parse(dgq::test::byte_fallback_json());
  if (size < 1) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view first = input.substr(0, input.find('\0')),
                         text = input.substr(std::min(first.size() + 1, input.size()));
  const bool well_formed = dgq::find_invalid_utf8(input) == std::string_view::npos;
  const bool has_special = input.find('<') != std::string_view::npos;  // left out of what is decoded
  switch (data[0] % 4) {
    case 0:
      if (const auto tokenizer = dgq::Tokenizer::parse(first, "t.json")) round_trip(*tokenizer, text);
      break;
    case 1:
      if (!well_formed) break;
      if (const auto tokenizer = with_split(first)) round_trip(*tokenizer, text);
      break;
    case 2:
      require(!well_formed || has_special || round_trip(byte_level, input) == input);
      break;
    default:
      require(!well_formed || has_special || input.find("▁") != std::string_view::npos ||
              round_trip(fallback, input) == input);
  }
  return 0;
}

// tests/runtime/small_tokenizer.h - tokenizer.json texts small enough to know every result by hand.
#pragma once

#include <cstdio>
#include <string>

#include "base/json.h"
#include "runtime/pretokenizer.h"
#include "runtime/tokenizer.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::test {

// GPT-2's kind: ids 0..255 are the bytes, then " t", "he", " the", "ll" (256..259); <|end|> is 260, special.
inline Json byte_level_json() {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(kByteLetters[byte], letter);
    vocab[letter] = byte;
  }
  const std::string space = "Ġ";  // the letter of byte 0x20
  vocab[space + "t"] = 256;
  vocab["he"] = 257;
  vocab[space + "the"] = 258;
  vocab["ll"] = 259;
  // Json::array, since a list of pairs would become an object.
  const Json merges = Json::array({Json::array({space, "t"}), Json::array({"h", "e"}),
                                   Json::array({space + "t", "he"}), Json::array({"l", "l"})});
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}},
          {"added_tokens", {{{"id", 260}, {"content", "<|end|>"}, {"special", true}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}}};
}

// Llama 2's kind: 0 <unk>, 1 <s>, 2 </s> (special), 3..258 <0x00>..<0xFF>, then "▁" 259, "a" 260, "b" 261, "ab" 262,
// "▁ab" 263.
inline Json byte_fallback_json() {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"▁", 259},
                {"a", 260},   {"b", 261}, {"ab", 262}, {"▁ab", 263}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    vocab[name] = 3 + byte;
  }
  const auto special = [](int id, const char* content) {
    return Json{{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
  };
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  return {
      {"model",
       {{"type", "BPE"},
        {"vocab", vocab},
        {"merges", {"a b", "▁ ab"}},
        {"byte_fallback", true},
        {"fuse_unk", true},
        {"unk_token", "<unk>"}}},
      {"added_tokens", {special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")}},
      {"normalizer",
       {{"type", "Sequence"}, {"normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}, replace(" ", "▁")}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
        {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}}}}}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders",
         {replace("▁", " "),
          {{"type", "ByteFallback"}},
          {{"type", "Fuse"}},
          {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}}};
}

inline Result<Tokenizer> parse(const Json& json) { return Tokenizer::parse(json.dump(), "t.json"); }

}  // namespace dgq::test

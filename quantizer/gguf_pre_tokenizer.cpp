#include "quantizer/gguf_pre_tokenizer.h"

namespace dgq {
namespace {

Json split(std::string_view pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

// Words of Llama 3; Qwen 2 differs in the digits: one at a time.
constexpr std::string_view kLlama3Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace

Json sequence(const char* key, Json steps) { return {{"type", "Sequence"}, {key, std::move(steps)}}; }

Json byte_level(bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json replace(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json space_marks(bool prefix) {
  Json steps = Json::array({replace(" ", kSpaceMark)});
  if (prefix) steps.insert(steps.begin(), Json{{"type", "Prepend"}, {"prepend", kSpaceMark}});
  return sequence("normalizers", std::move(steps));
}

const std::vector<PreTokenizer>& pre_tokenizers() {
  static const std::vector<PreTokenizer> known = {
      {{"gpt-2", "gpt2"}, [] { return byte_level(true); }, false, false, false},
      {{"llama-bpe", "llama3", "llama-v3"},
       [] {
         return sequence("pretokenizers", {split(kLlama3Words), byte_level(false)});
       },
       false,
       true,
       true},
      {{"smaug-bpe", "dbrx"},
       [] {
         return sequence("pretokenizers", {split(kLlama3Words), byte_level(false)});
       },
       false,
       false,
       false},
      {{"qwen2"},
       [] {
         return sequence("pretokenizers", {split(kQwen2Words), byte_level(false)});
       },
       true,
       false,
       false},
      {{"smollm"},
       [] {
         return sequence("pretokenizers",
                         {Json{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)});
       },
       false,
       false,
       false}};
  return known;
}

}  // namespace dgq

#include "quantizer/synthetic.h"

#include <cmath>

#include "base/digest.h"
#include "base/json.h"

namespace dgq {
namespace {

constexpr int kBytes = 256;

std::uint64_t seed_of(const std::string& name) {
  std::uint64_t seed = 0;
  for (int i = 0; const std::uint8_t byte : sha256(name).bytes)
    if (i++ < 8) seed = seed << 8 | byte;
  return seed;
}

// The letter of GPT-2's byte level for a byte, in UTF-8.
std::string letter(int byte, int& unprintable) {
  const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const int code = printable ? byte : kBytes + unprintable++;
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
}

}  // namespace

std::vector<float> synthetic_tensor(const std::string& name, const std::vector<std::uint64_t>& shape) {
  std::uint64_t size = 1;
  for (const std::uint64_t n : shape) size *= n;
  if (shape.size() == 1) return std::vector<float>(size, name.ends_with(".bias") ? 0.0f : 1.0f);
  std::vector<float> values(size);
  // Four uniform numbers of 16 bits: their sum has the deviation 2^16 / sqrt(3).
  const float scale = std::sqrt(3.0f / static_cast<float>(shape.back())) * 0x1p-16f;
  std::uint64_t state = seed_of(name);
  for (float& value : values) {
    std::uint64_t bits = state += 0x9e3779b97f4a7c15u;  // splitmix64's steps
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
    const auto sum = static_cast<std::int32_t>((bits & 0xffff) + (bits >> 16 & 0xffff) +
                                               (bits >> 32 & 0xffff) + (bits >> 48));
    value = scale * static_cast<float>(sum - 2 * 0xffff);
  }
  return values;
}

Result<std::string> synthetic_tokenizer(const ModelConfig& config) {
  if (config.vocab <= kBytes)
    return Error{Errc::invalid, "a synthetic model needs a vocabulary of at least " +
                                    std::to_string(kBytes + 1) + " tokens, not " +
                                    std::to_string(config.vocab)};
  Json vocabulary;
  int unprintable = 0;
  for (int byte = 0; byte < kBytes; ++byte) vocabulary[letter(byte, unprintable)] = byte + 1;
  for (std::size_t id = kBytes + 1; id < config.vocab; ++id) vocabulary["#" + std::to_string(id)] = id;
  const Json end = {
      {"id", 0},         {"content", "<|endoftext|>"}, {"single_word", false}, {"lstrip", false},
      {"rstrip", false}, {"normalized", false},        {"special", true}};
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json json = {{"version", "1.0"},
                     {"added_tokens", Json::array({end})},
                     {"pre_tokenizer", byte_level},
                     {"decoder", byte_level},
                     {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  return json.dump();
}

}  // namespace dgq

// runtime/tokenizer.h - text to token ids and back, as a Hugging Face tokenizer.json of kind BPE says.
//
// Covered, with the results of the `tokenizers` library: byte-level BPE (GPT-2, Llama 3, Qwen) and BPE with byte fallback
// (Llama 2, Phi-3, Mistral):
//   normalizers     NFC NFD NFKC NFKD Prepend Replace Sequence
//   pre-tokenizers  Split ByteLevel Metaspace Digits Sequence
//   model           BPE: byte_fallback, fuse_unk, unk_token, ignore_merges
//   post-processor  TemplateProcessing ByteLevel Sequence
//   decoders        ByteLevel Metaspace Replace ByteFallback Fuse Strip Sequence
//   added tokens    special, normalized, lstrip, rstrip
// Everything else that would change results is refused by name when the file is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/tokenizer_decode.h"

namespace dgq {

inline constexpr std::size_t kMaxTokenizerBytes =
    256u << 20;                                         // of a tokenizer.json; the largest in use have 35 MB
inline constexpr std::size_t kMaxTextBytes = 1u << 30;  // of one text to encode

// Immutable; every member is thread-safe. Movable; a moved-from object may only be destroyed or assigned to.
class Tokenizer {
 public:
  // `where` (a file name) starts every message. corrupt: not such a file, or one that contradicts itself; unsupported:
  // something not listed above.
  static Result<Tokenizer> parse(std::string_view tokenizer_json, std::string_view where);
  static Result<Tokenizer> read(const std::filesystem::path& tokenizer_json);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // add_special: with what the post-processor adds (a BOS token, say). Added tokens in the text are found either way.
  // invalid: text is not UTF-8, or longer than kMaxTextBytes; unsupported: a pattern of the tokenizer gave up on the text.
  Result<std::vector<std::int32_t>> encode(std::string_view text, bool add_special) const;

  // Without what the post-processor adds, and with a mark per byte: where it is not 0, the text is data, of which no byte
  // becomes part of an added token. marks: as long as text.
  Result<std::vector<std::int32_t>> encode_marked(std::string_view text, std::string_view marks) const;

  // Always well-formed UTF-8: U+FFFD stands for bytes that are no character. skip_special: without special tokens.
  // invalid: an id without a token.
  Result<std::string> decode(std::span<const std::int32_t> ids, bool skip_special) const;

  std::size_t vocabulary_size() const;  // largest id + 1, added tokens included
  std::optional<std::int32_t> find(
      std::string_view token) const;              // an added token by content, else one of the vocabulary
  bool contains(std::int32_t id) const;           // ids may have gaps
  std::string_view token(std::int32_t id) const;  // as the file spells it; empty unless contains(id)
  bool is_special(std::int32_t id) const;

  const std::vector<DecodeStep>& decode_steps() const;  // for Detokenizer

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<const State> state);
  std::unique_ptr<const State> state_;
};

}  // namespace dgq

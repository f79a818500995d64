// runtime/tokenizer_decode.h - tokens back to text, token by token: the one implementation behind Tokenizer::decode and
// Detokenizer, so that a stream adds up to the whole.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dgq {

// Hugging Face's decoders as steps over a sequence of tokens. After ByteLetters or Fuse the sequence is one token that
// arrives in fragments of whole characters; `fused` steps take it so.
struct ReplaceTokenStep {
  std::string pattern, content;
};                           // fused: the pattern is one character
struct ByteFallbackStep {};  // a run of <0xNN> becomes its characters, or one U+FFFD per byte when ill-formed
struct ByteLettersToTextStep {};  // undoes kByteLetters; ill-formed bytes become U+FFFD
struct SpaceStep {
  std::string replacement;
  bool drop_first;
};  // Metaspace: to spaces; in the first token to nothing
struct StripStep {
  std::string content;
  std::size_t start, stop;
  bool fused;
};                   // up to so many at each end of a token
struct JoinStep {};  // no decoder: a space between tokens
using DecodeStep =
    std::variant<ReplaceTokenStep, ByteFallbackStep, ByteLettersToTextStep, SpaceStep, StripStep, JoinStep>;

// The bytes that a token adds in the middle of a text, whatever stands around it; they may be a part of a character.
// nullopt: what it adds depends on its neighbours.
std::optional<std::string> bytes_of_token(const std::vector<DecodeStep>& steps, std::string_view token);

// One pass over one sequence. The steps are borrowed.
class DecodeStream {
 public:
  explicit DecodeStream(const std::vector<DecodeStep>& steps) : steps_(&steps), states_(steps.size()) {}

  // Appends to `out` the text that is certain after this token: whole characters, which no later token can change.
  void push(std::string_view token, std::string& out) { feed(0, std::string(token), out); }
  // Appends what was held back. The stream is as new afterwards.
  void finish(std::string& out);

 private:
  struct State {
    std::string held;   // bytes, or text, not passed on yet
    bool first = true;  // no token was seen
    std::size_t stripped = 0;
    bool stripping = true;  // still at the start of the token
  };
  void feed(std::size_t step, std::string token, std::string& out);
  void flush(std::size_t step, std::string& out);
  std::string strip(const StripStep& step, State& state, std::string token) const;

  const std::vector<DecodeStep>* steps_;
  std::vector<State> states_;
};

}  // namespace dgq

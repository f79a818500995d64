#include "runtime/tokenizer_decode.h"

#include <array>
#include <cstdint>
#include <utility>

#include "runtime/pretokenizer.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

std::string replaced(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(pattern, done)) != std::string_view::npos; done = at + pattern.size())
    out.append(text.substr(done, at - done)).append(content);
  return out.append(text.substr(done));
}

// 0..255 for "<0xNN>", else -1.
int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return -1;
    value = 16 * value + digit;
  }
  return value;
}

std::string fallback_text(const std::string& bytes) {
  if (find_invalid_utf8(bytes) == std::string::npos) return bytes;
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) out += "\uFFFD";
  return out;
}

constexpr auto kLetterBytes = [] {
  std::array<std::int16_t, kByteLetterEnd> bytes{};
  for (auto& byte : bytes) byte = -1;
  for (std::size_t byte = 0; byte < 256; ++byte) bytes[kByteLetters[byte]] = static_cast<std::int16_t>(byte);
  return bytes;
}();

// The bytes a token stands for; a token with any other character (an added one, say) stands for itself.
std::string letter_bytes(std::string_view token) {
  std::string out;
  for (std::size_t at = 0; at < token.size(); at += utf8_length(token.substr(at))) {
    const char32_t letter = utf8_code_point(token.substr(at));
    if (letter >= kLetterBytes.size() || kLetterBytes[letter] < 0) return std::string(token);
    out.push_back(static_cast<char>(kLetterBytes[letter]));
  }
  return out;
}

}  // namespace

std::optional<std::string> bytes_of_token(const std::vector<DecodeStep>& steps, std::string_view token) {
  std::string text(token);
  for (const DecodeStep& step : steps) {
    if (const auto* replace = std::get_if<ReplaceTokenStep>(&step)) {
      text = replaced(text, replace->pattern, replace->content);
    } else if (const auto* space = std::get_if<SpaceStep>(&step)) {
      text = replaced(text, space->replacement, " ");
    } else if (const auto* strip = std::get_if<StripStep>(&step)) {
      if (!strip->fused || strip->stop > 0)
        return std::nullopt;  // at its start a text is stripped, not in its middle
    } else if (std::holds_alternative<ByteFallbackStep>(step)) {
      if (const int byte = fallback_byte(text); byte >= 0) return std::string(1, static_cast<char>(byte));
    } else if (std::holds_alternative<ByteLettersToTextStep>(step)) {
      text = letter_bytes(text);
    } else {
      return std::nullopt;
    }
  }
  return text;
}

// Strips `content` (one character) from both ends: at the start at once, at the end by holding back what might turn out
// to be the end.
std::string DecodeStream::strip(const StripStep& step, State& state, std::string token) const {
  std::string text = std::move(state.held) + token;
  std::size_t begin = 0;
  while (state.stripping && state.stripped < step.start &&
         std::string_view(text).substr(begin).starts_with(step.content))
    begin += step.content.size(), ++state.stripped;
  if (begin < text.size()) state.stripping = false;
  std::size_t end = text.size();
  for (std::size_t i = 0;
       i < step.stop && std::string_view(text).substr(begin, end - begin).ends_with(step.content); ++i)
    end -= step.content.size();
  state.held = text.substr(end);
  return text.substr(begin, end - begin);
}

void DecodeStream::feed(std::size_t i, std::string token, std::string& out) {
  if (i == steps_->size()) {
    out += token;
    return;
  }
  State& state = states_[i];
  if (const auto* replace = std::get_if<ReplaceTokenStep>(&(*steps_)[i])) {
    feed(i + 1, replaced(token, replace->pattern, replace->content), out);
  } else if (const auto* space = std::get_if<SpaceStep>(&(*steps_)[i])) {
    feed(i + 1, replaced(token, space->replacement, state.first && space->drop_first ? "" : " "), out);
  } else if (const auto* step = std::get_if<StripStep>(&(*steps_)[i])) {
    feed(i + 1, strip(*step, state, std::move(token)), out);
    if (!step->fused) state = {};
    return;
  } else if (std::holds_alternative<ByteFallbackStep>((*steps_)[i])) {
    if (const int byte = fallback_byte(token); byte >= 0) {
      state.held.push_back(static_cast<char>(byte));
    } else {
      flush(i, out);
      feed(i + 1, std::move(token), out);
    }
  } else if (std::holds_alternative<ByteLettersToTextStep>((*steps_)[i])) {
    state.held += letter_bytes(token);
    std::string text;
    state.held.erase(0, append_lossy(state.held, false, text));
    if (!text.empty()) feed(i + 1, std::move(text), out);
  } else {
    feed(i + 1, state.first ? std::move(token) : " " + token, out);
  }
  state.first = false;
}

// Passes on what step i holds back.
void DecodeStream::flush(std::size_t i, std::string& out) {
  const std::string held = std::exchange(states_[i].held, {});
  if (held.empty()) return;
  if (std::holds_alternative<ByteFallbackStep>((*steps_)[i])) {
    feed(i + 1, fallback_text(held), out);
  } else if (std::holds_alternative<ByteLettersToTextStep>((*steps_)[i])) {
    std::string text;
    append_lossy(held, true, text);
    feed(i + 1, std::move(text), out);
  }  // StripStep: what it holds is what it strips
}

void DecodeStream::finish(std::string& out) {
  for (std::size_t i = 0; i < steps_->size(); ++i) {
    flush(i, out);
    states_[i] = {};
  }
}

}  // namespace dgq

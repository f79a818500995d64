// Events of a stream: the bytes that dump() of the same JSON gives.
#include "agent/stream_chunk.h"

#include <gtest/gtest.h>

#include <random>

#include "agent/api_error.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::agent {
namespace {

const Json kHead = {
    {"id", "cmpl-1"}, {"object", "x\"y"}, {"created", 5}, {"model", "é"}, {"system_fingerprint", "f"}};

Json event_of(Json choice, const Json& logprobs, const Json& finish) {
  choice.update({{"index", 0}, {"logprobs", logprobs}, {"finish_reason", finish}});
  Json event = kHead;
  event["choices"] = Json::array({choice});
  return event;
}

std::string json_string(std::string_view text) {
  std::string out = "before ";
  append_json_string(text, out);
  return out;
}

TEST(StreamChunk, StringsAreWrittenAsDumpWritesThem) {
  for (char32_t point = 0; point < 0x3000; ++point) {
    std::string text = "a";
    append_utf8(point, text);
    EXPECT_EQ(json_string(text), "before " + dump(Json(text))) << static_cast<std::uint32_t>(point);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {  // most of them no UTF-8
    std::string text;
    for (unsigned n = random() % 8; n > 0; --n) text += static_cast<char>(random());
    EXPECT_EQ(json_string(text), "before " + dump(Json(text)));
  }
}

TEST(StreamChunk, EventsAreWrittenAsDumpWritesThem) {
  StreamChunk completion(kHead, false), chat(kHead, true);
  const Json logprobs = {{"tokens", {"a"}}, {"token_logprobs", {-0.25}}};
  for (const std::string text : {"", "word", "\"\n😀"})
    for (const Json& probabilities : {Json(), logprobs})
      for (const char* finish : {static_cast<const char*>(nullptr), "stop", "length"}) {
        const Json reason = finish ? Json(finish) : Json();
        EXPECT_EQ(completion.piece(text, dump(probabilities), finish),
                  dump(event_of({{"text", text}}, probabilities, reason)));
        const Json delta = text.empty() ? Json::object() : Json{{"content", text}};
        EXPECT_EQ(chat.piece(text, dump(probabilities), finish),
                  dump(event_of({{"delta", delta}}, probabilities, reason)));
      }
  EXPECT_EQ(chat.role(), dump(event_of({{"delta", {{"role", "assistant"}, {"content", ""}}}}, {}, {})));
  Json counts = kHead;
  counts.update({{"choices", Json::array()}, {"usage", {{"total_tokens", 3}}}});
  EXPECT_EQ(chat.usage({{"total_tokens", 3}}), dump(counts));
}

}  // namespace
}  // namespace dgq::agent

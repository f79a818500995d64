#include "agent/stream_chunk.h"

#include "agent/api_error.h"
#include "base/json_escape.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq::agent {

void append_json_string(std::string_view text, std::string& out) {
  if (find_invalid_utf8(text) != text.npos) {
    out += dump(Json(text));
    return;
  }
  out += '"';
  for (const char c : text) {
    const std::string escape = json_escape(static_cast<unsigned char>(c));
    if (escape.empty())
      out += c;
    else
      out += escape;
  }
  out += '"';
}

StreamChunk::StreamChunk(const Json& head, bool chat) : chat_(chat), rest_("," + dump(head).substr(1)) {}

std::string_view StreamChunk::piece(std::string_view text, std::string_view logprobs, const char* finish) {
  quoted_.clear();
  append_json_string(text, quoted_);
  if (!chat_) return write({}, quoted_, logprobs, finish);
  if (text.empty()) return write("{}", {}, logprobs, finish);
  quoted_.insert(0, R"({"content":)").append("}");
  return write(quoted_, {}, logprobs, finish);
}

std::string_view StreamChunk::role() {
  return write(R"({"content":"","role":"assistant"})", {}, "null", nullptr);
}

std::string_view StreamChunk::call(const CallPiece& piece, std::string_view id) {
  quoted_ = R"({"tool_calls":[{"function":{"arguments":)";
  append_json_string(piece.arguments, quoted_);
  if (!id.empty()) {
    quoted_.append(R"(,"name":)");
    append_json_string(piece.name, quoted_);
  }
  quoted_.append("}");
  if (!id.empty()) quoted_.append(R"(,"id":")").append(id).append("\"");
  quoted_.append(R"(,"index":)").append(std::to_string(piece.index));
  quoted_.append(id.empty() ? "}]}" : R"(,"type":"function"}]})");
  return write(quoted_, {}, "null", nullptr);
}

std::string_view StreamChunk::usage(const Json& usage) {
  event_ = R"({"choices":[])" + rest_;
  event_.pop_back();
  event_.append(R"(,"usage":)").append(dump(usage)).append("}");
  return event_;
}

// A delta or a text.
std::string_view StreamChunk::write(std::string_view delta, std::string_view text, std::string_view logprobs,
                                    const char* finish) {
  event_ = R"({"choices":[{)";
  if (!delta.empty()) event_.append(R"("delta":)").append(delta).append(",");
  event_.append(R"("finish_reason":)");
  if (finish)
    event_.append("\"").append(finish).append("\"");
  else
    event_.append("null");
  event_.append(R"(,"index":0,"logprobs":)").append(logprobs);
  if (!text.empty()) event_.append(R"(,"text":)").append(text);
  event_.append("}]").append(rest_);
  return event_;
}

}  // namespace dgq::agent

// agent/stream_chunk.h - the events of a stream, as JSON text: there is one for every token, and what they have in common is
// written once. The bytes are those of dump().
#pragma once

#include <string>
#include <string_view>

#include "agent/tool_calls.h"
#include "base/json.h"

namespace dgq::agent {

// Appends the text as a JSON string.
void append_json_string(std::string_view text, std::string& out);

// Of one answer, a completion or a chat.
class StreamChunk {
 public:
  // head: an object, whose members every event has; their names come after "choices".
  StreamChunk(const Json& head, bool chat);

  // Events; each holds until the next is made. logprobs: JSON text. finish: null: there is more to come.
  std::string_view piece(std::string_view text, std::string_view logprobs, const char* finish);
  std::string_view role();                                             // the first of a chat
  std::string_view call(const CallPiece& piece, std::string_view id);  // id: of a call that begins
  std::string_view usage(const Json& usage);

 private:
  std::string_view write(std::string_view delta, std::string_view text, std::string_view logprobs,
                         const char* finish);

  const bool chat_;
  const std::string rest_;  // after the list of choices, to the end of the object
  std::string event_, quoted_;
};

}  // namespace dgq::agent

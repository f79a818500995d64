// agent/tool_calls.h - calls of functions in an answer, found in its text as it comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dgq::agent {

enum class CallForm : std::uint8_t {
  none,    // the answer is a text
  whole,   // all of it is one call, held to compile_calls()
  marked,  // a text, in which calls may stand between <tool_call> and </tool_call>
};

// A piece of a call, as OpenAI's streams have them: the first piece of a call has its name, the others go on with the
// arguments, which are JSON text.
struct CallPiece {
  std::size_t index;
  std::string name, arguments;
};

class ToolCallReader {
 public:
  // functions: those that may be called. What stands between marks and calls none of them stays text.
  ToolCallReader(CallForm form, std::vector<std::string> functions)
      : form_(form), functions_(std::move(functions)) {}

  struct Pieces {
    std::string text;
    std::vector<CallPiece> calls;
  };
  Pieces push(std::string_view text);
  Pieces finish();  // what was held back at the end
  std::size_t calls() const { return calls_; }

 private:
  Pieces push_whole();
  Pieces push_marked();
  bool read_call(std::string_view text, Pieces& out);

  const CallForm form_;
  const std::vector<std::string> functions_;
  std::string held_;
  std::size_t calls_ = 0;
};

}  // namespace dgq::agent

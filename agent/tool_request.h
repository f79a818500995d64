// agent/tool_request.h - the functions that a chat request lets the model call: "tools", "tool_choice".
#pragma once

#include "agent/completion_request.h"

namespace dgq::agent {

struct Tools {
  OrderedJson shown;                           // to the template; null: none
  bool needed = false;                         // the answer must be a call
  std::shared_ptr<const JsonGrammar> grammar;  // of that call
};

// Sets `calls` and `functions` of the request. text: of the body that members reads.
Tools read_tools(Members& members, std::string_view text, const ServedModel& model,
                 CompletionRequest& request);

// Calls in a message of the assistant, as templates take them: OpenAI's, with the arguments as an object. nullopt: they are
// wrong, and `why` says how.
std::optional<OrderedJson> read_past_calls(const Json& calls, std::string& why);

}  // namespace dgq::agent

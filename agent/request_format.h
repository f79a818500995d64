// agent/request_format.h - the form that a request wants its answer in: OpenAI's "response_format", and llama-server's
// "json_schema".
#pragma once

#include <string_view>

#include "agent/members.h"
#include "agent/models.h"

namespace dgq::agent {

// Null: any text, or an error is noted in `members`. text: of the body that members reads, since properties are written
// in the order of the schema.
std::shared_ptr<JsonConstraint> read_format(Members& members, std::string_view text, const ServedModel& model,
                                            const std::vector<std::int32_t>& more_eos);

// What holds an answer to the grammar that member `name` asks for.
std::shared_ptr<JsonConstraint> constrain(Members& members, const char* name,
                                          const std::shared_ptr<const JsonGrammar>& grammar,
                                          const ServedModel& model,
                                          const std::vector<std::int32_t>& more_eos);

}  // namespace dgq::agent

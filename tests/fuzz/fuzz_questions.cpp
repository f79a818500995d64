// Any bytes as a .jsonl file of questions: parse_questions must answer with questions whose answer is one of their options,
// or with an Error.
#include <cstdlib>

#include "runtime/choices.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto questions =
      dgq::parse_questions({reinterpret_cast<const char*>(data), size}, "questions.jsonl");
  if (!questions) return 0;
  for (const dgq::Question& question : *questions)
    if (question.answer >= question.options.size()) std::abort();
  return 0;
}

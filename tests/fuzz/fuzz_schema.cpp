// Any text as a JSON schema: refused by name, or compiled to a grammar whose every text is JSON. The bytes of the input
// choose which of its texts is walked, as far as it may go; then the shortest way to its end.
#include <cstdlib>

#include "base/ordered_json.h"
#include "runtime/json_automaton.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto schema = dgq::parse_ordered_json({reinterpret_cast<const char*>(data), size}, "the schema");
  if (!schema) return 0;
  const auto grammar = dgq::compile_json_schema(*schema);
  if (!grammar) {
    if (grammar.error().what.empty()) std::abort();
    return 0;
  }
  dgq::JsonAutomaton automaton(*grammar);
  dgq::JsonAutomaton::State state = automaton.start();
  std::string text;
  const auto go = [&](unsigned char byte) {
    state = automaton.next(state, byte);
    text += static_cast<char>(byte);
  };
  constexpr std::size_t kSteps = 300, kLongest = 20'000;
  for (std::size_t i = 0; i < kSteps && !automaton.is_over(state); ++i) {
    unsigned char byte = data[i % size];
    for (int tries = 0; tries < 256 && automaton.next(state, byte) == dgq::JsonAutomaton::kDead; ++tries)
      ++byte;
    if (automaton.next(state, byte) == dgq::JsonAutomaton::kDead) {
      if (automaton.least(state) > 0) std::abort();  // a dead end
      break;                                         // a number that has all the digits it may have
    }
    go(byte);
  }
  if (automaton.least(state) > kLongest) return 0;
  while (automaton.least(state) > 0) {
    int next = 0;
    const auto nearer = [&](int byte) {
      const auto to = automaton.next(state, static_cast<unsigned char>(byte));
      return to != dgq::JsonAutomaton::kDead && automaton.least(to) < automaton.least(state);
    };
    while (next < 256 && !nearer(next)) ++next;
    if (next == 256) std::abort();  // least() promised a way
    go(static_cast<unsigned char>(next));
  }
  if (!dgq::OrderedJson::accept(text)) std::abort();
  return 0;
}

// anyOf and oneOf, after every schema has become a node.
#include "runtime/json_schema_parts.h"

namespace dgq {
namespace {

using Kind = GrammarNode::Kind;
using Id = GrammarNodeId;

constexpr std::size_t kMaxChoices = 200'000, kMaxSteps = 1'000'000;

// How a text of this node, no any_of, begins; all numbers alike.
char first_byte(const GrammarNode& node) {
  switch (node.kind) {
    case Kind::string:
      return '"';
    case Kind::object:
    case Kind::map:
      return '{';
    case Kind::array:
    case Kind::set:
      return '[';
    case Kind::literal:
      return node.text[0] == '-' || (node.text[0] >= '0' && node.text[0] <= '9') ? '0' : node.text[0];
    default:
      return '0';
  }
}

bool is_string_literal(const GrammarNode& node) { return node.kind == Kind::literal && node.text[0] == '"'; }

class Exclusion {
 public:
  Exclusion(const JsonGrammar& grammar, const std::set<Id>& open) : grammar_(grammar), open_(open) {}

  bool exclude(Id a, Id b) {
    if (open_.contains(a) || open_.contains(b)) return false;
    const auto parts = [&](Id id) {
      return grammar_[id].kind == Kind::any_of ? grammar_[id].parts : std::vector{id};
    };
    for (const Id one : parts(a))
      for (const Id other : parts(b))
        if (++steps_ > kMaxSteps || !leaves_exclude(grammar_[one], grammar_[other])) return false;
    return true;
  }

 private:
  bool leaves_exclude(const GrammarNode& a, const GrammarNode& b) {
    if (first_byte(a) != first_byte(b)) return true;
    if (is_string_literal(a) && is_string_literal(b)) return a.text != b.text;
    for (const GrammarProperty& one : a.properties)
      for (const GrammarProperty& other : b.properties)
        if (one.key == other.key && one.required && other.required && exclude(one.value, other.value))
          return true;
    return false;
  }

  const JsonGrammar& grammar_;
  const std::set<Id>& open_;
  std::size_t steps_ = 0;
};

}  // namespace

Result<void> flatten_choices(JsonGrammar& grammar, std::set<Id>& open) {
  std::vector<std::vector<Id>> leaves(grammar.nodes.size());
  std::size_t total = 0;
  for (Id id = 0; id < grammar.nodes.size(); ++id) {
    if (grammar[id].kind != Kind::any_of) continue;
    std::set<Id> seen = {id};
    std::vector<Id> todo = {id};
    while (!todo.empty()) {
      const Id next = todo.back();
      todo.pop_back();
      if (grammar[next].kind != Kind::any_of) leaves[id].push_back(next);
      if (open.contains(next)) open.insert(id);
      for (auto part = grammar[next].parts.rbegin();
           grammar[next].kind == Kind::any_of && part != grammar[next].parts.rend(); ++part)
        if (seen.insert(*part).second) todo.push_back(*part);
    }
    if ((total += seen.size()) > kMaxChoices)
      return Error{Errc::unsupported, "the schema has over " + std::to_string(kMaxChoices) + " choices"};
  }
  for (Id id = 0; id < grammar.nodes.size(); ++id)
    if (grammar[id].kind == Kind::any_of) grammar.nodes[id].parts = std::move(leaves[id]);
  return {};
}

Result<void> check_exclusive(const JsonGrammar& grammar, const std::set<Id>& open,
                             const std::vector<OneOf>& all) {
  Exclusion exclusion(grammar, open);
  for (const auto& [parts, path] : all)
    for (std::size_t i = 0; i < parts.size(); ++i)
      for (std::size_t k = 0; k < i; ++k)
        if (!exclusion.exclude(parts[k], parts[i]))
          return Error{Errc::unsupported,
                       "the schema at " + path + ": choices " + std::to_string(k) + " and " +
                           std::to_string(i) +
                           " of \"oneOf\" may both hold; give them other types or a required property with "
                           "different \"const\", or use \"anyOf\""};
  return {};
}

}  // namespace dgq

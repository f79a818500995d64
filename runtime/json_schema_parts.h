// runtime/json_schema_parts.h - parts of compile_json_schema. Internal to json_schema*.cpp.
#pragma once

#include <set>
#include <string>

#include "runtime/json_grammar.h"

namespace dgq {

// One object of the schema; every keyword that is read is ticked off.
struct SchemaPlace {
  const OrderedJson& json;
  const std::string& path;
  std::set<std::string> read = {};

  const OrderedJson* find(const char* key) {
    read.insert(key);
    const auto found = json.find(key);
    return found == json.end() ? nullptr : &*found;
  }
  Error error(Errc code, const std::string& what) const {
    return {code, "the schema at " + path + ": " + what};
  }
  Result<void> check_all_read() const;  // but annotations
  Error wrong(const char* key, const std::string& what) const {
    return error(Errc::invalid, "\"" + std::string(key) + "\" must be " + what);
  }
};

inline std::string schema_text(const OrderedJson& value) { return value.dump(-1, ' ', false); }

inline GrammarNode json_node(GrammarNode::Kind kind) {
  GrammarNode made;
  made.kind = kind;
  return made;
}

// json_schema_scalars.cpp
Result<GrammarNode> read_counts(SchemaPlace& place, GrammarNode::Kind kind, const char* low,
                                const char* high);
Result<GrammarNode> read_string(SchemaPlace& place, StringPattern::Budget& budget);
Result<GrammarNode> read_number(SchemaPlace& place, GrammarNode::Kind kind);  // integer or number

// json_schema_choices.cpp. open: schemas without a type, which allow more than the grammar writes.
struct OneOf {
  std::vector<GrammarNodeId> parts;
  std::string path;
};
// Choices of choices become choices, each once: so no choice leads back to itself. What leads to an open one is open, too.
Result<void> flatten_choices(JsonGrammar& grammar, std::set<GrammarNodeId>& open);
// oneOf allows what exactly one choice allows: they have to exclude each other.
Result<void> check_exclusive(const JsonGrammar& grammar, const std::set<GrammarNodeId>& open,
                             const std::vector<OneOf>& all);

}  // namespace dgq

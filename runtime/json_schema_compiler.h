// runtime/json_schema_compiler.h - a JSON Schema into the nodes of runtime/json_grammar.h. Internal to json_schema*.cpp.
#pragma once

#include <map>
#include <optional>

#include "runtime/json_schema_parts.h"

namespace dgq {

inline constexpr std::size_t kMaxSchemaDepth = 64;

class SchemaCompiler {
 public:
  // patterns: what the schema's may still take.
  SchemaCompiler(const OrderedJson& document, StringPattern::Budget& patterns)
      : document_(document), patterns_(patterns) {
    any_string_ = add(json_node(Kind::string));
  }
  Result<JsonGrammar> compile();
  JsonGrammar any_object();

 private:
  using Kind = GrammarNode::Kind;
  using Id = GrammarNodeId;

  // json_schema.cpp
  Id any();
  Id add(GrammarNode made) {
    grammar_.nodes.push_back(std::move(made));
    return static_cast<Id>(grammar_.nodes.size() - 1);
  }
  Result<Id> schema(const OrderedJson& json, const std::string& path, std::size_t depth);
  Result<std::vector<Id>> choices(SchemaPlace& place, std::size_t depth);
  Result<std::vector<Id>> several(SchemaPlace& place, const char* key, const OrderedJson& list,
                                  std::size_t depth);
  Result<const OrderedJson*> target(const SchemaPlace& place, const OrderedJson& ref) const;
  Result<Id> reference(SchemaPlace& place, const OrderedJson& ref, std::size_t depth);
  Result<std::vector<std::string>> type_list(SchemaPlace& place);
  Result<GrammarNode> typed(SchemaPlace& place, const std::string& type, std::size_t depth);
  Result<std::vector<Id>> literals(SchemaPlace& place, const OrderedJson& values);

  // json_schema_containers.cpp
  struct NamePattern {  // of patternProperties
    std::string text;
    PatternNode parsed;
    StringPattern matches;
    Id value;
  };
  Result<GrammarNode> array(SchemaPlace& place, std::size_t depth);
  Result<void> make_set(const SchemaPlace& place, GrammarNode& made);
  Result<GrammarNode> object(SchemaPlace& place, std::size_t depth);
  Result<GrammarNode> map(const SchemaPlace& place, GrammarNode made,
                          const std::vector<NamePattern>& patterns);
  Result<std::vector<NamePattern>> name_patterns(SchemaPlace& place, std::size_t depth);

  // json_schema_all_of.cpp
  struct Part {
    const OrderedJson* json;
    std::string path;
  };
  Result<std::vector<Id>> all_of(SchemaPlace& place, std::size_t depth);
  Result<void> collect(const Part& part, std::size_t depth, std::vector<Part>& parts) const;

  const OrderedJson& document_;
  JsonGrammar grammar_;
  std::map<const OrderedJson*, Id> known_;
  Id any_string_ = 0;
  std::optional<Id> any_;
  std::set<Id> open_;  // schemas without a type: they allow more than the grammar writes
  std::vector<OneOf> exclusive_;
  StringPattern::Budget& patterns_;
};

}  // namespace dgq

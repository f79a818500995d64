// A JSON Schema into the nodes of runtime/json_grammar.h: what every schema is read for. Arrays and objects are in
// json_schema_containers.cpp, strings and numbers in json_schema_scalars.cpp.
#include <algorithm>
#include <cmath>

#include "runtime/json_schema_compiler.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxNodes = 20'000;

const std::set<std::string_view> kAnnotations = {
    "title",    "description", "default",     "examples",   "example",  "$schema",  "$id",
    "$comment", "$defs",       "definitions", "deprecated", "readOnly", "writeOnly"};

// Beside its "allOf".
bool is_object_schema(const SchemaPlace& place) {
  const auto keys = {"type", "properties", "required", "additionalProperties"};
  return std::any_of(keys.begin(), keys.end(), [&](const char* key) { return place.json.contains(key); });
}

GrammarNode literal(std::string text) {
  GrammarNode made = json_node(GrammarNode::Kind::literal);
  made.text = std::move(text);
  return made;
}
GrammarNode choice(std::vector<GrammarNodeId> parts) {
  GrammarNode made = json_node(GrammarNode::Kind::any_of);
  made.parts = std::move(parts);
  return made;
}

bool has_type(const OrderedJson& value, const std::string& type) {
  if (type == "number") return value.is_number();
  if (type == "integer")
    return value.is_number_integer() ||
           (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
  return type == value.type_name();
}

Result<JsonGrammar> compile_one(const OrderedJson& schema, StringPattern::Budget& patterns) {
  if (schema.dump(-1, ' ', false, OrderedJson::error_handler_t::replace).size() > kMaxSchemaBytes)
    return Error{Errc::invalid,
                 "the schema is longer than " + std::to_string(kMaxSchemaBytes >> 10) + " KiB"};
  return SchemaCompiler(schema, patterns).compile();
}

}  // namespace

Result<void> SchemaPlace::check_all_read() const {
  for (const auto& [key, value] : json.items())
    if (!read.contains(key) && !kAnnotations.contains(key))
      return error(Errc::unsupported, "\"" + key + "\" is not supported here");
  return {};
}

Result<JsonGrammar> SchemaCompiler::compile() {
  DGQ_TRY(const Id root, schema(document_, "#", 0));
  grammar_.root = root;
  DGQ_CHECK(flatten_choices(grammar_, open_));
  DGQ_CHECK(check_exclusive(grammar_, open_, exclusive_));
  measure(grammar_);
  if (grammar_[root].height > kMaxJsonDepth)
    return Error{Errc::invalid, grammar_[root].least_bytes == GrammarNode::kEndless
                                    ? std::string("no JSON text can satisfy the schema: it never ends")
                                    : "the schema needs texts that nest deeper than " +
                                          std::to_string(kMaxJsonDepth) + " levels"};
  return std::move(grammar_);
}

SchemaCompiler::Id SchemaCompiler::any() {
  if (any_) return *any_;
  const Id id = *(any_ = add({}));
  std::vector<Id> parts = {add(json_node(Kind::string)), add(json_node(Kind::number)), add(literal("true")),
                           add(literal("false")), add(literal("null"))};
  GrammarNode map = json_node(Kind::map), array = json_node(Kind::array);
  map.keys = {any_string_}, map.parts = array.parts = {id};
  for (GrammarNode* made : {&map, &array}) parts.push_back(add(std::move(*made)));
  grammar_.nodes[id].parts = std::move(parts);
  return id;
}

JsonGrammar SchemaCompiler::any_object() {
  GrammarNode map = json_node(Kind::map);
  map.keys = {any_string_}, map.parts = {any()};
  grammar_.root = add(std::move(map));
  measure(grammar_);
  return std::move(grammar_);
}

Result<SchemaCompiler::Id> SchemaCompiler::schema(const OrderedJson& json, const std::string& path,
                                                  std::size_t depth) {
  // References name places by their addresses, so that each is compiled once and recursion closes.
  if (const auto known = known_.find(&json); known != known_.end()) return known->second;
  if (depth > kMaxSchemaDepth || grammar_.nodes.size() > kMaxNodes)
    return Error{Errc::unsupported, "the schema is too large: over " + std::to_string(kMaxNodes) +
                                        " nodes, or nested deeper than " + std::to_string(kMaxSchemaDepth)};
  if (json == OrderedJson(true)) return any();
  if (!json.is_object()) return Error{Errc::invalid, "the schema at " + path + " must be an object, or true"};
  const Id id = known_[&json] = add({});
  SchemaPlace place{json, path};
  DGQ_TRY(std::vector<Id> parts, choices(place, depth));
  DGQ_CHECK(place.check_all_read());
  grammar_.nodes[id].parts = std::move(parts);
  return id;
}

// What the schema offers, one node each.
Result<std::vector<SchemaCompiler::Id>> SchemaCompiler::choices(SchemaPlace& place, std::size_t depth) {
  if (const OrderedJson* ref = place.find("$ref")) {
    DGQ_TRY(const Id target, reference(place, *ref, depth));
    return std::vector{target};
  }
  if (const OrderedJson* value = place.find("const")) return literals(place, OrderedJson::array({*value}));
  if (const OrderedJson* values = place.find("enum")) return literals(place, *values);
  for (const char* key : {"anyOf", "oneOf", "allOf"})
    if (const OrderedJson* list = place.find(key)) {
      if (!list->is_array() || list->empty()) return place.wrong(key, "a list of schemas");
      const bool of_one = key != std::string_view("allOf") || (list->size() == 1 && !is_object_schema(place));
      return of_one ? several(place, key, *list, depth) : all_of(place, depth);
    }
  DGQ_TRY(const std::vector<std::string> types, type_list(place));
  if (types.empty()) return std::vector{any()};
  std::vector<Id> parts;
  for (const std::string& type : types) {
    DGQ_TRY(GrammarNode made, typed(place, type, depth));
    parts.push_back(add(std::move(made)));
  }
  return parts;
}

Result<std::vector<SchemaCompiler::Id>> SchemaCompiler::several(SchemaPlace& place, const char* key,
                                                                const OrderedJson& list, std::size_t depth) {
  const std::string name = key;
  std::vector<Id> parts;
  for (std::size_t i = 0; i < list.size(); ++i) {
    DGQ_TRY(const Id part, schema(list[i], place.path + "/" + name + "/" + std::to_string(i), depth + 1));
    parts.push_back(part);
  }
  if (name == "oneOf") exclusive_.push_back({parts, place.path});
  return parts;
}

Result<const OrderedJson*> SchemaCompiler::target(const SchemaPlace& place, const OrderedJson& ref) const {
  const auto* text = ref.get_ptr<const std::string*>();
  if (!text || !(*text == "#" || text->starts_with("#/")))
    return place.error(Errc::unsupported, "\"$ref\" must point into the same schema: \"#/$defs/name\"");
  try {
    return &document_.at(OrderedJson::json_pointer(text->substr(1)));
  } catch (const OrderedJson::exception&) {
    return place.error(Errc::invalid, "\"$ref\" names " + *text + ", which is not there");
  }
}

Result<SchemaCompiler::Id> SchemaCompiler::reference(SchemaPlace& place, const OrderedJson& ref,
                                                     std::size_t depth) {
  DGQ_TRY(const OrderedJson* to, target(place, ref));
  return schema(*to, ref.get<std::string>(), depth + 1);
}

// The list of types; without "type" what the keywords are about. Texts of that type satisfy the schema all the same.
Result<std::vector<std::string>> SchemaCompiler::type_list(SchemaPlace& place) {
  const OrderedJson* type = place.find("type");
  if (type && type->is_string()) return std::vector{type->get<std::string>()};
  std::vector<std::string> types;
  if (type) {
    if (!type->is_array() || type->empty()) return place.wrong("type", "a type or a list of types");
    for (const OrderedJson& one : *type) {
      if (!one.is_string()) return place.wrong("type", "a type or a list of types");
      types.push_back(one.get<std::string>());
    }
    return types;
  }
  open_.insert(known_[&place.json]);
  static const std::pair<const char*, std::vector<const char*>> kAbout[] = {
      {"object",
       {"properties", "required", "additionalProperties", "patternProperties", "minProperties",
        "maxProperties"}},
      {"array", {"items", "minItems", "maxItems", "uniqueItems"}},
      {"string", {"minLength", "maxLength", "pattern", "format"}},
      {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}}};
  for (const auto& [about, keys] : kAbout)
    for (const char* key : keys)
      if (types.empty() && place.json.contains(key)) types = {about};
  return types;
}

Result<GrammarNode> SchemaCompiler::typed(SchemaPlace& place, const std::string& type, std::size_t depth) {
  if (type == "null") return literal("null");
  if (type == "boolean") return choice({add(literal("true")), add(literal("false"))});
  if (type == "string") return read_string(place, patterns_);
  if (type == "integer") return read_number(place, Kind::integer);
  if (type == "number") return read_number(place, Kind::number);
  if (type == "array") return array(place, depth);
  if (type == "object") return object(place, depth);
  return place.error(Errc::invalid,
                     "\"type\" must be object, array, string, number, integer, boolean or null");
}

// The values of enum or const that have the type, if there is one.
Result<std::vector<SchemaCompiler::Id>> SchemaCompiler::literals(SchemaPlace& place,
                                                                 const OrderedJson& values) {
  if (!values.is_array() || values.empty()) return place.wrong("enum", "a list of values");
  std::vector<std::string> types;
  if (place.json.contains("type")) {
    DGQ_TRY(types, type_list(place));
  }
  std::vector<Id> parts;
  std::set<std::string> seen;
  for (const OrderedJson& value : values) {
    const bool fits = types.empty() || std::any_of(types.begin(), types.end(), [&](const std::string& type) {
                        return has_type(value, type);
                      });
    const std::string text = schema_text(value);
    if (fits && seen.insert(text).second) parts.push_back(add(literal(text)));
  }
  if (parts.empty()) return place.error(Errc::invalid, "no value of \"enum\" or \"const\" has the \"type\"");
  return parts;
}

Result<JsonGrammar> compile_json_schema(const OrderedJson& schema) {
  StringPattern::Budget patterns;
  return compile_one(schema, patterns);
}

JsonGrammar any_json_object() {
  StringPattern::Budget patterns;
  return SchemaCompiler(OrderedJson(), patterns).any_object();
}

Result<JsonGrammar> compile_calls(std::span<const CallSchema> calls) {
  StringPattern::Budget patterns;
  JsonGrammar all;
  all.nodes.push_back(json_node(GrammarNode::Kind::any_of));
  const auto add = [&all](GrammarNode made) {
    all.nodes.push_back(std::move(made));
    return static_cast<GrammarNodeId>(all.nodes.size() - 1);
  };
  for (const auto& [name, arguments] : calls) {
    const auto fail = [&name = name](Errc code, const std::string& what) {
      return Error{code, "\"" + name + "\": " + what};
    };
    auto made = compile_one(*arguments, patterns);
    if (!made) return fail(made.error().code, made.error().what);
    for (const GrammarNodeId part : (*made)[made->root].parts)
      if (const auto kind = (*made)[part].kind;
          kind != GrammarNode::Kind::object && kind != GrammarNode::Kind::map)
        return fail(Errc::invalid, "arguments must be of type object");
    if (all.nodes.size() + made->nodes.size() > kMaxNodes)
      return fail(Errc::unsupported,
                  "the schemas together are too large: over " + std::to_string(kMaxNodes) + " nodes");
    const auto offset = static_cast<GrammarNodeId>(all.nodes.size());
    for (GrammarNode& node : made->nodes) {
      for (auto* ids : {&node.parts, &node.keys})
        for (GrammarNodeId& id : *ids) id += offset;
      for (GrammarProperty& property : node.properties) property.value += offset;
      all.nodes.push_back(std::move(node));
    }
    GrammarNode call = json_node(GrammarNode::Kind::object);
    call.properties = {{"\"name\":", add(literal(schema_text(name))), true},
                       {"\"arguments\":", made->root + offset, true}};
    const GrammarNodeId id = add(std::move(call));
    all.nodes[all.root].parts.push_back(id);
  }
  measure(all);
  if (all[all.root].height <= kMaxJsonDepth) return all;
  return Error{Errc::invalid, "calls would nest deeper than " + std::to_string(kMaxJsonDepth) + " levels"};
}

}  // namespace dgq

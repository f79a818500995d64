// A JSON Schema into the nodes of runtime/json_grammar.h.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "runtime/json_grammar.h"

namespace dgq {
namespace {

using Kind = GrammarNode::Kind;
using Id = GrammarNodeId;

constexpr std::size_t kMaxNodes = 20'000, kMaxDepth = 64;
constexpr std::size_t kMaxChoices = 200'000, kMaxSteps = 1'000'000;
constexpr std::int64_t kMaxCount = 1 << 20;  // of items, of characters

const std::set<std::string_view> kAnnotations = {
    "title",    "description", "default",     "examples",   "example",  "$schema",  "$id",
    "$comment", "$defs",       "definitions", "deprecated", "readOnly", "writeOnly"};

std::string dump(const OrderedJson& value) { return value.dump(-1, ' ', false); }

// How a text of this node, no any_of, begins; all numbers alike.
char first_byte(const GrammarNode& node) {
  switch (node.kind) {
    case Kind::string:
      return '"';
    case Kind::object:
    case Kind::map:
      return '{';
    case Kind::array:
      return '[';
    case Kind::literal:
      return node.text[0] == '-' || (node.text[0] >= '0' && node.text[0] <= '9') ? '0' : node.text[0];
    default:
      return '0';
  }
}

bool is_string_literal(const GrammarNode& node) { return node.kind == Kind::literal && node.text[0] == '"'; }

class Compiler {
 public:
  explicit Compiler(const OrderedJson& document) : document_(document) {
    grammar_.any_string = add(node(Kind::string));
  }

  Result<JsonGrammar> compile() {
    DGQ_TRY(const Id root, schema(document_, "#", 0));
    grammar_.root = root;
    DGQ_CHECK(flatten());
    DGQ_CHECK(check_exclusive());
    measure(grammar_);
    if (grammar_[root].height > kMaxJsonDepth)
      return Error{Errc::invalid, grammar_[root].least_bytes == GrammarNode::kEndless
                                      ? std::string("no JSON text can satisfy the schema: it never ends")
                                      : "the schema needs texts that nest deeper than " +
                                            std::to_string(kMaxJsonDepth) + " levels"};
    return std::move(grammar_);
  }

  Id any() {
    if (any_) return *any_;
    const Id id = *(any_ = add({}));
    std::vector<Id> parts = {add(node(Kind::string)), add(node(Kind::number)), add(literal("true")),
                             add(literal("false")), add(literal("null"))};
    for (const Kind kind : {Kind::map, Kind::array}) parts.push_back(add(container(kind, id)));
    grammar_.nodes[id].parts = std::move(parts);
    return id;
  }
  JsonGrammar any_object() {
    grammar_.root = add(container(Kind::map, any()));
    measure(grammar_);
    return std::move(grammar_);
  }

 private:
  // One object of the schema; every keyword that is read is ticked off.
  struct Place {
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
    Error wrong(const char* key, const char* what) const {
      return error(Errc::invalid, "\"" + std::string(key) + "\" must be " + what);
    }
  };

  static GrammarNode node(Kind kind) {
    GrammarNode made;
    made.kind = kind;
    return made;
  }
  static GrammarNode literal(std::string text) {
    GrammarNode made = node(Kind::literal);
    made.text = std::move(text);
    return made;
  }
  static GrammarNode container(Kind kind, Id value) {
    GrammarNode made = node(kind);
    made.parts = {value};
    return made;
  }
  static GrammarNode choice(std::vector<Id> parts) {
    GrammarNode made = node(Kind::any_of);
    made.parts = std::move(parts);
    return made;
  }
  Id add(GrammarNode made) {
    grammar_.nodes.push_back(std::move(made));
    return static_cast<Id>(grammar_.nodes.size() - 1);
  }

  Result<Id> schema(const OrderedJson& json, const std::string& path, std::size_t depth) {
    // References name places by their addresses, so that each is compiled once and recursion closes.
    if (const auto known = known_.find(&json); known != known_.end()) return known->second;
    if (depth > kMaxDepth || grammar_.nodes.size() > kMaxNodes)
      return Error{Errc::unsupported, "the schema is too large: over " + std::to_string(kMaxNodes) +
                                          " nodes, or nested deeper than " + std::to_string(kMaxDepth)};
    if (json == OrderedJson(true)) return any();
    if (!json.is_object())
      return Error{Errc::invalid, "the schema at " + path + " must be an object, or true"};
    const Id id = known_[&json] = add({});
    Place place{json, path};
    DGQ_TRY(std::vector<Id> parts, choices(place, depth));
    for (const auto& [key, value] : json.items())
      if (!place.read.contains(key) && !kAnnotations.contains(key))
        return place.error(Errc::unsupported, "\"" + key + "\" is not supported here");
    grammar_.nodes[id].parts = std::move(parts);
    return id;
  }

  // What the schema offers, one node each.
  Result<std::vector<Id>> choices(Place& place, std::size_t depth) {
    if (const OrderedJson* ref = place.find("$ref")) {
      DGQ_TRY(const Id target, reference(place, *ref, depth));
      return std::vector{target};
    }
    if (const OrderedJson* value = place.find("const")) return literals(place, OrderedJson::array({*value}));
    if (const OrderedJson* values = place.find("enum")) return literals(place, *values);
    for (const char* key : {"anyOf", "oneOf", "allOf"})
      if (const OrderedJson* list = place.find(key)) return several(place, key, *list, depth);
    DGQ_TRY(const std::vector<std::string> types, type_list(place));
    if (types.empty()) return std::vector{any()};
    std::vector<Id> parts;
    for (const std::string& type : types) {
      DGQ_TRY(GrammarNode made, typed(place, type, depth));
      parts.push_back(add(std::move(made)));
    }
    return parts;
  }

  Result<std::vector<Id>> several(Place& place, const char* key, const OrderedJson& list, std::size_t depth) {
    if (!list.is_array() || list.empty()) return place.wrong(key, "a list of schemas");
    const std::string name = key;
    if (name == "allOf" && list.size() > 1)
      return place.error(Errc::unsupported, "\"allOf\" of more than one schema is not supported");
    std::vector<Id> parts;
    for (std::size_t i = 0; i < list.size(); ++i) {
      DGQ_TRY(const Id part, schema(list[i], place.path + "/" + name + "/" + std::to_string(i), depth + 1));
      parts.push_back(part);
    }
    if (name == "oneOf") exclusive_.push_back({parts, place.path});
    return parts;
  }

  Result<Id> reference(Place& place, const OrderedJson& ref, std::size_t depth) {
    const auto* text = ref.get_ptr<const std::string*>();
    if (!text || !(*text == "#" || text->starts_with("#/")))
      return place.error(Errc::unsupported, "\"$ref\" must point into the same schema: \"#/$defs/name\"");
    const OrderedJson* target = nullptr;
    try {
      target = &document_.at(OrderedJson::json_pointer(text->substr(1)));
    } catch (const OrderedJson::exception&) {
      return place.error(Errc::invalid, "\"$ref\" names " + *text + ", which is not there");
    }
    return schema(*target, *text, depth + 1);
  }

  // The list of types; without "type" what the keywords are about. Texts of that type satisfy the schema all the same.
  Result<std::vector<std::string>> type_list(Place& place) {
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
    constexpr std::pair<const char*, const char*> kAbout[] = {
        {"properties", "object"}, {"required", "object"}, {"additionalProperties", "object"},
        {"items", "array"},       {"minItems", "array"},  {"maxItems", "array"},
        {"minLength", "string"},  {"maxLength", "string"}};
    for (const auto& [key, about] : kAbout)
      if (types.empty() && place.json.contains(key)) types = {about};
    return types;
  }

  Result<GrammarNode> typed(Place& place, const std::string& type, std::size_t depth) {
    if (type == "null") return literal("null");
    if (type == "boolean") return choice({add(literal("true")), add(literal("false"))});
    if (type == "string") return counted(place, Kind::string, "minLength", "maxLength");
    if (type == "integer") return integer(place);
    if (type == "number") return node(Kind::number);
    if (type == "array") {
      DGQ_TRY(GrammarNode made, counted(place, Kind::array, "minItems", "maxItems"));
      const OrderedJson* items = place.find("items");
      DGQ_TRY(const Id item, items ? schema(*items, place.path + "/items", depth + 1) : Result<Id>(any()));
      made.parts = {item};
      return made;
    }
    if (type == "object") return object(place, depth);
    return place.error(Errc::invalid,
                       "\"type\" must be object, array, string, number, integer, boolean or null");
  }

  Result<GrammarNode> counted(Place& place, Kind kind, const char* low, const char* high) {
    GrammarNode made = node(kind);
    for (const auto& [key, to] : {std::pair(low, &made.low), std::pair(high, &made.high)}) {
      const OrderedJson* value = place.find(key);
      if (!value) continue;
      if (!value->is_number_unsigned() || value->get<std::uint64_t>() > kMaxCount)
        return place.wrong(key, "an integer from 0 to 1048576");
      *to = value->get<std::int64_t>();
    }
    if (made.low <= made.high) return made;
    return place.error(Errc::invalid, std::string("\"") + low + "\" is above \"" + high + "\"");
  }

  Result<GrammarNode> integer(Place& place) {
    GrammarNode made = node(Kind::integer);
    made.low = -GrammarNode::kLargest, made.high = GrammarNode::kLargest;
    constexpr struct {
      const char* key;
      bool lower, excluded;
    } kLimits[] = {{"minimum", true, false},
                   {"exclusiveMinimum", true, true},
                   {"maximum", false, false},
                   {"exclusiveMaximum", false, true}};
    for (const auto& limit : kLimits) {
      const OrderedJson* value = place.find(limit.key);
      if (!value) continue;
      if (!value->is_number()) return place.wrong(limit.key, "a number");
      const double number = value->get<double>();
      double whole = limit.lower ? std::ceil(number) : std::floor(number);
      if (limit.excluded && whole == number) whole += limit.lower ? 1 : -1;
      whole = std::clamp<double>(whole, -GrammarNode::kLargest - 1, GrammarNode::kLargest + 1);
      const auto bound = static_cast<std::int64_t>(whole);
      (limit.lower ? made.low : made.high) =
          limit.lower ? std::max(made.low, bound) : std::min(made.high, bound);
    }
    if (made.low <= made.high) return made;
    return place.error(Errc::invalid, "no integer of at most 15 digits is within the limits");
  }

  Result<GrammarNode> object(Place& place, std::size_t depth) {
    GrammarNode made = node(Kind::object);
    const OrderedJson* properties = place.find("properties");
    const OrderedJson* required = place.find("required");
    const OrderedJson* additional = place.find("additionalProperties");
    if (properties && !properties->is_object()) return place.wrong("properties", "an object");
    if (required && !required->is_array()) return place.wrong("required", "a list of names");
    const bool closed = additional && *additional == OrderedJson(false);
    const auto others = [&]() -> Result<Id> {
      return additional ? schema(*additional, place.path + "/additionalProperties", depth + 1)
                        : Result<Id>(any());
    };
    std::map<std::string, std::size_t> index;
    const auto add_property = [&](const std::string& name, Id value) {
      index[name] = made.properties.size();
      made.properties.push_back({dump(name) + ":", value});
    };
    if (properties)
      for (const auto& [name, value] : properties->items()) {
        DGQ_TRY(const Id id, schema(value, place.path + "/properties/" + name, depth + 1));
        add_property(name, id);
      }
    if (required)
      for (const OrderedJson& name : *required) {
        if (!name.is_string()) return place.wrong("required", "a list of names");
        const auto text = name.get<std::string>();
        if (!index.contains(text)) {
          if (closed)
            return place.error(Errc::invalid, "\"required\" names \"" + text +
                                                  "\", which \"additionalProperties\": false forbids");
          DGQ_TRY(const Id id, others());
          add_property(text, id);
        }
        made.properties[index[text]].required = true;
      }
    if (!made.properties.empty() || closed) return made;
    DGQ_TRY(const Id value, others());
    return container(Kind::map, value);
  }

  static bool has_type(const OrderedJson& value, const std::string& type) {
    if (type == "number") return value.is_number();
    if (type == "integer")
      return value.is_number_integer() ||
             (value.is_number() && value.get<double>() == std::floor(value.get<double>()));
    return type == value.type_name();
  }

  // The values of enum or const that have the type, if there is one.
  Result<std::vector<Id>> literals(Place& place, const OrderedJson& values) {
    if (!values.is_array() || values.empty()) return place.wrong("enum", "a list of values");
    std::vector<std::string> types;
    if (place.json.contains("type")) {
      DGQ_TRY(types, type_list(place));
    }
    std::vector<Id> parts;
    std::set<std::string> seen;
    for (const OrderedJson& value : values) {
      const bool fits =
          types.empty() || std::any_of(types.begin(), types.end(),
                                       [&](const std::string& type) { return has_type(value, type); });
      const std::string text = dump(value);
      if (fits && seen.insert(text).second) parts.push_back(add(literal(text)));
    }
    if (parts.empty())
      return place.error(Errc::invalid, "no value of \"enum\" or \"const\" has the \"type\"");
    return parts;
  }

  // Choices of choices become choices, each once: so no choice leads back to itself.
  Result<void> flatten() {
    std::vector<std::vector<Id>> leaves(grammar_.nodes.size());
    std::size_t total = 0;
    for (Id id = 0; id < grammar_.nodes.size(); ++id) {
      if (grammar_[id].kind != Kind::any_of) continue;
      std::set<Id> seen = {id};
      std::vector<Id> todo = {id};
      while (!todo.empty()) {
        const Id next = todo.back();
        todo.pop_back();
        if (grammar_[next].kind != Kind::any_of) leaves[id].push_back(next);
        if (open_.contains(next)) open_.insert(id);
        for (auto part = grammar_[next].parts.rbegin();
             grammar_[next].kind == Kind::any_of && part != grammar_[next].parts.rend(); ++part)
          if (seen.insert(*part).second) todo.push_back(*part);
      }
      if ((total += seen.size()) > kMaxChoices)
        return Error{Errc::unsupported, "the schema has over " + std::to_string(kMaxChoices) + " choices"};
    }
    for (Id id = 0; id < grammar_.nodes.size(); ++id)
      if (grammar_[id].kind == Kind::any_of) grammar_.nodes[id].parts = std::move(leaves[id]);
    return {};
  }

  // oneOf allows what exactly one choice allows: they have to exclude each other.
  Result<void> check_exclusive() {
    std::size_t steps = 0;
    for (const auto& [parts, path] : exclusive_)
      for (std::size_t i = 0; i < parts.size(); ++i)
        for (std::size_t k = 0; k < i; ++k)
          if (!exclude(parts[k], parts[i], steps))
            return Error{Errc::unsupported,
                         "the schema at " + path + ": choices " + std::to_string(k) + " and " +
                             std::to_string(i) +
                             " of \"oneOf\" may both hold; give them other types or a required property with "
                             "different \"const\", or use \"anyOf\""};
    return {};
  }
  bool exclude(Id a, Id b, std::size_t& steps) const {
    if (open_.contains(a) || open_.contains(b)) return false;
    const auto parts = [&](Id id) {
      return grammar_[id].kind == Kind::any_of ? grammar_[id].parts : std::vector{id};
    };
    for (const Id one : parts(a))
      for (const Id other : parts(b))
        if (++steps > kMaxSteps || !leaves_exclude(grammar_[one], grammar_[other], steps)) return false;
    return true;
  }
  bool leaves_exclude(const GrammarNode& a, const GrammarNode& b, std::size_t& steps) const {
    if (first_byte(a) != first_byte(b)) return true;
    if (is_string_literal(a) && is_string_literal(b)) return a.text != b.text;
    for (const GrammarProperty& one : a.properties)
      for (const GrammarProperty& other : b.properties)
        if (one.key == other.key && one.required && other.required && exclude(one.value, other.value, steps))
          return true;
    return false;
  }

  const OrderedJson& document_;
  JsonGrammar grammar_;
  std::map<const OrderedJson*, Id> known_;
  std::optional<Id> any_;
  std::set<Id> open_;  // schemas without a type: they allow more than the grammar writes
  struct OneOf {
    std::vector<Id> parts;
    std::string path;
  };
  std::vector<OneOf> exclusive_;
};

}  // namespace

Result<JsonGrammar> compile_json_schema(const OrderedJson& schema) {
  if (schema.dump(-1, ' ', false, OrderedJson::error_handler_t::replace).size() > kMaxSchemaBytes)
    return Error{Errc::invalid,
                 "the schema is longer than " + std::to_string(kMaxSchemaBytes >> 10) + " KiB"};
  return Compiler(schema).compile();
}

JsonGrammar any_json_object() { return Compiler(OrderedJson()).any_object(); }

}  // namespace dgq

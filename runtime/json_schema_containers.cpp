// Arrays and objects of a schema.
#include <algorithm>

#include "runtime/json_schema_compiler.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxNamePatterns = 16;  // each is compared with each

// Of a name as it is written.
bool is_matched(const StringPattern& pattern, std::string_view quoted) {
  StringPattern::State state = StringPattern::kStart;
  for (const char byte : quoted.substr(1, quoted.size() - 2)) {
    state = pattern.next(state, static_cast<unsigned char>(byte));
    if (state == StringPattern::kDead) return false;
  }
  return pattern.least(state) == 0;
}

// minProperties and maxProperties of an object whose names all stand in the schema.
Result<void> limit_members(const SchemaPlace& place, GrammarNode& object) {
  const auto all = static_cast<std::int64_t>(object.properties.size()),
             required = std::count_if(object.properties.begin(), object.properties.end(),
                                      [](const GrammarProperty&property) { return property.required; });
  if (required > object.high)
    return place.error(Errc::invalid, "\"required\" names more than \"maxProperties\"");
  if (object.high >= all) object.high = GrammarNode::kMany;
  if (object.low > all)
    return place.error(Errc::unsupported, "\"minProperties\" is above " + std::to_string(all) +
                                              ", the number of names that are written here");
  if (object.low == all)
    for (GrammarProperty& property : object.properties) property.required = true;
  if (object.low <= required || object.low == all) object.low = 0;
  if (object.low > 1)
    return place.error(Errc::unsupported,
                       "\"minProperties\" is supported up to 1, up to the number of \"required\" names, "
                       "and for all \"properties\"");
  return {};
}

}  // namespace

Result<GrammarNode> SchemaCompiler::array(SchemaPlace& place, std::size_t depth) {
  DGQ_TRY(GrammarNode made, read_counts(place, Kind::array, "minItems", "maxItems"));
  const OrderedJson *items = place.find("items"), *unique = place.find("uniqueItems");
  if (unique && !unique->is_boolean()) return place.wrong("uniqueItems", "true or false");
  DGQ_TRY(const Id item, items ? schema(*items, place.path + "/items", depth + 1) : Result<Id>(any()));
  made.parts = {item};
  if (unique && unique->get<bool>() && made.high > 1) DGQ_CHECK(make_set(place, made));
  return made;
}

// What an array holds already has to be remembered, so there must be few things that it may hold.
Result<void> SchemaCompiler::make_set(const SchemaPlace& place, GrammarNode& made) {
  const auto refuse = [&] {
    return place.error(Errc::unsupported, "\"uniqueItems\" is supported for \"items\" of at most " +
                                              std::to_string(kMaxSetItems) +
                                              " constants (\"enum\", \"const\")");
  };
  std::vector<Id> todo = made.parts, distinct;
  std::vector<Json> values;  // 1 and 1.0 are one, and so are objects whatever their order
  std::set<Id> seen;
  while (!todo.empty()) {
    const Id id = todo.back();
    todo.pop_back();
    if (!seen.insert(id).second) continue;
    const GrammarNode& node = grammar_[id];
    todo.insert(todo.end(), node.parts.begin(), node.parts.end());
    if (node.kind == Kind::any_of && !node.parts.empty()) continue;
    if (node.kind != Kind::literal) return refuse();
    Json value = Json::parse(node.text);
    if (std::find(values.begin(), values.end(), value) != values.end()) continue;
    values.push_back(std::move(value)), distinct.push_back(id);
    if (distinct.size() > kMaxSetItems) return refuse();
  }
  const auto size = [&](Id id) { return grammar_[id].text.size(); };
  std::sort(distinct.begin(), distinct.end(),
            [&](Id a, Id b) { return std::pair(size(a), a) < std::pair(size(b), b); });
  made.kind = Kind::set, made.parts = std::move(distinct);
  made.high = std::min(made.high, static_cast<std::int64_t>(made.parts.size()));
  if (made.low <= made.high) return {};
  return place.error(Errc::invalid, "\"minItems\" is above the number of different \"items\"");
}

Result<GrammarNode> SchemaCompiler::object(SchemaPlace& place, std::size_t depth) {
  DGQ_TRY(GrammarNode made, read_counts(place, Kind::object, "minProperties", "maxProperties"));
  const OrderedJson* properties = place.find("properties");
  const OrderedJson* required = place.find("required");
  const OrderedJson* additional = place.find("additionalProperties");
  if (properties && !properties->is_object()) return place.wrong("properties", "an object");
  if (required && !required->is_array()) return place.wrong("required", "a list of names");
  DGQ_TRY(std::vector<NamePattern> patterns, name_patterns(place, depth));
  const bool closed = additional && *additional == OrderedJson(false);
  const auto others = [&]() -> Result<Id> {
    return additional ? schema(*additional, place.path + "/additionalProperties", depth + 1)
                      : Result<Id>(any());
  };
  const auto pattern_of = [&](const std::string& name) {
    return std::find_if(patterns.begin(), patterns.end(), [&](const NamePattern& pattern) {
      return is_matched(pattern.matches, schema_text(name));
    });
  };
  std::map<std::string, std::size_t> index;
  const auto add_property = [&](const std::string& name, Id value) {
    index[name] = made.properties.size();
    made.properties.push_back({schema_text(name) + ":", value});
  };
  if (properties)
    for (const auto& [name, value] : properties->items()) {
      if (const auto pattern = pattern_of(name); pattern != patterns.end())
        return place.error(Errc::unsupported, "\"" + name + "\" of \"properties\" matches \"" +
                                                  pattern->text + "\" of \"patternProperties\"");
      DGQ_TRY(const Id id, schema(value, place.path + "/properties/" + name, depth + 1));
      add_property(name, id);
    }
  if (required)
    for (const OrderedJson& name : *required) {
      if (!name.is_string()) return place.wrong("required", "a list of names");
      const auto text = name.get<std::string>();
      if (!index.contains(text)) {
        const auto pattern = pattern_of(text);
        if (closed && pattern == patterns.end())
          return place.error(Errc::invalid, "\"required\" names \"" + text +
                                                "\", which \"additionalProperties\": false forbids");
        DGQ_TRY(const Id id, pattern != patterns.end() ? Result<Id>(pattern->value) : others());
        add_property(text, id);
      }
      made.properties[index[text]].required = true;
    }
  if (!made.properties.empty() || (closed && patterns.empty())) {
    DGQ_CHECK(limit_members(place, made));
    return made;
  }
  if (!patterns.empty()) return map(place, std::move(made), patterns);
  DGQ_TRY(const Id value, others());
  made.keys = {any_string_}, made.parts = {value};
  return map(place, std::move(made), {});
}

// Of an object whose names the schema does not say.
Result<GrammarNode> SchemaCompiler::map(const SchemaPlace& place, GrammarNode made,
                                        const std::vector<NamePattern>& patterns) {
  if (made.low > 1)
    return place.error(Errc::unsupported,
                       "\"minProperties\" above 1 is not supported where the schema names no "
                       "\"properties\": one name might be written twice");
  made.kind = Kind::map;
  for (const NamePattern& pattern : patterns) {
    GrammarNode name = json_node(Kind::string);
    name.pattern = std::make_shared<const StringPattern>(pattern.matches);
    made.keys.push_back(add(std::move(name)));
    made.parts.push_back(pattern.value);
  }
  return made;
}

// A name is under the schemas of all patterns that match it. So no name may match two.
Result<std::vector<SchemaCompiler::NamePattern>> SchemaCompiler::name_patterns(SchemaPlace& place,
                                                                               std::size_t depth) {
  std::vector<NamePattern> made;
  const OrderedJson* all = place.find("patternProperties");
  if (!all) return made;
  if (!all->is_object() || all->size() > kMaxNamePatterns)
    return place.wrong("patternProperties",
                       "an object of at most " + std::to_string(kMaxNamePatterns) + " patterns");
  for (const auto& [text, value] : all->items()) {
    const auto fail = [&place, &text = text](const Error& error) {
      return place.error(error.code, "\"patternProperties\", \"" + text + "\": " + error.what);
    };
    auto parsed = parse_pattern(text);
    if (!parsed) return fail(parsed.error());
    auto matches = StringPattern::make(std::span(&*parsed, 1), patterns_);
    if (!matches) return fail(matches.error());
    for (const NamePattern& other : made) {
      const PatternNode two[] = {other.parsed, *parsed};
      const auto both = StringPattern::make(two, patterns_);
      if (both || both.error().code != Errc::invalid)
        return fail({Errc::unsupported,
                     both ? "a name may match \"" + other.text + "\" as well" : both.error().what});
    }
    DGQ_TRY(const Id id, schema(value, place.path + "/patternProperties/" + text, depth + 1));
    made.push_back({text, std::move(*parsed), std::move(*matches), id});
  }
  return made;
}

}  // namespace dgq

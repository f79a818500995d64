// allOf: schemas of objects become one with the properties of all.
#include "runtime/json_schema_compiler.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxParts = 64;

}  // namespace

// The schema and those of its "allOf", wherever they stand.
Result<void> SchemaCompiler::collect(const Part& part, std::size_t depth, std::vector<Part>& parts) const {
  SchemaPlace place{*part.json, part.path};
  if (depth > kMaxSchemaDepth || parts.size() == kMaxParts)
    return place.error(Errc::unsupported, "\"allOf\" of over " + std::to_string(kMaxParts) +
                                              " schemas, or of itself, is not supported");
  if (!place.json.is_object())
    return Error{Errc::invalid, "the schema at " + part.path + " must be an object"};
  if (const OrderedJson* ref = place.find("$ref")) {
    DGQ_TRY(const OrderedJson* to, target(place, *ref));
    DGQ_CHECK(place.check_all_read());
    return collect({to, ref->get<std::string>()}, depth + 1, parts);
  }
  parts.push_back(part);
  const OrderedJson* list = place.find("allOf");
  if (!list) return {};
  if (!list->is_array() || list->empty()) return place.wrong("allOf", "a list of schemas");
  for (std::size_t i = 0; i < list->size(); ++i)
    DGQ_CHECK(collect({&(*list)[i], part.path + "/allOf/" + std::to_string(i)}, depth + 1, parts));
  return {};
}

Result<std::vector<SchemaCompiler::Id>> SchemaCompiler::all_of(SchemaPlace& place, std::size_t depth) {
  std::vector<Part> parts;
  DGQ_CHECK(collect({&place.json, place.path}, depth, parts));
  for (const auto& [key, value] : place.json.items()) place.read.insert(key);  // it is the first of the parts
  GrammarNode made = json_node(Kind::object);
  std::map<std::string, std::pair<std::size_t, const OrderedJson*>> known;  // its index, its schema
  std::vector<const Part*> closed;
  bool typed = false;
  const auto add_property = [&](const std::string& name, Id value, const OrderedJson* schema) {
    known[name] = {made.properties.size(), schema};
    made.properties.push_back({schema_text(name) + ":", value});
  };
  for (const Part& part : parts) {
    SchemaPlace one{*part.json, part.path};
    one.find("allOf"), one.find("required");
    const OrderedJson *type = one.find("type"), *properties = one.find("properties"),
                      *additional = one.find("additionalProperties");
    DGQ_CHECK(one.check_all_read());
    if (type && *type != "object")
      return one.error(Errc::unsupported, "\"allOf\" of more than one schema is supported for objects");
    if (properties && !properties->is_object()) return one.wrong("properties", "an object");
    if (additional && !additional->is_boolean())
      return one.error(Errc::unsupported, "\"additionalProperties\" must be true or false in an \"allOf\"");
    typed = typed || type;
    if (additional && !additional->get<bool>()) closed.push_back(&part);
    if (!properties) continue;
    for (const auto& [name, value] : properties->items()) {
      const auto before = known.find(name);
      if (before == known.end()) {
        DGQ_TRY(const Id id, schema(value, part.path + "/properties/" + name, depth + 1));
        add_property(name, id, &value);
      } else if (*before->second.second != value) {
        return one.error(Errc::unsupported, "\"" + name + "\" has another schema in the same \"allOf\"");
      }
    }
  }
  for (const Part& part : parts) {
    const auto required = part.json->find("required");
    if (required == part.json->end()) continue;
    SchemaPlace one{*part.json, part.path};
    if (!required->is_array()) return one.wrong("required", "a list of names");
    for (const OrderedJson& name : *required) {
      if (!name.is_string()) return one.wrong("required", "a list of names");
      if (!known.contains(name.get<std::string>())) add_property(name.get<std::string>(), any(), nullptr);
      made.properties[known[name.get<std::string>()].first].required = true;
    }
  }
  for (const Part* part : closed)
    for (const auto& [name, property] : known)
      if (!part->json->contains("properties") || !(*part->json)["properties"].contains(name))
        return SchemaPlace{*part->json, part->path}.error(
            Errc::unsupported,
            "\"additionalProperties\": false forbids \"" + name + "\" of the same \"allOf\"");
  if (!typed) open_.insert(known_[&place.json]);
  if (made.properties.empty() && closed.empty()) {
    made.kind = Kind::map;
    made.keys = {any_string_}, made.parts = {any()};
  }
  return std::vector{add(std::move(made))};
}

}  // namespace dgq

#include "agent/request_format.h"

#include "base/ordered_json.h"
#include "runtime/json_grammar.h"

namespace dgq::agent {
namespace {

// What the member says, as a grammar; null: any text, or an error.
std::shared_ptr<const JsonGrammar> compile(Members& members, const char* name, const OrderedJson& schema) {
  auto grammar = compile_json_schema(schema);
  if (grammar) return std::make_shared<const JsonGrammar>(std::move(*grammar));
  members.fail(name, "cannot be held: " + grammar.error().what);
  return nullptr;
}

std::shared_ptr<const JsonGrammar> read_response_format(Members& members, const Json& format,
                                                        const OrderedJson& ordered) {
  constexpr const char* kName = "response_format";
  const auto type = format.is_object() ? format.value("type", Json()) : Json();
  if (type == "text" && format.size() == 1) return nullptr;
  if (type == "json_object" && format.size() == 1)
    return std::make_shared<const JsonGrammar>(any_json_object());
  if (type != "json_schema" || format.size() != 2 || !format.contains("json_schema") ||
      !format["json_schema"].is_object()) {
    members.fail(
        kName,
        R"(must be {"type": "text"}, {"type": "json_object"}, or {"type": "json_schema", "json_schema": {...}})");
    return nullptr;
  }
  Members inner(format["json_schema"]);
  inner.ignore({"name", "description"});
  inner.flag("strict");  // the schema is always held
  if (!inner.value("schema")) inner.fail("schema", "is missing");
  if (const auto error = inner.error()) {
    members.fail(kName, "of kind json_schema: " + error->message);
    return nullptr;
  }
  return compile(members, kName, ordered[kName]["json_schema"]["schema"]);
}

}  // namespace

std::shared_ptr<JsonConstraint> read_format(Members& members, std::string_view text, const ServedModel& model,
                                            const std::vector<std::int32_t>& more_eos) {
  const Json *format = members.value("response_format"), *schema = members.value("json_schema");
  if (!format && !schema) return nullptr;
  const char* name = format ? "response_format" : "json_schema";
  if (format && schema) {
    members.fail("json_schema", "and \"response_format\" are two names of one thing: give one");
    return nullptr;
  }
  const auto ordered = parse_ordered_json(text, "the body");
  if (!ordered) {
    members.fail(name, "cannot be read: " + ordered.error().what);
    return nullptr;
  }
  const auto grammar =
      format ? read_response_format(members, *format, *ordered) : compile(members, name, (*ordered)[name]);
  return grammar ? constrain(members, name, grammar, model, more_eos) : nullptr;
}

std::shared_ptr<JsonConstraint> constrain(Members& members, const char* name,
                                          const std::shared_ptr<const JsonGrammar>& grammar,
                                          const ServedModel& model,
                                          const std::vector<std::int32_t>& more_eos) {
  if (!model.trie) {
    members.fail(name, "is not supported by this model: " + model.no_trie);
    return nullptr;
  }
  std::vector<std::int32_t> eos = model.config->eos;
  eos.insert(eos.end(), more_eos.begin(), more_eos.end());
  auto constraint = JsonConstraint::make(grammar, model.trie, std::move(eos));
  if (constraint) return std::move(*constraint);
  members.fail(name, "is not supported by this model: " + constraint.error().what);
  return nullptr;
}

}  // namespace dgq::agent

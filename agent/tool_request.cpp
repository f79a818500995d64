#include "agent/tool_request.h"

#include <algorithm>

#include "base/ordered_json.h"
#include "runtime/json_grammar.h"

namespace dgq::agent {
namespace {

constexpr std::size_t kMostTools = 128, kLongestName = 64;

bool is_function_name(const Json& value) {
  const auto* name = value.get_ptr<const std::string*>();
  return name && !name->empty() && name->size() <= kLongestName &&
         std::all_of(name->begin(), name->end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  c == '-';
         });
}

// Of {"type": "function", "function": {...}}; empty: `why` says what is wrong.
std::string read_tool(const Json& tool, std::string& why) {
  if (!tool.is_object() || tool.size() != 2 || tool.value("type", Json()) != "function" ||
      !tool.value("function", Json()).is_object())
    return why = R"(must be {"type": "function", "function": {...}})", "";
  Members members(tool["function"]);
  const Json* name = members.value("name");
  if (!name || !is_function_name(*name))
    members.fail("name", "must be 1 to " + std::to_string(kLongestName) + " of a-z, A-Z, 0-9, _ and -");
  members.text("description");
  members.flag("strict");
  if (const Json* parameters = members.value("parameters"); parameters && !parameters->is_object())
    members.fail("parameters", "must be a JSON Schema");
  const auto error = members.error();
  if (!error) return name->get<std::string>();
  return why = "is wrong: " + error->message, "";
}

std::vector<std::string> read_list(Members& members, const Json& tools) {
  std::vector<std::string> names;
  if (!tools.is_array() || tools.size() > kMostTools) {
    members.fail("tools", "must be a list of at most " + std::to_string(kMostTools) + " functions");
    return names;
  }
  for (std::size_t i = 0; i < tools.size(); ++i) {
    std::string why, name = read_tool(tools[i], why);
    if (name.empty()) {
      members.fail("tools", "number " + std::to_string(i) + " " + why);
    } else if (std::find(names.begin(), names.end(), name) != names.end()) {
      members.fail("tools", "has two functions of the name " + name);
    }
    names.push_back(std::move(name));
  }
  return names;
}

enum class Choice { none, automatic, required };

// named: the one that has to be called; empty: any.
Choice read_choice(Members& members, const std::vector<std::string>& names, std::string& named) {
  const Json* choice = members.value("tool_choice");
  if (!choice) return names.empty() ? Choice::none : Choice::automatic;
  if (*choice == "none") return Choice::none;
  if (*choice == "auto") return names.empty() ? Choice::none : Choice::automatic;
  const Json function = choice->is_object() ? choice->value("function", Json()) : Json();
  if (choice->is_object() && choice->size() == 2 && choice->value("type", Json()) == "function" &&
      function.is_object() && function.size() == 1 && function.value("name", Json()).is_string()) {
    named = function["name"].get<std::string>();
    if (std::find(names.begin(), names.end(), named) == names.end())
      members.fail("tool_choice", "names a function that is none of \"tools\"");
  } else if (*choice != "required") {
    members.fail("tool_choice",
                 R"(must be "none", "auto", "required", or {"type": "function", "function": {"name": ...}})");
  } else if (names.empty()) {
    members.fail("tool_choice", "is \"required\", and there are no \"tools\"");
  }
  return Choice::required;
}

std::shared_ptr<const JsonGrammar> call_grammar(Members& members, const OrderedJson& tools,
                                                const std::string& named) {
  static const OrderedJson kNone = {{"type", "object"}, {"additionalProperties", false}};
  std::vector<CallSchema> schemas;
  for (const OrderedJson& tool : tools) {
    const OrderedJson& function = tool["function"];
    const auto name = function["name"].get<std::string>();
    const auto parameters = function.find("parameters");
    const bool given = parameters != function.end() && !parameters->empty();
    if (named.empty() || name == named) schemas.push_back({name, given ? &*parameters : &kNone});
  }
  auto grammar = compile_calls(schemas);
  if (grammar) return std::make_shared<const JsonGrammar>(std::move(*grammar));
  members.fail("tools", "cannot be held: " + grammar.error().what);
  return nullptr;
}

// Whether the model's answers have the marks that ToolCallReader knows.
bool has_marks(const ServedModel& model) {
  const std::string& text = model.chat->source().text;
  return text.find("<tool_call>") != text.npos && text.find("</tool_call>") != text.npos;
}

}  // namespace

Tools read_tools(Members& members, std::string_view text, const ServedModel& model,
                 CompletionRequest& request) {
  Tools made;
  members.flag("parallel_tool_calls");  // an answer that must be a call is one, any other is the model's
  const Json* list = members.value("tools");
  std::vector<std::string> names = list ? read_list(members, *list) : std::vector<std::string>();
  std::string named;
  const Choice choice = read_choice(members, names, named);
  if (members.failed() || choice == Choice::none) return made;
  auto body = parse_ordered_json(text, "the body");  // the order of properties is the schema's
  if (!body) {
    members.fail("tools", "cannot be read: " + body.error().what);
    return made;
  }
  made.shown = std::move((*body)["tools"]);
  made.needed = choice == Choice::required;
  if (made.needed) made.grammar = call_grammar(members, made.shown, named);
  request.calls = made.needed ? CallForm::whole : has_marks(model) ? CallForm::marked : CallForm::none;
  request.functions = std::move(names);
  return made;
}

std::optional<OrderedJson> read_past_calls(const Json& calls, std::string& why) {
  OrderedJson made = OrderedJson::array();
  const auto fail = [&why](const char* what) { return why = what, std::nullopt; };
  if (!calls.is_array() || calls.size() > kMostTools) return fail("must be a list of calls");
  for (const Json& call : calls) {
    const Json function = call.is_object() ? call.value("function", Json()) : Json();
    const bool good = call.is_object() && call.size() == 3 && call.value("id", Json()).is_string() &&
                      call.value("type", Json()) == "function" && function.is_object() &&
                      function.size() == 2 && is_function_name(function.value("name", Json())) &&
                      function.value("arguments", Json()).is_string();
    if (!good)
      return fail(
          R"(must be a list of {"id": ..., "type": "function", "function": {"name": ..., "arguments": TEXT}})");
    auto arguments = parse_ordered_json(function["arguments"].get<std::string>(), "arguments");
    if (!arguments || !arguments->is_object()) return fail("have \"arguments\" that are no JSON object");
    made.push_back({{"id", call["id"]},
                    {"type", "function"},
                    {"function", {{"name", function["name"]}, {"arguments", std::move(*arguments)}}}});
  }
  return made;
}

}  // namespace dgq::agent

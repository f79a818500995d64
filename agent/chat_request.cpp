// The body of POST /v1/chat/completions: messages through the model's chat template.
#include <algorithm>
#include <array>
#include <ctime>

#include "agent/completion_request.h"
#include "agent/request_format.h"
#include "agent/tool_request.h"

namespace dgq::agent {
namespace {

constexpr std::size_t kMostMessages = 4096, kMostKeywords = 64, kLongestName = 64;
// What the template is given by us.
constexpr std::array<std::string_view, 6> kOwnVariables = {"messages",  "tools",     "documents",
                                                           "bos_token", "eos_token", "add_generation_prompt"};

// The text of a content: a string, or text parts, which stand on lines of their own.
std::optional<std::string> content_text(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return std::nullopt;
  std::string text;
  for (const Json& part : content) {
    if (!part.is_object() || part.size() != 2 || part.value("type", Json()) != "text" ||
        !part.value("text", Json()).is_string())
      return std::nullopt;
    if (&part != &content.front()) text += '\n';
    text += part["text"].get<std::string>();
  }
  return text;
}

std::optional<OrderedJson> read_message(const Json& message, std::string& why) {
  if (!message.is_object()) return why = "is no object", std::nullopt;
  Members members(message);
  const auto role = members.text("role");
  const Json* content = members.value("content");
  members.only("refusal", {""}, "the models here refuse nothing on their own");
  std::string wrong_calls;
  const Json* calls = members.value("tool_calls");
  const auto past_calls = calls ? read_past_calls(*calls, wrong_calls) : OrderedJson::array();
  members.only("function_call", {}, "use \"tool_calls\"");
  members.only("audio", {}, "messages are texts");
  const auto text = content               ? content_text(*content)
                    : role == "assistant" ? std::optional(std::string())
                                          : std::nullopt;
  OrderedJson made = {{"role", role.value_or("")}, {"content", text.value_or("")}};
  for (const char* name : {"name", "tool_call_id"})
    if (const auto value = members.text(name)) made[name] = *value;
  if (!past_calls) members.fail("tool_calls", wrong_calls);
  if (past_calls && !past_calls->empty()) {
    if (role != "assistant") members.fail("tool_calls", "are the assistant's");
    made["tool_calls"] = *past_calls;
  }
  if (!role || role->empty() || role->size() > kLongestName)
    members.fail("role", "must be a name such as user");
  if (!text) members.fail("content", R"(must be a text, or a list of {"type": "text", "text": ...})");
  const auto error = members.error();
  if (!error) return made;
  why = "is wrong: " + error->message;
  return std::nullopt;
}

OrderedJson read_messages(Members& members) {
  OrderedJson all = OrderedJson::array();
  const Json* messages = members.value("messages");
  if (!messages || !messages->is_array() || messages->empty() || messages->size() > kMostMessages) {
    members.fail("messages", messages
                                 ? "must be a list of 1 to " + std::to_string(kMostMessages) + " messages"
                                 : "is missing");
    return all;
  }
  for (std::size_t i = 0; i < messages->size(); ++i) {
    std::string why;
    auto message = read_message((*messages)[i], why);
    if (!message) {
      members.fail("messages", "number " + std::to_string(i) + " " + why);
      return all;
    }
    all.push_back(std::move(*message));
  }
  return all;
}

// As Hugging Face gives them, with the request's own.
OrderedJson read_variables(Members& members) {
  OrderedJson variables = {{"documents", nullptr}};
  variables["messages"] = read_messages(members);
  variables["add_generation_prompt"] = members.flag("add_generation_prompt").value_or(true);
  const Json* more = members.value("chat_template_kwargs");
  if (!more) return variables;
  bool good = more->is_object() && more->size() <= kMostKeywords;
  for (auto one = more->begin(); good && one != more->end(); ++one) {
    good = one->is_primitive() &&
           std::find(kOwnVariables.begin(), kOwnVariables.end(), one.key()) == kOwnVariables.end();
    if (good) variables[one.key()] = OrderedJson(*one);
  }
  if (!good)
    members.fail("chat_template_kwargs",
                 "must be an object of variables of the template: texts, numbers, true, false or null");
  return variables;
}

std::optional<std::size_t> read_logprobs(Members& members) {
  const bool wanted = members.flag("logprobs").value_or(false);
  const auto count = members.integer("top_logprobs", 0, kMostLogprobs);
  if (count && *count > 0 && !wanted) members.fail("top_logprobs", "goes with \"logprobs\": true");
  return wanted ? std::optional(static_cast<std::size_t>(count.value_or(0))) : std::nullopt;
}

void refuse_the_rest(Members& members) {
  members.only("functions", {Json::array()}, "use \"tools\"");
  members.only("function_call", {"none", "auto"}, "use \"tool_choice\"");
  members.only("modalities", {Json::array({"text"})}, "answers are texts");
  members.only("audio", {}, "answers are texts");
  members.only("prediction", {}, "answers are not predicted");
  members.only("web_search_options", {}, "the models here search nothing");
}

void encode(Members& members, const ServedModel& model, const Tools& tools, OrderedJson& variables,
            std::vector<std::int32_t>& prompt) {
  const std::time_t now = std::time(nullptr);
  const auto rendered = [&](const OrderedJson& shown) {
    variables["tools"] = shown;
    return model.chat->encode(variables, model.tokenizer, now);
  };
  auto tokens = rendered(tools.shown);
  if (!tokens) return members.fail("messages", "do not fit: " + tokens.error().what);
  // A call that is required can be made all the same. Any other answer would leave the question's half out.
  if (!tools.shown.is_null() && !tools.needed)
    if (const auto without = rendered(nullptr); without && *without == *tokens)
      return members.fail("tools", "would change nothing: the chat template of this model shows it none");
  prompt = std::move(*tokens);
}

}  // namespace

std::optional<ApiError> read_chat(const Json& body, std::string_view text, const ServedModel& model,
                                  CompletionRequest& request) {
  request.chat = true;
  if (!model.chat) return ApiError{501, model.no_chat, "not_supported_error", {}, "no_chat_template"};
  Members members(body);
  Generation& generation = request.generation;
  generation.logprobs = read_logprobs(members);
  const Tools tools = read_tools(members, text, model, request);
  refuse_the_rest(members);
  OrderedJson variables = read_variables(members);
  if (const auto end = model.tokenizer.find(model.chat->source().eos)) generation.more_eos.push_back(*end);
  if (!tools.shown.is_null() && generation.logprobs)
    members.fail("logprobs", "cannot stand beside \"tools\"");
  if (tools.grammar)
    generation.constraint = constrain(members, "tools", tools.grammar, model, generation.more_eos);
  if (!members.failed()) encode(members, model, tools, variables, generation.prompt);
  return read_the_rest(members, text, model,
                       {-1, {"max_completion_tokens", "max_tokens", "n_predict"}, "messages"}, request);
}

}  // namespace dgq::agent

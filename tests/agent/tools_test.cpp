// Functions that a chat may call, as clients see them.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "agent/completion_reply.h"
#include "tests/agent/api_fixture.h"
#include "tests/runtime/json_validator.h"

namespace dgq::agent {
namespace {

using test::ServedApi;

constexpr const char* kPath = "/v1/chat/completions";
constexpr const char* kMessages =
    "{% for m in messages %}{{ m.role[0] ~ ':' ~ m.content }}{% for c in m.tool_calls or [] %}"
    "!{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}<|end|>{% endfor %}a:";
const std::string kShows = "{% if tools %}{{ tools | tojson }}<|end|>{% endif %}" + std::string(kMessages);
const std::string kMarks = kShows + "{# <tool_call></tool_call> #}";

struct ServedTools : ServedApi {
  explicit ServedTools(const std::string& text = kShows)
      : ServedApi(4, 16, 512, {}, dgq::test::small_config(), text) {}
  Outcome chat(const Json& body) { return post(kPath, body); }
  std::string error(const Json& body) {
    const auto got = chat(body);
    EXPECT_EQ(got.status, 400) << got.json;
    return got.json["error"].value("param", Json()).dump() + " " +
           got.json["error"]["message"].get<std::string>();
  }
};

const Json kWeather = Json::parse(R"({"type": "function", "function": {"name": "weather", "strict": true,
    "description": "Of a place", "parameters": {"type": "object", "required": ["place"], "additionalProperties": false,
    "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9},
                   "place": {"$ref": "#/$defs/place"}}, "$defs": {"place": {"enum": ["here", "\"there\" {x}"]}}}}})");
const Json kStop = Json::parse(R"({"type": "function", "function": {"name": "stop"}})");

Json ask(const Json& choice, std::uint64_t seed = 3) {
  Json body = {{"messages", {{{"role", "user"}, {"content", "the"}}}},
               {"max_tokens", 90},
               {"seed", seed},
               {"tools", {kWeather, kStop}}};
  if (!choice.is_null()) body["tool_choice"] = choice;
  return body;
}
Json named(const char* name) { return {{"type", "function"}, {"function", {{"name", name}}}}; }

void expect_call(const Json& call) {
  EXPECT_EQ(call["type"], "function");
  EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
  const auto arguments = OrderedJson::parse(call["function"]["arguments"].get<std::string>());
  if (call["function"]["name"] == "stop") {
    EXPECT_EQ(arguments, OrderedJson::object());
  } else {
    const auto schema = OrderedJson::parse(kWeather["function"]["parameters"].dump());
    EXPECT_EQ(call["function"]["name"], "weather");
    EXPECT_TRUE(dgq::test::validates(arguments, schema, schema)) << arguments;
  }
}

TEST(Tools, ARequiredCallIsOneOfTheFunctionsUnderItsSchema) {
  ServedTools served;
  std::set<std::string> called;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto got = served.chat(ask("required", seed));
    ASSERT_EQ(got.status, 200) << got.json;
    const Json& choice = got.json["choices"][0];
    EXPECT_EQ(choice["message"]["content"], nullptr);
    ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u) << got.json;
    EXPECT_EQ(choice["finish_reason"], "tool_calls");
    expect_call(choice["message"]["tool_calls"][0]);
    called.insert(choice["message"]["tool_calls"][0]["function"]["name"].get<std::string>());
  }
  EXPECT_EQ(called.size(), 2u);
  for (const char* name : {"stop", "weather"})
    EXPECT_EQ(
        served.chat(ask(named(name))).json["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        name);
  // Without room for more the call is closed in time.
  Json tight = ask(named("weather"));
  tight["max_tokens"] = 60;
  const auto got = served.chat(tight);
  ASSERT_EQ(got.status, 200) << got.json;
  expect_call(got.json["choices"][0]["message"]["tool_calls"][0]);
}

TEST(Tools, AStreamedCallAddsUpToTheWholeOne) {
  ServedTools served;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Json whole = served.chat(ask("required", seed)).json["choices"][0];
    const auto events = served.stream(ask("required", seed), kPath);
    Json call;
    for (const Json& event : events) {
      const Json& delta = event["choices"][0]["delta"];
      EXPECT_EQ(delta.value("content", ""), "");
      if (!delta.contains("tool_calls")) continue;
      ASSERT_EQ(delta["tool_calls"].size(), 1u);
      const Json& piece = delta["tool_calls"][0];
      EXPECT_EQ(piece["index"], 0);
      if (call.is_null())
        call = piece;
      else
        call["function"]["arguments"].get_ref<std::string&>() +=
            piece["function"]["arguments"].get<std::string>();
    }
    EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "tool_calls");
    EXPECT_EQ(call["function"], whole["message"]["tool_calls"][0]["function"]);
    expect_call(call);
  }
}

TEST(Tools, TheTemplateGetsThemAndCallsOfThePast) {
  ServedTools served;
  const auto tokens = [&](const Json& body) {
    const auto got = served.chat(body);
    EXPECT_EQ(got.status, 200) << got.json;
    return got.json["usage"]["prompt_tokens"].get<std::size_t>();
  };
  const auto rendered = [&](const std::string& text) {
    return served.tokenizer().encode(text, false)->size();
  };
  Json body = ask({});
  body["tools"] = Json::array({kStop});  // braces alone are a copy to some compilers
  body["messages"] = {
      {{"role", "user"}, {"content", "the"}},
      {{"role", "assistant"},
       {"content", nullptr},
       {"tool_calls",
        Json::array({{{"id", "call_1"},
                      {"type", "function"},
                      {"function", {{"name", "weather"}, {"arguments", R"({"b": 1, "a": "x"})"}}}}})}},
      {{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", "rain"}}};
  const std::string past = R"(u:the<|end|>a:!weather{"b": 1, "a": "x"}<|end|>t:rain<|end|>a:)",
                    tools = R"([{"type": "function", "function": {"name": "stop"}}]<|end|>)";
  EXPECT_EQ(tokens(body), rendered(tools + past));
  body["tool_choice"] = "none";
  EXPECT_EQ(tokens(body), rendered(past));
  body["tool_choice"] = "required";
  EXPECT_EQ(tokens(body), rendered(tools + past));
}

TEST(Tools, AutoIsATextAndNeedsATemplateThatShowsThem) {
  ServedTools served;
  for (const Json& choice : {Json(), Json("auto")}) {
    const auto got = served.chat(ask(choice));
    ASSERT_EQ(got.status, 200) << got.json;
    EXPECT_FALSE(got.json["choices"][0]["message"].contains("tool_calls"));
  }
  Json formed = ask("auto");
  formed["response_format"] = {{"type", "json_object"}};
  EXPECT_NE(served.error(formed).find("\"response_format\" cannot stand beside"), std::string::npos);
  ServedTools blind(kMessages);
  EXPECT_NE(blind.error(ask("auto")).find("\"tools\" would change nothing"), std::string::npos);
  EXPECT_EQ(blind.chat(ask("required")).status, 200);
  EXPECT_EQ(blind.chat(ask("none")).status, 200);
}

struct Kept : HttpReply {
  void send(int, std::string_view, std::string_view body, std::string_view) override { whole = body; }
  void begin_events() override {}
  void event(std::string_view data) override { events.emplace_back(data); }
  void end_events() override {}
  void on_gone(std::function<void()>) override {}
  std::string whole;
  std::vector<std::string> events;
};

// A model that has learnt to call, by the marks of its template.
TEST(Tools, MarkedCallsInAText) {
  ServedTools served(kMarks);
  const auto model = served.models.find("");
  const std::string text =
      "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": "
      "\"here\"}}\n</tool_call>\n"
      "<tool_call>{\"name\": \"stop\", \"arguments\": {}}</tool_call>\n";
  const auto answer = [&](bool stream) {
    Json body = ask("auto");
    body["stream"] = stream;
    CompletionRequest request;
    EXPECT_FALSE(read_chat(body, body.dump(), *model, request));
    EXPECT_EQ(request.calls, CallForm::marked);
    const auto kept = std::make_shared<Kept>();
    CompletionReply reply(*model, request, kept, [](const CompletionSummary&) {});
    const auto said = *served.tokenizer().encode(text, false);
    for (const std::int32_t id : said) reply.token({id, 0, {}});
    reply.end(Finish::eos, "");
    return kept;
  };
  const Json choice = Json::parse(answer(false)->whole)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "Let me see.");
  const Json& calls = choice["message"]["tool_calls"];
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0]["function"], Json({{"name", "weather"}, {"arguments", R"({"place":"here"})"}}));
  EXPECT_EQ(calls[1]["function"], Json({{"name", "stop"}, {"arguments", "{}"}}));
  EXPECT_NE(calls[0]["id"], calls[1]["id"]);
  std::string said;
  Json streamed = Json::array();
  const auto kept = answer(true);
  for (const std::string& event : kept->events) {
    if (event == "[DONE]") continue;
    const Json delta = Json::parse(event)["choices"][0]["delta"];
    said += delta.value("content", "");
    for (const Json& call : delta.value("tool_calls", Json::array())) streamed.push_back(call["function"]);
  }
  EXPECT_EQ(said, "Let me see.");
  EXPECT_EQ(streamed, Json({calls[0]["function"], calls[1]["function"]}));
}

TEST(ToolCallReader, FindsTheSameCallsHoweverTheTextIsCut) {
  const struct {
    std::string text, rest;
    std::size_t calls;
  } cases[] = {
      {"no call", "no call", 0},
      {"ends in space \n", "ends in space \n", 0},
      {"<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", "", 1},
      {" <tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"</tool\"}}</tool_call> then", " then", 1},
      {"a < b <tool <tool_call>no JSON</tool_call>", "a < b <tool <tool_call>no JSON</tool_call>", 0},
      {"<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>",
       "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>", 0},
      {"<tool_call>{\"name\":\"f\",\"arguments\":\"{}\"}</tool_call>",
       "<tool_call>{\"name\":\"f\",\"arguments\":\"{}\"}</tool_call>", 0},
      {"x<tool_call>{\"name\":\"f\"", "x<tool_call>{\"name\":\"f\"", 0},
      {"x</tool_call>", "x</tool_call>", 0},
  };
  std::mt19937 random(2);
  for (const auto& c : cases)
    for (int i = 0; i < 50; ++i) {
      ToolCallReader reader(CallForm::marked, {"f"});
      std::string rest;
      std::size_t calls = 0;
      const auto take = [&](const ToolCallReader::Pieces& pieces) {
        rest += pieces.text, calls += pieces.calls.size();
      };
      for (std::size_t at = 0; at < c.text.size();) {
        const std::size_t count = 1 + random() % 8;
        take(reader.push(std::string_view(c.text).substr(at, count)));
        at += count;
      }
      take(reader.finish());
      EXPECT_EQ(rest, c.rest);
      EXPECT_EQ(calls, c.calls) << c.text;
      EXPECT_EQ(reader.calls(), c.calls);
    }
}

TEST(Tools, RefusesByNameWhatItDoesNotDo) {
  ServedTools served;
  const struct {
    const char *member, *value, *message;
  } cases[] = {
      {"tools", R"({})", "\"tools\" must be a list"},
      {"tools", R"([{"type": "web_search"}])", "number 0 must be {\"type\": \"function\""},
      {"tools", R"([{"type": "function", "function": {"name": "a b"}}])",
       "number 0 is wrong: \"name\" must be 1 to 64"},
      {"tools", R"([{"type": "function", "function": {"name": "f", "parameters": 1}}])",
       "must be a JSON Schema"},
      {"tools", R"([{"type": "function", "function": {"name": "f", "hue": 1}}])",
       "\"hue\" is not supported here"},
      {"tools",
       R"([{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}])",
       "two functions of the name f"},
      {"tools", R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}])",
       "\"f\": arguments must be of type object"},
      {"tools",
       R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}])",
       "cannot be held: \"f\": the schema at #: \"not\""},
      {"tools", "[]", "\"tool_choice\" is \"required\", and there are no"},
      {"tool_choice", "\"any\"", "\"tool_choice\" must be"},
      {"tool_choice", R"({"type": "function", "function": {"name": "other"}})",
       "names a function that is none of"},
      {"parallel_tool_calls", "1", "\"parallel_tool_calls\" must be"},
      {"functions", "[1]", "\"functions\" is not supported: use \"tools\""},
      {"stop", "\"x\"", "\"stop\" cannot stand beside"},
      {"logprobs", "true", "\"logprobs\" cannot stand beside"},
      {"response_format", R"({"type": "json_object"})", "\"response_format\" cannot stand beside"},
      {"max_tokens", "5", "tokens, and there may be 5"},
      {"messages", R"([{"role": "assistant", "tool_calls": [{"id": "1"}]}])",
       "\"tool_calls\" must be a list of"},
      {"messages", R"([{"role": "assistant", "tool_calls": 1}])", "\"tool_calls\" must be a list of calls"},
      {"messages",
       R"([{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}])",
       "that are no JSON object"},
      {"messages",
       R"([{"role": "user", "content": "x", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}])",
       "\"tool_calls\" are the assistant's"},
  };
  for (const auto& c : cases) {
    Json body = ask("required");
    body[c.member] = Json::parse(c.value);
    EXPECT_NE(served.error(body).find(c.message), std::string::npos) << served.error(body);
  }
}

}  // namespace
}  // namespace dgq::agent

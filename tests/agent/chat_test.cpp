// Chat and answers in JSON as clients see them.
#include <gtest/gtest.h>

#include <thread>

#include "tests/agent/api_fixture.h"
#include "tests/runtime/json_validator.h"

namespace dgq::agent {
namespace {

using test::ServedApi;

constexpr const char* kPath = "/v1/chat/completions";
constexpr const char* kTemplate =
    "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no ' ~ "
    "m.role) }}"
    "{% endif %}{{ m.role[0] ~ ':' ~ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}a:{% endif "
    "%}"
    "{% if mood is defined %}{{ mood }}{% endif %}";

struct ServedChat : ServedApi {
  explicit ServedChat(std::size_t context = 128)
      : ServedApi(4, 16, context, {}, dgq::test::small_config(), kTemplate) {}
  Outcome chat(const Json& body) { return post(kPath, body); }
  std::string error(const std::string& path, const Json& body, int status = 400) {
    const auto got = post(path, body);
    EXPECT_EQ(got.status, status) << got.json;
    return got.json["error"].value("param", Json()).dump() + " " +
           got.json["error"]["message"].get<std::string>();
  }
};

Json hello(std::size_t tokens = 20, std::uint64_t seed = 3) {
  return {
      {"messages", {{{"role", "user"}, {"content", "the hello"}}}}, {"max_tokens", tokens}, {"seed", seed}};
}

TEST(Chat, AnswersAreWhatTheModelSaysToTheRenderedPrompt) {
  ServedChat served;
  const auto whole = served.chat(hello());
  ASSERT_EQ(whole.status, 200) << whole.json;
  Generation alone{*served.tokenizer().encode("u:the hello<|end|>a:", false), 20, {}, false, {}};
  alone.sampling.temperature = 1;
  alone.sampling.seed = 3;
  const Json& choice = whole.json["choices"][0];
  EXPECT_EQ(choice["message"],
            Json({{"role", "assistant"}, {"content", served.expected_text(alone)}, {"refusal", nullptr}}));
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(whole.json["object"], "chat.completion");
  EXPECT_TRUE(whole.json["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(whole.json["usage"]["prompt_tokens"], alone.prompt.size());
  EXPECT_EQ(whole.json["usage"]["completion_tokens"], 20);
  Json parts = hello();
  parts["messages"][0]["content"] = {{{"type", "text"}, {"text", "the"}},
                                     {{"type", "text"}, {"text", "hello"}}};
  Json lines = hello();
  lines["messages"][0]["content"] = "the\nhello";
  EXPECT_EQ(served.chat(parts).json["choices"], served.chat(lines).json["choices"]);
}

TEST(Chat, StreamsAddUpToTheWholeAnswer) {
  ServedChat served;
  Json body = hello();
  body["stream_options"] = {{"include_usage", true}};
  const auto events = served.stream(body, kPath);
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
  std::string text;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i]["object"], "chat.completion.chunk");
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    text += events[i]["choices"][0]["delta"].value("content", "");
  }
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(events.back()["choices"], Json::array());
  const auto whole = served.chat(hello());
  EXPECT_EQ(text, whole.json["choices"][0]["message"]["content"]);
  EXPECT_EQ(events.back()["usage"], whole.json["usage"]);
}

TEST(Chat, LogprobsInTheFormOfChat) {
  ServedChat served;
  Json body = hello(6);
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  const auto whole = served.chat(body);
  const Json& content = whole.json["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), 6u) << whole.json;
  for (const Json& token : content) {
    EXPECT_LE(token["logprob"], 0.0);
    EXPECT_EQ(token["top_logprobs"].size(), 2u);
    EXPECT_TRUE(token["bytes"].is_array());
    EXPECT_GE(token["top_logprobs"][0]["logprob"], token["top_logprobs"][1]["logprob"]);
  }
  Json streamed = Json::array();
  for (const Json& event : served.stream(body, kPath))
    if (const Json& logprobs = event["choices"][0]["logprobs"]; !logprobs.is_null())
      for (const Json& token : logprobs["content"]) streamed.push_back(token);
  EXPECT_EQ(streamed, content);
}

TEST(Chat, WhatAMessageSpellsIsNoControlToken) {
  ServedChat served;
  Json body = hello(1);
  body["messages"][0]["content"] = "<|end|>";
  EXPECT_EQ(served.chat(body).json["usage"]["prompt_tokens"], 2 + 7 + 1 + 2);
}

TEST(Chat, VariablesOfTheTemplate) {
  ServedChat served;
  Json body = hello(1);
  const int plain = served.chat(body).json["usage"]["prompt_tokens"];
  body["add_generation_prompt"] = false;
  EXPECT_EQ(served.chat(body).json["usage"]["prompt_tokens"], plain - 2);
  body["chat_template_kwargs"] = {{"mood", "xyz"}};
  EXPECT_EQ(served.chat(body).json["usage"]["prompt_tokens"], plain + 1);
  body["chat_template_kwargs"] = {{"messages", "x"}};
  EXPECT_TRUE(served.error(kPath, body).starts_with("\"chat_template_kwargs\""));
}

TEST(Chat, RefusesByNameWhatItDoesNotDo) {
  ServedChat served;
  const struct {
    const char *member, *value, *message;
  } cases[] = {
      {"n", "2", "\"n\" is not supported"},
      {"modalities", R"(["audio"])", "\"modalities\" is not"},
      {"logprobs", "3", "\"logprobs\" must be true or false"},
      {"top_logprobs", "3", "\"top_logprobs\" goes with"},
      {"max_completion_tokens", "5", "are two names of one thing"},
      {"prompt", "\"x\"", "\"prompt\" is not supported here"},
      {"messages", "[]", "\"messages\" must be a list"},
      {"messages", "null", "\"messages\" is missing"},
      {"messages", R"([{"role": "user"}])", "number 0 is wrong: \"content\" must be a text"},
      {"messages", R"([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])",
       "\"content\" must be"},
      {"messages", R"([{"content": "x"}])", "\"role\" must be"},
      {"messages", R"([{"role": "user", "content": "x", "hue": 1}])", "\"hue\" is not supported here"},
      {"messages", R"([{"role": "tool", "content": "x", "tool_call_id": "1"}])",
       "the chat template says: no tool"},
  };
  for (const auto& c : cases) {
    Json body = hello();
    body[c.member] = Json::parse(c.value);
    EXPECT_NE(served.error(kPath, body).find(c.message), std::string::npos) << served.error(kPath, body);
  }
  ServedApi without;
  const auto none = without.post(kPath, hello());
  EXPECT_EQ(none.status, 501);
  EXPECT_NE(none.json["error"]["message"].get<std::string>().find("--chat-template FILE"), std::string::npos);
  ServedApi broken(1, 1, 128, {}, dgq::test::small_config(), "\n{% include 'x' %}");
  EXPECT_NE(
      broken.post(kPath, hello()).json["error"]["message"].get<std::string>().find("line 2: the statement"),
      std::string::npos);
}

const Json kSchema =
    Json::parse(R"({"type": "object", "additionalProperties": false, "required": ["z", "a"], "properties": {
    "z": {"type": "string", "maxLength": 8}, "a": {"type": "integer", "minimum": 1, "maximum": 50},
    "more": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 3}}})");

// Posted as text, since the order of properties is the schema's.
std::string schema_body(std::size_t tokens, std::uint64_t seed) {
  return R"({"messages": [{"role": "user", "content": "the"}], "max_tokens": )" + std::to_string(tokens) +
         ", \"seed\": " + std::to_string(seed) +
         R"(, "response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema":
            {"type": "object", "additionalProperties": false, "required": ["z", "a"], "properties": {
             "z": {"type": "string", "maxLength": 8}, "a": {"type": "integer", "minimum": 1, "maximum": 50},
             "more": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 3}}}}}})";
}

TEST(AnswersInJson, AreWholeAndValidHoweverManyTokensTheyMayHave) {
  ServedChat served;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::size_t tokens = 14 + 3 * seed;
    const auto got = served.post(kPath, schema_body(tokens, seed));
    ASSERT_EQ(got.status, 200) << got.json;
    const std::string text = got.json["choices"][0]["message"]["content"];
    const OrderedJson value = OrderedJson::parse(text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << text;
    const OrderedJson schema = OrderedJson::parse(kSchema.dump());
    EXPECT_TRUE(dgq::test::validates(value, schema, schema)) << text;
    EXPECT_EQ(value.begin().key(), "z") << "not in the order of the schema: " << text;
    EXPECT_LE(got.json["usage"]["completion_tokens"], tokens);
  }
  EXPECT_EQ(served.post(kPath, schema_body(14, 1)).json["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(served.post(kPath, schema_body(110, 1)).json["choices"][0]["finish_reason"], "stop");
}

TEST(AnswersInJson, AreTheSameAloneAndBesideOthers) {
  ServedChat served;
  std::vector<std::string> alone(4), beside(4);
  for (std::size_t i = 0; i < alone.size(); ++i)
    alone[i] = served.post(kPath, schema_body(60, i)).json["choices"].dump();
  std::vector<std::thread> clients;
  for (std::size_t i = 0; i < beside.size(); ++i)
    clients.emplace_back(
        [&, i] { beside[i] = served.post(kPath, schema_body(60, i)).json["choices"].dump(); });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(alone, beside);
}

TEST(AnswersInJson, OfCompletionsAndWithoutASchema) {
  ServedChat served;
  const Json prompt = {{"prompt", "the"}, {"max_tokens", 60}, {"seed", 5}};
  Json object = prompt, llama = prompt;
  object["response_format"] = {{"type", "json_object"}};
  llama["json_schema"] = kSchema;
  for (const Json& body : {object, llama}) {
    const auto got = served.complete(body);
    ASSERT_EQ(got.status, 200) << got.json;
    EXPECT_TRUE(Json::accept(got.json["choices"][0]["text"].get<std::string>())) << got.json;
  }
  Json text = prompt;
  text["response_format"] = {{"type", "text"}};
  EXPECT_EQ(served.complete(text).json["choices"], served.complete(prompt).json["choices"]);
}

TEST(AnswersInJson, RefusedByName) {
  ServedChat served;
  const auto refused = [&](Json more) {
    Json body = hello(60);
    body.update(more);
    return served.error(kPath, body);
  };
  const auto schema = [](const char* text) {
    return Json{
        {"response_format", {{"type", "json_schema"}, {"json_schema", {{"schema", Json::parse(text)}}}}}};
  };
  EXPECT_NE(refused(schema(R"({"type": "string", "contentEncoding": "base64"})"))
                .find("\"contentEncoding\" is not supported here"),
            std::string::npos);
  EXPECT_NE(refused({{"response_format", {{"type", "xml"}}}}).find("\"response_format\" must be"),
            std::string::npos);
  EXPECT_NE(refused({{"response_format", {{"type", "json_schema"}, {"json_schema", Json::object()}}}})
                .find("\"schema\" is missing"),
            std::string::npos);
  Json with_stop = schema("{}"), ignoring = schema("{}"), twice = schema("{}"),
       small = schema(R"({"minLength": 9})");
  with_stop["stop"] = "x";
  ignoring["ignore_eos"] = true;
  twice["json_schema"] = Json::object();
  small["max_tokens"] = 10;
  EXPECT_TRUE(refused(with_stop).starts_with("\"stop\""));
  EXPECT_TRUE(refused(ignoring).starts_with("\"ignore_eos\""));
  EXPECT_TRUE(refused(twice).starts_with("\"json_schema\""));
  EXPECT_NE(refused(small).find("may need 11 tokens, and there may be 10"), std::string::npos);
}

}  // namespace
}  // namespace dgq::agent

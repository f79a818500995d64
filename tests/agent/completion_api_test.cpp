// Completions as clients see them: answers are compared with what the model says alone, and every member of a request is taken
// or refused by name.
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

#include "agent/stop_scanner.h"
#include "tests/agent/api_fixture.h"

namespace dgq::agent {
namespace {

using test::body;
using test::generation;
using test::kLong;
using test::kPrompt;
using test::ServedApi;

TEST(Api, CompletionsAreWhatTheModelSaysAlone) {
  ServedApi served;
  const auto whole = served.complete(body(40));
  ASSERT_EQ(whole.status, 200) << whole.json;
  const Json& choice = whole.json["choices"][0];
  EXPECT_EQ(choice["text"], served.expected_text(generation(40)));
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["logprobs"], nullptr);
  EXPECT_EQ(whole.json["object"], "text_completion");
  EXPECT_EQ(whole.json["model"], "tiny");
  EXPECT_EQ(whole.json["system_fingerprint"], "dgq-aaaaaaaaaaaa");
  EXPECT_EQ(whole.json["usage"], Json({{"prompt_tokens", 5},
                                       {"completion_tokens", 40},
                                       {"total_tokens", 45},
                                       {"prompt_tokens_details", {{"cached_tokens", 0}}}}));
  EXPECT_NE(served.complete(body(40, 4)).json["choices"][0]["text"], choice["text"]);
  Json greedy = body(12);
  greedy["temperature"] = 0;
  Generation alone = generation(12);
  alone.sampling.temperature = 0;
  EXPECT_EQ(served.complete(greedy).json["choices"][0]["text"], served.expected_text(alone));
  Json cut = body(12);
  cut.update({{"top_k", 5},
              {"top_p", 0.9},
              {"min_p", 0.01},
              {"repeat_penalty", 1.5},
              {"repeat_last_n", 7},
              {"temperature", 0.7}});
  alone.sampling = {0.7f, 5, 0.9f, 0.01f, 1.5f, 7, 3};
  EXPECT_EQ(served.complete(cut).json["choices"][0]["text"], served.expected_text(alone));
}

TEST(Api, TextAndTokensAreTheSamePrompt) {
  ServedApi served;
  Json text = body(10);
  text["prompt"] = served.tokenizer().decode(kPrompt, false).value();
  ASSERT_EQ(*served.tokenizer().encode(text["prompt"].get<std::string>(), true), kPrompt);
  const Json expected = served.complete(body(10)).json["choices"];
  EXPECT_EQ(served.complete(text).json["choices"], expected);
  text["prompt"] = Json::array({text["prompt"]});
  EXPECT_EQ(served.complete(text).json["choices"], expected);
  text["prompt"] = Json::array({kPrompt});
  EXPECT_EQ(served.complete(text).json["choices"], expected);
  Json named = body(10);
  named["model"] = "tiny";
  EXPECT_EQ(served.complete(named).json["choices"], expected);
  Json llama = body(10);
  llama.erase("max_tokens");
  llama["n_predict"] = 10;
  EXPECT_EQ(served.complete(llama).json["choices"], expected);
}

TEST(Api, StreamsAddUpToTheWhole) {
  ServedApi served;
  Json request = body(40);
  request["logprobs"] = 2;
  const Json whole = served.complete(request).json;
  request["stream_options"] = {{"include_usage", true}};
  const std::vector<Json> events = served.stream(request);
  ASSERT_GT(events.size(), 5u);
  EXPECT_EQ(events.back()["choices"], Json::array());
  EXPECT_EQ(events.back()["usage"], whole["usage"]);
  std::string text;
  Json logprobs = {{"tokens", Json::array()},
                   {"token_logprobs", Json::array()},
                   {"top_logprobs", Json::array()},
                   {"text_offset", Json::array()}};
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
    const Json& choice = events[i]["choices"][0];
    const bool last = i + 2 == events.size();
    EXPECT_EQ(choice["finish_reason"], last ? Json("length") : Json());
    EXPECT_TRUE(last || !choice["text"].get<std::string>().empty());
    text += choice["text"].get<std::string>();
    for (auto& [name, list] : logprobs.items())
      for (const Json& value : choice["logprobs"][name]) list.push_back(value);
  }
  EXPECT_EQ(text, whole["choices"][0]["text"]);
  EXPECT_EQ(logprobs, whole["choices"][0]["logprobs"]);
  EXPECT_NE(events[0]["id"], whole["id"]);
}

TEST(Api, LogprobsNameTheTokensAndWhereTheyBegin) {
  ServedApi served;
  Json request = body(30);
  request["logprobs"] = 3;
  const Json choice = served.complete(request).json["choices"][0], logprobs = choice["logprobs"];
  const auto ids = served.synthetic.expected(generation(30));
  ASSERT_EQ(logprobs["tokens"].size(), 30u);
  ASSERT_EQ(logprobs["text_offset"].size(), 30u);
  for (std::size_t i = 0; i < 30; ++i) {
    const auto text = served.tokenizer().decode(std::span(&ids[i], 1), false);
    EXPECT_EQ(logprobs["tokens"][i], text ? *text : "");
    EXPECT_LE(logprobs["token_logprobs"][i].get<double>(), 0);
    EXPECT_LE(logprobs["top_logprobs"][i].size(), 3u);
    EXPECT_GE(logprobs["top_logprobs"][i].size(), 1u);  // tokens without text share a name
    EXPECT_TRUE(i == 0 || logprobs["text_offset"][i] >= logprobs["text_offset"][i - 1]);
  }
  EXPECT_EQ(logprobs["text_offset"][0], 0);
}

TEST(Api, CachePromptFalseDoesWithoutThePrefixCache) {
  const auto cache = std::make_shared<PrefixCache>(dgq::test::small_config(), KvType::int8, 100'000'000);
  ServedApi served(1, 8, 128, {}, dgq::test::small_config(), {}, cache);
  const auto cached = [&](const Json& cache_prompt) {
    Json request = {{"prompt", std::vector<int>(70, 5)}, {"max_tokens", 3}, {"cache_prompt", cache_prompt}};
    const auto answer = served.complete(request);
    EXPECT_EQ(answer.status, 200) << answer.json;
    return answer.json["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_EQ(cached(false), 0);
  EXPECT_EQ(cache->stats().stored_blocks, 0u);
  EXPECT_EQ(cached(true), 0);
  EXPECT_EQ(cached(nullptr), 64);
  EXPECT_EQ(cached(false), 0);
  EXPECT_EQ(cached(true), 64);
  EXPECT_EQ(served.complete({{"prompt", "a"}, {"cache_prompt", 1}}).json["error"]["param"], "cache_prompt");
}

TEST(Api, StopStringsEndTheTextBeforeThem) {
  ServedApi served;
  const std::string all = served.expected_text(generation(100));
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
  std::size_t begin = all.size() / 2, end = begin + 3;
  while (continues(all[begin])) ++begin;  // whole characters
  while (continues(all[end])) ++end;
  const std::string stop = all.substr(begin, end - begin);
  const std::string expected = all.substr(0, all.find(stop));
  Json request = body(100);
  request["stop"] = Json::array({"never said by it", stop});
  request["logprobs"] = 0;
  const auto whole = served.complete(request);
  ASSERT_EQ(whole.status, 200) << whole.json;
  const Json& choice = whole.json["choices"][0];
  EXPECT_EQ(choice["text"], expected);
  EXPECT_EQ(choice["finish_reason"], "stop");
  EXPECT_LT(whole.json["usage"]["completion_tokens"], 100);
  for (const Json& offset : choice["logprobs"]["text_offset"]) EXPECT_LT(offset, expected.size());
  std::string streamed;
  const auto events = served.stream(request);
  for (const Json& event : events) streamed += event["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(streamed, expected);
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "stop");
  ASSERT_TRUE(served.engine().drain(kLong));
  EXPECT_EQ(served.engine().stats().finished[static_cast<int>(Finish::enough)], 2u);
}

TEST(Api, TheModelMayEndTheText) {
  ModelConfig config = dgq::test::small_config();
  const auto ids = ServedApi().synthetic.expected(generation(20));
  config.eos = {ids[7]};
  const auto first = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), ids[7]) - ids.begin());
  ServedApi served(2, 8, 128, {}, config);
  const auto ended = served.complete(body(20));
  EXPECT_EQ(ended.json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(ended.json["usage"]["completion_tokens"], first);
  Json on = body(20);
  on["ignore_eos"] = true;
  EXPECT_EQ(served.complete(on).json["usage"]["completion_tokens"], 20);
  Json all = body(20);
  all.erase("max_tokens");
  all["n_predict"] = -1;
  all["ignore_eos"] = true;
  const auto full = served.complete(all);
  EXPECT_EQ(full.json["usage"]["completion_tokens"], 128 - 5 + 1);
  EXPECT_EQ(full.json["choices"][0]["finish_reason"], "length");
}

TEST(Api, ManyStreamsAtOnceAreEachWhatTheModelSaysAlone) {
  ServedApi served(3, 16);
  std::vector<std::string> expected;
  for (std::uint64_t i = 0; i < 12; ++i) expected.push_back(served.expected_text(generation(20 + i, i)));
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 12; ++i)
    threads.emplace_back([&, i] {
      std::string text;
      for (const Json& event : served.stream(body(20 + i, i)))
        text += event["choices"][0]["text"].get<std::string>();
      EXPECT_EQ(text, expected[i]) << i;
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(Api, WhatWouldChangeTheAnswerIsRefusedByName) {
  ServedApi served;
  const std::pair<const char*, Json> cases[] = {
      {"n", 2},
      {"best_of", 3},
      {"echo", true},
      {"suffix", "x"},
      {"frequency_penalty", 0.5},
      {"presence_penalty", -1},
      {"logit_bias", {{"50256", -100}}},
      {"response_format", {{"type", "xml"}}},
      {"grammar", "root ::= x"},
      {"mirostat", 2},
      {"max_tokens", 0},
      {"max_tokens", -1},
      {"max_tokens", 1.5},
      {"max_tokens", "5"},
      {"max_tokens", 1e300},
      {"max_tokens", 18446744073709551615u},
      {"n_predict", 5},
      {"temperature", -0.1},
      {"temperature", 101},
      {"temperature", "hot"},
      {"top_p", 0},
      {"top_p", 1.01},
      {"top_k", -1},
      {"min_p", 2},
      {"repeat_penalty", 0},
      {"seed", 1.5},
      {"logprobs", 21},
      {"logprobs", true},
      {"stop", 5},
      {"stop", ""},
      {"stop", Json::array({"a", ""})},
      {"stop", std::vector<std::string>(17, "a")},
      {"stream", "yes"},
      {"stream_options", {{"include_usage", true}}},
      {"ignore_eos", 1},
      {"prompt", nullptr},
      {"prompt", 5},
      {"prompt", Json::object()},
      {"prompt", {1, -2}},
      {"prompt", {1, 2.5}},
      {"prompt", {"two", "prompts"}},
      {"prompt", std::vector<int>(129, 1)},
  };
  for (const auto& [name, value] : cases) {
    Json request = body(5);
    request[name] = value;
    const auto outcome = served.complete(request);
    EXPECT_EQ(outcome.status, 400) << name << " " << value;
    const Json& error = outcome.json["error"];
    EXPECT_EQ(error["param"], name) << outcome.json;
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_FALSE(error["message"].get<std::string>().empty());
  }
  Json inner = body(5);
  inner["stream"] = true;
  inner["stream_options"] = {{"other", 1}};
  EXPECT_EQ(served.complete(inner).json["error"]["param"], "stream_options");
  EXPECT_EQ(served.complete({{"max_tokens", 3}}).json["error"]["param"], "prompt");
  // This tokenizer adds nothing, and the model has no start token.
  EXPECT_EQ(served.complete({{"prompt", ""}}).json["error"]["param"], "prompt");
  EXPECT_EQ(served.complete({{"prompt", Json::array()}}).json["error"]["param"], "prompt");
  EXPECT_EQ(served.complete({{"prompt", {1, 400}}}).json["error"]["param"], "prompt");
  // Clients send these, and nothing depends on them.
  Json neutral = body(5);
  neutral.update({{"n", 1},
                  {"best_of", 1},
                  {"echo", false},
                  {"suffix", nullptr},
                  {"frequency_penalty", 0},
                  {"presence_penalty", 0.0},
                  {"logit_bias", Json::object()},
                  {"user", "me"},
                  {"stream", false},
                  {"stop", nullptr},
                  {"logprobs", nullptr}});
  EXPECT_EQ(served.complete(neutral).json["choices"], served.complete(body(5)).json["choices"]);
}

TEST(Api, BrokenBodiesAreBadRequests) {
  ServedApi served;
  std::string deep = R"({"prompt":)";
  deep += std::string(100'000, '[');
  const std::string cases[] = {"",
                               "{",
                               "[]",
                               "5",
                               "null",
                               "{\"prompt\": \"\xff\xfe\"}",
                               "{\"prompt\": \"\xc3\"}",
                               "{\"prompt\": \"\\ud800\"}",
                               "{\"prompt\": \"a\"} x",
                               "{\"prompt\": NaN}",
                               "{\"prompt\": \"a\", \"temperature\": 1e999}",
                               deep,
                               deep + std::string(100'000, ']') + "}"};
  for (const std::string& text : cases) {
    const auto outcome = served.post("/v1/completions", text);
    EXPECT_EQ(outcome.status, 400) << text.substr(0, 80);
    EXPECT_TRUE(outcome.json["error"]["message"].is_string()) << text.substr(0, 80);
  }
}

// Changed requests: each is answered, with JSON, and the server lives.
TEST(Api, RandomBodies) {
  ServedApi served(2, 8, 24);
  const std::string good =
      R"({"model":"tiny","prompt":[1,2,3],"max_tokens":3,"temperature":0.5,"top_p":0.9,"stop":["ab"],"logprobs":2,"seed":7})";
  std::mt19937 random(5);
  auto client = served.client();
  std::set<int> seen;
  for (int i = 0; i < 3000; ++i) {
    std::string text = good;
    for (unsigned n = 1 + random() % 3; n > 0; --n) {
      const std::size_t at = random() % text.size();
      if (random() % 2)
        text[at] = static_cast<char>(random());
      else
        text.insert(at, text.substr(random() % text.size(), random() % 20));
    }
    const auto answer = client.post("/v1/completions", text);
    seen.insert(answer.status);
    ASSERT_TRUE(answer.status == 200 || answer.status == 400 || answer.status == 404)
        << answer.status << " " << text;
    ASSERT_TRUE(Json::accept(answer.body)) << answer.body;
  }
  EXPECT_TRUE(seen.contains(200) && seen.contains(400));
}

// Any cut of a text into pieces gives the same text before the stop string that is complete first.
TEST(StopScanner, FindsTheFirstWhateverThePieces) {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text, out;
    for (unsigned n = random() % 30; n > 0; --n) text += "ab"[random() % 2];
    std::vector<std::string> stops;
    for (unsigned n = random() % 3; n > 0; --n) {
      stops.emplace_back();
      for (unsigned m = 1 + random() % 4; m > 0; --m) stops.back() += "ab"[random() % 2];
    }
    std::size_t first = text.npos;
    for (std::size_t end = 0; end <= text.size() && first == text.npos; ++end)
      for (const std::string& stop : stops)
        if (text.substr(0, end).ends_with(stop)) first = std::min(first, end - stop.size());
    StopScanner scanner(stops);
    for (std::size_t at = 0; at < text.size() && !scanner.found();) {
      const std::size_t count = 1 + random() % 5;
      out += scanner.push(text.substr(at, count));
      at += count;
      // The end of what is certain is never part of a stop string to come.
      EXPECT_LE(out.size(), first);
    }
    EXPECT_EQ(scanner.found(), first != text.npos);
    if (!scanner.found()) out += scanner.finish();
    EXPECT_EQ(out, text.substr(0, first)) << text;
  }
}

}  // namespace
}  // namespace dgq::agent

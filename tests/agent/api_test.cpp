// The API as clients see it: answers are compared with what the model says alone.
#include "agent/api.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <random>
#include <set>
#include <thread>

#include "agent/stop_scanner.h"
#include "tests/agent/api_fixture.h"
#include "tests/agent/prometheus.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::agent {
namespace {

using test::kLong;
using test::Recorder;
using test::request_of;
using test::ServedApi;

const std::vector<std::int32_t> kPrompt = {84, 258, 32, 110, 257};

Generation generation(std::size_t tokens, std::uint64_t seed = 3) {
  Generation request{kPrompt, tokens, {}, false, {}};
  request.sampling.temperature = 1;
  request.sampling.seed = seed;
  return request;
}
Json body(std::size_t tokens, std::uint64_t seed = 3) {
  return {{"prompt", kPrompt}, {"max_tokens", tokens}, {"seed", seed}};
}

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

TEST(Api, PathsMethodsAndModels) {
  ServedApi served;
  auto client = served.client();
  EXPECT_EQ(client.get("/health").body, R"({"status":"ok"})");
  const Json models = Json::parse(client.get("/v1/models").body);
  EXPECT_EQ(models["object"], "list");
  ASSERT_EQ(models["data"].size(), 1u);
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][0]["created"], 1700000000);
  EXPECT_EQ(models["data"][0]["meta"]["n_ctx"], 128);
  EXPECT_EQ(client.get("/").status, 404);
  EXPECT_EQ(client.get("/v1/models/../../etc/passwd").status, 404);
  const auto wrong = client.get("/v1/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_NE(wrong.head.find("Allow: POST\r\n"), wrong.head.npos);
  EXPECT_EQ(client.post("/health", "{}").status, 405);
  Json other = body(3);
  other["model"] = "gpt-4";
  const auto none = served.complete(other);
  EXPECT_EQ(none.status, 404);
  EXPECT_EQ(none.json["error"]["code"], "model_not_found");
  other["model"] = 5;
  EXPECT_EQ(served.complete(other).json["error"]["param"], "model");
  other["model"] = "tiny:latest";
  EXPECT_EQ(served.complete(other).status, 200);
  const auto chat = served.post("/v1/chat/completions", Json::object());
  EXPECT_EQ(chat.status, 501);
  EXPECT_EQ(chat.json["error"]["code"], "no_chat_template");
}

TEST(Api, TokenizeAndBack) {
  ServedApi served;
  const auto tokens = served.post("/tokenize", Json{{"content", "the hello \u00e9 <|end|>"}});
  ASSERT_EQ(tokens.status, 200);
  EXPECT_EQ(tokens.json["tokens"], *served.tokenizer().encode("the hello \u00e9 <|end|>", false));
  EXPECT_EQ(served.post("/detokenize", tokens.json).json["content"], "the hello \u00e9 <|end|>");
  EXPECT_EQ(served.post("/tokenize", Json::object()).json["error"]["param"], "content");
  EXPECT_EQ(served.post("/tokenize", Json{{"content", "a"}, {"parse_special", false}}).json["error"]["param"],
            "parse_special");
  EXPECT_EQ(served.post("/tokenize", Json{{"content", "a"}, {"path", "/etc/passwd"}}).json["error"]["param"],
            "path");
  EXPECT_EQ(served.post("/detokenize", Json{{"tokens", {5, 9999}}}).status, 400);
  EXPECT_EQ(served.post("/detokenize", Json{{"tokens", "5"}}).status, 400);
}

TEST(Api, AFullQueueIsTooManyRequestsAndADrainingEngineUnavailable) {
  ServedApi served(1, 1);
  const auto running = std::make_shared<Recorder>(), waiting = std::make_shared<Recorder>();
  running->pause_at(1);
  ASSERT_TRUE(served.engine().submit(request_of(2, 3), running));
  running->wait_for_tokens(1);
  ASSERT_TRUE(served.engine().submit(request_of(2, 3), waiting));
  const auto full = served.complete(body(3));
  EXPECT_EQ(full.status, 429);
  EXPECT_NE(full.head.find("Retry-After: "), full.head.npos);
  EXPECT_EQ(full.json["error"]["code"], "rate_limit_exceeded");
  EXPECT_FALSE(served.engine().drain(std::chrono::milliseconds(1)));
  EXPECT_EQ(served.complete(body(3)).status, 503);
  EXPECT_EQ(served.client().get("/health").status, 503);
  running->resume();
  EXPECT_EQ(waiting->wait(), Finish::length);
}

TEST(Api, AClientThatLeavesCancelsItsRequest) {
  ServedApi served(1);
  const auto running = std::make_shared<Recorder>();
  running->pause_at(1);
  ASSERT_TRUE(served.engine().submit(request_of(2, 3), running));
  running->wait_for_tokens(1);
  for (const bool stream : {false, true}) {
    Json request = body(100);
    request["stream"] = stream;
    auto client = served.client();
    client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                std::to_string(request.dump().size()) + "\r\n\r\n" + request.dump());
    while (served.engine().stats().waiting == 0u + stream) std::this_thread::yield();
  }
  ASSERT_TRUE(served.server.wait_until_closed(kLong));
  running->resume();
  EXPECT_EQ(running->wait(), Finish::length);
  ASSERT_TRUE(served.engine().drain(kLong));
  EXPECT_EQ(served.engine().stats().finished[static_cast<int>(Finish::cancelled)], 2u);
  EXPECT_EQ(served.engine().stats().predicted_tokens, 3u);
}

TEST(Api, MetricsCountInPrometheusForm) {
  ServedApi served;
  ASSERT_EQ(served.complete(body(7)).status, 200);
  ASSERT_EQ(served.complete(body(5)).status, 200);
  ASSERT_EQ(served.complete({{"prompt", 5}}).status, 400);
  std::map<std::string, double> values;
  int asked = 0;
  do {  // a request is being processed until its sink knows the end, and so may its client
    const auto answer = served.client().get("/metrics");
    EXPECT_NE(answer.head.find("Content-Type: text/plain; version=0.0.4"), answer.head.npos);
    std::string why;
    const auto page = test::parse_prometheus(answer.body, why);
    ASSERT_TRUE(page) << why;
    values = *page;
  } while (++asked < 1000 && values["llamacpp:requests_processing"] > 0);
  EXPECT_EQ(values["llamacpp:prompt_tokens_total"], 10);
  EXPECT_EQ(values["llamacpp:tokens_predicted_total"], 12);
  EXPECT_EQ(values["llamacpp:requests_processing"], 0);
  EXPECT_EQ(values["llamacpp:n_decode_total"], 12);
  EXPECT_EQ(values["dgq_requests_finished_total{finish=\"length\"}"], 2);
  EXPECT_EQ(values["dgq_slots"], 2);
  EXPECT_EQ(values["dgq_http_requests_total"], 3 + asked);
}

TEST(Api, TheStatusPageIsWholeAndLocked) {
  dgq::test::ScratchFolder folder;
  dgq::test::write_text(folder / "tokens", "0123456789abcdef\n");
  ::chmod((folder / "tokens").c_str(), 0600);
  ServedApi served(2, 8, 128, *BearerTokens::read(folder / "tokens"));
  const auto page = served.client().get("/status");  // holds nothing that needs a token
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.head.find("Content-Type: text/html"), page.head.npos);
  EXPECT_NE(page.head.find("default-src 'none'"), page.head.npos);
  EXPECT_EQ(page.head.find("unsafe"), page.head.npos);
  EXPECT_NE(page.body.find("<title>dgq agent</title>"), page.body.npos);
  for (const char* place : {"/* status.css */", "/* status.js */", "src=", "@import", "url("})
    EXPECT_EQ(page.body.find(place), page.body.npos) << place;
  // The script that the header names is the one that is there: base64 of its SHA-256.
  const std::size_t begin = page.body.find("<script>") + 8, end = page.body.find("</script>");
  const Digest digest = sha256(std::string_view(page.body).substr(begin, end - begin));
  unsigned char text[48] = {};
  ::EVP_EncodeBlock(text, digest.bytes.data(), static_cast<int>(digest.bytes.size()));
  EXPECT_NE(page.head.find("script-src 'sha256-" + std::string(reinterpret_cast<char*>(text)) + "'"),
            page.head.npos)
      << page.head;
}

// What a browser sends for a page of another site: `Origin` is the browser's word, which no page can change.
TEST(Api, PagesOfOtherSitesAreRefused) {
  ServedApi served;
  const std::string request = R"({"prompt": "a", "max_tokens": 1})";
  for (const char* origin : {"http://evil.example", "null", "http://x.evil.example", "http://x:81"})
    EXPECT_EQ(
        served.client().post("/v1/completions", request, std::string("Origin: ") + origin + "\r\n").status,
        403)
        << origin;
  for (const char* origin : {"http://x", "https://x"})
    EXPECT_EQ(
        served.client().post("/v1/completions", request, std::string("Origin: ") + origin + "\r\n").status,
        200)
        << origin;
}

TEST(Api, TokensAreNeededWhereThereAreSome) {
  dgq::test::ScratchFolder folder;
  const auto file = folder / "tokens";
  const std::string text = "# for the tests\n\n0123456789abcdef\nanother-token-of-ours\n";
  ASSERT_TRUE(write_file_atomic(file, std::as_bytes(std::span(text))));
  std::filesystem::permissions(file, std::filesystem::perms::owner_read | std::filesystem::perms::group_read);
  const auto exposed = BearerTokens::read(file);
  ASSERT_FALSE(exposed);
  EXPECT_NE(exposed.error().what.find("chmod 600"), std::string::npos);
  std::filesystem::permissions(file,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  auto tokens = BearerTokens::read(file);
  ASSERT_TRUE(tokens) << tokens.error().what;
  ServedApi served(2, 8, 128, std::move(*tokens));
  auto client = served.client();
  EXPECT_EQ(client.get("/health").status, 200);
  for (const char* headers :
       {"", "Authorization: Bearer 0123456789abcdeg\r\n", "Authorization: Bearer 0123456789abcde\r\n",
        "Authorization: Basic 0123456789abcdef\r\n", "Authorization: Bearer \r\n",
        "Authorization: Bearer # for the tests\r\n"}) {
    const auto refused = client.get("/v1/models", headers);
    EXPECT_EQ(refused.status, 401) << headers;
    EXPECT_NE(refused.head.find("WWW-Authenticate: Bearer\r\n"), refused.head.npos);
    EXPECT_EQ(client.post("/v1/completions", body(3).dump(), headers).status, 401);
    EXPECT_EQ(client.get("/nowhere", headers).status, 401);
  }
  EXPECT_EQ(client.get("/v1/models", "Authorization: Bearer 0123456789abcdef\r\n").status, 200);
  EXPECT_EQ(client.get("/metrics", "Authorization: Bearer another-token-of-ours\r\n").status, 200);
}

TEST(BearerTokens, FilesThatHoldNoneAreRefused) {
  dgq::test::ScratchFolder folder;
  const auto read = [&](const std::string& text) {
    const auto file = folder / "tokens";
    EXPECT_TRUE(write_file_atomic(file, std::as_bytes(std::span(text))));
    std::filesystem::permissions(file,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return BearerTokens::read(file);
  };
  EXPECT_TRUE(read("0123456789abcdef"));
  for (const char* text :
       {"", "# nothing\n", "short\n", "0123456789abcdef with spaces\n", "0123456789abcdef\r\n"}) {
    const auto tokens = read(text);
    ASSERT_FALSE(tokens) << text;
    EXPECT_EQ(tokens.error().what.find("0123456789"), std::string::npos);
  }
  EXPECT_EQ(BearerTokens::read(folder / "none").error().code, Errc::not_found);
}

TEST(Api, PromptsAndAnswersAreNotLogged) {
  ServedApi served;
  Json request = body(30);
  request["prompt"] = "a secret the model is told";
  const auto outcome = served.complete(request);
  const std::string answer = outcome.json["choices"][0]["text"].get<std::string>();
  served.post("/v1/completions", std::string("{\"prompt\": \"a secret that is no JSON"));
  served.post("/v1/completions", Json{{"prompt", {"a secret", "in two"}}});
  served.complete({{"prompt", "x"}, {"a secret", 1}});
  served.client().get("/secret");
  std::rewind(served.log_file);
  std::string log(65536, '\0');
  log.resize(std::fread(log.data(), 1, log.size(), served.log_file));
  EXPECT_EQ(log.find("secret"), log.npos) << log;
  EXPECT_EQ(log.find(answer), log.npos) << log;
  EXPECT_NE(log.find(" info request path=/v1/completions status=200 finish=length prompt_tokens="), log.npos)
      << log;
  EXPECT_NE(log.find(" info refused path=/v1/completions status=400"), log.npos) << log;
  EXPECT_NE(log.find(" info refused path=other status=404"), log.npos) << log;
}

TEST(Log, LinesStayLinesInBothForms) {
  std::FILE* file = std::tmpfile();
  const Log text(Log::Level::info, false, file), json(Log::Level::info, true, file);
  const OrderedJson fields = {{"path", "/a"}, {"why", "two words\nand \"lines\"\xff"}, {"n", 5}};
  text.write(Log::Level::warning, "event", fields);
  json.write(Log::Level::warning, "event", fields);
  text.write(Log::Level::debug, "not shown");
  std::rewind(file);
  std::string written(4096, '\0');
  written.resize(std::fread(written.data(), 1, written.size(), file));
  std::fclose(file);
  ASSERT_EQ(std::count(written.begin(), written.end(), '\n'), 2) << written;
  const std::size_t second = written.find('\n') + 1;
  EXPECT_EQ(written.substr(20, second - 21),
            R"( warning event path=/a why="two words\nand \"lines\"\ufffd" n=5)");
  const Json line = Json::parse(written.substr(second));
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["event"], "event");
  EXPECT_EQ(line["n"], 5);
  EXPECT_TRUE(Log::parse_level("debug"));
  EXPECT_FALSE(Log::parse_level("loud"));
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

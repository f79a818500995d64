// The API around the answers: paths, tokens of a text, load, metrics, and what is logged.
#include "agent/api.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/agent/api_fixture.h"
#include "tests/agent/prometheus.h"

namespace dgq::agent {
namespace {

using test::body;
using test::kLong;
using test::Recorder;
using test::request_of;
using test::ServedApi;

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
  std::FILE* journal_file = std::tmpfile();
  const Log journal(Log::Level::info, false, journal_file, true);
  journal.write(Log::Level::warning, "event", {{"n", 5}});
  std::rewind(journal_file);
  written.resize(4096);
  written.resize(std::fread(written.data(), 1, written.size(), journal_file));
  std::fclose(journal_file);
  EXPECT_EQ(written, "<4>event n=5\n");
  EXPECT_TRUE(Log::parse_level("debug"));
  EXPECT_FALSE(Log::parse_level("loud"));
}

}  // namespace
}  // namespace dgq::agent

// tests/agent/api_fixture.h - the API of the synthetic model with a byte-level tokenizer, on a Unix socket.
#pragma once

#include <gtest/gtest.h>

#include "agent/api.h"
#include "runtime/detokenizer.h"
#include "tests/agent/raw_client.h"
#include "tests/agent/served_synthetic.h"
#include "tests/runtime/small_tokenizer.h"
#include "tests/support/command.h"

namespace dgq::agent::test {

inline constexpr auto kLong = std::chrono::minutes(10);  // on any machine

// A completion, as the engine and as the API take it.
inline const std::vector<std::int32_t> kPrompt = {84, 258, 32, 110, 257};
inline Generation generation(std::size_t tokens, std::uint64_t seed = 3) {
  Generation request{kPrompt, tokens, {}, false, {}};
  request.sampling.temperature = 1;
  request.sampling.seed = seed;
  return request;
}
inline Json body(std::size_t tokens, std::uint64_t seed = 3) {
  return {{"prompt", kPrompt}, {"max_tokens", tokens}, {"seed", seed}};
}

struct ServedApi {
  explicit ServedApi(std::size_t slots = 2, std::size_t queue = 8, std::size_t context = 128,
                     std::optional<BearerTokens> tokens = {}, ModelConfig config = dgq::test::small_config(),
                     std::string_view chat_template = {}, std::shared_ptr<PrefixCache> prefix_cache = {})
      : synthetic(slots, queue, 4, context, config, 1, std::move(prefix_cache)),
        models(std::make_shared<ServedModel>(
            ServedModel{"tiny", std::string(64, 'a'), 1700000000, nullptr, &synthetic.model.config,
                        *dgq::test::parse(dgq::test::byte_level_json()), std::move(synthetic.engine)})),
        api(models, log, std::move(tokens)),
        server(HttpLimits{}, [this](const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
          api.handle(request, reply);
        }) {
    add_formats(*models.find(""), {}, chat_template);
    api.watch(server);
    const auto listening = server.listen_unix(socket, 0600);
    EXPECT_TRUE(listening) << listening.error().what;
  }

  RawClient client() { return RawClient(socket); }
  Engine& engine() { return *models.find("")->engine; }
  const Tokenizer& tokenizer() { return models.find("")->tokenizer; }

  struct Outcome {
    int status;
    Json json;
    std::string head;
  };
  Outcome post(const std::string& path, const std::string& body) {
    const auto answer = client().post(path, body);
    return {answer.status, Json::parse(answer.body, nullptr, false), answer.head};
  }
  Outcome post(const std::string& path, const Json& body) { return post(path, body.dump()); }
  Outcome complete(const Json& body) { return post("/v1/completions", body); }

  // The events of a stream, without the last, which is [DONE].
  std::vector<Json> stream(Json body, const std::string& path = "/v1/completions") {
    body["stream"] = true;
    const auto answer = client().post(path, body.dump());
    EXPECT_EQ(answer.status, 200) << answer.body;
    std::vector<Json> events;
    std::size_t at = 0;
    for (std::size_t end; (end = answer.body.find("\n\n", at)) != std::string::npos; at = end + 2) {
      const std::string line = answer.body.substr(at, end - at);
      EXPECT_EQ(line.substr(0, 6), "data: ");
      if (line == "data: [DONE]") {
        EXPECT_EQ(end + 2, answer.body.size());
        return events;
      }
      events.push_back(Json::parse(line.substr(6)));
      EXPECT_EQ("data: " + dump(events.back()), line);
    }
    ADD_FAILURE() << "the stream ended without [DONE]: " << answer.body;
    return events;
  }

  // What the model says alone.
  std::string expected_text(const Generation& request) {
    Detokenizer detokenizer(tokenizer());
    for (const std::int32_t token : request.prompt) detokenizer.push(token);
    std::string text;
    for (const std::int32_t token : synthetic.expected(request)) text += detokenizer.push(token);
    return text + detokenizer.finish();
  }

  dgq::test::ScratchFolder folder;
  const std::filesystem::path socket = folder / "s";
  std::FILE* const log_file = std::tmpfile();
  const Log log{Log::Level::debug, false, log_file};
  SyntheticEngine synthetic;
  OneModel models;
  Api api;
  HttpServer server;
};

}  // namespace dgq::agent::test

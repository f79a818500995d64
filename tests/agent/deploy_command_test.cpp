// Deployments as people meet them: `dgq deploy`, `status`, `rollback`, `undeploy` with and without an agent; its HTTP routes;
// requests while versions change; versions that crash, hang or never fit; an agent that is killed.
#include <poll.h>

#include <random>
#include <thread>

#include "agent/unix_client.h"
#include "tests/agent/deployed.h"
#include "tests/agent/process.h"
#include "tests/agent/raw_client.h"

namespace dgq::agent {
namespace {

using dgq::test::Outcome;
using test::Process;
using test::RawClient;

constexpr std::chrono::seconds kLong{600};

class DeployCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    test::copy_two_versions(registry_);
    Registry opened = std::move(*Registry::open(registry_, Registry::Mode::read_write));
    a_ = opened.resolve("demo:a")->digest.hex(), b_ = opened.resolve("demo:b")->digest.hex();
  }

  Outcome dgq(const std::string& arguments) {
    return dgq::test::run_dgq(arguments + " --registry " + registry_.string());
  }
  Json deployment(const std::string& name = "chat") {
    const Outcome outcome = dgq("status " + name + " --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const Json json = Json::parse(outcome.out, nullptr, false);
    return json.is_object() ? json["deployments"][0] : json;
  }
  // Until it answers.
  void start_agent(const std::string& arguments = {}, const std::string& environment = {}) {
    logged_before_ = log().size();
    agent_.emplace("env DGQ_TEST_COMMAND='" + dgq::test::dgq_command() + "' " + environment + " " +
                   dgq::test::dgq_command() + " agent --threads 1 --slots 2 --listen 127.0.0.1:0 --unix " +
                   socket_.string() + " --registry " + registry_.string() + " " + arguments + " 2>>" +
                   (folder_ / "log").string());
    while (!ask_agent(socket_, "GET", "/health", "", kLong) && !agent_->ended())
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_FALSE(agent_->ended()) << log();
  }
  std::string log() { return dgq::test::file_text(folder_ / "log"); }
  // Of this agent, which may answer at its socket before it has said its port.
  std::uint16_t port() {
    while (true) {
      const std::string text = log();
      const std::size_t at = text.find(" port=", logged_before_), end = text.find('\n', at);
      if (at != text.npos && end != text.npos)
        return static_cast<std::uint16_t>(std::stoul(text.substr(at + 6)));
      if (agent_->ended()) return ADD_FAILURE() << text, 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  // "" when it was refused, else the version that answered.
  std::string complete(RawClient& client, std::string* text = nullptr) {
    const auto answer = client.post(
        "/v1/completions",
        R"({"model": "chat", "prompt": "the", "max_tokens": 12, "temperature": 0, "ignore_eos": true})");
    if (answer.status != 200) return "";
    const Json json = Json::parse(answer.body);
    if (text) *text = json["choices"][0]["text"].dump(-1, ' ', true, Json::error_handler_t::replace);
    return json["system_fingerprint"].get<std::string>();
  }

  dgq::test::ScratchFolder folder_;
  const std::filesystem::path registry_ = folder_ / "r.db", socket_ = folder_ / "s";
  std::string a_, b_;
  std::size_t logged_before_ = 0;
  std::optional<Process> agent_;
};

TEST_F(DeployCommandTest, WithoutAnAgentTheRegistryKeepsWhatIsWanted) {
  const Outcome asked = dgq("deploy chat demo:a --window 02:00-04:00 --rollout 10% --pin");
  EXPECT_EQ(asked.exit_code, 0) << asked.err;
  EXPECT_NE(asked.out.find("chat wants demo:a, now version " + a_.substr(0, 12) + "; no agent is at work"),
            std::string::npos)
      << asked.out;
  EXPECT_EQ(dgq("deploy chat --pin=no --window none").exit_code, 0);
  EXPECT_EQ(dgq("deploy chat --wait").exit_code, 1);  // nobody would end that
  const Json status = deployment();
  EXPECT_EQ(status["policy"], Json::parse(R"({"pin": false, "rollout": 10.0})"));
  EXPECT_EQ(status["state"], "wanted");
  EXPECT_EQ(status["wanted_version"], a_);
  EXPECT_TRUE(status["active_version"].is_null());
  EXPECT_EQ(dgq("rollback chat").exit_code, 2);
  EXPECT_EQ(dgq("undeploy chat").exit_code, 0);
  EXPECT_EQ(dgq("undeploy chat").exit_code, 3);
  EXPECT_EQ(dgq("status chat").exit_code, 3);
  EXPECT_EQ(dgq("status").exit_code, 0);
}

TEST_F(DeployCommandTest, OneClearLineForMistakes) {
  dgq::test::write_text(folder_ / "check.json", R"({"prompts": [{"sha256": "00"}]})");
  const std::pair<std::string, const char*> cases[] = {
      {"deploy", "missing name"},
      {"deploy chat", "there is no deployment 'chat'"},
      {"deploy a/b demo", "the name of a deployment"},
      {"deploy chat:x demo", "the name of a deployment"},
      {"deploy chat demo:a --rollout many", "--rollout must be a percentage"},
      {"deploy chat demo:a --rollout 101%", "--rollout must be a percentage"},
      {"deploy chat demo:a --window noon", "a window is two times of the day"},
      {"deploy chat demo:a --max-crashes 0", "max_crashes"},
      {"deploy chat demo:a --check /nowhere.json", "/nowhere.json"},
      {"deploy chat demo:a --check " + (folder_ / "check.json").string(), "\"text\" is missing"},
      {"deploy chat 'not a name'", "not a name"},
      {"rollback nobody", "nobody"},
      {"registry expect demo:a --set x --clear", "one of --record, --set and --clear"},
      {"registry expect demo:c", "demo:c"},
  };
  for (const auto& [arguments, expected] : cases) {
    const Outcome outcome = dgq(arguments);
    EXPECT_NE(outcome.exit_code, 0) << arguments;
    EXPECT_EQ(outcome.error_lines(), 1u) << arguments << ": " << outcome.err;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << arguments << ": " << outcome.err;
  }
  for (const char* command : {"deploy", "rollback", "undeploy", "status", "registry expect"})
    EXPECT_NE(dgq::test::run_dgq(std::string(command) + " --help").out.find("Examples:\n  dgq "),
              std::string::npos);
}

TEST_F(DeployCommandTest, DeployWatchRollBackUndeploy) {
  EXPECT_EQ(dgq("registry copy demo:a demo:stable").exit_code, 0);
  EXPECT_EQ(dgq("registry expect demo:a --record the").exit_code, 0);
  start_agent();
  const Outcome first = dgq("deploy chat demo:stable --wait");
  EXPECT_EQ(first.exit_code, 0) << first.out << first.err << log();
  EXPECT_EQ(first.out, "chat serves version " + a_.substr(0, 12) + "\n");
  const Outcome unsigned_one = dgq("deploy chat --require-signature --wait");
  EXPECT_EQ(unsigned_one.exit_code, 1);
  EXPECT_NE(unsigned_one.out.find("chat is active with version " + a_.substr(0, 12) +
                                  ": the next start would refuse it"),
            std::string::npos)
      << unsigned_one.out;
  EXPECT_EQ(dgq("deploy chat --require-signature=no --wait").exit_code, 0);
  EXPECT_EQ(dgq("registry copy demo:b demo:stable").exit_code, 0);
  while (deployment()["active_version"] != b_) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_GT(deployment()["memory"]["kv_bytes"].get<std::uint64_t>(), 0u);
  const Outcome back = dgq("rollback chat --json");
  EXPECT_EQ(back.exit_code, 0) << back.err;
  while (deployment()["active_version"] != a_) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  RawClient client(socket_);
  while (complete(client) != "dgq-" + a_.substr(0, 12)) {
  }
  EXPECT_EQ(Json::parse(client.get("/v1/models").body)["data"][0]["id"], "chat");
  const Outcome watched = dgq::test::run_shell("timeout -s INT 3 " + dgq::test::dgq_command() +
                                               " status --watch --registry " + registry_.string());
  EXPECT_NE(watched.out.find("chat  demo:stable  active"), std::string::npos) << watched.out;
  EXPECT_EQ(dgq("undeploy chat").exit_code, 0);
  while (client.get("/v1/models").body.find("chat") != std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const Outcome second =
      dgq::test::run_shell("timeout 300 " + dgq::test::dgq_command() + " agent --listen none --unix " +
                           (folder_ / "s2").string() + " --registry " + registry_.string());
  EXPECT_EQ(second.exit_code, 7) << second.err;
  agent_->signal(SIGTERM);
  EXPECT_EQ(agent_->wait(), 0);
  EXPECT_EQ(Json::parse(dgq("status --json").out)["agent"], false);
}

TEST_F(DeployCommandTest, WhatNoAgentServesIsStopped) {
  start_agent();
  EXPECT_EQ(dgq("deploy chat demo:a --wait").exit_code, 0);
  agent_->signal(SIGTERM);
  EXPECT_EQ(agent_->wait(), 0);
  const Json stopped = deployment();
  EXPECT_EQ(stopped["state"], "stopped");
  EXPECT_EQ(stopped["active_version"], a_);  // of the next start
  const Outcome table = dgq("status");
  EXPECT_NE(table.out.find("stopped  -"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("no agent is at work here"), std::string::npos) << table.out;
}

TEST_F(DeployCommandTest, PrefixCachesAreKeptOverARestart) {
  const std::string keep = "--prefix-cache-file " + (folder_ / "prefixes").string();
  const auto cached = [&] {
    const std::string request = R"({"model": "chat", "prompt": ")" + std::string(60, 'a') +
                                R"(", "max_tokens": 1, "ignore_eos": true})";
    const Json answer = Json::parse(RawClient(socket_).post("/v1/completions", request).body);
    EXPECT_TRUE(answer.contains("usage")) << answer;
    return answer.value(Json::json_pointer("/usage/prompt_tokens_details/cached_tokens"), -1);
  };
  const auto stop = [&] {
    agent_->signal(SIGTERM);
    EXPECT_EQ(agent_->wait(), 0);
  };
  EXPECT_EQ(dgq("deploy chat demo:a").exit_code, 0);
  start_agent(keep);
  EXPECT_EQ(dgq("deploy chat --wait").exit_code, 0);
  EXPECT_EQ(cached(), 0);
  stop();
  start_agent(keep);
  EXPECT_GT(cached(), 0) << log();
  EXPECT_EQ(dgq("deploy chat demo:b --wait").exit_code, 0);
  EXPECT_EQ(cached(), 0);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "prefixes.chat"));
  stop();
  start_agent(keep);
  EXPECT_GT(cached(), 0) << log();
  stop();
}

TEST_F(DeployCommandTest, NoRequestFailsWhileVersionsChange) {
  EXPECT_EQ(dgq("deploy chat demo:a").exit_code, 0);
  start_agent();
  EXPECT_EQ(dgq("deploy chat --wait").exit_code, 0);
  constexpr int kClients = 4, kMostChanges = 100;
  const int requests = dgq::test::memory_counts() ? 200 : 40;
  std::atomic<int> done = 0;
  std::atomic<bool> enough = false;
  std::mutex mutex;
  std::map<std::string, std::set<std::string>> texts;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i)
    clients.emplace_back([&] {
      RawClient client(socket_);
      for (; !enough; ++done) {
        std::string text;
        const std::string version = complete(client, &text);
        {
          const std::lock_guard lock(mutex);
          texts[version].insert(text);
        }
        // So that several changes fit in.
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
  const auto versions = [&] {
    const std::lock_guard lock(mutex);
    return texts.size();
  };
  int changes = 0;
  for (; changes < kMostChanges && (changes < 2 || done < requests || versions() < 2); ++changes) {
    const Outcome outcome =
        dgq(std::string("deploy chat ") + (changes % 2 ? "demo:a" : "demo:b") + " --wait");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  }
  enough = true;
  for (auto& client : clients) client.join();
  EXPECT_FALSE(texts.contains("")) << "a request failed";
  EXPECT_EQ(texts.size(), 2u);
  for (const auto& [version, said] : texts)
    EXPECT_EQ(said.size(), 1u) << "answers of " << version << " differ";
  std::printf("%d requests over %d changes\n", done.load(), changes);
}

TEST_F(DeployCommandTest, VersionsThatCrashOrHangAtLoadTakeNothingAlong) {
  EXPECT_EQ(dgq("deploy chat demo:a").exit_code, 0);
  for (const auto& [fault, why] :
       {std::pair("segv", "crashed"), {"abort", "crashed"}, {"hang", "did not come to an end"}}) {
    start_agent("", "DGQ_TEST_CHECK_FAULT=" + std::string(fault) + ":" + b_);
    ASSERT_EQ(dgq("deploy chat demo:a --wait").exit_code, 0) << log();
    const Outcome refused = dgq("deploy chat demo:b --check-time " +
                                std::string(std::string_view(fault) == "hang" ? "2" : "300") + " --wait");
    EXPECT_EQ(refused.exit_code, 1) << refused.out << refused.err;
#ifndef DGQ_SANITIZED  // which turn signals into exit codes
    EXPECT_NE(refused.out.find(why), std::string::npos) << refused.out;
#endif
    RawClient client(socket_);
    EXPECT_EQ(complete(client), "dgq-" + a_.substr(0, 12));
    EXPECT_EQ(deployment()["refused_version"], b_);
    agent_->signal(SIGTERM);
    EXPECT_EQ(agent_->wait(), 0);
    agent_.reset();
  }
}

TEST_F(DeployCommandTest, KilledAnywhereTheNextAgentServes) {
  std::mt19937 random(7);
  EXPECT_EQ(dgq("deploy chat demo:a --max-crashes 1000").exit_code, 0);
  start_agent();
  ASSERT_EQ(dgq("deploy chat --wait").exit_code, 0);
  const int kills = dgq::test::memory_counts() ? 12 : 2;
  for (int i = 0; i < kills; ++i) {
    EXPECT_EQ(dgq(std::string("deploy chat ") + (i % 2 ? "demo:a" : "demo:b")).exit_code, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 60));
    agent_->signal(SIGKILL);
    agent_->wait();
    start_agent();
    RawClient client(socket_);
    EXPECT_NE(complete(client), "") << "kill " << i << "\n" << log();
  }
  const Outcome in_the_end = dgq("deploy chat --wait");
  EXPECT_EQ(in_the_end.exit_code, 0) << in_the_end.out << log();
}

TEST_F(DeployCommandTest, WhoMayChangeDeploymentsOverHttp) {
  dgq::test::write_text(folder_ / "tokens", "0123456789abcdef\n");
  std::filesystem::permissions(folder_ / "tokens",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const std::string json = "Content-Type: application/json\r\n",
                    token = "Authorization: Bearer 0123456789abcdef\r\n";
  const auto post = [&](RawClient&& client, const std::string& headers,
                        const std::string& body = R"({"model":"demo:a"})",
                        const std::string& path = "/v1/deployments/chat") {
    return client.post(path, body, headers).status;
  };
  start_agent("--token-file " + (folder_ / "tokens").string());
  EXPECT_EQ(post(RawClient(port()), json + token), 403);  // no --admin
  EXPECT_EQ(RawClient(port()).get("/v1/deployments").status, 401);
  EXPECT_EQ(RawClient(port()).get("/v1/deployments", token).status, 200);
  EXPECT_EQ(RawClient(socket_).get("/v1/deployments").status, 200);  // may be opened: may ask
  EXPECT_EQ(post(RawClient(socket_), json), 200);
  EXPECT_EQ(post(RawClient(socket_), ""), 415);
  EXPECT_EQ(post(RawClient(socket_), "Content-Type: text/plain\r\n"), 415);
  EXPECT_EQ(post(RawClient(socket_), json + "Origin: http://evil.example\r\n"), 403);
  EXPECT_EQ(post(RawClient(socket_), json + "Origin: null\r\n"), 403);
  EXPECT_EQ(post(RawClient(socket_), json + "Origin: http://x\r\n"), 200);  // our own, RawClient's Host is x
  agent_->signal(SIGTERM);
  agent_->wait();
  start_agent("--admin");
  EXPECT_EQ(post(RawClient(port()), json), 403);  // a Host that is a name
  RawClient numeric(port());
  numeric.send("POST /v1/deployments/chat HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + json +
               "Content-Length: 2\r\n\r\n{}");
  EXPECT_EQ(numeric.read_answer().status, 200);
  agent_->signal(SIGTERM);
  agent_->wait();
  start_agent("--admin --token-file " + (folder_ / "tokens").string());
  EXPECT_EQ(post(RawClient(port()), json), 401);
  EXPECT_EQ(post(RawClient(port()), json + token), 200);
  for (const char* body : {"{", "[]", R"({"model": 5})", R"({"model": "a b"})",
                           R"({"model": "demo:a", "colour": 1})", R"({"model": "demo:a", "rollout": "x"})"})
    EXPECT_EQ(post(RawClient(port()), json + token, body), 400) << body;
  EXPECT_EQ(post(RawClient(port()), json + token, "{}", "/v1/deployments/nobody"), 404);
  EXPECT_EQ(post(RawClient(port()), json + token, R"({"model":"demo:a"})", "/v1/deployments/a/b"), 400);
  EXPECT_EQ(post(RawClient(port()), json + token, "{}", "/v1/deployments/chat/rollback"), 400);
  EXPECT_EQ(post(RawClient(port()), json + token, "{}", "/v1/deployments"), 405);
  RawClient client(port());
  client.send("DELETE /v1/deployments/chat HTTP/1.1\r\nHost: x\r\n" + json + token + "\r\n");
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(Json::parse(client.get("/v1/deployments", token).body)["deployments"], Json::array());
}

}  // namespace
}  // namespace dgq::agent

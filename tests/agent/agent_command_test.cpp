// `dgq agent` as a process: where its settings come from, what it serves, how it stops.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/agent/notify_socket.h"
#include "tests/agent/process.h"
#include "tests/agent/raw_client.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::agent {
namespace {

using dgq::test::Outcome;
using dgq::test::run_shell;
using test::Process;
using test::RawClient;

class AgentCommandTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new dgq::test::ScratchFolder;
    dgq::test::tiny_checkpoint().write(*folder_ / "tiny");
    const Outcome made =
        run_shell(dgq::test::dgq_command() + " quantize " + (*folder_ / "tiny").string() + registry() +
                  " --name demo --calibration-tokens 128 --threads 1 --recipe fast");
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string registry() { return " --registry " + (*folder_ / "r.db").string(); }
  static std::string file(const std::string& name) { return (*folder_ / name).string(); }
  static std::string agent(const std::string& arguments) {
    return dgq::test::dgq_command() + " agent --log-json --threads 1" + registry() + " " + arguments;
  }

  static dgq::test::ScratchFolder* folder_;
};
dgq::test::ScratchFolder* AgentCommandTest::folder_ = nullptr;

TEST_F(AgentCommandTest, ServesOnTcpAndUnixAndDrainsOnSigterm) {
  Process process(agent("demo --listen 127.0.0.1:0 --unix " + file("s") + " --unix-mode 0640 --slots 2"));
  const Json loaded = process.wait_for("loaded");
  EXPECT_EQ(loaded["model"], "demo");
  EXPECT_EQ(loaded["slots"], 2);
  EXPECT_EQ(process.wait_for("listening")["unix"], file("s"));
  const Json listening = process.wait_for("listening");
  ASSERT_TRUE(listening.is_object());
  struct stat info;
  ASSERT_EQ(::stat(file("s").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);

  RawClient tcp(listening["port"].get<std::uint16_t>()), local(std::filesystem::path(file("s")));
  EXPECT_EQ(tcp.get("/health").status, 200);
  const Json models = Json::parse(tcp.get("/v1/models").body);
  EXPECT_EQ(models["data"][0]["meta"]["version"], loaded["version"]);
  const std::string request =
      R"({"model": "demo", "prompt": "ab ab", "max_tokens": 12, "seed": 4, "temperature": 0.8, "top_k": 40,
      "top_p": 0.95, "repeat_penalty": 1.1, "ignore_eos": true})";
  const Json completion = Json::parse(tcp.post("/v1/completions", request).body);
  const Outcome run = run_shell(dgq::test::dgq_command() +
                                " run demo 'ab ab' --json --tokens 12 --seed 4 --ignore-eos" + registry());
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(completion["choices"][0]["text"], Json::parse(run.out)["text"]) << completion;

  const std::string stream = R"({"prompt": "ab", "n_predict": -1, "ignore_eos": true, "stream": true})";
  local.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(stream.size()) +
             "\r\n\r\n" + stream);
  ASSERT_TRUE(local.read_until("data: {"));
  process.signal(SIGTERM);
  EXPECT_TRUE(local.read_until("data: [DONE]\n\n")) << local.received();
  EXPECT_EQ(process.wait_for("stopped")["drained"], true);
  EXPECT_EQ(process.wait(), 0);
  EXPECT_FALSE(std::filesystem::exists(file("s")));
}

// Sockets, messages and SIGHUP as under a service manager.
TEST_F(AgentCommandTest, TalksToItsServiceManager) {
  test::NotifySocket manager(file("notify"));
  const Fd listening(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::listen(listening.get(), 10), 0);  // on a port that is free
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  constexpr int kPassed = 9;  // the shell knows descriptors of one digit
  ASSERT_EQ(::dup2(listening.get(), kPassed), kPassed);
  dgq::test::write_text(file("live.conf"), "model = demo\nslots = 2\nlog-json = true\nconnections = 10\n");
  Process process("env LISTEN_PID=$$ LISTEN_FDS=1 NOTIFY_SOCKET=" + manager.name() +
                  " WATCHDOG_USEC=600000000 " + dgq::test::dgq_command() + " agent --threads 1" + registry() +
                  " --config " + file("live.conf") + " 3<&9");
  ::close(kPassed);
  EXPECT_EQ(manager.next(), "STATUS=loading demo");
  EXPECT_EQ(process.wait_for("listening")["handed_over"],
            "0.0.0.0 port " + std::to_string(ntohs(address.sin_port)));
  EXPECT_EQ(manager.next(), "READY=1");
  EXPECT_EQ(manager.next(), "STATUS=0 requests run, 0 wait");
  EXPECT_EQ(manager.next(), "WATCHDOG=1");
  RawClient client(ntohs(address.sin_port));
  EXPECT_EQ(client.get("/v1/models").status, 200);

  dgq::test::write_text(file("tokens"), "0123456789abcdef\n");
  ::chmod(file("tokens").c_str(), 0600);
  dgq::test::write_text(
      file("live.conf"),
      "model = demo\nslots = 3\nlog-json = true\nconnections = 20\ntoken-file = " + file("tokens") + "\n");
  process.signal(SIGHUP);
  EXPECT_EQ(manager.next().substr(0, 12), "RELOADING=1\n");
  EXPECT_EQ(manager.next(), "READY=1");
  const Json reload = process.wait_for("reload");
  EXPECT_EQ(reload["changed"], Json({"token-file", "connections"}));
  EXPECT_EQ(reload["needs_restart"], Json({"slots"}));
  EXPECT_EQ(client.get("/v1/models").status, 401);
  EXPECT_EQ(client.get("/v1/models", "Authorization: Bearer 0123456789abcdef\r\n").status, 200);

  dgq::test::write_text(file("live.conf"), "model = demo\nlog-json = true\ntoken-file = /nowhere\n");
  process.signal(SIGHUP);
  const Json refused = process.wait_for("reload");
  EXPECT_EQ(refused["changed"], "nothing");
  EXPECT_NE(refused["why"].get<std::string>().find("/nowhere"), std::string::npos) << refused;
  EXPECT_EQ(client.get("/v1/models").status, 401);
  EXPECT_EQ(manager.next().substr(0, 12), "RELOADING=1\n");
  EXPECT_EQ(manager.next(), "READY=1");
  process.signal(SIGTERM);
  EXPECT_EQ(manager.next(), "STOPPING=1");
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(AgentCommandTest, ThePrefixCacheIsKeptOverARestart) {
  const auto cached = [&](const char* arguments) {
    Process process(agent("demo --listen none --unix " + file("p") + arguments + file("prefixes")));
    EXPECT_TRUE(process.wait_for("listening").is_object());
    const std::string request =
        R"({"prompt": ")" + std::string(60, 'a') + R"(", "max_tokens": 1, "ignore_eos": true})";
    const Json answer =
        Json::parse(RawClient(std::filesystem::path(file("p"))).post("/v1/completions", request).body);
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 0);
    EXPECT_TRUE(answer.contains("usage")) << answer;
    return answer.value(Json::json_pointer("/usage/prompt_tokens_details/cached_tokens"), -1);
  };
  EXPECT_EQ(cached(" --prefix-cache-file "), 0);
  EXPECT_GT(cached(" --prefix-cache-file "), 0);
  EXPECT_EQ(cached(" --prefix-cache none --prefix-cache-file "), 0);
  dgq::test::write_text(file("prefixes"), "damaged");
  EXPECT_EQ(cached(" --prefix-cache-file "), 0);
  EXPECT_GT(cached(" --prefix-cache-file "), 0);
}

TEST_F(AgentCommandTest, AChatTemplateFromAFile) {
  dgq::test::write_text(file("chat.jinja"), "{% for m in messages %}{{ m.content }}{% endfor %}");
  const std::string chat =
      R"({"messages": [{"role": "user", "content": "ab ab"}], "max_tokens": 12, "seed": 4, "ignore_eos": true})";
  const std::string same = R"({"prompt": "ab ab", "max_tokens": 12, "seed": 4, "ignore_eos": true})";
  {
    Process with(agent("demo --listen 127.0.0.1:0 --chat-template " + file("chat.jinja")));
    RawClient client(with.wait_for("listening")["port"].get<std::uint16_t>());
    const Json answer = Json::parse(client.post("/v1/chat/completions", chat).body);
    EXPECT_EQ(answer["choices"][0]["message"]["content"],
              Json::parse(client.post("/v1/completions", same).body)["choices"][0]["text"])
        << answer;
  }
  Process without(agent("demo --listen 127.0.0.1:0"));
  EXPECT_NE(without.wait_for("no_chat")["why"].get<std::string>().find("--chat-template FILE"),
            std::string::npos);
  RawClient client(without.wait_for("listening")["port"].get<std::uint16_t>());
  EXPECT_EQ(client.post("/v1/chat/completions", chat).status, 501);
}

TEST_F(AgentCommandTest, RunWritesJsonThatASchemaAllows) {
  dgq::test::write_text(file("schema.json"),
                        R"({"type": "object", "required": ["b", "a"], "additionalProperties": false,
      "properties": {"b": {"type": "boolean"}, "a": {"type": "array", "items": {"type": "integer"}, "maxItems": 4}}})");
  const std::string run =
      dgq::test::dgq_command() + " run demo 'ab ab'" + registry() + " --json-schema " + file("schema.json");
  for (const char* tokens : {"20", "60"}) {
    const Outcome got = run_shell(run + " --json --tokens " + tokens);
    ASSERT_EQ(got.exit_code, 0) << got.err;
    const Json answer = Json::parse(Json::parse(got.out)["text"].get<std::string>());
    EXPECT_TRUE(answer["b"].is_boolean() && answer["a"].is_array()) << answer;
  }
  const std::pair<std::string, const char*> wrong[] = {{run + " --tokens 5", "raise --tokens"},
                                                       {run + " --ignore-eos", "--ignore-eos"},
                                                       {run + "x", "schema.jsonx"}};
  for (const auto& [line, message] : wrong) {
    const Outcome got = run_shell(line);
    EXPECT_NE(got.exit_code, 0);
    EXPECT_NE(got.err.find(message), std::string::npos) << got.err;
  }
}

TEST_F(AgentCommandTest, SettingsComeFromCommandLineEnvironmentAndFile) {
  dgq::test::write_text(file("agent.conf"),
                        "# ours\nmodel = demo\nslots = 3\nqueue = 5\nlog-json = true\nkv-budget = 2G\n");
  const Outcome shown = run_shell("DGQ_AGENT_QUEUE=6 DGQ_AGENT_KV_BUDGET=3G " + dgq::test::dgq_command() +
                                  " agent --kv-budget 4G --config " + file("agent.conf") + " --print-config");
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  for (const std::string& line :
       {"model = demo  # " + file("agent.conf"), "slots = 3  # " + file("agent.conf"),
        std::string("queue = 6  # environment"), std::string("kv-budget = 4G  # command line"),
        "log-json = true  # " + file("agent.conf"), std::string("unix-mode = 0600  # default")})
    EXPECT_NE(("\n" + shown.out).find("\n" + line + "\n"), std::string::npos)
        << line << " is not in " << shown.out;
  // What it prints is a file that it reads.
  dgq::test::write_text(file("again.conf"), shown.out);
  const Outcome again =
      run_shell(dgq::test::dgq_command() + " agent --print-config --config " + file("again.conf"));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("queue = 6  # " + file("again.conf")), std::string::npos) << again.out;
}

TEST_F(AgentCommandTest, OneClearLineForWhatCannotBeServed) {
  dgq::test::write_text(file("exposed"), "0123456789abcdef\n");
  dgq::test::write_text(file("bad.conf"), "slots = 2\ncolour = red\n");
  const std::pair<std::string, const char*> cases[] = {
      {"demo --slots 0", "--slots must be from 1 to 256"},
      {"demo --slots -1", "--slots"},
      {"demo --queue many", "queue"},
      {"demo --kv int4", "--kv must be int8 or f32"},
      {"demo --kv-budget 10", "budget is 10"},
      {"demo --context 100000", "context of 100000"},
      {"demo --listen nowhere", "--listen must be ADDRESS:PORT"},
      {"demo --listen 127.0.0.1:99999", "--listen must be ADDRESS:PORT"},
      {"demo --listen localhost:0", "numeric"},
      {"demo --listen none", "give --unix"},
      {"demo --listen none --unix " + file("u") + " --unix-mode 9", "--unix-mode"},
      {"demo --listen none --unix " + std::string(200, 'a'), "Unix socket"},
      {"demo --token-file " + file("exposed"), "chmod 600"},
      {"demo --tls-cert " + file("none"), "both --tls-cert and --tls-key"},
      {"demo --tls-cert " + file("none") + " --tls-key " + file("none"), "none: No such file"},
      {"demo --handshake-time 0", "--handshake-time must be from 1 to 86400"},
      {"demo --prefix-cache lots", "--prefix-cache"},
      {"demo --log-level loud", "log level"},
      {"demo --chat-template " + file("none.jinja"), "none.jinja"},
      {"demo --config " + file("bad.conf"), "colour"},
      {"demo --config " + file("none.conf"), "none.conf"},
      {"nobody", "nobody"},
      {"--memory-budget little", "--memory-budget"},
      {"demo --memory-budget 10k", "demo does not fit: it needs"},
      {"--idle-unload 9999999", "--idle-unload"},
  };
  for (const auto& [arguments, expected] : cases) {
    // Its log may come before the line; a mistake that is not noticed would serve for ever.
    const Outcome outcome = run_shell(
        "timeout 300 " +
        agent(arguments + (arguments.find("--listen") == arguments.npos ? " --listen 127.0.0.1:0" : "")));
    EXPECT_NE(outcome.exit_code, 0) << arguments;
    EXPECT_NE(outcome.exit_code, 124) << arguments;
    const std::size_t line = outcome.err.rfind("dgq agent: ");
    ASSERT_NE(line, std::string::npos) << arguments << ": " << outcome.err;
    EXPECT_NE(outcome.err.find(expected, line), std::string::npos) << arguments << ": " << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin() + static_cast<std::ptrdiff_t>(line), outcome.err.end(), '\n'), 1)
        << outcome.err;
  }
  const Outcome unknown = run_shell("DGQ_AGENT_COLOUR=red " + agent("demo"));
  EXPECT_NE(unknown.err.find("no setting 'colour'"), std::string::npos) << unknown.err;
}

}  // namespace
}  // namespace dgq::agent

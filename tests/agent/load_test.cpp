// The agent as a process under load, over TCP, as long as DGQ_LOAD_SECONDS says (1 unless set): no request
// fails, nothing leaks, and what it took is printed. Speeds are printed, not judged: docs/AGENT.md has
// figures of a longer run.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/agent/process.h"
#include "tests/agent/prometheus.h"
#include "tests/agent/raw_client.h"
#include "tests/support/not_covered.h"
#include "tests/support/shared.h"

namespace dgq::agent {
namespace {

using dgq::test::dgq_command;
using dgq::test::run_shell;
using test::Process;
using test::RawClient;
using Clock = std::chrono::steady_clock;
using Metrics = std::map<std::string, double>;

constexpr int kStreams = 8;

double seconds_from(const char* variable, double usual) {
  const char* text = std::getenv(variable);
  return text ? std::atof(text) : usual;
}
double ms_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double, std::milli>(b - a).count();
}
double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

class LoadTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new dgq::test::ScratchFolder;
    const auto made =
        run_shell(dgq_command() + " quantize " + dgq::test::repository_file("models/demo").string() +
                  registry() + " --name demo --calibration-tokens 64 --recipe fast");
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  static void TearDownTestSuite() { delete folder_; }
  static std::string registry() { return " --registry " + (*folder_ / "r.db").string(); }

  void start(const std::string& arguments = {}) {
    agent_ = std::make_unique<Process>(dgq_command() + " agent demo --log-json --listen 127.0.0.1:0" +
                                       registry() + " " + arguments);
    const Json listening = agent_->wait_for("listening");
    ASSERT_TRUE(listening.is_object());
    port_ = listening["port"].get<std::uint16_t>();
    // The log must be read: a full pipe would stop the agent.
    log_ = std::thread([this] { agent_->wait_for("stopped"); });
  }
  void TearDown() override {
    if (!agent_) return;
    agent_->signal(SIGTERM);
    EXPECT_EQ(agent_->wait(), 0);
    log_.join();
  }
  Metrics metrics() {
    std::string why;
    const auto page = test::parse_prometheus(RawClient(port_).get("/metrics").body, why);
    EXPECT_TRUE(page) << why;
    return page.value_or(Metrics{});
  }

  struct Stream {
    std::size_t tokens = 0;
    bool whole = false;              // it ended as streams do
    std::vector<double> between_ms;  // of its tokens
  };
  // One request, token by token; `on_token` is told how many there are and says whether to go on.
  Stream stream(const std::string& body, const std::function<bool(std::size_t)>& on_token = {}) {
    RawClient client(port_);
    client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
    Stream result;
    std::size_t seen = 0;
    auto last = Clock::now();
    while (client.read_some()) {
      const std::string& text = client.received();
      for (std::size_t at; (at = text.find("data: {", seen)) != text.npos; seen = at + 1) {
        const auto now = Clock::now();
        if (result.tokens++ > 0) result.between_ms.push_back(ms_between(last, now));
        last = now;
        if (on_token && !on_token(result.tokens)) return result;
      }
      result.whole = text.find("data: [DONE]", seen) != text.npos;
      if (result.whole) return result;
    }
    return result;
  }
  static std::string request(int salt, std::size_t tokens) {
    return R"({"prompt": "The )" + std::to_string(salt) +
           R"(th king of the land", "stream": true, "ignore_eos": true,
      "temperature": 0.8, "seed": )" +
           std::to_string(salt) + R"(, "max_tokens": )" + std::to_string(tokens) + "}";
  }

  // So many streams, one request after the other in each, for that time. Returns tokens per second.
  double run(int streams, double seconds, std::atomic<int>& failed,
             std::vector<double>* between_ms = nullptr) {
    std::atomic<std::size_t> tokens = 0;
    std::mutex mutex;
    std::vector<std::thread> threads;
    const auto began = Clock::now();
    for (int t = 0; t < streams; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; ms_between(began, Clock::now()) < seconds * 1000; ++i) {
          const Stream result = stream(request(t * 1000 + i, 200));
          failed += !result.whole;
          tokens += result.tokens;
          const std::lock_guard lock(mutex);
          if (between_ms)
            between_ms->insert(between_ms->end(), result.between_ms.begin(), result.between_ms.end());
        }
      });
    for (std::thread& thread : threads) thread.join();
    return static_cast<double>(tokens) / (ms_between(began, Clock::now()) / 1000);
  }

  static dgq::test::ScratchFolder* folder_;
  std::unique_ptr<Process> agent_;
  std::thread log_;
  std::uint16_t port_ = 0;
};
dgq::test::ScratchFolder* LoadTest::folder_ = nullptr;

TEST_F(LoadTest, EightStreamsAndHealthBesideThem) {
  if (!dgq::test::memory_counts()) GTEST_SKIP() << "a release build on its own machine only";
  const double seconds = seconds_from("DGQ_LOAD_SECONDS", 1);
  start();
  std::atomic<int> failed = 0;
  const bool has_wrk = run_shell("command -v wrk").exit_code == 0;
  if (!has_wrk) dgq::test::not_covered("/health under load (needs wrk)");
  dgq::test::Outcome wrk;
  std::thread health([&] {
    if (has_wrk)
      wrk = run_shell("wrk -t1 -c4 -d" + std::to_string(static_cast<int>(seconds) + 1) +
                      " http://127.0.0.1:" + std::to_string(port_) + "/health");
  });
  std::vector<double> between_ms;
  const double together = run(kStreams, seconds, failed, &between_ms);
  health.join();
  // Apart from each other and from wrk, in turns, so that both have the same machine.
  double alone = 0, eight = 0;
  for (int i = 0; i < 3; ++i) {
    alone += run(1, seconds / 6, failed) / 3;
    eight += run(kStreams, seconds / 6, failed) / 3;
  }
  EXPECT_EQ(failed, 0);
  std::printf(
      "8 streams with wrk: %.0f tokens/s; without: %.0f, one alone: %.0f, %.2f times; between tokens: median "
      "%.2f ms, p99 %.2f ms\n",
      together, eight, alone, eight / alone, quantile(between_ms, 0.5), quantile(between_ms, 0.99));
  if (has_wrk) {
    std::printf("%s", wrk.out.c_str());
    EXPECT_EQ(wrk.exit_code, 0) << wrk.err;
    EXPECT_EQ(wrk.out.find("Non-2xx"), std::string::npos) << wrk.out;
    EXPECT_EQ(wrk.out.find("Socket errors"), std::string::npos) << wrk.out;
  }
}

// A stream's pace while prompts of 400 tokens, each another, are worked on beside it: alone, and as one of eight.
TEST_F(LoadTest, ALongPromptBesideStreams) {
  if (!dgq::test::memory_counts()) GTEST_SKIP() << "a release build on its own machine only";
  const int rounds = std::max(2, static_cast<int>(seconds_from("DGQ_LOAD_SECONDS", 1) / 2));
  start("--slots 9");
  for (const int others : {0, kStreams - 1}) {
    std::atomic<bool> stop = false;
    std::vector<std::thread> beside_it;
    for (int t = 1; t <= others; ++t)
      beside_it.emplace_back([&, t] {
        for (int i = 0; !stop; ++i) stream(request(t * 1000 + i, 450), [&](std::size_t) { return !stop; });
      });
    std::vector<double> quiet, beside;
    for (int i = 0; i < rounds; ++i) {
      std::thread prompt;
      std::atomic<bool> prompt_is_done = false;
      std::size_t done_at = 0;  // tokens of the stream
      const Stream running = stream(request(i, 450), [&](std::size_t token) {
        if (token == 100)
          prompt = std::thread([&, i] {
            std::string text = std::to_string(i);
            for (int word = 0; word < 380; ++word) text += " the";
            const auto answer =
                RawClient(port_).post("/v1/completions", R"({"prompt": ")" + text + R"(", "max_tokens": 1})");
            EXPECT_EQ(answer.status, 200) << answer.body;
            prompt_is_done = true;
          });
        if (done_at == 0 && prompt_is_done) done_at = token;
        return true;
      });
      prompt.join();
      EXPECT_TRUE(running.whole);
      ASSERT_GE(running.between_ms.size(), 200u);
      const auto from = running.between_ms.begin();
      quiet.insert(quiet.end(), from + 10, from + 90);
      beside.insert(
          beside.end(), from + 99,
          done_at > 100 ? from + static_cast<std::ptrdiff_t>(done_at) - 1 : running.between_ms.end());
    }
    stop = true;
    for (std::thread& thread : beside_it) thread.join();
    const double usual = quantile(beside, 0.5), late = quantile(beside, 0.99);
    std::printf(
        "one of %d streams, ms between tokens: median %.2f; beside a prompt median %.2f, p99 %.2f, %.2f "
        "times "
        "that median\n",
        others + 1, quantile(quiet, 0.5), usual, late, late / usual);
  }
}

// Clients of all kinds for DGQ_SOAK_SECONDS (2 unless set): afterwards there are as many threads and
// descriptors as before, and memory has stopped growing.
TEST_F(LoadTest, Soak) {
  if (!dgq::test::memory_counts()) GTEST_SKIP() << "memory of a release build on its own machine only";
  const double seconds = seconds_from("DGQ_SOAK_SECONDS", 2);
  start("--prefix-cache 4M --idle-time 5 --header-time 2");
  std::atomic<int> failed = 0;
  std::atomic<bool> stop = false;
  const auto mixed = [&](unsigned seed) {
    std::mt19937 random(seed);
    while (!stop) {
      const std::string body = request(static_cast<int>(random() % 50), 1 + random() % 60);
      const std::string head =
          "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
          "\r\n\r\n";
      switch (random() % 6) {
        case 0:
          failed += !stream(body).whole;
          break;
        case 1: {  // leaves in the middle of the answer
          const std::size_t at = 1 + random() % 20;
          stream(body, [&](std::size_t token) { return token < at; });
          break;
        }
        case 2: {  // leaves in the middle of its request
          const std::string whole = head + body;
          RawClient(port_).send(whole.substr(0, random() % whole.size()));
          break;
        }
        case 3:
          RawClient(port_).send(std::string(random() % 500, static_cast<char>(random())));
          break;
        case 4:
          failed += RawClient(port_).post("/v1/completions", R"({"prompt": 5})").status != 400;
          break;
        default:
          failed += RawClient(port_).get("/metrics").status != 200;
      }
    }
  };
  const auto settled = [&] {  // when all clients are gone
    Metrics now;
    do now = metrics();
    while (now["dgq_http_connections"] > 1 || now["llamacpp:requests_processing"] > 0);
    return now;
  };
  Metrics first;
  std::vector<double> memory;
  constexpr int kParts = 5;
  for (int part = 0; part < kParts; ++part) {
    stop = false;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 6; ++t) threads.emplace_back(mixed, 100 * static_cast<unsigned>(part) + t);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds / kParts));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    const Metrics now = settled();
    if (part == 0) first = now;
    memory.push_back(now.at("dgq_anonymous_memory_bytes"));
    EXPECT_EQ(now.at("dgq_threads"), first.at("dgq_threads"));
    EXPECT_EQ(now.at("process_open_fds"), first.at("process_open_fds"));
    EXPECT_LE(now.at("dgq_prefix_cache_bytes"), now.at("dgq_prefix_cache_budget_bytes"));
    std::printf("after %.0f s: %.2f MiB of its own, %.0f threads, %.0f descriptors, %.0f requests\n",
                seconds * (part + 1) / kParts, memory.back() / 1048576, now.at("dgq_threads"),
                now.at("process_open_fds"), now.at("dgq_http_requests_total"));
  }
  EXPECT_EQ(failed, 0);
  // Slots, prefix cache and heaps fill up; a leak would go on. 4 MiB: what heaps of threads take by chance.
  if (seconds >= 60) {
    EXPECT_LT(memory[kParts - 1], memory[kParts - 2] + 4 * 1048576);
  }
}

}  // namespace
}  // namespace dgq::agent

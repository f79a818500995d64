// What a host of libdgq sees: through dgq.h only, beside what the command says of the same model.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "plugin/dgq.h"
#include "tests/support/command.h"
#include "tests/support/foreign_models.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq::test {
namespace {

#define EXPECT_DGQ_OK(...) EXPECT_EQ((__VA_ARGS__), DGQ_OK) << dgq_last_error()
#define ASSERT_DGQ_OK(...) ASSERT_EQ((__VA_ARGS__), DGQ_OK) << dgq_last_error()

template <class T>
T sized() {
  T object{};
  object.size = sizeof object;
  return object;
}

// One registry with one model for all tests of this process.
class CApi : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = new ScratchFolder;
    tiny_checkpoint().write(*folder / "model");
    const Outcome made =
        run_dgq("quantize " + at("model") +
                " --recipe fast --calibration-tokens 256 --name tiny --registry " + at("r.db"));
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  static void TearDownTestSuite() { delete folder; }
  static std::string at(const std::string& name) { return (*folder / name).string(); }

  void SetUp() override {
    ASSERT_DGQ_OK(dgq_registry_open(at("r.db").c_str(), &registry));
    dgq_model_options options{sizeof options, 2, nullptr, nullptr};
    ASSERT_DGQ_OK(dgq_model_open(registry, "tiny", &options, &model));
    ASSERT_DGQ_OK(dgq_session_open(model, 0, &session));
  }
  void TearDown() override {
    dgq_session_close(session), dgq_model_close(model), dgq_registry_close(registry);
  }

  std::vector<std::int32_t> tokens_of(const std::string& text) {
    std::vector<std::int32_t> tokens(text.size() + 8);
    std::size_t count = 0;
    EXPECT_DGQ_OK(dgq_tokenize(model, text.data(), text.size(), 1, tokens.data(), tokens.size(), &count));
    tokens.resize(count);
    return tokens;
  }
  static std::vector<float> logits_of(dgq_session* of) {
    std::size_t count = 0;
    EXPECT_EQ(dgq_session_logits(of, nullptr, 0, &count), DGQ_TOO_SMALL);
    std::vector<float> logits(count);
    EXPECT_DGQ_OK(dgq_session_logits(of, logits.data(), count, &count));
    return logits;
  }

  static ScratchFolder* folder;
  dgq_registry* registry = nullptr;
  dgq_model* model = nullptr;
  dgq_session* session = nullptr;
};
ScratchFolder* CApi::folder = nullptr;

struct Heard {
  std::vector<std::int32_t> tokens;
  std::string text;
  std::size_t stop_after = 1000;
};
int hear(std::int32_t token, const char* text, void* user) {
  auto& heard = *static_cast<Heard*>(user);
  if (token >= 0) heard.tokens.push_back(token);
  heard.text += text;
  return heard.tokens.size() >= heard.stop_after;
}

TEST_F(CApi, GeneratesWhatTheCommandDoes) {
  const Outcome run = run_dgq("run tiny 'ab cd' --tokens 40 --context 64 --json --registry " + at("r.db"));
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const Json expected = *parse_json(run.out, "run");
  dgq_generation generation;
  dgq_generation_defaults(&generation);
  generation.max_tokens = 40;
  Heard heard;
  std::size_t made = 0;
  ASSERT_DGQ_OK(dgq_generate(session, "ab cd", &generation, hear, &heard, &made));
  EXPECT_EQ(heard.tokens, expected["tokens"].get<std::vector<std::int32_t>>());
  EXPECT_EQ(heard.text, expected["text"].get<std::string>());
  EXPECT_EQ(made, heard.tokens.size());
}

TEST_F(CApi, ACallbackCanStop) {
  Heard heard;
  heard.stop_after = 3;
  std::size_t made = 0;
  ASSERT_DGQ_OK(dgq_generate(session, "ab", nullptr, hear, &heard, &made));
  EXPECT_EQ(made, 3u);
  EXPECT_EQ(heard.tokens.size(), 3u);
}

TEST_F(CApi, PrefillAndDecodeAreTheSameSequence) {
  const auto tokens = tokens_of("abcdefgh");
  ASSERT_DGQ_OK(dgq_session_prefill(session, tokens.data(), tokens.size()));
  const auto all = logits_of(session);
  dgq_session* other = nullptr;
  ASSERT_DGQ_OK(dgq_session_open(model, 64, &other));
  for (const std::int32_t token : tokens) EXPECT_DGQ_OK(dgq_session_decode(other, token));
  EXPECT_EQ(logits_of(other), all);
  std::size_t position = 0;
  EXPECT_DGQ_OK(dgq_session_position(other, &position));
  EXPECT_EQ(position, tokens.size());
  std::int32_t next = -1;
  EXPECT_DGQ_OK(dgq_session_sample(other, nullptr, &next));
  EXPECT_EQ(next, std::max_element(all.begin(), all.end()) - all.begin());
  EXPECT_DGQ_OK(dgq_session_reset(other));
  EXPECT_EQ(dgq_session_sample(other, nullptr, &next), DGQ_INVALID);
  EXPECT_DGQ_OK(dgq_session_close(other));
}

// Columns by probing, then any rows against them: only int8 activations may differ.
TEST_F(CApi, MatmulIsTheProductWithTheWeights) {
  std::size_t index = 0, count = 0;
  ASSERT_DGQ_OK(dgq_linear_find(model, "layers.1.down_proj", &index));
  auto info = sized<dgq_linear_info>();
  ASSERT_DGQ_OK(dgq_linear_get_info(model, index, &info));
  EXPECT_STREQ(info.name, "layers.1.down_proj");
  ASSERT_DGQ_OK(dgq_linear_count(model, &count));
  EXPECT_EQ(count, 2 + 2 * 7u);
  const std::size_t n = info.rows, k = info.columns, m = 5;
  std::vector<float> unit(k * k), columns(k * n);
  for (std::size_t i = 0; i < k; ++i) unit[i * k + i] = 1;
  ASSERT_DGQ_OK(dgq_linear_matmul(model, index, unit.data(), k, columns.data()));

  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(m * k), y(m * n), row(n);
  for (float& value : x) value = normal(random);
  ASSERT_DGQ_OK(dgq_linear_matmul(model, index, x.data(), m, y.data()));
  double error = 0, size = 0;
  for (std::size_t i = 0; i < m; ++i) {
    ASSERT_DGQ_OK(dgq_linear_matmul(model, index, &x[i * k], 1, row.data()));
    EXPECT_EQ(0, std::memcmp(row.data(), &y[i * n], n * sizeof(float))) << "row " << i << " depends on m";
    for (std::size_t r = 0; r < n; ++r) {
      double exact = 0;
      for (std::size_t c = 0; c < k; ++c) exact += static_cast<double>(x[i * k + c]) * columns[c * n + r];
      error += (exact - y[i * n + r]) * (exact - y[i * n + r]), size += exact * exact;
    }
  }
  EXPECT_LT(error, 1e-3 * size);
  EXPECT_GT(size, 0);
}

TEST_F(CApi, ModelAndMemory) {
  auto info = sized<dgq_model_info>();
  ASSERT_DGQ_OK(dgq_model_get_info(model, &info));
  EXPECT_EQ(std::strlen(info.version), 64u);
  EXPECT_EQ(info.layers, 2u);
  EXPECT_EQ(info.threads, 2);
  auto plan = sized<dgq_memory_plan>();
  ASSERT_DGQ_OK(dgq_plan_memory(registry, "tiny", 32, 3, &plan));
  EXPECT_EQ(plan.mapped_bytes, info.mapped_bytes);
  EXPECT_EQ(plan.total_bytes, plan.mapped_bytes + 3 * plan.kv_bytes);
  EXPECT_GT(plan.kv_bytes, 0u);
  EXPECT_EQ(dgq_plan_memory(registry, "tiny", 1 << 30, 1, &plan), DGQ_INVALID);
  EXPECT_EQ(dgq_plan_memory(registry, "tiny", 32, SIZE_MAX, &plan), DGQ_INVALID);
  std::size_t length = 0;
  EXPECT_EQ(dgq_kernel_report(nullptr, 0, &length), DGQ_TOO_SMALL);
  std::string report(length + 1, 'x');
  ASSERT_DGQ_OK(dgq_kernel_report(report.data(), report.size(), &length));
  report.resize(length);
  EXPECT_TRUE(parse_json(report, "report")->contains("kernels"));
  EXPECT_EQ(dgq_abi_version(), static_cast<std::uint32_t>(DGQ_ABI_VERSION));
}

TEST_F(CApi, TextBothWays) {
  const std::string text = "ab \xc3\xa9";
  const auto tokens = tokens_of(text);
  std::size_t length = 0;
  char exact[6];  // 5 bytes and the zero
  EXPECT_EQ(dgq_detokenize(model, tokens.data(), tokens.size(), exact, 5, &length), DGQ_TOO_SMALL);
  EXPECT_EQ(length, 5u);
  ASSERT_DGQ_OK(dgq_detokenize(model, tokens.data(), tokens.size(), exact, sizeof exact, &length));
  EXPECT_EQ(exact, text);
  std::size_t count = 0;
  EXPECT_EQ(dgq_tokenize(model, "\xff", 1, 1, nullptr, 0, &count), DGQ_INVALID);
}

TEST_F(CApi, ASavedSessionGoesOnWithTheSameBits) {
  const auto tokens = tokens_of("a sequence of some length, so that blocks are full");
  const std::string file = at("saved");
  EXPECT_EQ(dgq_session_save(session, file.c_str()), DGQ_INVALID);  // nothing there
  ASSERT_DGQ_OK(dgq_session_prefill(session, tokens.data(), tokens.size()));
  ASSERT_DGQ_OK(dgq_session_save(session, file.c_str()));
  ASSERT_DGQ_OK(dgq_session_decode(session, 7));
  dgq_session* other = nullptr;
  ASSERT_DGQ_OK(dgq_session_open(model, tokens.size() + 1, &other));
  ASSERT_DGQ_OK(dgq_session_load(other, file.c_str()));
  EXPECT_DGQ_OK(dgq_session_decode(other, 7));
  EXPECT_EQ(logits_of(other), logits_of(session));

  // What is damaged or does not fit leaves the session as it was.
  const auto before = logits_of(other);
  std::string bytes = file_text(file);
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{9}, std::size_t{60}, bytes.size() / 2, bytes.size() - 1}) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 4);
    write_text(file, flipped);
    EXPECT_NE(dgq_session_load(other, file.c_str()), DGQ_OK) << at;
  }
  for (std::size_t length = 0; length < bytes.size(); length += 501) {
    write_text(file, bytes.substr(0, length));
    EXPECT_EQ(dgq_session_load(other, file.c_str()), DGQ_CORRUPT) << length;
  }
  write_text(file, bytes);
  dgq_session* small = nullptr;
  ASSERT_DGQ_OK(dgq_session_open(model, 4, &small));
  EXPECT_EQ(dgq_session_load(small, file.c_str()), DGQ_INVALID);
  EXPECT_EQ(dgq_session_load(other, at("nowhere").c_str()), DGQ_NOT_FOUND);
  EXPECT_EQ(logits_of(other), before);
  EXPECT_DGQ_OK(dgq_session_close(other));
  EXPECT_DGQ_OK(dgq_session_close(small));
}

using Call = std::function<dgq_status()>;

// Every function with these handles and otherwise good arguments.
std::vector<Call> calls_with(dgq_registry* r, dgq_model* m, dgq_session* s) {
  static std::int32_t tokens[4] = {1, 2, 3, 4};
  static float floats[4096];
  static char text[64];
  static std::size_t n;
  static auto model_info = sized<dgq_model_info>();
  static auto linear_info = sized<dgq_linear_info>();
  static auto plan = sized<dgq_memory_plan>();
  static dgq_model* model;
  static dgq_session* session;
  return {[=] { return dgq_model_open(r, "tiny", nullptr, &model); },
          [=] { return dgq_plan_memory(r, "tiny", 8, 1, &plan); },
          [=] { return dgq_model_get_info(m, &model_info); },
          [=] { return dgq_linear_count(m, &n); },
          [=] { return dgq_linear_get_info(m, 0, &linear_info); },
          [=] { return dgq_linear_find(m, "lm_head", &n); },
          [=] { return dgq_linear_matmul(m, 1, floats, 1, floats + 2048); },
          [=] { return dgq_tokenize(m, "a", 1, 1, tokens, 4, &n); },
          [=] { return dgq_detokenize(m, tokens, 1, text, sizeof text, &n); },
          [=] { return dgq_session_open(m, 8, &session); },
          [=] { return dgq_session_prefill(s, tokens, 4); },
          [=] { return dgq_session_decode(s, 1); },
          [=] { return dgq_session_logits(s, floats, 4096, &n); },
          [=] { return dgq_session_position(s, &n); },
          [=] { return dgq_session_sample(s, nullptr, tokens); },
          [=] { return dgq_generate(s, "a", nullptr, nullptr, nullptr, nullptr); },
          [=] { return dgq_session_save(s, "/nonexistent/x"); },
          [=] { return dgq_session_load(s, "/nonexistent/x"); },
          [=] { return dgq_session_reset(s); },
          [=] { return dgq_session_close(s); },
          [=] { return dgq_model_close(m); },
          [=] { return dgq_registry_close(r); }};
}

TEST_F(CApi, BadHandlesAreRefused) {
  for (const Call& call : calls_with(nullptr, nullptr, nullptr)) EXPECT_EQ(call(), DGQ_BAD_HANDLE);
  const auto as = [](auto* handle, auto* like) { return reinterpret_cast<decltype(like)>(handle); };
  for (const Call& call : calls_with(as(model, registry), as(session, model), as(registry, session)))
    EXPECT_EQ(call(), DGQ_BAD_HANDLE);
  for (const Call& call : calls_with(as(&registry, registry), as(&model, model), as(&session, session)))
    EXPECT_EQ(call(), DGQ_BAD_HANDLE);
  EXPECT_DGQ_OK(dgq_session_close(session));
  EXPECT_DGQ_OK(dgq_model_close(model));
  EXPECT_DGQ_OK(dgq_registry_close(registry));
  for (const Call& call : calls_with(registry, model, session)) EXPECT_EQ(call(), DGQ_BAD_HANDLE);
  EXPECT_STRNE(dgq_last_error(), "");
}

TEST_F(CApi, BadArgumentsAreRefused) {
  std::size_t n = 0;
  std::int32_t token = 0;
  float value = 0;
  char text[8];
  dgq_model* other = nullptr;
  dgq_model_info info{};  // size 0
  dgq_model_options options{sizeof options, -1, nullptr, nullptr};
  EXPECT_EQ(dgq_registry_open(at("r.db").c_str(), nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_registry_open(at("none.db").c_str(), &registry), DGQ_NOT_FOUND);
  EXPECT_EQ(dgq_registry_open(at("model/config.json").c_str(), &registry), DGQ_CORRUPT);
  EXPECT_EQ(dgq_model_open(registry, nullptr, nullptr, &other), DGQ_INVALID);
  EXPECT_EQ(dgq_model_open(registry, "tiny", nullptr, nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_model_open(registry, "other", nullptr, &other), DGQ_NOT_FOUND);
  EXPECT_EQ(dgq_model_open(registry, "tiny", &options, &other), DGQ_INVALID);
  options = {sizeof options, 0, nullptr, "abacus"};
  EXPECT_EQ(dgq_model_open(registry, "tiny", &options, &other), DGQ_INVALID);
  EXPECT_EQ(other, nullptr);
  EXPECT_EQ(dgq_model_get_info(model, nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_model_get_info(model, &info), DGQ_INVALID);
  EXPECT_EQ(dgq_linear_count(model, nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_linear_find(model, "layers.9.q_proj", &n), DGQ_NOT_FOUND);
  EXPECT_EQ(dgq_linear_find(model, nullptr, &n), DGQ_INVALID);
  EXPECT_EQ(dgq_linear_matmul(model, 99, &value, 1, &value), DGQ_INVALID);
  EXPECT_EQ(dgq_linear_matmul(model, 0, nullptr, 1, &value), DGQ_INVALID);
  EXPECT_EQ(dgq_linear_matmul(model, 0, &value, 0, &value), DGQ_INVALID);
  EXPECT_EQ(dgq_linear_matmul(model, 0, &value, SIZE_MAX, &value), DGQ_INVALID);
  EXPECT_EQ(dgq_tokenize(model, nullptr, 1, 1, &token, 1, &n), DGQ_INVALID);
  EXPECT_EQ(dgq_tokenize(model, "a", 1, 1, &token, 1, nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_detokenize(model, nullptr, 1, text, sizeof text, &n), DGQ_INVALID);
  EXPECT_EQ(dgq_session_open(model, 1 << 30, &session), DGQ_INVALID);
  EXPECT_EQ(dgq_session_prefill(session, nullptr, 1), DGQ_INVALID);
  EXPECT_EQ(dgq_session_prefill(session, &token, 0), DGQ_INVALID);
  EXPECT_EQ(dgq_session_decode(session, -1), DGQ_INVALID);
  EXPECT_EQ(dgq_session_logits(session, &value, 1, &n), DGQ_INVALID);  // no token yet
  EXPECT_EQ(dgq_generate(session, nullptr, nullptr, nullptr, nullptr, nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_generate(session, "\xff", nullptr, nullptr, nullptr, nullptr), DGQ_INVALID);
  EXPECT_EQ(dgq_session_save(session, nullptr), DGQ_INVALID);
  dgq_sampling sampling;
  dgq_sampling_defaults(&sampling);
  sampling.top_p = 2;
  EXPECT_DGQ_OK(dgq_session_decode(session, 1));
  EXPECT_EQ(dgq_session_sample(session, &sampling, &token), DGQ_INVALID);
  std::size_t position = 0;
  EXPECT_DGQ_OK(dgq_session_position(session, &position));
  EXPECT_EQ(position, 1u);  // nothing but the one decode changed it
}

TEST_F(CApi, VersionsForLlamaCppOnlyAreRefused) {
  write_text(*folder / "gpt2.gguf", tiny_gpt2().bytes());
  const Outcome made = run_dgq("quantize " + at("gpt2.gguf") + " --name gpt2 --registry " + at("r.db"));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const auto said = [] { return std::string(dgq_last_error()); };
  const std::string words = "write a file for it with dgq export gguf";
  dgq_model_options options{sizeof options, 2, nullptr, nullptr};
  dgq_model* opened = nullptr;
  EXPECT_EQ(dgq_model_open(registry, "gpt2", &options, &opened), DGQ_UNSUPPORTED);
  EXPECT_NE(said().find(words), std::string::npos) << said();
  auto plan = sized<dgq_memory_plan>();
  EXPECT_EQ(dgq_plan_memory(registry, "gpt2", 32, 1, &plan), DGQ_UNSUPPORTED);
  EXPECT_NE(said().find(words), std::string::npos) << said();
}

TEST_F(CApi, ASessionOutlivesWhatItCameFrom) {
  EXPECT_DGQ_OK(dgq_registry_close(registry));
  EXPECT_DGQ_OK(dgq_model_close(model));
  EXPECT_DGQ_OK(dgq_generate(session, "ab", nullptr, nullptr, nullptr, nullptr));
}

TEST_F(CApi, ThreadsSideBySide) {
  constexpr int kThreads = 4;
  std::vector<Heard> heard(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      dgq_session* own = nullptr;
      EXPECT_DGQ_OK(dgq_session_open(model, 64, &own));
      dgq_generation generation;
      dgq_generation_defaults(&generation);
      generation.max_tokens = 12;
      EXPECT_DGQ_OK(dgq_generate(own, "ab", &generation, hear, &heard[static_cast<std::size_t>(i)], nullptr));
      EXPECT_DGQ_OK(dgq_session_close(own));
      EXPECT_DGQ_OK(dgq_session_decode(session, 1));  // all on one
      std::vector<float> x(4096), y(8192);
      EXPECT_DGQ_OK(dgq_linear_matmul(model, 1, x.data(), 1, y.data()));
      EXPECT_EQ(dgq_session_decode(nullptr, 1), DGQ_BAD_HANDLE);
    });
  for (std::thread& thread : threads) thread.join();
  for (const Heard& one : heard) EXPECT_EQ(one.tokens, heard[0].tokens);
  std::size_t position = 0;
  EXPECT_DGQ_OK(dgq_session_position(session, &position));
  EXPECT_EQ(position, static_cast<std::size_t>(kThreads));
}

TEST_F(CApi, ClosingWhileACallRuns) {
  std::thread other([&] {
    while (dgq_session_decode(session, 1) == DGQ_OK) {
    }
  });
  dgq_session_close(session);
  other.join();
}

}  // namespace
}  // namespace dgq::test

// tests/agent/served_synthetic.h - engines on the synthetic model, and sinks that remember.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "agent/engine.h"
#include "runtime/session.h"
#include "tests/runtime/synthetic.h"

namespace dgq::agent::test {

inline Kernels best_kernels() { return *select_kernels(""); }

// What one request got. Can stop its engine at one of its tokens.
class Recorder : public TokenSink {
 public:
  void begin(std::size_t cached) override { cached_ = cached; }
  bool token(const GeneratedToken& token) override {
    std::unique_lock lock(mutex_);
    tokens_.push_back(token);
    changed_.notify_all();
    changed_.wait(lock, [&] { return tokens_.size() != pause_at_; });
    return tokens_.size() < enough_;
  }
  void end(Finish finish, const std::string& why) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(finish_) << "ended twice";
    finish_ = finish;
    why_ = why;
    changed_.notify_all();
  }

  // The engine waits inside this token (counted from 1) until another call names a later one, or none.
  void pause_at(std::size_t token) {
    const std::lock_guard lock(mutex_);
    pause_at_ = token;
    changed_.notify_all();
  }
  void resume() { pause_at(0); }
  void stop_after(std::size_t tokens) { enough_ = tokens; }  // before it is submitted
  void wait_for_tokens(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tokens_.size() >= count; });
  }
  Finish wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return finish_.has_value(); });
    return *finish_;
  }
  bool ended() {
    const std::lock_guard lock(mutex_);
    return finish_.has_value();
  }
  std::vector<GeneratedToken> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::vector<std::int32_t> ids() {
    std::vector<std::int32_t> ids;
    for (const GeneratedToken& token : tokens()) ids.push_back(token.id);
    return ids;
  }
  std::size_t cached() const { return cached_; }
  std::string why() {
    const std::lock_guard lock(mutex_);
    return why_;
  }

 private:
  std::atomic<std::size_t> cached_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GeneratedToken> tokens_;
  std::optional<Finish> finish_;
  std::string why_;
  std::size_t pause_at_ = 0, enough_ = SIZE_MAX;
};

struct SyntheticEngine {
  explicit SyntheticEngine(std::size_t slots, std::size_t queue = 64, std::size_t prefill_rows = 4,
                           std::size_t context = 128, ModelConfig config = dgq::test::small_config(),
                           int threads = 1, std::shared_ptr<PrefixCache> prefix_cache = {})
      : model(config, true),
        engine(std::make_unique<Engine>(
            model.config, model.weights, Decoder(model.config, best_kernels(), threads),
            EngineOptions{*plan_kv(model.config, KvType::int8, context, slots, UINT64_MAX), queue,
                          prefill_rows, std::move(prefix_cache)})) {}

  // The request alone, token by token.
  std::vector<std::int32_t> expected(const Generation& request) {
    Decoder decoder(model.config, best_kernels(), 1);
    Session session(model.config, model.weights, decoder, 512, KvType::int8);
    Sampler sampler(request.sampling);
    std::vector<std::int32_t> tokens = request.prompt;
    EXPECT_TRUE(session.append(tokens));
    for (std::size_t i = 0; i < request.max_tokens; ++i) {
      EXPECT_TRUE(i == 0 || session.append(tokens.back()));
      tokens.push_back(*sampler.sample(session.logits(), tokens));
    }
    return {tokens.begin() + static_cast<std::ptrdiff_t>(request.prompt.size()), tokens.end()};
  }

  dgq::test::SyntheticModel model;
  std::unique_ptr<Engine> engine;
};

inline Generation request_of(std::size_t prompt_tokens, std::size_t max_tokens, int salt = 0) {
  Generation request{{}, max_tokens, {}, false, {}};
  for (std::size_t i = 0; i < prompt_tokens; ++i)
    request.prompt.push_back(
        static_cast<std::int32_t>((i * 37 + i * i * 11 + static_cast<std::size_t>(salt)) % 301));
  request.sampling.temperature = 1;
  request.sampling.seed = static_cast<std::uint64_t>(salt);
  return request;
}

}  // namespace dgq::agent::test

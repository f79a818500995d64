// Many sequences at once: the same tokens as alone, turns, limits, and ends of every kind.
#include "agent/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/agent/served_synthetic.h"

namespace dgq::agent {
namespace {

using test::Recorder;
using test::request_of;
using test::SyntheticEngine;
using namespace std::chrono_literals;

constexpr auto kLong = 10min;  // on any machine

std::shared_ptr<Recorder> submit(Engine& engine, const Generation& request) {
  auto sink = std::make_shared<Recorder>();
  const auto id = engine.submit(request, sink);
  EXPECT_TRUE(id) << id.error().what;
  return sink;
}

// Prompts of many lengths that come while others run: slices of prompts beside running sequences, slots that
// are used again.
TEST(Engine, ManySequencesGetTheTokensThatEachGetsAlone) {
  for (const int threads : {1, 2}) {
    SyntheticEngine served(3, 64, 4, 128, dgq::test::small_config(), threads);
    std::vector<Generation> requests;
    std::vector<std::shared_ptr<Recorder>> sinks;
    for (int i = 0; i < 14; ++i)
      requests.push_back(
          request_of(1 + static_cast<std::size_t>(i * 7 % 40), 5 + static_cast<std::size_t>(i % 5) * 6, i));
    for (const Generation& request : requests) {
      sinks.push_back(submit(*served.engine, request));
      if (sinks.size() % 4 == 0) sinks[sinks.size() - 4]->wait_for_tokens(3);
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(sinks[i]->wait(), Finish::length);
      EXPECT_EQ(sinks[i]->ids(), served.expected(requests[i]))
          << "request " << i << ", " << threads << " threads";
    }
    ASSERT_TRUE(served.engine->drain(kLong));
    const EngineStats stats = served.engine->stats();
    std::size_t prompt = 0, predicted = 0;
    for (const Generation& request : requests)
      prompt += request.prompt.size(), predicted += request.max_tokens;
    EXPECT_EQ(stats.prompt_tokens, prompt);
    EXPECT_EQ(stats.predicted_tokens, predicted);
    EXPECT_EQ(stats.finished[static_cast<int>(Finish::length)], requests.size());
    EXPECT_GT(stats.busy_slots, stats.steps);  // they did run together
    EXPECT_LE(stats.busy_slots, 3 * stats.steps);
    EXPECT_EQ(stats.processing + stats.waiting, 0u);
  }
}

// While one sequence generates, the prompts of two others go on in turns of 4 rows, and every step has a row
// of the first.
TEST(Engine, PromptsTakeTurnsBesideRunningSequences) {
  SyntheticEngine served(3);
  const auto running = std::make_shared<Recorder>(), short_prompt = std::make_shared<Recorder>();
  running->pause_at(1);
  short_prompt->pause_at(1);
  ASSERT_TRUE(served.engine->submit(request_of(2, 100), running));
  running->wait_for_tokens(1);
  const auto long_prompt = submit(*served.engine, request_of(80, 1, 1));
  ASSERT_TRUE(served.engine->submit(request_of(8, 1, 2), short_prompt));
  running->resume();
  short_prompt->wait_for_tokens(1);
  EXPECT_FALSE(long_prompt->ended());
  EXPECT_EQ(running->ids().size(), 5u);  // long, short, long, short
  short_prompt->resume();
  EXPECT_EQ(long_prompt->wait(), Finish::length);
  EXPECT_EQ(running->wait(), Finish::length);
  EXPECT_EQ(running->ids(), served.expected(request_of(2, 100)));
  EXPECT_EQ(long_prompt->ids(), served.expected(request_of(80, 1, 1)));
  // 1 for the first prompt, then one token of it per step; 20 + 2 of them had a slice as well.
  EXPECT_EQ(served.engine->stats().steps, 100u);
  EXPECT_EQ(served.engine->stats().busy_slots, 100u + 20 + 2);
}

TEST(Engine, ACancelledSequenceFreesItsSlotForTheNext) {
  SyntheticEngine served(1);
  const auto first = std::make_shared<Recorder>(), third = std::make_shared<Recorder>();
  first->pause_at(1);
  const auto first_id = served.engine->submit(request_of(3, 100), first);
  ASSERT_TRUE(first_id);
  first->wait_for_tokens(1);
  const auto second = submit(*served.engine, request_of(3, 2, 1));
  const auto third_id = served.engine->submit(request_of(3, 2, 2), third);
  ASSERT_TRUE(third_id);
  EXPECT_EQ(served.engine->stats().waiting, 2u);
  served.engine->cancel(*third_id);  // while it waits
  served.engine->cancel(*first_id);
  served.engine->cancel(12345);  // nobody
  first->resume();
  EXPECT_EQ(first->wait(), Finish::cancelled);
  EXPECT_EQ(first->ids().size(), 1u);
  EXPECT_EQ(third->wait(), Finish::cancelled);
  EXPECT_TRUE(third->ids().empty());
  EXPECT_EQ(second->wait(), Finish::length);
  EXPECT_EQ(second->ids(), served.expected(request_of(3, 2, 1)));
  served.engine->cancel(*first_id);  // ended already
  ASSERT_TRUE(served.engine->drain(kLong));
  EXPECT_EQ(served.engine->stats().finished[static_cast<int>(Finish::cancelled)], 2u);
}

TEST(Engine, APromptCanBeCancelledBetweenItsSlices) {
  SyntheticEngine served(2);
  const auto running = std::make_shared<Recorder>(), prompt = std::make_shared<Recorder>();
  running->pause_at(1);
  ASSERT_TRUE(served.engine->submit(request_of(2, 10), running));
  running->wait_for_tokens(1);
  const auto id = served.engine->submit(request_of(100, 5, 1), prompt);
  running->pause_at(3);
  running->wait_for_tokens(3);  // two of the prompt's 25 slices are done
  served.engine->cancel(*id);
  running->resume();
  EXPECT_EQ(prompt->wait(), Finish::cancelled);
  EXPECT_TRUE(prompt->ids().empty());
  EXPECT_EQ(running->wait(), Finish::length);
  EXPECT_EQ(running->ids(), served.expected(request_of(2, 10)));
}

TEST(Engine, AFullQueueIsBusy) {
  SyntheticEngine served(1, 2);
  const auto running = std::make_shared<Recorder>();
  running->pause_at(1);
  ASSERT_TRUE(served.engine->submit(request_of(2, 3), running));
  running->wait_for_tokens(1);
  const auto a = submit(*served.engine, request_of(2, 3, 1)), b = submit(*served.engine, request_of(2, 3, 2));
  const auto refused = served.engine->submit(request_of(2, 3, 3), std::make_shared<Recorder>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  EXPECT_NE(refused.error().what.find("2 requests wait"), std::string::npos) << refused.error().what;
  EXPECT_EQ(served.engine->stats().refused, 1u);
  running->resume();
  EXPECT_EQ(a->wait(), Finish::length);
  EXPECT_EQ(b->wait(), Finish::length);
}

TEST(Engine, DrainEndsWhatIsThereAndTakesNothingNew) {
  SyntheticEngine served(1);
  const auto running = std::make_shared<Recorder>();
  running->pause_at(1);
  ASSERT_TRUE(served.engine->submit(request_of(2, 3), running));
  const auto waiting = submit(*served.engine, request_of(2, 3, 1));
  EXPECT_FALSE(served.engine->drain(1ms));
  EXPECT_TRUE(served.engine->draining());
  const auto refused = served.engine->submit(request_of(2, 3), std::make_shared<Recorder>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::busy);
  running->resume();
  EXPECT_TRUE(served.engine->drain(kLong));
  EXPECT_TRUE(running->ended());
  EXPECT_TRUE(waiting->ended());
  EXPECT_EQ(waiting->wait(), Finish::length);
}

TEST(Engine, DestroyedItEndsWhatRunsAndWaits) {
  std::vector<std::shared_ptr<Recorder>> sinks;
  {
    SyntheticEngine served(1);
    for (int i = 0; i < 5; ++i) sinks.push_back(submit(*served.engine, request_of(2, 120, i)));
    sinks[0]->wait_for_tokens(1);
  }
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink->ended());
    EXPECT_EQ(sink.use_count(), 1);
  }
}

TEST(Engine, EndsAtTheEndTokenAtTheContextAndWhenTheSinkHasEnough) {
  ModelConfig config = dgq::test::small_config();
  SyntheticEngine plain(1, 64, 4, 20);
  const std::vector<std::int32_t> all = plain.expected(request_of(6, 15));
  const auto full = submit(*plain.engine, request_of(6, 100));
  EXPECT_EQ(full->wait(), Finish::length);
  EXPECT_EQ(full->ids(), all);  // 6 + 15 tokens, of which the last needs no place among 20
  const auto last_place = submit(*plain.engine, request_of(20, 100));
  EXPECT_EQ(last_place->wait(), Finish::length);
  EXPECT_EQ(last_place->ids().size(), 1u);

  const auto enough = std::make_shared<Recorder>();
  enough->stop_after(4);
  ASSERT_TRUE(plain.engine->submit(request_of(6, 15), enough));
  EXPECT_EQ(enough->wait(), Finish::enough);
  EXPECT_EQ(enough->ids(), std::vector(all.begin(), all.begin() + 4));

  config.eos = {300, all[5]};
  const auto first = static_cast<std::size_t>(std::find(all.begin(), all.end(), all[5]) - all.begin());
  SyntheticEngine ending(1, 64, 4, 20, config);
  Generation request = request_of(6, 15);
  const auto ignored = submit(*ending.engine, request);
  request.stop_at_eos = true;
  const auto ended = submit(*ending.engine, request);
  EXPECT_EQ(ignored->wait(), Finish::length);
  EXPECT_EQ(ignored->ids(), all);
  EXPECT_EQ(ended->wait(), Finish::eos);
  EXPECT_EQ(ended->ids(), std::vector(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first)));
}

TEST(Engine, LogprobsAreTheModelsAndComeSorted) {
  SyntheticEngine served(2);
  Generation request = request_of(5, 4);
  request.logprobs = 301;
  const auto sink = submit(*served.engine, request);
  EXPECT_EQ(sink->wait(), Finish::length);
  EXPECT_EQ(sink->ids(), served.expected(request));
  for (const GeneratedToken& token : sink->tokens()) {
    ASSERT_EQ(token.top.size(), 301u);
    double sum = 0;
    for (std::size_t i = 0; i < token.top.size(); ++i) {
      sum += std::exp(token.top[i].logprob);
      EXPECT_TRUE(i == 0 || token.top[i - 1].logprob >= token.top[i].logprob);
      EXPECT_TRUE(token.top[i].id != token.id || token.top[i].logprob == token.logprob);
    }
    EXPECT_NEAR(sum, 1, 1e-9);
  }
}

TEST(Engine, RequestsThatCannotRunAreRefused) {
  SyntheticEngine served(1, 64, 4, 20);
  const auto refused = [&](Generation request, const char* expected) {
    const auto id = served.engine->submit(std::move(request), std::make_shared<Recorder>());
    ASSERT_FALSE(id);
    EXPECT_EQ(id.error().code, Errc::invalid);
    EXPECT_NE(id.error().what.find(expected), std::string::npos) << id.error().what;
  };
  refused(request_of(0, 1), "empty");
  refused(request_of(21, 1), "21 tokens");
  refused(request_of(2, 0), "no token");
  Generation outside = request_of(2, 1), hot = outside;
  outside.prompt[1] = 301;
  refused(outside, "301");
  hot.sampling.temperature = std::numeric_limits<float>::quiet_NaN();
  refused(hot, "temperature");
}

// A sink that throws, as one without memory does, ends its own sequence only.
TEST(Engine, ASinkThatThrowsFailsAlone) {
  struct Thrower : Recorder {
    bool token(const GeneratedToken&) override { throw std::bad_alloc(); }
  };
  SyntheticEngine served(2);
  const auto thrower = std::make_shared<Thrower>();
  const auto other = submit(*served.engine, request_of(4, 20, 1));
  ASSERT_TRUE(served.engine->submit(request_of(4, 20), thrower));
  EXPECT_EQ(thrower->wait(), Finish::failed);
  EXPECT_FALSE(thrower->why().empty());
  EXPECT_EQ(other->wait(), Finish::length);
  EXPECT_EQ(other->ids(), served.expected(request_of(4, 20, 1)));
}

TEST(Engine, LogitsThatAreNoNumbersFailTheRequest) {
  SyntheticEngine served(1);
  // Of the borrowed weights, before anything runs.
  const std::vector<float> broken(served.model.config.hidden, std::numeric_limits<float>::quiet_NaN());
  served.model.weights.final_norm = broken.data();
  const auto sink = submit(*served.engine, request_of(3, 3));
  EXPECT_EQ(sink->wait(), Finish::failed);
  EXPECT_NE(sink->why().find("logits"), std::string::npos) << sink->why();
}

TEST(KvPlan, SlotsComeFromTheBudget) {
  const ModelConfig config = dgq::test::small_config();
  const std::size_t bytes = KvCache(config, 100, KvType::int8).bytes();
  EXPECT_EQ(plan_kv(config, KvType::int8, 100, 8, 3 * bytes + 1)->slots, 3u);
  EXPECT_EQ(plan_kv(config, KvType::int8, 100, 8, 1000 * bytes)->slots, 8u);
  EXPECT_EQ(plan_kv(config, KvType::int8, 100, 8, 3 * bytes)->bytes_per_slot, bytes);
  const auto none = plan_kv(config, KvType::int8, 100, 8, bytes - 1);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().what.find(std::to_string(bytes)), std::string::npos) << none.error().what;
}

}  // namespace
}  // namespace dgq::agent

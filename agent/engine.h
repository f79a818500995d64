// agent/engine.h - continuous batching: many sequences of one model share every forward step.
//
// One thread owns decoder, KV caches and samplers. A step has one row of each sequence that is generating,
// and a slice of one prompt; prompts take turns, slice by slice, so that a long one delays neither running
// streams nor short prompts by much:
//
//   submit -> waiting (bounded, first come first served) -> slot: prompt, slice by slice -> one token per step -> end
//
// What a sequence generates are the bits that it would generate alone (runtime/decoder.h).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/kv_plan.h"
#include "agent/prefix_cache.h"
#include "base/result.h"
#include "runtime/decoder.h"
#include "runtime/json_constraint.h"
#include "runtime/sampler.h"

namespace dgq::agent {

struct Generation {
  std::vector<std::int32_t> prompt;
  std::size_t max_tokens;  // >= 1
  SamplerOptions sampling;
  bool stop_at_eos = true;
  std::optional<std::size_t> logprobs;      // report each token's probability, and those of so many likeliest
  std::vector<std::int32_t> more_eos = {};  // end the text as the config's eos do
  std::shared_ptr<JsonConstraint> constraint = {};  // of this answer alone; then eos always end the text
  bool cache_prompt = true;  // false: nothing of it comes from the prefix cache, nor goes there
};

struct TokenProbability {
  std::int32_t id;
  double logprob;  // natural logarithm, of the model: before penalty, temperature and cuts
};
struct GeneratedToken {
  std::int32_t id;
  double logprob;                     // 0 unless Generation::logprobs
  std::vector<TokenProbability> top;  // likeliest first; equal ones by id
};

enum class Finish {
  eos,        // the model ended the text, or it is whole by the constraint
  enough,     // the sink wanted no more
  length,     // max_tokens, or the slot's context is full; a constraint has had to hurry for it
  cancelled,  // by cancel(), or the engine shut down
  failed,     // `why` says what broke
};
const char* to_text(Finish finish);

// Where the tokens of one request go. Called by the engine's thread only: must not block, nor call the
// engine.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void begin(std::size_t /*cached*/) {
  }  // once, before its prompt: tokens of it that the prefix cache held
  virtual bool token(const GeneratedToken& token) = 0;          // false: enough, end the sequence
  virtual void end(Finish finish, const std::string& why) = 0;  // once, last; why: empty unless failed
};

struct EngineOptions {
  KvPlan kv;
  std::size_t queue = 64;         // requests that wait for a slot at most
  std::size_t prefill_rows = 16;  // rows of a prompt in a step that running sequences share, >= 1
  std::shared_ptr<PrefixCache> prefix_cache = {};  // null: every prompt is computed from its first token
};

// Counts since the start.
struct EngineStats {
  std::uint64_t prompt_tokens = 0, predicted_tokens = 0;  // computed: without those of the prefix cache
  double prompt_s = 0, predicted_s = 0;                   // time of steps, shared out by rows
  std::uint64_t steps = 0, busy_slots = 0;  // busy_slots: sum over the steps of sequences with a row in it
  std::uint64_t most_tokens = 0;            // of one sequence, prompt included
  std::array<std::uint64_t, 5> finished{};  // by Finish
  std::uint64_t refused = 0;                // the queue was full
  std::size_t processing = 0, waiting = 0;  // now
};

using RequestId = std::uint64_t;

// Every member is thread-safe, but only one thread may destroy it: what has not ended by then is cancelled.
class Engine {
 public:
  // Borrows config and weights. decoder: made for them.
  Engine(const ModelConfig& config, const ModelWeights& weights, Decoder decoder,
         const EngineOptions& options);
  ~Engine();

  // The sink is let go after its end(). invalid: an empty prompt, a token outside the vocabulary, a prompt
  // that leaves the context no room, sampling out of range, a constraint that may need more tokens than there may be; busy: the queue is full, or the engine drains.
  Result<RequestId> submit(Generation request, std::shared_ptr<TokenSink> sink);

  // Its slot is free before the next step. Ignored when it has ended already.
  void cancel(RequestId id);

  // Takes no more requests, and waits until those that are there have ended. False: `patience` ran out first.
  bool drain(std::chrono::milliseconds patience);
  bool draining() const;

  // Whether its thread comes round, between two steps, within that time.
  bool answers(std::chrono::milliseconds patience);

  EngineStats stats() const;
  const EngineOptions& options() const;

 private:
  class Scheduler;
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace dgq::agent

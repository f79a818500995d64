// agent/health_check.h - what a version must do before it serves: known logits, a text that it still predicts, limits of time
// and memory. docs/AGENT.md has the JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "runtime/kv_cache.h"
#include "runtime/model.h"
#include "runtime/tokenizer.h"

namespace dgq::agent {

struct HealthCheck {
  struct Prompt {
    std::string text;
    std::optional<Digest> logits;  // hash_logits() with the int8 KV cache; none: logits must be finite
  };
  struct Canary {
    std::string text;
    std::size_t context;  // tokens of a window
    double limit;         // perplexity at most
  };
  std::vector<Prompt> prompts;
  std::optional<Canary> perplexity;
  std::optional<double> first_token_ms, token_ms;
  std::optional<std::uint64_t>
      memory_bytes;  // of the process that loads and checks it, files that it maps included
};

// invalid: a member that is missing, wrong or unknown.
Result<HealthCheck> read_health_check(const Json& json);

// What was found, whatever was asked.
struct Health {
  double first_token_ms = 0, token_ms = 0;
  std::uint64_t memory_bytes = 0;
};
// All of the checks. Without any prompt, some tokens must have finite logits. corrupt: the first thing that is not as it must be.
Result<Health> run_health_checks(const Model& model, const Tokenizer& tokenizer, int threads,
                                 const std::vector<HealthCheck>& checks);

}  // namespace dgq::agent

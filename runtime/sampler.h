// runtime/sampler.h - the next token from logits.
//
// In this order:
//   1. repetition penalty (CTRL, arXiv 1909.05858, section 4.1, in the form for logits of either sign): of every token
//      among the last `repetition_window` of the history, x > 0 becomes x / penalty, x <= 0 becomes x * penalty
//   2. temperature 0: the largest x, done
//   3. top-k: only the k largest x; then x = (x - max) / temperature
//   4. softmax over what is left
//   5. top-p: only the fewest most likely tokens whose probabilities reach p (nucleus, arXiv 1904.09751)
//   6. min-p: only tokens at least min_p times as likely as the likeliest (arXiv 2407.01082)
//   7. one draw in proportion to what is left
// Equal values count as larger for the lower id. Plain IEEE arithmetic in a fixed order and our own generator: the same
// logits, options and seed give the same tokens on every machine.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"

namespace dgq {

struct SamplerOptions {
  float temperature = 0;                // 0: greedy; up to 100
  std::int32_t top_k = 0;               // 0: off
  float top_p = 1;                      // (0, 1]; 1: off
  float min_p = 0;                      // [0, 1]; 0: off
  float repetition_penalty = 1;         // [0.01, 100]; 1: off
  std::int32_t repetition_window = 64;  // tokens; 0: the whole history
  std::uint64_t seed = 0;
  bool operator==(const SamplerOptions&) const = default;
};

// invalid: names the option that is out of range, and the range.
Result<void> check(const SamplerOptions& options);

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014): 64 bits of state, every
// seed is good, passes BigCrush.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  double next_unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1), 53 bits

 private:
  std::uint64_t state_;
};

// One sequence at a time. Precondition: check(options). Allocates in the first call, afterwards only for more logits.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  // allowed: bit i % 64 of word i / 64 is set for ids that may be chosen; empty: all may.
  // logits: one per id. NaN and -inf are never chosen, +inf counts as the largest float. Ids of the history that have no
  // logit are passed over. corrupt: no logit can be chosen (the model is broken, or there are none).
  Result<std::int32_t> sample(std::span<const float> logits, std::span<const std::int32_t> history,
                              std::span<const std::uint64_t> allowed = {});

 private:
  struct Candidate {
    float value;  // x, then e^x
    std::int32_t id;
  };
  static bool above(const Candidate& a, const Candidate& b) {
    return a.value != b.value ? a.value > b.value : a.id < b.id;
  }
  void penalise(std::span<const float> logits, std::span<const std::int32_t> history);
  template <class Visit>
  void for_each_choice(std::span<const std::uint64_t> allowed, const Visit& visit) const;
  std::optional<std::int32_t> likeliest(std::span<const std::uint64_t> allowed) const;
  void take_all(std::span<const std::uint64_t> allowed);
  void take_top_k(std::span<const std::uint64_t> allowed);
  void keep_top_p();
  void exponentiate(float largest);
  std::int32_t draw();

  SamplerOptions options_;
  SplitMix64 random_;
  std::vector<float> logits_;          // after the penalty
  std::vector<double> block_sums_;     // of draw()
  std::vector<Candidate> candidates_;  // ascending ids until keep_top_p, then descending values
};

}  // namespace dgq

#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "runtime/math.h"

namespace dgq {

Result<void> check(const SamplerOptions& options) {
  const struct {
    const char* name;
    double value, low, high;
    const char* range;
  } limits[] = {
      {"temperature", options.temperature, 0, 100, "from 0 (greedy) to 100"},
      {"top-k", double(options.top_k), 0, INT32_MAX, "0 (off) or more"},
      {"top-p", options.top_p, std::numeric_limits<float>::denorm_min(), 1, "above 0 and at most 1 (off)"},
      {"min-p", options.min_p, 0, 1, "from 0 (off) to 1"},
      {"repetition penalty", options.repetition_penalty, 0.01f, 100, "from 0.01 to 100 (1: off)"},
      {"repetition window", double(options.repetition_window), 0, INT32_MAX, "0 (all) or more"}};
  for (const auto& limit : limits) {
    if (limit.value >= limit.low && limit.value <= limit.high) continue;  // false for NaN
    std::string value = std::to_string(limit.value);
    value.erase(value.find_last_not_of('0') + 1);
    if (value.back() == '.') value.pop_back();
    return Error{Errc::invalid, std::string(limit.name) + " must be " + limit.range + ", not " + value};
  }
  return {};
}

std::uint64_t SplitMix64::next() {
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

// A token that occurs twice is computed twice from the same logit, not penalised twice.
void Sampler::penalise(std::span<const float> logits, std::span<const std::int32_t> history) {
  const auto window = static_cast<std::size_t>(options_.repetition_window);
  if (window > 0 && history.size() > window) history = history.last(window);
  for (const std::int32_t id : history) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits_.size()) continue;
    const float x = logits[id];
    logits_[id] = x > 0 ? x / options_.repetition_penalty : x * options_.repetition_penalty;
  }
}

void Sampler::keep_top_k() {
  const auto k = static_cast<std::size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + (k - 1), candidates_.end(), above);
  candidates_.resize(k);
  // Which order nth_element leaves is the library's business; sums must not depend on it.
  std::sort(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

// A heap, since the nucleus is mostly a small part of the vocabulary: no need to sort the rest.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  double total = 0, reached = 0;
  for (const Candidate& candidate : candidates_) total += candidate.value;
  const auto below = [](const Candidate& a, const Candidate& b) { return above(b, a); };
  std::make_heap(candidates_.begin(), candidates_.end(), below);
  auto kept = candidates_.end();
  do {
    std::pop_heap(candidates_.begin(), kept, below);
    --kept;
    reached += kept->value;
  } while (kept != candidates_.begin() && reached < options_.top_p * total);
  std::reverse(kept, candidates_.end());
  candidates_.erase(candidates_.begin(), kept);
}

std::int32_t Sampler::draw() {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.value;
  const double target = random_.next_unit() * total;
  double reached = 0;
  for (const Candidate& candidate : candidates_) {
    reached += candidate.value;
    if (reached > target) return candidate.id;
  }
  return candidates_.back().id;  // the product was rounded up to total
}

Result<std::int32_t> Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> history,
                                     std::span<const std::uint64_t> allowed) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  logits_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) penalise(logits, history);

  candidates_.clear();
  float largest = -kLargest;
  for (std::size_t i = 0; i < logits_.size(); ++i) {
    if (!allowed.empty() && (i / 64 >= allowed.size() || !(allowed[i / 64] >> i % 64 & 1))) continue;
    const float x = std::min(logits_[i], kLargest);
    if (std::isnan(logits_[i]) || x < -kLargest) continue;
    candidates_.push_back({x, static_cast<std::int32_t>(i)});
    largest = std::max(largest, x);
  }
  if (candidates_.empty())
    return Error{Errc::corrupt, "none of the model's " + std::to_string(logits.size()) +
                                    " logits is a number: its weights or activations are broken"};
  if (options_.temperature == 0) return std::min_element(candidates_.begin(), candidates_.end(), above)->id;

  // With the maximum subtracted first nothing overflows, however small the temperature.
  for (Candidate& candidate : candidates_)
    candidate.value = (candidate.value - largest) / options_.temperature;
  keep_top_k();
  for (Candidate& candidate : candidates_) candidate.value = exp_f32(candidate.value);  // the largest is 1
  keep_top_p();
  if (options_.min_p > 0) std::erase_if(candidates_, [&](const auto& c) { return c.value < options_.min_p; });
  return draw();
}

}  // namespace dgq

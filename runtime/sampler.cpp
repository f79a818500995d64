#include "runtime/sampler.h"

#include <algorithm>
#include <bit>
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

// Calls visit(id, x) for every token that may be chosen, ids ascending.
template <class Visit>
void Sampler::for_each_choice(std::span<const std::uint64_t> allowed, const Visit& visit) const {
  constexpr float kLargest = std::numeric_limits<float>::max();
  const auto run = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      if (logits_[i] >= -kLargest)  // neither NaN nor -inf
        visit(static_cast<std::int32_t>(i), std::min(logits_[i], kLargest));
  };
  if (allowed.empty()) return run(0, logits_.size());
  for (std::size_t word = 0; word < allowed.size(); ++word)
    for (std::uint64_t bits = allowed[word]; bits; bits &= bits - 1) {
      const std::size_t i = 64 * word + static_cast<std::size_t>(std::countr_zero(bits));
      if (i < logits_.size()) run(i, i + 1);
    }
}

std::optional<std::int32_t> Sampler::likeliest(std::span<const std::uint64_t> allowed) const {
  float largest = -std::numeric_limits<float>::infinity();
  std::optional<std::int32_t> best;
  for_each_choice(allowed, [&](std::int32_t id, float x) {
    if (x > largest) largest = x, best = id;
  });
  return best;
}

void Sampler::take_all(std::span<const std::uint64_t> allowed) {
  candidates_.reserve(logits_.size());
  for_each_choice(allowed, [&](std::int32_t id, float x) { candidates_.push_back({x, id}); });
}

// In a heap with the least of them on top, which few of the others get past.
void Sampler::take_top_k(std::span<const std::uint64_t> allowed) {
  const auto k = static_cast<std::size_t>(options_.top_k);
  for_each_choice(allowed, [&](std::int32_t id, float x) {
    if (candidates_.size() == k) {
      if (!(x > candidates_.front().value)) return;  // an equal one before it has the lower id
      std::pop_heap(candidates_.begin(), candidates_.end(), above);
      candidates_.pop_back();
    }
    candidates_.push_back({x, id});
    std::push_heap(candidates_.begin(), candidates_.end(), above);
  });
  // Which order a heap leaves is the library's business; sums must not depend on it.
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

// x to e^((x - largest) / temperature), four at a time. With the maximum subtracted first nothing overflows, however
// small the temperature.
void Sampler::exponentiate(float largest) {
  using F = float __attribute__((vector_size(16)));
  using I = std::int32_t __attribute__((vector_size(16)));
  constexpr std::size_t kWidth = sizeof(F) / sizeof(float);
  std::size_t i = 0;
  for (; i + kWidth <= candidates_.size(); i += kWidth) {
    Candidate* const c = &candidates_[i];
    const F x{c[0].value, c[1].value, c[2].value, c[3].value};
    const F y = exp_f32_of<F, I>((x - largest) / options_.temperature);
    for (std::size_t lane = 0; lane < kWidth; ++lane) c[lane].value = y[lane];
  }
  for (; i < candidates_.size(); ++i)
    candidates_[i].value = exp_f32((candidates_[i].value - largest) / options_.temperature);
}

// Sums of so many candidates each: adding all of a vocabulary one to another would be one long chain.
std::int32_t Sampler::draw() {
  constexpr std::size_t kBlock = 64;
  const auto block_end = [&](std::size_t begin) { return std::min(begin + kBlock, candidates_.size()); };
  block_sums_.clear();
  for (std::size_t begin = 0; begin < candidates_.size(); begin += kBlock) {
    double sum = 0;
    for (std::size_t i = begin; i < block_end(begin); ++i) sum += candidates_[i].value;
    block_sums_.push_back(sum);
  }
  double total = 0;
  for (const double sum : block_sums_) total += sum;
  const double target = random_.next_unit() * total;
  double reached = 0;
  std::size_t block = 0;
  while (block + 1 < block_sums_.size() && reached + block_sums_[block] <= target)
    reached += block_sums_[block++];
  for (std::size_t i = block * kBlock; i < block_end(block * kBlock); ++i) {
    reached += candidates_[i].value;
    if (reached > target) return candidates_[i].id;
  }
  return candidates_[block_end(block * kBlock) - 1].id;  // sums were rounded
}

Result<std::int32_t> Sampler::sample(std::span<const float> logits, std::span<const std::int32_t> history,
                                     std::span<const std::uint64_t> allowed) {
  logits_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) penalise(logits, history);
  const std::optional<std::int32_t> best = likeliest(allowed);
  if (!best)
    return Error{Errc::corrupt, "none of the model's " + std::to_string(logits.size()) +
                                    " logits is a number: its weights or activations are broken"};
  if (options_.temperature == 0) return *best;

  candidates_.clear();
  if (options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < logits_.size())
    take_top_k(allowed);
  else
    take_all(allowed);
  exponentiate(std::min(logits_[static_cast<std::size_t>(*best)], std::numeric_limits<float>::max()));
  keep_top_p();
  if (options_.min_p > 0) std::erase_if(candidates_, [&](const auto& c) { return c.value < options_.min_p; });
  return draw();
}

}  // namespace dgq

#include "runtime/rope.h"

#include <numbers>

#include "runtime/math.h"

namespace dgq {
namespace {

// Wavelengths longer than the original context are stretched by the factor, short ones stay, between them is
// a ramp.
double llama3(double frequency, const RopeScaling& scaling) {
  const auto original = static_cast<double>(scaling.original_max_positions);
  const double turns = original * frequency / (2 * std::numbers::pi);  // over the original context
  if (turns > scaling.high_freq_factor) return frequency;
  if (turns < scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth =
      (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config) {
  std::vector<double> frequencies(config.head_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double frequency =
        pow_f64(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    if (config.rope_scaling.kind == RopeScaling::Kind::linear) frequency /= config.rope_scaling.factor;
    if (config.rope_scaling.kind == RopeScaling::Kind::llama3)
      frequency = llama3(frequency, config.rope_scaling);
    frequencies[i] = frequency;
  }
  return frequencies;
}

void RopeTable::grow(std::size_t positions) {
  const std::size_t half = frequencies_.size();
  std::size_t position = table_.size() / (2 * half);
  if (position >= positions) return;
  table_.resize(positions * 2 * half);
  for (; position < positions; ++position) {
    float* row = &table_[position * 2 * half];
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies_[i];
      row[i] = static_cast<float>(cos_f64(angle));
      row[half + i] = static_cast<float>(sin_f64(angle));
    }
  }
}

}  // namespace dgq

// runtime/compare.h - how far a model's predictions are from another's on a text: what quantization costs.
//
//   KLD(position) = sum over the vocabulary of p(v) * log(p(v) / r(v)),  p of the reference, r of the other model, in nats
//
// Windows as in runtime/perplexity.h. Everything is summed in double and in a fixed order: the same figures for any number
// of threads.
#pragma once

#include <vector>

#include "runtime/perplexity.h"

namespace dgq {

struct ComparedModel {
  const ModelConfig& config;
  const ModelWeights& weights;
  Decoder& decoder;
  KvType kv;
};

// A mean over windows, and its standard error from their spread (0 for one window).
struct WindowMean {
  double mean = 0, standard_error = 0;
};
// Some neighbouring positions of a window: the one after n tokens of it is position n.
struct PositionBin {
  std::size_t first, last;                   // both included, 1..context - 1
  WindowMean kld, nll_reference, nll_other;  // of the windows' means over these positions
};

struct Comparison {
  PerplexityResult reference, other;
  std::vector<PositionBin> positions;  // one by one
  std::vector<PositionBin> bins;       // the same in bins that grow with the position, smoother
  // Of the positions. Standard errors are from the spread of the windows' means; 0 for one window.
  double kld_mean = 0, kld_standard_error = 0, kld_median = 0, kld_99 = 0, kld_max = 0;
  double same_top = 0, same_top_standard_error = 0;  // share of positions with the same most probable token
  // r - p of the reference's most probable token: mean, and root of the mean square.
  double top_shift_mean = 0, top_shift_rms = 0;
};

// What one position contributes.
struct PositionDistance {
  double kld, nll_reference, nll_other;  // nll: of the token that follows
  double top_shift;
  bool same_top;
};
// Logits of both at one position; NaN in kld when one is not finite. Ties for the top go to the lower token.
PositionDistance distance_at(std::span<const float> reference, std::span<const float> other,
                             std::int32_t next);

// Errors: invalid: as perplexity(), or vocabularies of different sizes; corrupt: a logit is not finite (names the window).
Result<Comparison> compare_models(
    const ComparedModel& reference, const ComparedModel& other, std::span<const std::int32_t> tokens,
    std::size_t context, std::size_t windows, int threads,
    const std::function<void(std::size_t done, std::size_t total)>& progress = {});

}  // namespace dgq

#include "quantizer/memory_plan.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/machine_memory.h"
#include "quantizer/calibration.h"

namespace dgq {
namespace {

using Bytes = std::uint64_t;

// What this process has of memory now.
Bytes memory_in_use() {
  std::ifstream statm("/proc/self/statm");
  Bytes size, resident;
  return statm >> size >> resident ? resident * static_cast<Bytes>(::sysconf(_SC_PAGESIZE)) : 0;
}

std::string text_of(Bytes bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) * 1e-6);
  return text;
}

constexpr Bytes kBesides = 3'000'000;        // scratch of threads, code that is loaded when it is first used
constexpr Bytes kStoring = 14'000'000;       // zstd's encoder, SQLite's pages and the chunk at hand
constexpr std::size_t kWeighSequences = 16;  // that weigh-tokens takes at a time
constexpr Bytes kMostForSampling = Bytes{2} << 30;  // more would not be faster

// What steps of the job hold at their peaks, from the sizes of what they allocate. Bytes.
class Needs {
 public:
  Needs(const ModelConfig& config, const Recipe& recipe)
      : c_(config), recipe_(recipe), q_(c_.heads * c_.head_dim), kv_(c_.kv_heads * c_.head_dim) {}

  Bytes hidden(std::size_t tokens) const { return kFloat * tokens * c_.hidden; }
  Bytes table() const { return kFloat * c_.vocab * c_.hidden; }
  Bytes weights() const { return kFloat * parameters(); }  // of a layer
  Bytes coarse() const { return parameters(); }

  // Embedding and head: the table, rounded, packed, and in the blob.
  Bytes end() const { return recipe_.ends == Ends::f32 ? 3 * table() : table() / 4 * 7; }

  // All H of a layer, and the blocks of rows that wait to be added.
  Bytes inputs() const { return squares(kFloat); }
  Bytes blocks() const { return kGramBytes * kGramRows * (2 * c_.hidden + q_ + c_.ffn); }
  // Error feedback: the factor in double, and what stays of it for each group size.
  Bytes feedback() const {
    Bytes most = 0;
    for (const auto& [k, readers] : {std::pair(c_.hidden, 3), {q_, 1}, {c_.hidden, 2}, {c_.ffn, 1}}) {
      const auto formats = static_cast<Bytes>(recipe_.find<AllocateOptions>() ? readers : 1);
      most = std::max<Bytes>(most, (8 + 2 * formats) * k * k);
    }
    return recipe_.find<CompensateOptions>() ? most : 0;
  }
  Bytes collecting() const {
    return weights() + coarse() + inputs() + blocks() + scratch(sequence_length(c_));
  }
  Bytes quantizing() const {
    return weights() + inputs() + feedback() + coarse() + scratch(sequence_length(c_));
  }

  // f32 rows of the graph at work.
  Bytes scratch(std::size_t rows) const {
    return kFloat * rows * (3 * c_.hidden + 2 * q_ + 2 * kv_ + 3 * c_.ffn) +
           2 * kFloat * rows * kv_;  // and the keys and values
  }
  Bytes smoothing(std::size_t tokens) const {
    return table() + hidden(tokens) + weights() + scratch(sequence_length(c_));
  }
  // Forward with every layer's rows, and back: weights and their transposes.
  Bytes backward(std::size_t tokens) const {
    const Bytes rows = (c_.layers + 2) * hidden(tokens);
    const Bytes at_head = 2 * table() + kFloat * sequence_length(c_) * c_.vocab;
    return rows + std::max(at_head, 2 * weights() + 3 * scratch(sequence_length(c_)));
  }
  Bytes allocating(std::size_t tokens) const {
    return std::max(backward(tokens), (c_.layers + 2) * hidden(tokens) + 2 * weights() + inputs() + blocks() +
                                          (8 + 2) * largest_square());
  }
  // The plan, as long as there are layers to make.
  Bytes plan() const {
    const Bytes tokens = recipe_.calibration_tokens,
                points = recipe_.find<WeighOptions>() ? 4 * c_.layers : 0;
    return kFloat * (1 + points) * tokens;
  }
  // Of a layer, without the rows of the calibration text.
  Bytes layer() const { return std::max({table(), collecting(), quantizing()}); }
  // Beside layers that are kept and sequences.
  Bytes sampling() const { return (c_.tied_head ? 1 : 2) * table() + weights() + coarse(); }

 private:
  static constexpr Bytes kFloat = sizeof(float);
  static constexpr Bytes kGramRows = 2048, kGramBytes = 6;  // floats, the same as int8 and packed

  Bytes parameters() const { return c_.hidden * (2 * q_ + 2 * kv_ + 3 * c_.ffn); }
  Bytes squares(Bytes each) const { return each * (2 * c_.hidden * c_.hidden + q_ * q_ + c_.ffn * c_.ffn); }
  Bytes largest_square() const {
    const Bytes k = std::max({c_.hidden, q_, c_.ffn});
    return k * k;
  }

  const ModelConfig& c_;
  const Recipe& recipe_;
  Bytes q_, kv_;
};

struct Step {
  const char* name;
  Bytes bytes;
};

// What has to fit, with as little as the job can do with. Samples: as plan_memory().
std::vector<Step> steps_of(const Needs& needs, const ModelConfig& config, const Recipe& recipe,
                           bool samples) {
  const auto tokens = [&](std::size_t wanted) { return std::min(wanted, recipe.calibration_tokens); };
  const std::size_t length = sequence_length(config);
  std::vector<Step> steps = {{"embedding and head", needs.end()},
                             {"inputs of a layer", needs.collecting() + needs.hidden(length)},
                             {"quantizing a layer", needs.quantizing() + needs.hidden(length)},
                             {"storing", kStoring + needs.table() / 4}};
  if (const auto* o = recipe.find<SmoothOptions>())
    steps.push_back({"smooth", needs.smoothing(tokens(o->tokens))});
  if (const auto* o = recipe.find<AllocateOptions>())
    steps.push_back({"allocate", needs.allocating(tokens(o->tokens))});
  if (recipe.find<WeighOptions>())
    steps.push_back({"weigh-tokens", needs.backward(tokens(kWeighSequences * length))});
  if (const auto* o = recipe.find<StaticOptions>())
    steps.push_back({"static-activations", needs.backward(tokens(o->tokens))});
  if (samples) steps.push_back({"sampling", needs.sampling() + sampling_bytes(config, 1)});
  return steps;
}

}  // namespace

Result<MemoryPlan> plan_memory(const ModelConfig& config, const Recipe& recipe, bool samples,
                               std::uint64_t limit) {
  const Needs needs(config, recipe);
  const Bytes base = memory_in_use() + kBesides + needs.plan();
  const Bytes allowed =
      limit > 0 ? limit : std::min(machine_memory(), cgroup_memory_limit().value_or(UINT64_MAX)) / 2;
  const std::vector<Step> steps = steps_of(needs, config, recipe, samples);
  const Step& most = *std::max_element(steps.begin(), steps.end(),
                                       [](const Step& a, const Step& b) { return a.bytes < b.bytes; });
  if (base + most.bytes > allowed)
    return Error{Errc::invalid, std::string(limit > 0 ? "--max-memory" : "half of this machine's memory,") +
                                    " " + text_of(allowed) + " is too little for this model: it needs " +
                                    text_of(base + most.bytes) + " (" + text_of(base) + " in use, " +
                                    text_of(most.bytes) + " for " + most.name + ")"};
  MemoryPlan plan{base + most.bytes, 0, false, 0};
  const Bytes rows = needs.hidden(recipe.calibration_tokens), with_rows = base + needs.layer() + rows;
  plan.spill = with_rows > allowed;
  if (plan.spill) {
    plan.spilled = rows;
  } else {
    plan.peak = std::max(plan.peak, with_rows);
  }
  if (samples) {
    plan.sampling = std::min<Bytes>(allowed - base - needs.sampling(), kMostForSampling);
    const Bytes sequences =
        sampling_bytes(config, sampled_at_once(config, recipe.calibration_tokens, plan.sampling));
    plan.peak = std::max(plan.peak, base + needs.sampling() + sequences +
                                        std::min<Bytes>(plan.sampling / 2, config.layers * needs.coarse()));
  }
  return plan;
}

}  // namespace dgq

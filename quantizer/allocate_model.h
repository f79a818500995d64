// quantizer/allocate_model.h - the pass `allocate`: a format for every linear of a checkpoint.
#pragma once

#include "quantizer/allocate.h"
#include "quantizer/recipe.h"

namespace dgq {

// invalid: options.strict, and the budget is below the smallest choice of every linear (says the least). Takes no time, so that
// it is said before anything that does.
Result<void> check_budget(const ModelConfig& config, const AllocateOptions& options, Ends ends);

// One for each linear, layer by layer in the order of LinearId. Sensitivities are measured on options.tokens of the sequences.
// A budget that is too small gives every linear its smallest choice.
Result<std::vector<FineFormat>> allocate_model(const Checkpoint& checkpoint, const LayerReader& read_layer,
                                               const Kernels& kernels, const AllocateOptions& options,
                                               Ends ends, const std::vector<Sequence>& sequences, int threads,
                                               const Fraction& progress);

// Bytes that `weights` weights of linears may take: bpw, and max_bytes less what is `beside` them.
std::uint64_t budget_of(const AllocateOptions& options, std::uint64_t weights, std::uint64_t beside);

}  // namespace dgq

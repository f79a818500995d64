// quantizer/make_blobs.h - the blobs of a version, or of a part of one, into a work folder: those that are not there yet.
#pragma once

#include <functional>
#include <string>

#include "quantizer/model_plan.h"
#include "quantizer/recipe.h"
#include "quantizer/work_folder.h"

namespace dgq {

// One of `count` shares of a job. Embedding goes with the first layers, head, tokenizer and chat template with the last.
struct Part {
  std::size_t index = 1, count = 1;  // 1 <= index <= count
  std::size_t first_layer(std::size_t layers) const { return layers * (index - 1) / count; }
  std::size_t end_layer(std::size_t layers) const { return layers * index / count; }
};

struct MakeOptions {
  const Recipe& recipe;
  const Kernels& kernels;
  int threads;
  std::size_t activation_block;
  Part part;
  bool spill;  // hidden rows of the calibration text wait in a file of the work folder, not in memory
};

// Says what is being done, and how much of the blobs that were missing is: 0..1.
using MakeProgress = std::function<void(const std::string& label, double done)>;
// Says a line about what was found in the folder.
using Note = std::function<void(const std::string& line)>;

// Precondition: the folder has its plan.
Result<void> make_blobs(const Checkpoint& checkpoint, const ModelPlan& plan, const MakeOptions& options,
                        const WorkFolder& folder, const MakeProgress& progress, const Note& note);

}  // namespace dgq

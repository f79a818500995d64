// quantizer/forecast.h - what a job will take, before it is run: `dgq quantize --dry-run`.
#pragma once

#include <cstdint>

#include "quantizer/quantize.h"

namespace dgq {

struct Forecast {
  std::uint64_t memory;         // bytes of the process at its peak
  std::uint64_t disk;           // bytes at the peak: registry, work folder
  std::uint64_t version_bytes;  // of the version's blobs
  double seconds;
  bool spills;  // hidden rows of the calibration text wait in the work folder: part of `disk`
};

// Memory, disk and size come from the sizes of tensors; time from running the steps of the job on the first layer with few tokens
// and few rows, on this machine as busy as it is. Writes nothing. Errors as quantize().
Result<Forecast> forecast(const Checkpoint& checkpoint, const QuantizeOptions& options,
                          const Kernels& kernels);

// Bytes of a version's layers, embedding and head. With the pass `allocate` the budget counts, as far as there are formats to use
// it up.
std::uint64_t expected_blob_bytes(const ModelConfig& config, const Recipe& recipe);

}  // namespace dgq

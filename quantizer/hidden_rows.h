// quantizer/hidden_rows.h - the hidden rows of many sequences between two layers: in memory, or in a file when they are too many.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <vector>

#include "base/file.h"

namespace dgq {

class HiddenRows {
 public:
  // sizes: floats of each sequence. folder: for the file, which has no name and goes with this object or its process; empty:
  // everything stays in memory.
  static Result<HiddenRows> make(std::vector<std::size_t> sizes, const std::filesystem::path& folder);

  std::size_t count() const { return sizes_.size(); }
  // Where sequence i stands, or is to be written; valid until the next call of load() or fresh().
  Result<std::span<float>> load(std::size_t i);
  std::span<float> fresh(std::size_t i);  // without what was there before
  // What load() or fresh() gave last for sequence i is to stay.
  Result<void> keep(std::size_t i);

 private:
  bool spilled() const { return static_cast<bool>(file_); }

  std::vector<std::size_t> sizes_, begin_;  // floats
  std::filesystem::path folder_;
  Fd file_;
  std::vector<float> rows_;  // of all sequences, or of one
};

}  // namespace dgq

// bench/limits.h - what this machine can do at most, measured in the run whose results are put beside it.
//
// On a shared machine limits change by a factor of 4 from one second to the next, so they are measured again and again,
// each time right before what is compared with them.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dgq::bench {

// Memory to read from so that nothing of it is still in a cache: twice the last-level cache that the machine reports, at
// least 256 MiB.
std::size_t cold_bytes();

struct ReadLimit {
  int threads;
  std::vector<double> bytes_per_s;  // as often as it was measured
};
struct MultiplyAddLimit {
  std::string isa, instructions;
  int threads;
  std::vector<double> macs_per_s;
};

class Limits {
 public:
  // Reads `memory` (written before: pages that never were are all one page of zeros). Multiply-adds run on `threads`.
  // Each measurement takes about min_time_s.
  Limits(std::span<const std::byte> memory, int threads, double min_time_s)
      : memory_(memory), threads_(threads), min_time_s_(min_time_s) {}

  double read_now(int threads);                    // bytes per second of so many threads together
  double multiply_adds_now(std::string_view isa);  // per second; 0: bench/ceiling.h has none of that name
  const std::vector<ReadLimit>& read() const { return read_; }
  const std::vector<MultiplyAddLimit>& multiply_adds() const { return multiply_adds_; }

 private:
  std::span<const std::byte> memory_;
  int threads_;
  double min_time_s_;
  std::size_t position_ = 0;
  std::vector<ReadLimit> read_;
  std::vector<MultiplyAddLimit> multiply_adds_;
};

}  // namespace dgq::bench

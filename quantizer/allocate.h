// quantizer/allocate.h - which linear gets how many bits: the cheapest loss under a budget of bytes, from the sensitivity of
// each (quantizer/sensitivity.h). As HAWQ-V2 (arXiv 1911.03852, section 3.3) chooses bits by second order and size, greedily by
// the gain per byte.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quantizer/fine_linear.h"
#include "quantizer/sensitivity.h"

namespace dgq {

// One way to store a linear: W4 or W6 with groups, or W8 (bits 8, group 0).
struct Choice {
  FineFormat format;
  std::uint64_t bytes;
  double cost;  // expected KLD
};

// What a linear [n][k] takes in a format, scales and padding included.
std::uint64_t linear_bytes(std::size_t n, std::size_t k, bool bias, const FineFormat& format);
std::uint64_t least_linear_bytes(std::size_t n, std::size_t k, bool bias);  // of all that it can become

// What a linear can become, cheapest first in bytes; choices that cost more KLD at more bytes, or lie above the line between
// two others, are left out.
std::vector<Choice> choices(const F32Matrix& w, const LinearSensitivity& sensitivity, int threads);

// The index of one choice for each linear. Starts at the first of each and takes the step that lowers the cost most per byte, as
// long as the sum of bytes stays within `budget`. Ties go to the earlier linear. Precondition: no list is empty.
std::vector<std::size_t> allocate(std::span<const std::vector<Choice>> linears, std::uint64_t budget);

}  // namespace dgq

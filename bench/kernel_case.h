// bench/kernel_case.h - the memory of a KernelCase: weights of its kind and size with random values, and activations.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/kernel_bench.h"
#include "runtime/weights.h"

namespace dgq::bench {

// Of the weights; 0 for quantize_rows. group: of W4 and W6.
std::size_t section_bytes(const KernelCase& c, std::size_t group);
// Writes them, 64-byte aligned.
void make_section(std::byte* at, const KernelCase& c, std::size_t group, int threads);
Linear linear_at(const std::byte* at, const KernelCase& c, std::size_t group);
std::vector<float> random_activations(std::size_t count);

}  // namespace dgq::bench

// plugin/ggml/carried.h - carriers (runtime/carrier.h) in the tensors of a GGUF file.
//
//   thin   a tensor of type I8 that begins with the carrier; the rest is a hole. Nobody else multiplies with I8.
//   fat    a tensor of type Q8_0 with weights that any ggml can use. Bit i of the carrier is the sign of the scale of block i:
//          (d, q) and (-d, -q) are the same weights.
// A fat tensor looks like anybody's until its data are there, but a buffer must be chosen before. So Q8_0 is taken only while
// the host has a fat file open whose version can be loaded and has a linear of this name.
#pragma once

#include <span>

#include "plugin/ggml/host.h"
#include "runtime/carrier.h"

namespace dgq::ggml {

// Errors as parse_carrier.
Result<Carrier> read_carrier(ggml_type type, std::span<const std::byte> data, const std::string& where);

// Whether this weight is to go into our buffers; asked while a file is being loaded.
bool takes(const ggml_tensor& weight);

}  // namespace dgq::ggml

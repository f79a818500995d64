// runtime/foreign.h - versions of families whose graph is not ours: made of a GGUF file, run by llama.cpp only.
//
// Their linears are in layer blobs, as those of all versions; metadata and all other tensors are a blob of their own, which is a GGUF
// file again. Which linear is where follows from its name:
//
//   token_embd.weight            blob embedding    tensor token_embd
//   output.weight                blob head         tensor output
//   blk.3.attn_qkv.weight        blob layers.3     tensor attn_qkv
//   enc.blk.3.attn_q.weight      blob layers.3     tensor enc.attn_q     (dec. likewise)
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace dgq {

inline constexpr const char* kForeignRuntime = "llama.cpp";  // in a config: what runs the version
inline constexpr const char *kRestBlob = "rest", *kRestMedia = "gguf";

// Whether a manifest's config is of such a version.
bool is_foreign(const Json& config);

struct LinearPlace {
  std::string blob, tensor;
};
// None: not the name of a tensor that llama.cpp multiplies with whole, in every family that has one of the name (docs/PLUGIN.md has the
// list), or looks token rows up in.
std::optional<LinearPlace> place_of_linear(std::string_view gguf_name);
// The way back, for the places that place_of_linear() gives.
std::string name_of_linear(const LinearPlace& place);

}  // namespace dgq

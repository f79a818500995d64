// runtime/session_file.h - a sequence with its KV cache as a file, so that a prompt need not be processed twice.
//
// For one version of a model and one type of cache. The file is written whole or not at all; a file is checked against the SHA-256
// at its end before anything of the session changes. All integers are little-endian:
//
//   8 bytes     DGQKVSEQ
//   4           u32 format, 1
//   4           u32 type of cache: 0 int8, 1 f32
//   32          digest of the version
//   8           u64 positions n, > 0
//   4 n         i32 tokens
//   ..          for each part of KvCache::parts(n - 1): its bytes; the last position is computed again, for its logits
//   32          SHA-256 of everything before
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "base/digest.h"
#include "runtime/session.h"

namespace dgq {

// tokens: all that the session has, in order; invalid: none.
Result<void> save_session(Session& session, std::span<const std::int32_t> tokens, const Digest& version,
                          const std::filesystem::path& path);

// The session's tokens from now on. Errors: not_found, corrupt (not such a file, damaged), invalid (of another version or type of
// cache, longer than the context): the session is as before.
Result<std::vector<std::int32_t>> load_session(Session& session, const Digest& version,
                                               const std::filesystem::path& path);

}  // namespace dgq

// registry/inquiry.h - what can be asked of a registry (registry.h) beside its models: who changed what, where the bytes are,
// how two versions differ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "registry/layer_blob.h"
#include "registry/manifest.h"

namespace dgq {

// A row of the audit log. FORMAT.md, section 4, has the actions and what their subjects are.
struct AuditEntry {
  std::int64_t id, unix_s;
  std::string who, tool, action, subject;  // "user@host", "dgq 0.1.0"
  std::optional<Digest> from, to;
};
struct AuditQuery {
  std::string name = {};  // MODEL: of all its tags; MODEL:TAG; empty: everything
  std::optional<std::int64_t> since_unix_s = {};
  std::optional<std::uint64_t> limit = {};  // the newest of them
};

// Chunks by how they are stored. Bytes decoded and as stored.
struct CodecUsage {
  std::uint64_t chunks = 0, raw_bytes = 0, stored_bytes = 0;
};
struct RegistryUsage {
  std::uint64_t versions = 0, untagged_versions = 0, names = 0, models = 0;
  std::uint64_t blobs = 0, raw_bytes = 0, stored_bytes = 0;
  std::uint64_t referred_bytes = 0;  // raw, of each version with a name, so that shared blobs count for each
  CodecUsage raw, zstd, delta;
  std::uint64_t file_bytes = 0, free_bytes = 0;  // of the database; in pages that hold nothing
  std::uint64_t gc_blobs = 0, gc_bytes = 0;      // what gc would free now, stored
  std::uint64_t interrupted_imports = 0;
};

// A blob of a version, as the registry has it.
struct BlobUse {
  Digest digest;
  std::uint64_t bytes, stored_bytes;
  std::uint64_t other_versions;  // with a name, that have it too
};

// Bytes of equal length, compared place by place. A group whose weights are all new differs in nearly all of its bytes, so
// that the share of bytes is about the share of such groups.
struct ByteDiff {
  std::uint64_t bytes = 0, differing = 0;
};
struct TensorDiff {
  std::string name;
  std::optional<TensorInfo> a, b;    // where it is
  std::optional<ByteDiff> sections;  // of the same kind and shape
};
struct BlobDiff {
  std::string name;
  std::optional<BlobRef> a, b;        // where it is; equal digests: the same blob
  std::uint64_t transfer_bytes = 0;   // what B's takes on its way to someone who has A; 0 if A has it
  std::vector<TensorDiff> tensors{};  // of two different layer blobs, those that differ
  bool same() const { return a && b && a->digest == b->digest; }
};

// Work folders (FORMAT.md, section 7) that no process has locked and nobody has written to for a week.
struct AbandonedWork {
  std::uint64_t folders = 0, bytes = 0;
};

}  // namespace dgq

// registry/manifest.h - what a model version is: a JSON document that names its blobs. The digest of its
// canonical text (keys sorted, no white space) is the version's name. docs/FORMAT.md lists the members.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/result.h"

namespace dgq {

// "model" or "model:tag". model: 1..128 of [A-Za-z0-9._-] and '/', not starting with '.', '-' or '/', no
// empty or dot-only part; tag: 1..128 of [A-Za-z0-9._-]; default tag "latest".
struct ModelRef {
  std::string model, tag = "latest";
  static Result<ModelRef> parse(std::string_view text);
  std::string text() const { return model + ":" + tag; }
};

struct BlobRef {
  std::string name;   // "embedding", "layers.0", ..., "head", "tokenizer"; unique in the manifest
  std::string media;  // "layer" (registry/layer_blob.h) or "tokenizer.json"
  Digest digest;
  std::uint64_t bytes = 0;
};

// {"format": 1, "config": {...config.json...}, "activation_block": 128, "blobs": [{name, media, digest,
// bytes}, ...],
//  "recipe": {...}, "provenance": {"sources": {...}, "calibration": ..., "tool": ...}, "report": {...}}
// "recipe", "provenance" and "report" are kept as they are; the registry and the runtime do not look inside.
struct Manifest {
  Json config;
  std::size_t activation_block = 128;  // 128, or 0: one activation scale per row
  std::vector<BlobRef> blobs;
  Json recipe, provenance, report;

  std::string canonical() const;  // the text that is hashed and stored
  static Result<Manifest> parse(std::string_view text,
                                std::string_view where);  // checks all but config's inside
  const BlobRef* find(std::string_view name) const;
};

}  // namespace dgq

// runtime/stored_linears.h - the linears of a version, mapped, whatever its family: for programs that have the graph themselves and
// name single linears (runtime/carrier.h).
#pragma once

#include <map>
#include <string>

#include "registry/layer_blob.h"
#include "runtime/carrier.h"
#include "runtime/mapped_version.h"
#include "runtime/weights.h"

namespace dgq {

// A linear with what its input needs.
struct CarriedLinear {
  Linear linear;
  float input_scale;  // 0: found for every row and block
};

// Move-only. Views stay valid as long as the object, also when it moves.
class StoredLinears {
 public:
  // Maps all layer blobs. Errors as Model::load's, but for what a config says.
  static Result<StoredLinears> load(Registry& registry, LayerCache& cache, std::string_view reference);

  // Of a carrier of this version. corrupt: there is no such blob, or no such linear in it; or the linear is against the invariants of
  // kernels/packed.h. `where` starts the message.
  Result<CarriedLinear> find(const Carrier& carrier, const std::string& where) const;

  // The tensors of a layer blob. Precondition: the version has it.
  const LayerBlob& blob(const Digest& digest) const { return blobs_.find(digest)->second; }
  // Of a foreign version (runtime/foreign.h): whether the tensor of this name in its GGUF file is one of the linears. Of others, whose
  // files have no other tensors of a quantized type: true.
  bool holds(std::string_view gguf_name) const;

  std::size_t activation_block() const { return version().manifest.activation_block; }
  const VersionInfo& version() const { return mapped_.version(); }
  const std::vector<std::string>& warnings() const { return mapped_.warnings(); }
  const MappedVersion::Footprint& footprint() const { return mapped_.footprint(); }

 private:
  MappedVersion mapped_;
  std::map<Digest, LayerBlob> blobs_;
};

}  // namespace dgq

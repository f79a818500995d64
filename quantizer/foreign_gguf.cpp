#include "quantizer/foreign_gguf.h"

#include <algorithm>

#include "kernels/packed.h"
#include "quantizer/gguf_config.h"
#include "quantizer/gguf_output.h"
#include "quantizer/linear_passes.h"
#include "quantizer/quantize_layer.h"
#include "quantizer/run_job.h"
#include "runtime/foreign.h"
#include "runtime/gguf_carrier.h"

namespace dgq {
namespace {

// Of the file, not of the model; and what files of ours that were exported before say.
constexpr std::string_view kDropped[] = {"general.alignment",   "split.no", "split.count",
                                         "split.tensors.count", kThinKey,   kFatKey};

bool is_kept(const GgufEntry& entry) { return std::ranges::find(kDropped, entry.key) == std::end(kDropped); }

bool fits(const StoredTensor& tensor) {
  return tensor.shape.size() == 2 && tensor.shape[1] % kQ8Block == 0 && tensor.shape[1] <= kMaxK &&
         tensor.shape[0] <= kMaxN && tensor.shape[0] >= (kFatWeights + tensor.shape[1] - 1) / tensor.shape[1];
}

std::optional<LinearPlace> place_of(const TensorMap::value_type& tensor) {
  return fits(tensor.second.tensor) ? place_of_linear(tensor.first) : std::nullopt;
}

struct Member {
  std::string tensor;  // its name in the blob
  const TensorMap::value_type* source;
};
struct Blob {
  std::string name;
  std::vector<Member> members;
  std::size_t weights = 0;
};

// Embedding, layers by number, head.
std::vector<Blob> blobs_of(const TensorMap& tensors) {
  std::vector<Blob> blobs;
  for (const auto& tensor : tensors) {
    auto place = place_of(tensor);
    if (!place) continue;
    auto found = std::ranges::find(blobs, place->blob, &Blob::name);
    if (found == blobs.end()) found = blobs.insert(found, {place->blob, {}, 0});
    found->members.push_back({std::move(place->tensor), &tensor});
    const auto& shape = tensor.second.tensor.shape;
    found->weights += shape[0] * shape[1];
  }
  std::ranges::sort(blobs, {}, [](const Blob& blob) {
    const int rank = blob.name == "embedding" ? 0 : blob.name == "head" ? 2 : 1;
    return std::tuple(rank, blob.name.size(), blob.name);  // the longer number is the larger
  });
  return blobs;
}

Digest weights_digest(const TensorMap& tensors) {
  Sha256 hash;
  for (const auto& [name, located] : tensors) {
    const StoredTensor& tensor = located.tensor;
    const std::string header = name + " " + tensor.dtype + " " + shape_text(tensor.shape) + "\n";
    hash.update(std::as_bytes(std::span(header)));
    hash_piecewise(tensor.data, hash);
  }
  return hash.finish();
}

class Maker {
 public:
  Maker(const ForeignGguf& model, const QuantizeOptions& options, const Kernels& kernels,
        const QuantizeProgress& progress, const Note& note)
      : model_(model),
        options_(options),
        kernels_(kernels),
        progress_(progress),
        note_(note),
        blobs_(blobs_of(model.files.tensors)) {
    for (const Blob& blob : blobs_) weights_ += blob.weights;
  }

  Result<Manifest> describe() const {
    DGQ_CHECK(check_foreign_recipe(options_.recipe));
    const std::string where = model_.files.path.string();
    if (blobs_.empty())
      return Error{Errc::unsupported, where + ": there is no linear in it that llama.cpp could hand to us"};
    Manifest manifest;
    DGQ_TRY(manifest.config, foreign_config(model_.content, where));
    manifest.activation_block = options_.activation_block;
    Sha256 metadata;
    for (const GgufEntry& entry : model_.content.entries)
      if (is_kept(entry)) metadata.update(entry.bytes);
    manifest.provenance = {
        {"sources",
         {{"weights", weights_digest(model_.files.tensors).hex()}, {"metadata", metadata.finish().hex()}}},
        {"tool", options_.tool}};
    manifest.recipe = to_json(options_.recipe);
    manifest.recipe.erase("calibration_tokens");
    manifest.recipe["method"] = "dgq";
    return manifest;
  }

  Result<std::vector<std::string>> make(WorkFolder& folder) {
    folder.begin_without_plan(file_digests(model_.files));
    std::vector<std::string> names;
    for (const Blob& blob : blobs_) {
      DGQ_TRY(const bool there, is_there(folder, blob.name));
      if (!there) DGQ_CHECK(linears(blob, folder));
      done_ += blob.weights;
      names.push_back(blob.name);
    }
    DGQ_TRY(const bool there, is_there(folder, kRestBlob));
    if (!there) DGQ_CHECK(rest(folder));
    names.emplace_back(kRestBlob);
    return names;
  }

 private:
  Result<bool> is_there(const WorkFolder& folder, const std::string& blob) const {
    const auto piece = folder.find(blob);
    if (piece) return true;
    if (piece.error().code == Errc::corrupt && note_) note_(piece.error().what + ": it is made again");
    if (piece.error().code == Errc::corrupt || piece.error().code == Errc::not_found) return false;
    return piece.error();
  }

  Result<void> linears(const Blob& blob, const WorkFolder& folder) const {
    StageClock clock;
    std::vector<TensorReport> reports;
    LayerPacker packer(blob.name, reports);
    std::size_t done = done_;
    for (const Member& member : blob.members) {
      if (progress_)
        progress_(blob.name + "." + member.tensor, static_cast<double>(done) / static_cast<double>(weights_));
      const LocatedTensor& source = member.source->second;
      DGQ_TRY(const std::vector<float> values,
              to_f32(source.tensor, source.file.string() + ": tensor " + member.source->first));
      forget_pages(source.tensor.data);
      const F32Matrix w{source.tensor.shape[0], source.tensor.shape[1], values.data(), nullptr};
      linear(w, blob.name, member.tensor, packer);
      done += values.size();
    }
    const std::vector<std::byte> bytes = packer.finish();
    clock.finish(blob.name);
    return folder.store(blob.name, "layer", bytes, reports, clock.costs());
  }

  void linear(const F32Matrix& w, const std::string& blob, const std::string& name,
              LayerPacker& packer) const {
    if (!blob.starts_with("layers.")) return quantize_end(w, name, options_.recipe, options_.threads, packer);
    static const LinearInputs kNotKnown;
    LinearPasses passes(options_.recipe, *kernels_.gemm_f32, kNotKnown, options_.threads);
    LinearResult result = passes.run(w, options_.recipe.format);
    packer.add(name, result.tensor, std::move(result.report));
  }

  // Metadata and all other tensors, which may be as large as the model: from file to file.
  Result<void> rest(const WorkFolder& folder) const {
    StageClock clock;
    GgufMetadata metadata;
    for (const GgufEntry& entry : model_.content.entries)
      if (is_kept(entry)) metadata.add(entry);
    std::vector<GgufTensor> tensors;
    for (const auto& tensor : model_.files.tensors)
      if (!place_of(tensor)) tensors.push_back(same_tensor(tensor.first, tensor.second.tensor));
    const std::filesystem::path path = folder.path() / (std::string(kRestBlob) + ".gguf");
    DGQ_CHECK(write_gguf(path, metadata, tensors));
    DGQ_TRY(const MappedFile written, MappedFile::open(path));
    clock.finish(kRestBlob);
    DGQ_CHECK(folder.store(kRestBlob, kRestMedia, written.bytes(), {}, clock.costs()));
    std::error_code stays;
    std::filesystem::remove(path, stays);
    return {};
  }

  const ForeignGguf& model_;
  const QuantizeOptions& options_;
  const Kernels& kernels_;
  const QuantizeProgress& progress_;
  const Note& note_;
  std::vector<Blob> blobs_;
  std::size_t weights_ = 0, done_ = 0;
};

}  // namespace

Result<std::optional<ForeignGguf>> ForeignGguf::open(const std::filesystem::path& path) {
  std::error_code ignored;
  if (path.extension() != ".gguf" || std::filesystem::is_directory(path, ignored))
    return std::optional<ForeignGguf>();
  ForeignGguf model;
  DGQ_TRY(model.content, open_gguf_parts(path, model.files));
  const auto config = config_from_gguf(model.content, path.string());
  if (config || config.error().code != Errc::unsupported) return std::optional<ForeignGguf>();
  model.why = config.error().what;
  return std::optional(std::move(model));
}

Result<void> check_foreign_recipe(const Recipe& recipe) {
  for (const Pass& pass : recipe.passes)
    if (!std::holds_alternative<SearchOptions>(pass) && !std::holds_alternative<RoundOptions>(pass))
      return Error{Errc::invalid, "recipe " + recipe.name + ": pass " + pass_name(pass) +
                                      " needs calibration, which needs a model that dgq can run; only search "
                                      "and round do not (--recipe search)"};
  return {};
}

Result<QuantizeResult> quantize_foreign(const ForeignGguf& model, Registry& registry, const ModelRef& name,
                                        const QuantizeOptions& options, const Kernels& kernels,
                                        const QuantizeProgress& progress, const Note& note) {
  Maker maker(model, options, kernels, progress, note);
  DGQ_TRY(const Manifest description, maker.describe());
  return run_job(description, registry, name, options,
                 [&](WorkFolder& folder) { return maker.make(folder); });
}

}  // namespace dgq

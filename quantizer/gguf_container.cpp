// The container that is a GGUF file, or its parts name-00001-of-0000N.gguf.
#include <cstdio>

#include "quantizer/chat_source.h"
#include "quantizer/container.h"
#include "quantizer/gguf.h"
#include "quantizer/gguf_config.h"
#include "quantizer/gguf_tokenizer.h"
#include "runtime/tokenizer.h"

namespace dgq {
namespace {

constexpr std::int64_t kMaxParts = 99999;

// "-00002-of-00005.gguf"
std::string part_suffix(std::int64_t part, std::int64_t parts) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05lld-of-%05lld.gguf", static_cast<long long>(part + 1),
                static_cast<long long>(parts));
  return text;
}

struct Part {
  std::int64_t number, parts;  // from 0; of how many
};

// Adds the tensors of a part, and hands its metadata over to who asks.
Result<Part> take_part(GgufFile file, Container& out, Gguf* metadata) {
  const std::string where = file.path.string();
  DGQ_TRY(const std::int64_t number, json_int_or(file.content.metadata, "split.no", 0, 0, kMaxParts, where));
  DGQ_TRY(const std::int64_t parts,
          json_int_or(file.content.metadata, "split.count", 0, 0, kMaxParts, where));
  for (auto& [name, tensor] : file.content.tensors)
    if (!out.tensors.emplace(name, LocatedTensor{std::move(tensor), file.path}).second)
      return Error{Errc::corrupt, where + ": tensor " + name + " is in an earlier part already"};
  out.maps.emplace_back(file.path, std::move(file.map));
  if (metadata) {
    metadata->metadata = std::move(file.content.metadata);
    metadata->entries = std::move(file.content.entries);
  }
  return Part{number, std::max<std::int64_t>(parts, 1)};
}

Result<void> add_parts(const std::filesystem::path& path, Container& out, Gguf& whole) {
  DGQ_TRY(GgufFile file, GgufFile::open(path));
  DGQ_TRY(const Part first, take_part(std::move(file), out, &whole));
  if (first.parts == 1) return {};
  const std::string name = path.string(), suffix = part_suffix(0, first.parts);
  if (first.number != 0 || !name.ends_with(suffix))
    return Error{Errc::invalid, name + " is part " + std::to_string(first.number + 1) + " of " +
                                    std::to_string(first.parts) + ": give the first, which ends in " +
                                    suffix};
  const std::string stem = name.substr(0, name.size() - suffix.size());
  for (std::int64_t i = 1; i < first.parts; ++i) {
    DGQ_TRY(GgufFile next, GgufFile::open(stem + part_suffix(i, first.parts)));
    const std::string where = next.path.string();
    DGQ_TRY(const Part part, take_part(std::move(next), out, nullptr));
    if (part.number != i || part.parts != first.parts)
      return Error{Errc::corrupt, where + " says that it is part " + std::to_string(part.number + 1) +
                                      " of " + std::to_string(part.parts)};
  }
  return {};
}

}  // namespace

Result<Gguf> open_gguf_parts(const std::filesystem::path& file, Container& out) {
  out.path = file;
  Gguf whole;
  DGQ_CHECK(add_parts(file, out, whole));
  for (const auto& [name, located] : out.tensors) whole.tensors.emplace(name, located.tensor);
  return whole;
}

Result<Container> open_gguf(const std::filesystem::path& file, const std::filesystem::path& tokenizer) {
  Container out;
  out.config_name = "the metadata";
  out.name_of = gguf_tensor_name;
  DGQ_TRY(Gguf whole, open_gguf_parts(file, out));
  DGQ_TRY(out.config, config_from_gguf(whole, file.string()));
  out.tensors.erase("rope_freqs.weight");  // in the config now
  out.rotary_pairs = whole.metadata["general.architecture"] == "llama";
  out.tokenizer_where = tokenizer.empty() ? file.string() : tokenizer.string();
  if (tokenizer.empty()) {
    DGQ_TRY(out.tokenizer_json, tokenizer_from_gguf(whole.metadata, file.string()));
  } else {
    DGQ_TRY(out.tokenizer_json, read_text(out, tokenizer, kMaxTokenizerBytes));
  }
  DGQ_CHECK(read_gguf_chat(whole.metadata, out));
  return out;
}

}  // namespace dgq

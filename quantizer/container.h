// quantizer/container.h - what the files of a checkpoint hold, before anyone has asked whether it is all there. Internal to
// quantizer/: checkpoint.h is the way in.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "quantizer/gguf.h"
#include "quantizer/stored_tensor.h"
#include "runtime/config.h"

namespace dgq {

struct LocatedTensor {
  StoredTensor tensor;         // borrows from one of the container's maps
  std::filesystem::path file;  // that holds it
};
using TensorMap = std::map<std::string, LocatedTensor, std::less<>>;  // under the names that the files use

struct Container {
  std::filesystem::path path;  // as it was given
  ModelConfig config;
  const char* config_name;  // for messages: "config.json"
  std::string tokenizer_json;
  std::string tokenizer_where;  // for messages
  std::string chat_template;    // the blob, as in runtime/chat_template.h; empty: there is none
  TensorMap tensors;
  // How the files call a tensor that a Hugging Face checkpoint calls so.
  std::string (*name_of)(const std::string& hugging_face_name);
  bool synthetic = false;  // there are no tensors: quantizer/synthetic.h makes them
  // Rows i and i + head_dim / 2 of each head of q and k, which RoPE turns together, stand side by side.
  bool rotary_pairs = false;
  std::vector<std::pair<std::filesystem::path, MappedFile>> maps;
  std::vector<FileDigest> texts;  // the files that were read, not mapped
};

// Reads a file whole and notes it in out.texts.
Result<std::string> read_text(Container& out, const std::filesystem::path& file, std::size_t limit);

// tokenizer: a tokenizer.json that takes the place of the container's own; empty: none does.
Result<Container> open_folder(const std::filesystem::path& folder, const std::filesystem::path& tokenizer);
Result<Container> open_gguf(const std::filesystem::path& file, const std::filesystem::path& tokenizer);

// All parts of a GGUF file as one; maps, tensors and path of `out` are set, and what is returned borrows from it.
Result<Gguf> open_gguf_parts(const std::filesystem::path& file, Container& out);

// Name (without folder) and SHA-256 of every file read. Reads them whole.
std::vector<FileDigest> file_digests(const Container& files);
// A hash of a mapped file that leaves none of it in memory.
void hash_piecewise(std::span<const std::byte> mapped, Sha256& hash);

}  // namespace dgq

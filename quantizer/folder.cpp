// The container that is a Hugging Face folder: config.json, tokenizer.json, model.safetensors or its shards, and the chat
// template where there is one.
#include <set>

#include "base/json.h"
#include "quantizer/chat_source.h"
#include "quantizer/container.h"
#include "quantizer/safetensors.h"
#include "runtime/tokenizer.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxConfigBytes = 16u << 20;
constexpr std::size_t kMaxIndexBytes = 100u << 20;

bool plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of("/\\\0", 0, 3) == std::string_view::npos;
}

// Maps a shard into the container; its tensors are not yet in the container's.
Result<SafeTensors> open_shard(Container& out, const std::filesystem::path& file) {
  DGQ_TRY(SafetensorsFile shard, SafetensorsFile::open(file));
  out.maps.emplace_back(file, std::move(shard.map));
  return std::move(shard.tensors);
}

void take(Container& out, const std::string& name, StoredTensor tensor) {
  out.tensors[name] = {std::move(tensor), out.maps.back().first};
}

Result<void> open_single(Container& out) {
  DGQ_TRY(SafeTensors tensors, open_shard(out, out.path / "model.safetensors"));
  for (auto& [name, tensor] : tensors) take(out, name, std::move(tensor));
  return {};
}

// The index and the shards must agree on where each tensor is: neither may know one that the other does not.
Result<void> open_sharded(Container& out, const std::filesystem::path& index_path) {
  DGQ_TRY(const std::string text, read_text(out, index_path, kMaxIndexBytes));
  const std::string at = index_path.string();
  DGQ_TRY(const Json index, parse_json(text, at));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    return Error{Errc::corrupt, at + ": \"weight_map\" must be an object"};
  std::map<std::string, std::set<std::string>> by_file;  // file -> tensors
  for (const auto& [name, file] : index["weight_map"].items()) {
    if (!file.is_string() || !plain_file_name(file.get_ref<const std::string&>()))
      return Error{Errc::corrupt, at + ": tensor " + name + " must name a file of the same folder"};
    by_file[file.get<std::string>()].insert(name);
  }
  for (const auto& [file, names] : by_file) {
    const std::filesystem::path path = out.path / file;
    DGQ_TRY(SafeTensors tensors, open_shard(out, path));
    for (const std::string& name : names)
      if (!tensors.count(name))
        return Error{Errc::corrupt,
                     path.string() + ": tensor " + name + " is missing (" + at + " places it here)"};
    for (auto& [name, tensor] : tensors) {
      if (!names.count(name))
        return Error{Errc::corrupt, path.string() + ": tensor " + name + " is not placed here by " + at};
      take(out, name, std::move(tensor));
    }
  }
  return {};
}

Result<void> open_weights(Container& out) {
  const std::filesystem::path index = out.path / "model.safetensors.index.json";
  std::error_code ignored;
  if (std::filesystem::exists(out.path / "model.safetensors", ignored)) return open_single(out);
  if (std::filesystem::exists(index, ignored)) return open_sharded(out, index);
  return Error{Errc::not_found,
               out.path.string() + ": neither model.safetensors nor model.safetensors.index.json is there"};
}

}  // namespace

Result<std::string> read_text(Container& out, const std::filesystem::path& file, std::size_t limit) {
  DGQ_TRY(std::string text, read_file(file, limit));
  out.texts.push_back({file.filename().string(), sha256(text)});
  return text;
}

Result<Container> open_folder(const std::filesystem::path& folder, const std::filesystem::path& tokenizer) {
  Container out;
  out.path = folder;
  out.config_name = "config.json";
  out.name_of = [](const std::string& name) { return name; };
  const std::filesystem::path config_path = folder / "config.json";
  DGQ_TRY(const std::string text, read_text(out, config_path, kMaxConfigBytes));
  DGQ_TRY(const Json config, parse_json(text, config_path.string()));
  DGQ_TRY(out.config, parse_config(config, config_path.string()));
  const std::filesystem::path tokenizer_path = tokenizer.empty() ? folder / "tokenizer.json" : tokenizer;
  out.tokenizer_where = tokenizer_path.string();
  DGQ_TRY(out.tokenizer_json, read_text(out, tokenizer_path, kMaxTokenizerBytes));
  DGQ_CHECK(read_folder_chat(out));
  DGQ_CHECK(open_weights(out));
  return out;
}

}  // namespace dgq

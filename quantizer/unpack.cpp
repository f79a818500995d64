#include "quantizer/unpack.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "runtime/linear.h"

namespace dgq {
namespace {

namespace fs = std::filesystem;

struct Output {
  std::string name;
  std::vector<std::size_t> shape;
  std::function<void(std::size_t row, float* out)> row;  // of a vector: row 0
  std::size_t rows() const { return shape.size() == 1 ? 1 : shape.front(); }
  std::size_t columns() const { return shape.back(); }
};

Output vector(std::string name, const float* values, std::size_t n) {
  return {std::move(name), {n}, [=](std::size_t, float* out) { std::copy_n(values, n, out); }};
}

void add_linear(std::vector<Output>& all, const std::string& name, const Linear& linear) {
  std::visit(
      [&](const auto& w) {
        all.push_back(
            {name + ".weight", {w.n, w.k}, [&w](std::size_t row, float* out) { copy_row(w, row, out); }});
        if (w.bias) all.push_back(vector(name + ".bias", w.bias, w.n));
      },
      linear);
}

std::vector<Output> outputs(const ModelConfig& config, const ModelWeights& weights) {
  std::vector<Output> all;
  add_linear(all, "model.embed_tokens", weights.embedding);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    const LayerWeights& w = weights.layers[i];
    const std::string prefix = "model.layers." + std::to_string(i) + ".", attention = prefix + "self_attn.";
    all.push_back(vector(prefix + "input_layernorm.weight", w.input_norm, config.hidden));
    add_linear(all, attention + "q_proj", w.q);
    add_linear(all, attention + "k_proj", w.k);
    add_linear(all, attention + "v_proj", w.v);
    add_linear(all, attention + "o_proj", w.o);
    if (w.q_norm) all.push_back(vector(attention + "q_norm.weight", w.q_norm, config.head_dim));
    if (w.k_norm) all.push_back(vector(attention + "k_norm.weight", w.k_norm, config.head_dim));
    all.push_back(vector(prefix + "post_attention_layernorm.weight", w.post_attention_norm, config.hidden));
    add_linear(all, prefix + "mlp.gate_proj", w.gate);
    add_linear(all, prefix + "mlp.up_proj", w.up);
    add_linear(all, prefix + "mlp.down_proj", w.down);
  }
  all.push_back(vector("model.norm.weight", weights.final_norm, config.hidden));
  if (!config.tied_head) add_linear(all, "lm_head", weights.head);
  return all;
}

std::size_t bytes_of(FloatType type) { return type == FloatType::f32 ? 4 : 2; }

std::string safetensors_header(const std::vector<Output>& all, FloatType type) {
  OrderedJson header = {{"__metadata__", {{"format", "pt"}}}};
  std::size_t begin = 0;
  for (const Output& output : all) {
    const std::size_t end = begin + output.rows() * output.columns() * bytes_of(type);
    header[output.name] = {{"dtype", type == FloatType::f32 ? "F32" : "BF16"},
                           {"shape", output.shape},
                           {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.resize(round_up(text.size(), 8), ' ');
  return text;
}

// Half to even. Weights are finite.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Collects small pieces, so that the file is written in large ones.
class Writer {
 public:
  Writer(int fd, const fs::path& path) : fd_(fd), path_(path) {}
  Result<void> add(std::span<const std::byte> bytes) {
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return buffer_.size() < kPiece ? Result<void>{} : flush();
  }
  Result<void> flush() {
    DGQ_CHECK(write_all(fd_, buffer_, path_));
    buffer_.clear();
    return {};
  }

 private:
  static constexpr std::size_t kPiece = std::size_t{4} << 20;
  int fd_;
  const fs::path& path_;
  std::vector<std::byte> buffer_;
};

Result<void> write_tensors(const std::vector<Output>& all, FloatType type, const fs::path& path,
                           const Fraction& progress) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd) return errno_error("create", path, errno);
  Writer writer(fd.get(), path);
  const std::string header = safetensors_header(all, type);
  const std::uint64_t size = header.size();
  DGQ_CHECK(writer.add(std::as_bytes(std::span(&size, 1))));
  DGQ_CHECK(writer.add(std::as_bytes(std::span(header))));
  std::vector<float> row;
  std::vector<std::uint16_t> halves;
  for (std::size_t i = 0; i < all.size(); ++i) {
    row.resize(all[i].columns());
    for (std::size_t r = 0; r < all[i].rows(); ++r) {
      all[i].row(r, row.data());
      if (type == FloatType::bf16) {
        halves.resize(row.size());
        std::transform(row.begin(), row.end(), halves.begin(), to_bf16);
        DGQ_CHECK(writer.add(std::as_bytes(std::span(halves))));
      } else {
        DGQ_CHECK(writer.add(std::as_bytes(std::span(row))));
      }
    }
    if (progress) progress(static_cast<double>(i + 1) / static_cast<double>(all.size()));
  }
  DGQ_CHECK(writer.flush());
  if (::fsync(fd.get()) != 0) return errno_error("write", path, errno);
  return {};
}

// What Hugging Face's AutoConfig wants beside the numbers of the graph.
std::string config_text(const ModelConfig& config, FloatType type) {
  Json json = config_to_json(config);
  std::string family = json["architectures"][0].get<std::string>();
  family.resize(family.find("ForCausalLM"));
  for (char& letter : family) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  json["model_type"] = family;
  json["torch_dtype"] = type == FloatType::f32 ? "float32" : "bfloat16";
  return json.dump(2) + "\n";
}

// The temporary folder, removed unless it got its final name.
struct Draft {
  fs::path path;
  ~Draft() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
};

}  // namespace

Result<void> unpack(const ModelConfig& config, const ModelWeights& weights, std::string_view tokenizer_json,
                    std::string_view chat_template, FloatType type, const fs::path& folder,
                    const Fraction& progress) {
  std::error_code error;
  const fs::path target = folder.has_filename() ? folder : folder.parent_path();
  if (fs::exists(target, error) && !(fs::is_directory(target, error) && fs::is_empty(target, error)))
    return Error{Errc::invalid, target.string() + " is there already; name a folder that is new or empty"};
  Draft draft{target.string() + ".partial-" + std::to_string(::getpid())};
  if (!fs::create_directories(draft.path, error))
    return errno_error("create", draft.path, error ? error.value() : EEXIST);
  DGQ_CHECK(write_tensors(outputs(config, weights), type, draft.path / "model.safetensors", progress));
  const std::string text = config_text(config, type);
  DGQ_CHECK(write_file_atomic(draft.path / "config.json", std::as_bytes(std::span(text))));
  DGQ_CHECK(write_file_atomic(draft.path / "tokenizer.json", std::as_bytes(std::span(tokenizer_json))));
  if (!chat_template.empty())  // the blob has the names that a tokenizer_config.json has
    DGQ_CHECK(
        write_file_atomic(draft.path / "tokenizer_config.json", std::as_bytes(std::span(chat_template))));
  if (::rename(draft.path.c_str(), target.c_str()) != 0) return errno_error("rename to", target, errno);
  draft.path.clear();
  return sync_folder(target.has_parent_path() ? target.parent_path() : fs::path("."));
}

}  // namespace dgq

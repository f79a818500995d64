// Bytes as a .gguf file (changed_file.h). Every tensor that is accepted lies inside the file and has the size of its shape;
// what the metadata says of the model and its tokenizer is something that the runtime takes, or an Error. Entries that are copied
// into another file say there what they said here, and a linear's name can be told from its place.
#include <cstdlib>

#include "quantizer/gguf.h"
#include "quantizer/gguf_config.h"
#include "quantizer/gguf_output.h"
#include "quantizer/gguf_tokenizer.h"
#include "runtime/foreign.h"
#include "runtime/tokenizer.h"
#include "tests/fuzz/changed_file.h"
#include "tests/support/gguf_writer.h"

namespace {

std::string good_file() {
  dgq::test::GgufWriter gguf;
  gguf.set("general.architecture", "llama");
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.head_count_kv", "rope.dimension_count"})
    gguf.set(std::string("llama.") + key, 8u);
  gguf.set("llama.embedding_length", 64u);
  gguf.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.set("llama.rope.freq_base", 1e4f);
  gguf.set("tokenizer.ggml.model", "llama");
  gguf.set("tokenizer.ggml.pre", "qwen2");
  gguf.set("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "a", "b", "ab", "\u2581"});
  gguf.set("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 1, 1, 1, 1});
  gguf.set("tokenizer.ggml.scores", std::vector<float>{0, 0, -1, -2, -3, -4});
  gguf.set("tokenizer.ggml.merges", std::vector<std::string>{"a b"});
  gguf.set("tokenizer.ggml.bos_token_id", 1u);
  gguf.tensors = {{"token_embd.weight", {6, 64}, 8, std::string(6 * 68, '\1')},
                  {"rope_freqs.weight", {4}, 0, std::string(16, '\77')}};
  return gguf.bytes();
}

void check_entries(const dgq::Gguf& gguf) {
  dgq::GgufMetadata copied;
  for (const dgq::GgufEntry& entry : gguf.entries) copied.add(entry);
  const std::string file = "GGUF" + dgq::test::little_endian(3u) +
                           dgq::test::little_endian<std::uint64_t>(0) +
                           dgq::test::little_endian(copied.count()) + copied.bytes();
  const auto again = dgq::parse_gguf(std::as_bytes(std::span(file)), "copied");
  if (!again || again->metadata != gguf.metadata) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string good = good_file();
  const std::string file = dgq::test::changed_file(good, data, size);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(file));
  const auto gguf = dgq::parse_gguf(bytes, "fuzz");
  if (!gguf) return 0;
  check_entries(*gguf);
  static_cast<void>(dgq::foreign_config(*gguf, "fuzz"));
  for (const auto& [name, tensor] : gguf->tensors) {
    const auto place = dgq::place_of_linear(name);
    if (place && dgq::name_of_linear(*place) != name) std::abort();
    if (tensor.data.data() < bytes.data() ||
        tensor.data.data() + tensor.data.size() > bytes.data() + bytes.size())
      std::abort();
    std::uint64_t elements = 1;
    for (const std::uint64_t dimension : tensor.shape) elements *= dimension;
    const auto floats = dgq::to_f32(tensor, name);
    if (floats && floats->size() != elements) std::abort();
  }
  if (const auto config = dgq::config_from_gguf(*gguf, "fuzz")) {
    const auto again = dgq::parse_config(dgq::config_to_json(*config), "canonical");
    if (!again || !(*again == *config)) std::abort();
  }
  if (const auto tokenizer = dgq::tokenizer_from_gguf(gguf->metadata, "fuzz")) {
    const auto parsed = dgq::Tokenizer::parse(*tokenizer, "fuzz");
    if (parsed) static_cast<void>(parsed->encode("a text", true));
  }
  return 0;
}

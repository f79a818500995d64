// A GGUF file as a checkpoint: the same numbers as the folder it came from, and what is refused.
#include <gtest/gtest.h>

#include <cmath>

#include "quantizer/checkpoint.h"
#include "runtime/rope.h"
#include "tests/support/command.h"
#include "tests/support/families.h"
#include "tests/support/gguf_writer.h"

namespace dgq {
namespace {

using test::GgufWriter;
using test::ScratchFolder;
using test::TinyCheckpoint;

Result<Checkpoint> open(const GgufWriter& gguf, const std::filesystem::path& tokenizer = {}) {
  const ScratchFolder scratch;  // the file may go: it stays mapped
  test::write_text(scratch / "m.gguf", gguf.bytes());
  return Checkpoint::open(scratch / "m.gguf", tokenizer);
}

void expect_fault(const GgufWriter& gguf, Errc code, const std::string& part) {
  const auto checkpoint = open(gguf);
  ASSERT_FALSE(checkpoint) << part;
  EXPECT_EQ(checkpoint.error().code, code) << checkpoint.error().what;
  EXPECT_NE(checkpoint.error().what.find(part), std::string::npos)
      << checkpoint.error().what << "\nshould hold: " << part;
  EXPECT_NE(checkpoint.error().what.find("m.gguf"), std::string::npos) << checkpoint.error().what;
  EXPECT_EQ(checkpoint.error().what.find('\n'), std::string::npos) << checkpoint.error().what;
}

void expect_same(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_EQ(a.config(), b.config()) << config_to_json(a.config()) << config_to_json(b.config());
  EXPECT_EQ(*a.embedding(), *b.embedding());
  EXPECT_EQ(*a.head(), *b.head());
  EXPECT_EQ(*a.final_norm(), *b.final_norm());
  for (std::size_t i = 0; i < a.config().layers; ++i)
    EXPECT_EQ(a.layer(i)->storage, b.layer(i)->storage) << i;
  EXPECT_EQ(*a.weights_digest(), *b.weights_digest());
}

TEST(GgufCheckpoint, HoldsWhatTheFolderHolds) {
  for (const TinyCheckpoint& tiny :
       {test::tiny_checkpoint(), test::tiny_llama_with_biases(), test::tiny_qwen2(), test::tiny_qwen3()}) {
    const ScratchFolder scratch;
    tiny.write(scratch.path());
    const auto folder = Checkpoint::open(scratch.path()), gguf = open(test::gguf_of(tiny));
    ASSERT_TRUE(folder && gguf) << (folder ? gguf : folder).error().what;
    expect_same(*folder, *gguf);
  }
}

TEST(GgufCheckpoint, DigestsTellModelsApart) {
  const ScratchFolder scratch;
  TinyCheckpoint tiny = test::tiny_checkpoint();
  const auto gguf = open(test::gguf_of(tiny));
  tiny.tensors["model.layers.1.mlp.up_proj.weight"].bytes[5] ^= 1;
  EXPECT_NE(*gguf->weights_digest(), *open(test::gguf_of(tiny))->weights_digest());
}

TEST(GgufCheckpoint, Q8IsRead) {
  GgufWriter gguf = test::gguf_of(test::tiny_checkpoint());
  std::string bytes;
  for (int block = 0; block < 64 * 96 / 32; ++block)
    bytes += test::little_endian<std::uint16_t>(0x2c00) + std::string(32, static_cast<char>(block));  // 1/16
  auto& down = gguf.tensor("blk.1.ffn_down.weight");
  down.type = 8;
  down.bytes = bytes;
  const auto checkpoint = open(gguf);
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  const LayerF32 layer = *checkpoint->layer(1);
  const auto& w = std::get<F32Matrix>(layer.weights.down);
  EXPECT_EQ(w.w[32 * 100 + 5], 100.0f / 16);
}

// Factors as converters compute them for Llama 3.2, in float32.
std::vector<float> llama3_factors(std::size_t half, float base, float factor) {
  std::vector<float> factors;
  for (std::size_t i = 0; i < half; ++i) {
    const float frequency = 1 / std::pow(base, static_cast<float>(i) / static_cast<float>(half));
    const float wavelength = 2 * 3.14159265f / frequency;
    const float smooth = (8192 / wavelength - 1) / (4 - 1);
    factors.push_back(wavelength < 8192.0f / 4   ? 1
                      : wavelength > 8192.0f / 1 ? factor
                                                 : 1 / ((1 - smooth) / factor + smooth));
  }
  return factors;
}

GgufWriter with_rope_factors(const std::vector<float>& factors) {
  TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.config["rope_theta"] = 500000.0;
  GgufWriter gguf = test::gguf_of(tiny);
  std::string bytes;
  for (const float factor : factors) bytes += test::little_endian(factor);
  gguf.tensors.push_back({"rope_freqs.weight", {factors.size()}, 0, bytes});
  return gguf;
}

TEST(GgufCheckpoint, RopeFactorsOfLlama3) {
  const auto checkpoint = open(with_rope_factors(llama3_factors(8, 500000, 32)));
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  const RopeScaling& scaling = checkpoint->config().rope_scaling;
  EXPECT_EQ(scaling.kind, RopeScaling::Kind::llama3);
  EXPECT_EQ(scaling.factor, 32);
  EXPECT_EQ(scaling.low_freq_factor, 1);
  EXPECT_EQ(scaling.high_freq_factor, 4);
  EXPECT_EQ(scaling.original_max_positions, 8192u);
  std::vector<float> factors = llama3_factors(8, 500000, 32);
  factors[4] *= 1.01f;
  expect_fault(with_rope_factors(factors), Errc::unsupported, "other factors than Llama 3's (element 4");
  expect_fault(with_rope_factors({1, 2}), Errc::corrupt, "holds 2 factors for 8 frequencies");
  expect_fault(with_rope_factors(std::vector<float>(8, 0)), Errc::corrupt,
               "rope_freqs.weight: holds a factor below 1");
  GgufWriter both = with_rope_factors(llama3_factors(8, 500000, 32));
  both.set("llama.rope.scaling.type", "linear");
  both.set("llama.rope.scaling.factor", 2.0f);
  expect_fault(both, Errc::unsupported, "RoPE scaling by a factor and by frequencies at once");
}

TEST(GgufCheckpoint, RopeScalingByAFactor) {
  GgufWriter gguf = test::gguf_of(test::tiny_checkpoint());
  gguf.set("llama.rope.scale_linear", 4.0f);
  EXPECT_EQ(open(gguf)->config().rope_scaling.factor, 4);
  gguf.set("llama.rope.scaling.type", "none");
  EXPECT_EQ(open(gguf)->config().rope_scaling.kind, RopeScaling::Kind::none);
  gguf.set("llama.rope.scaling.type", "yarn");
  expect_fault(gguf, Errc::unsupported, "RoPE type \"yarn\"");
}

TEST(GgufCheckpoint, StopTokens) {
  GgufWriter gguf = test::gguf_of(test::tiny_checkpoint());
  gguf.set("tokenizer.ggml.eot_token_id", 7u);
  gguf.set("tokenizer.ggml.eom_token_id", 7u);
  EXPECT_EQ(open(gguf)->config().eos, (std::vector<std::int32_t>{0, 7}));
}

TEST(GgufCheckpoint, RefusesByName) {
  const GgufWriter good = test::gguf_of(test::tiny_checkpoint());
  const auto with = [&](const std::string& key, auto value) {
    GgufWriter gguf = good;
    gguf.set(key, value);
    return gguf;
  };
  const auto without = [&](const std::string& key) {
    GgufWriter gguf = good;
    gguf.erase(key);
    return gguf;
  };
  expect_fault(with("general.architecture", "gemma2"), Errc::unsupported,
               "architecture \"gemma2\" is not supported");
  expect_fault(without("general.architecture"), Errc::corrupt, "\"general.architecture\" is missing");
  expect_fault(with("llama.attention.some_new_thing", 1.0f), Errc::unsupported,
               "llama.attention.some_new_thing");
  expect_fault(with("llama.expert_count", 8u), Errc::unsupported,
               "a mixture of experts (\"llama.expert_count\")");
  expect_fault(with("llama.rope.dimension_count", 8u), Errc::unsupported, "partial rotary embedding");
  expect_fault(with("llama.attention.value_length", 8u), Errc::unsupported, "llama.attention.value_length");
  expect_fault(with("llama.attention.sliding_window", 32u), Errc::unsupported, "sliding_window");
  expect_fault(with("llama.attention.head_count", std::vector<std::int32_t>{4, 4}), Errc::unsupported,
               "\"llama.attention.head_count\" that is not one number");
  expect_fault(with("llama.block_count", "2"), Errc::unsupported,
               "\"llama.block_count\" that is not one number");
  expect_fault(with("llama.block_count", 2.5f), Errc::corrupt, "num_hidden_layers");
  expect_fault(with("llama.block_count", 100000u), Errc::corrupt, "num_hidden_layers");
  expect_fault(with("llama.block_count", 3u), Errc::corrupt,
               "tensor blk.2.attn_norm.weight is missing (the metadata");
  expect_fault(with("llama.block_count", 1u), Errc::unsupported,
               "tensor blk.1.attn_k.weight is not part of the model");
  for (const char* key : {"block_count", "context_length", "embedding_length", "feed_forward_length",
                          "attention.head_count", "attention.layer_norm_rms_epsilon"})
    expect_fault(without(std::string("llama.") + key), Errc::corrupt,
                 std::string("\"llama.") + key + "\" is missing");
  expect_fault(with("llama.embedding_length", 60u), Errc::corrupt,
               "has shape [260, 64], the metadata asks for [260, 60]");
  expect_fault(with("tokenizer.ggml.tokens", std::vector<std::string>(261, "x")), Errc::corrupt,
               "the vocabulary has 261 tokens, but token_embd.weight has 260");
  expect_fault(with("llama.vocab_size", 300u), Errc::corrupt,
               "the vocabulary has 300 tokens, but token_embd.weight has 260");
}

TEST(GgufCheckpoint, WrongTensors) {
  const GgufWriter good = test::gguf_of(test::tiny_checkpoint());
  GgufWriter gguf = good;
  std::erase_if(gguf.tensors, [](const auto& t) { return t.name == "token_embd.weight"; });
  expect_fault(gguf, Errc::corrupt, "tensor token_embd.weight is missing");
  gguf = good;
  std::erase_if(gguf.tensors, [](const auto& t) { return t.name == "blk.0.ffn_up.weight"; });
  expect_fault(gguf, Errc::corrupt, "tensor blk.0.ffn_up.weight is missing");
  gguf = good;
  gguf.tensor("blk.0.attn_q.weight").shape = {32, 128};
  expect_fault(gguf, Errc::corrupt, "tensor blk.0.attn_q.weight has shape [32, 128]");
  gguf = good;
  gguf.tensor("blk.0.attn_qkv.weight") = {"blk.0.attn_qkv.weight", {4}, 0, std::string(16, '\0')};
  expect_fault(gguf, Errc::unsupported, "tensor blk.0.attn_qkv.weight is not part of the model");
  gguf = good;
  gguf.tensor("blk.0.attn_q.weight").type = 12;
  expect_fault(gguf, Errc::unsupported, "tensor \"blk.0.attn_q.weight\" is of type Q4_K");
  gguf = good;
  gguf.tensor("blk.1.ffn_down.weight").bytes.replace(2 * 70, 2, "\xc0\x7f");
  const auto nan = open(gguf);
  ASSERT_TRUE(nan);
  EXPECT_NE(nan->layer(1).error().what.find("blk.1.ffn_down.weight: element 70 is NaN"), std::string::npos);
}

TEST(GgufCheckpoint, AnotherTokenizer) {
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  const ScratchFolder scratch;
  tiny.write(scratch / "folder");
  GgufWriter gguf = test::gguf_of(tiny);
  gguf.set("tokenizer.ggml.pre", "nobody-knows");
  expect_fault(gguf, Errc::unsupported, "pre-tokenizer \"nobody-knows\" is not supported");
  const auto checkpoint = open(gguf, scratch / "folder" / "tokenizer.json");
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  EXPECT_EQ(checkpoint->tokenizer_json(), tiny.tokenizer);
  EXPECT_EQ(checkpoint->file_digests().size(), 2u);
  EXPECT_EQ(open(gguf, "/nonexistent.json").error().code, Errc::not_found);
}

// The file's tensors dealt out over parts, each with its own header.
void write_parts(const GgufWriter& whole, const std::filesystem::path& folder, std::uint32_t parts) {
  for (std::uint32_t part = 0; part < parts; ++part) {
    GgufWriter file;
    if (part == 0) file.metadata = whole.metadata;
    file.set("split.no", part);
    file.set("split.count", parts);
    for (std::size_t i = part; i < whole.tensors.size(); i += parts) file.tensors.push_back(whole.tensors[i]);
    test::write_text(
        folder / ("m-0000" + std::to_string(part + 1) + "-of-0000" + std::to_string(parts) + ".gguf"),
        file.bytes());
  }
}

TEST(GgufCheckpoint, Parts) {
  const ScratchFolder scratch;
  const GgufWriter whole = test::gguf_of(test::tiny_checkpoint());
  write_parts(whole, scratch.path(), 3);
  const auto first = scratch / "m-00001-of-00003.gguf", second = scratch / "m-00002-of-00003.gguf";
  const auto parts = Checkpoint::open(first);
  ASSERT_TRUE(parts) << parts.error().what;
  expect_same(*parts, *open(whole));
  EXPECT_EQ(parts->file_digests().size(), 3u);
  EXPECT_NE(Checkpoint::open(second).error().what.find("is part 2 of 3: give the first"), std::string::npos);
  std::filesystem::rename(first, scratch / "renamed.gguf");
  EXPECT_NE(Checkpoint::open(scratch / "renamed.gguf").error().what.find("ends in -00001-of-00003.gguf"),
            std::string::npos);
  std::filesystem::rename(scratch / "renamed.gguf", first);
  std::filesystem::copy_file(scratch / "m-00003-of-00003.gguf", second,
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_NE(Checkpoint::open(first).error().what.find("says that it is part 3 of 3"), std::string::npos);
  std::filesystem::copy_file(first, second, std::filesystem::copy_options::overwrite_existing);
  EXPECT_NE(Checkpoint::open(first).error().what.find("is in an earlier part already"), std::string::npos);
  std::filesystem::remove(second);
  EXPECT_EQ(Checkpoint::open(first).error().code, Errc::not_found);
}

}  // namespace
}  // namespace dgq

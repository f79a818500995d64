#include "quantizer/checkpoint.h"

#include <gtest/gtest.h>

#include "runtime/tokenizer.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

using test::ScratchFolder;
using test::tiny_checkpoint;
using test::TinyCheckpoint;

// What opening (and, when that works, reading) the written checkpoint says.
Error fault(const std::filesystem::path& folder) {
  const Result<Checkpoint> checkpoint = Checkpoint::open(folder);
  if (!checkpoint) return checkpoint.error();
  const Result<ModelF32> model = load_f32(*checkpoint);
  return model ? Error{Errc::invalid, "accepted"} : model.error();
}

Error fault(const TinyCheckpoint& tiny) {
  const ScratchFolder scratch;
  tiny.write(scratch.path());
  return fault(scratch.path());
}

void expect_fault(const Error& error, Errc code, const std::string& part) {
  EXPECT_EQ(error.code, code) << error.what;
  EXPECT_NE(error.what.find(part), std::string::npos) << error.what;
  EXPECT_EQ(error.what.find('\n'), std::string::npos) << "one line only";
}

const char* const kQ = "model.layers.1.self_attn.q_proj.weight";

TEST(Checkpoint, LoadsEveryTensor) {
  const ScratchFolder scratch;
  const TinyCheckpoint tiny = tiny_checkpoint();
  tiny.write(scratch.path());
  const Result<Checkpoint> checkpoint = Checkpoint::open(scratch.path());
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  EXPECT_EQ(checkpoint->tokenizer_json(), tiny.tokenizer);
  EXPECT_EQ(checkpoint->config(), *parse_config(tiny.config, "config.json"));
  const Result<ModelF32> model = load_f32(*checkpoint);
  ASSERT_TRUE(model) << model.error().what;
  ASSERT_EQ(model->weights.layers.size(), 2u);
  const F32Matrix& down = std::get<F32Matrix>(model->weights.layers[1].down);
  EXPECT_EQ(down.n, 64u);
  EXPECT_EQ(down.k, 96u);
  const std::string& bytes = tiny.tensors.at("model.layers.1.mlp.down_proj.weight").bytes;
  for (std::size_t i = 0; i < 64 * 96; ++i) {
    float expected = 0;
    std::memcpy(reinterpret_cast<char*>(&expected) + 2, bytes.data() + 2 * i, 2);
    ASSERT_EQ(down.w[i], expected) << i;
  }
  EXPECT_EQ(std::get<F32Matrix>(model->weights.head).w, model->embedding.data());  // tied
}

TEST(Checkpoint, UntiedHeadAndBiases) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.config["tie_word_embeddings"] = false;
  tiny.config["attention_bias"] = true;
  expect_fault(fault(tiny), Errc::corrupt, "lm_head.weight is missing");
  tiny.tensors["lm_head.weight"] = test::f32_tensor({260, 64}, test::random_floats(260 * 64, 1, 9));
  expect_fault(fault(tiny), Errc::corrupt, "self_attn.q_proj.bias is missing");
  for (const char* layer : {"model.layers.0.", "model.layers.1."})
    for (const auto& [name, n] : {std::pair("q", 64), {"k", 32}, {"v", 32}, {"o", 64}})
      tiny.tensors[std::string(layer) + "self_attn." + name + "_proj.bias"] =
          test::f32_tensor({static_cast<std::uint64_t>(n)}, test::random_floats(n, 1, 9));
  const ScratchFolder scratch;
  tiny.write(scratch.path());
  const Result<ModelF32> model = load_f32(*Checkpoint::open(scratch.path()));
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(std::get<F32Matrix>(model->weights.head).w, model->head.data());
  EXPECT_EQ(std::get<F32Matrix>(model->weights.layers[0].k).bias[3], test::random_floats(32, 1, 9)[3]);
  EXPECT_EQ(std::get<F32Matrix>(model->weights.layers[0].gate).bias, nullptr);
}

TEST(Checkpoint, MissingTensor) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.tensors.erase(kQ);
  expect_fault(fault(tiny), Errc::corrupt, std::string("tensor ") + kQ + " is missing");
}

TEST(Checkpoint, WrongShape) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.tensors[kQ].shape = {32, 128};
  expect_fault(fault(tiny), Errc::corrupt, "has shape [32, 128], config.json asks for [64, 64]");
}

TEST(Checkpoint, WrongType) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.tensors[kQ] = {"I8", {64, 64}, std::string(64 * 64, '\1')};
  expect_fault(fault(tiny), Errc::unsupported, "dtype I8 is not F32, F16 or BF16");
}

TEST(Checkpoint, NanWeights) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.tensors[kQ].bytes.replace(2 * 70, 2, "\xc0\x7f");
  expect_fault(fault(tiny), Errc::corrupt, std::string("tensor ") + kQ + ": element 70 is NaN");
}

TEST(Checkpoint, ExtraTensor) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] =
      test::f32_tensor({8}, test::random_floats(8, 1, 1));
  tiny.tensors["lm_head.weight"] = tiny.tensors["model.embed_tokens.weight"];  // tied, stored twice
  expect_fault(fault(tiny), Errc::invalid, "accepted");
  tiny.tensors["lm_head.weight"].bytes[5] ^= 1;
  expect_fault(fault(tiny), Errc::unsupported, "lm_head.weight is not part of the model");
  tiny.tensors.erase("lm_head.weight");
  tiny.tensors["model.layers.0.self_attn.q_norm.weight"] =
      test::f32_tensor({16}, test::random_floats(16, 1, 1));
  expect_fault(fault(tiny), Errc::unsupported, "q_norm.weight is not part of the model");
}

TEST(Checkpoint, UnknownArchitecture) {
  TinyCheckpoint tiny = tiny_checkpoint();
  tiny.config["architectures"] = {"MambaForCausalLM"};
  expect_fault(fault(tiny), Errc::unsupported, "MambaForCausalLM");
}

TEST(Checkpoint, BrokenFiles) {
  const ScratchFolder scratch;
  expect_fault(fault(scratch / "nowhere"), Errc::not_found, "is neither a folder");
  expect_fault(fault(scratch.path()), Errc::not_found, "config.json");
  const TinyCheckpoint tiny = tiny_checkpoint();
  tiny.write_texts(scratch.path());
  expect_fault(fault(scratch.path()), Errc::not_found,
               "neither model.safetensors nor model.safetensors.index.json");
  const std::string whole = test::safetensors_bytes(tiny.tensors);
  test::write_text(scratch / "model.safetensors", whole.substr(0, whole.size() - 1));
  expect_fault(fault(scratch.path()), Errc::corrupt, "truncated");
  test::write_text(scratch / "model.safetensors", std::string(16, '\x7f'));
  expect_fault(fault(scratch.path()), Errc::corrupt, "more than the format's limit");
  test::write_text(scratch / "config.json", "{");
  expect_fault(fault(scratch.path()), Errc::corrupt, "config.json: not valid JSON");
  std::filesystem::remove(scratch / "tokenizer.json");
  tiny.write(scratch.path());
  std::filesystem::remove(scratch / "tokenizer.json");
  expect_fault(fault(scratch.path()), Errc::not_found, "tokenizer.json");
}

TEST(Checkpoint, ShardedEqualsSingle) {
  const ScratchFolder scratch;
  const TinyCheckpoint tiny = tiny_checkpoint();
  tiny.write(scratch / "single");
  tiny.write_sharded(scratch / "sharded", 3);
  const Result<Checkpoint> single = Checkpoint::open(scratch / "single"),
                           sharded = Checkpoint::open(scratch / "sharded");
  ASSERT_TRUE(single && sharded);
  EXPECT_EQ(*single->embedding(), *sharded->embedding());
  EXPECT_EQ(*single->final_norm(), *sharded->final_norm());
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(single->layer(i)->storage, sharded->layer(i)->storage);
  EXPECT_EQ(*single->weights_digest(), *sharded->weights_digest());
  EXPECT_EQ(single->file_digests().size(), 3u);
  EXPECT_EQ(sharded->file_digests().size(), 6u);  // index and three shards
  EXPECT_EQ(single->file_digests()[0], sharded->file_digests()[0]);
}

TEST(Checkpoint, IndexMustAgreeWithItsShards) {
  const ScratchFolder scratch;
  const TinyCheckpoint tiny = tiny_checkpoint();
  const auto with_map = [&](const std::string& name, const Json& file) {
    tiny.write_sharded(scratch.path(), 2);
    const auto path = scratch / "model.safetensors.index.json";
    Json index = Json::parse(test::file_text(path));
    index["weight_map"][name] = file;
    test::write_text(path, index.dump());
    return fault(scratch.path());
  };
  expect_fault(with_map(kQ, "../model-0.safetensors"), Errc::corrupt, "must name a file of the same folder");
  expect_fault(with_map(kQ, "/etc/passwd"), Errc::corrupt, "must name a file of the same folder");
  expect_fault(with_map(kQ, ".."), Errc::corrupt, "must name a file of the same folder");
  expect_fault(with_map(kQ, 3), Errc::corrupt, "must name a file of the same folder");
  expect_fault(with_map("model.more", "model-0.safetensors"), Errc::corrupt, "tensor model.more is missing");
  expect_fault(with_map("model.more", "model-9.safetensors"), Errc::not_found, "model-9.safetensors");
  tiny.write_sharded(scratch.path(), 2);
  test::write_text(scratch / "model.safetensors.index.json", R"({"weight_map": []})");
  expect_fault(fault(scratch.path()), Errc::corrupt, "\"weight_map\" must be an object");
  tiny.write_sharded(scratch.path(), 2);
  Json index = Json::parse(test::file_text(scratch / "model.safetensors.index.json"));
  index["weight_map"].erase(kQ);
  test::write_text(scratch / "model.safetensors.index.json", index.dump());
  expect_fault(fault(scratch.path()), Errc::corrupt, "is not placed here by");
}

TEST(Checkpoint, BundledModelLoads) {
  const Result<Checkpoint> demo = Checkpoint::open(test::repository_file("models/demo"));
  ASSERT_TRUE(demo) << demo.error().what;
  EXPECT_EQ(demo->config().layers, 8u);
  EXPECT_EQ(demo->file_digests().size(), 4u);  // config, weights, tokenizer, chat template
  ASSERT_TRUE(demo->layer(7));
}

TEST(Checkpoint, SyntheticTokensAreText) {
  const auto config = parse_config(tiny_checkpoint().config, "config");
  ASSERT_TRUE(config) << config.error().what;
  ModelConfig larger = *config;
  larger.vocab = 1000;
  const auto synthetic = Checkpoint::synthetic(larger);
  ASSERT_TRUE(synthetic) << synthetic.error().what;
  const auto tokenizer = Tokenizer::parse(synthetic->tokenizer_json(), "tokenizer");
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  for (std::int32_t id = 1; id < 1000; ++id)
    EXPECT_FALSE(tokenizer->decode(std::span(&id, 1), true)->empty()) << id;
  const auto ids = tokenizer->encode("#999", false);
  ASSERT_TRUE(ids);
  EXPECT_EQ(ids->size(), 4u) << "bytes, as any text";
}

}  // namespace
}  // namespace dgq

// A model in a registry: what was put in runs, mapped; what contradicts itself is refused, naming blob and tensor.
#include "runtime/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <optional>

#include "registry/layer_blob.h"
#include "runtime/session.h"
#include "tests/runtime/synthetic.h"
#include "tests/support/command.h"

namespace dgq {
namespace {

using test::small_config;
using test::SyntheticModel;

std::vector<std::byte> copy(const void* data, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  return {first, first + bytes};
}

// One tensor before it is packed into a blob, so that a test can spoil it.
struct Part {
  TensorInfo info;
  std::vector<std::byte> section;
};

Part norm_part(const std::string& name, const float* values, std::size_t width) {
  return {{name, TensorKind::f32, false, 1, width, 0}, copy(values, width * sizeof(float))};
}

template <int kBits>
Part fine_part(const std::string& name, TensorKind kind, const FineMatrix<kBits>& w) {
  return {{name, kind, w.bias != nullptr, w.n, w.k, static_cast<std::uint32_t>(w.group)},
          copy(w.q, packed_fine_bytes<kBits>(w.n, w.k, w.group, w.bias))};
}

Part linear_part(const std::string& name, const Linear& linear) {
  if (const auto* w = std::get_if<W4Matrix>(&linear)) return fine_part(name, TensorKind::w4_n16k8, *w);
  if (const auto* w = std::get_if<W6Matrix>(&linear)) return fine_part(name, TensorKind::w6_n16k8, *w);
  if (const auto* w = std::get_if<W8Matrix>(&linear))
    return {{name, TensorKind::w8_n16k4, w->bias != nullptr, w->n, w->k, 0},
            copy(w->q, packed_w8_bytes(w->n, w->k, w->bias))};
  const auto& w = std::get<F32Matrix>(linear);
  return {{name, TensorKind::f32, false, w.n, w.k, 0}, copy(w.w, w.n * w.k * sizeof(float))};
}

Part scales_part(const float* values) {
  return {{"input_scales", TensorKind::scales, false, 1, kInputs, 0}, copy(values, kInputs * sizeof(float))};
}

using Parts = std::vector<std::pair<std::string, std::vector<Part>>>;  // blob name -> tensors

Parts parts_of(const SyntheticModel& model) {
  Parts parts = {{"embedding", {linear_part("embed_tokens", model.weights.embedding)}}};
  const std::size_t hidden = model.config.hidden;
  for (std::size_t i = 0; i < model.weights.layers.size(); ++i) {
    const LayerWeights& w = model.weights.layers[i];
    parts.push_back(
        {"layers." + std::to_string(i),
         {norm_part("input_layernorm", w.input_norm, hidden), linear_part("q_proj", w.q),
          linear_part("k_proj", w.k), linear_part("v_proj", w.v), linear_part("o_proj", w.o),
          norm_part("post_attention_layernorm", w.post_attention_norm, hidden),
          linear_part("gate_proj", w.gate), linear_part("up_proj", w.up), linear_part("down_proj", w.down)}});
    if (w.input_scale != decltype(w.input_scale){})
      parts.back().second.push_back(scales_part(w.input_scale.data()));
    if (w.q_norm) {
      parts.back().second.push_back(norm_part("q_norm", w.q_norm, model.config.head_dim));
      parts.back().second.push_back(norm_part("k_norm", w.k_norm, model.config.head_dim));
    }
  }
  parts.push_back({"head", {norm_part("norm", model.weights.final_norm, hidden)}});
  return parts;
}

// The synthetic model has biases on every W4 and W6 linear but not on its one W8 down_proj: that one becomes W6 too.
SyntheticModel model_with_biases(bool qk_norm = false) {
  ModelConfig config = small_config();
  config.qk_norm = qk_norm;
  SyntheticModel model(config, true);
  model.config.qkv_bias = model.config.o_bias = model.config.mlp_bias = true;
  model.weights.layers[0].down = model.weights.layers[1].down;
  return model;
}

class ModelTest : public testing::Test {
 protected:
  ModelTest() {
    auto opened = Registry::open(folder / "registry.db", Registry::Mode::read_write, true);
    EXPECT_TRUE(opened) << opened.error().what;
    registry.emplace(std::move(*opened));
  }

  void add(const Parts& parts, const std::string& name) {
    auto ingest = registry->begin_ingest();
    ASSERT_TRUE(ingest) << ingest.error().what;
    Manifest manifest;
    manifest.config = config_to_json(source.config);
    for (const auto& [blob, tensors] : parts) {
      LayerBlobBuilder builder;
      for (const Part& part : tensors) builder.add(part.info, part.section);
      const auto stored = ingest->add_blob(blob, "layer", builder.finish());
      ASSERT_TRUE(stored) << stored.error().what;
      manifest.blobs.push_back(*stored);
    }
    const std::string tokenizer = "{}";
    const auto stored = ingest->add_blob("tokenizer", "tokenizer.json", std::as_bytes(std::span(tokenizer)));
    ASSERT_TRUE(stored) << stored.error().what;
    manifest.blobs.push_back(*stored);
    const auto committed = ingest->commit(manifest, *ModelRef::parse(name));
    ASSERT_TRUE(committed) << committed.error().what;
  }

  Result<Model> load(const std::string& name) { return Model::load(*registry, cache, name); }

  test::ScratchFolder folder;
  SyntheticModel source = model_with_biases();
  std::optional<Registry> registry;
  LayerCache cache{folder / "layers"};
};

std::vector<float> some_logits(const ModelConfig& config, const ModelWeights& weights) {
  Decoder decoder(config, *select_kernels(""), 1);
  Session session(config, weights, decoder, 8, KvType::int8);
  const std::vector<std::int32_t> tokens = {5, 300, 17, 0, 42};
  EXPECT_TRUE(session.append(tokens));
  return {session.logits().begin(), session.logits().end()};
}

TEST_F(ModelTest, RunsLikeTheWeightsThatWerePutIn) {
  add(parts_of(source), "m");
  const auto first = load("m");
  ASSERT_TRUE(first) << first.error().what;
  EXPECT_EQ(first->footprint().files, 5u);  // embedding, 2 layers, head, tokenizer
  EXPECT_EQ(first->footprint().files_reused, 0u);
  const auto model = load("m:latest");
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(model->footprint().files_reused, 5u);
  EXPECT_EQ(model->tokenizer_json(), "{}");
  EXPECT_EQ(model->activation_block(), 128u);
  std::uint64_t bytes = 0;
  for (const BlobRef& blob : model->version().manifest.blobs) bytes += blob.bytes;
  EXPECT_EQ(model->footprint().bytes_mapped, bytes);
  EXPECT_EQ(some_logits(model->config(), model->weights()), some_logits(source.config, source.weights));
}

TEST_F(ModelTest, NormsOfHeads) {
  source = model_with_biases(true);
  add(parts_of(source), "m");
  const auto model = load("m");
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(some_logits(model->config(), model->weights()), some_logits(source.config, source.weights));
  Parts parts = parts_of(source);
  parts[1].second.pop_back();
  add(parts, "m");
  EXPECT_NE(load("m").error().what.find("k_norm: is missing"), std::string::npos) << load("m").error().what;
  source.config.qk_norm = false;
  add(parts_of(source), "m");
  EXPECT_NE(load("m").error().what.find("11 tensors"), std::string::npos) << load("m").error().what;
}

TEST_F(ModelTest, StaticScalesOfInputs) {
  source.weights.layers[1].input_scale = {0.02f, 0, 0.5f, 0};
  add(parts_of(source), "m");
  const auto model = load("m");
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(model->weights().layers[0].input_scale, (std::array<float, kInputs>{}));
  EXPECT_EQ(model->weights().layers[1].input_scale, source.weights.layers[1].input_scale);
  EXPECT_EQ(some_logits(model->config(), model->weights()), some_logits(source.config, source.weights));
  for (const float bad : {-0.02f, 1e-40f, std::nanf("")}) {
    source.weights.layers[1].input_scale[2] = bad;
    add(parts_of(source), "m");
    const auto refused = load("m");
    ASSERT_FALSE(refused) << bad;
    EXPECT_NE(refused.error().what.find("input_scales: element 2"), std::string::npos)
        << refused.error().what;
  }
}

TEST_F(ModelTest, RefusesWhatContradictsItself) {
  struct Spoiled {
    const char* what;
    std::function<void(Parts&)> spoil;
    std::vector<const char*> words;  // in the message
  };
  // Indices as in parts_of(): 0 embedding, 1 layers.0, 2 layers.1, 3 head; tensors 0 norm, 1 q, ..., 8 down.
  const std::vector<Spoiled> cases = {
      {"missing tensor",
       [](Parts& p) { p[1].second.erase(p[1].second.begin() + 4); },
       {"layers.0", "o_proj", "missing"}},
      {"tensor too many",
       [](Parts& p) {
         p[2].second.push_back(p[2].second[1]);
         p[2].second.back().info.name = "extra";
       },
       {"layers.1", "10 tensors"}},
      {"shape",
       [](Parts& p) { p[1].second[1] = p[1].second[6], p[1].second[1].info.name = "q_proj"; },
       {"layers.0", "q_proj", "200 x 72", "60 x 72"}},
      {"norm kind",
       [](Parts& p) { p[3].second[0].info.kind = TensorKind::w4_n16k8, p[3].second[0].info.group = 32; },
       {"head", "norm"}},
      {"bias where the config has none",
       [](Parts& p) {
         p[1].second[8] =
             linear_part("down_proj", SyntheticModel(small_config(), true).weights.layers[0].down);
       },
       {"layers.0", "down_proj", "bias"}},
      {"NaN in a norm",
       [](Parts& p) {
         const float nan = std::nanf("");
         std::memcpy(p[2].second[5].section.data() + 4 * 7, &nan, 4);
       },
       {"layers.1", "post_attention_layernorm", "element 7"}},
      {"weight of -128",
       [](Parts& p) { p[0].second[0].section[100] = std::byte{0x80}; },
       {"embedding", "embed_tokens", "-128"}},
      {"offset of -128",
       [](Parts& p) {
         Part& q = p[1].second[1];  // 60 x 72 in groups of 32: q is 64 * 96 / 2 bytes, s2 64 * 3, then o
         q.section[64 * 96 / 2 + 64 * 3] = std::byte{0x80};
       },
       {"layers.0", "q_proj"}},
      {"scale of 128 in W6",
       [](Parts& p) {
         Part& v = p[1].second[3];  // 20 x 72 in groups of 128: q is 32 * 128 * 6 / 8 bytes, then s2
         v.section[32 * 128 * 6 / 8] = std::byte{0x80};
       },
       {"layers.0", "v_proj", "s2"}},
      {"W6 where the section is of W4",
       [](Parts& p) { p[1].second[1].info.kind = TensorKind::w6_n16k8; },
       {"layers.0", "q_proj", "bytes instead of"}},
      {"too few scales",
       [](Parts& p) {
         p[1].second.push_back(scales_part(std::array<float, kInputs>{}.data()));
         p[1].second.back().info.k = 2, p[1].second.back().section.resize(8);
       },
       {"layers.0", "input_scales", "1 x 2"}},
      {"scales of kind f32",
       [](Parts& p) {
         p[1].second.push_back(scales_part(std::array<float, kInputs>{}.data()));
         p[1].second.back().info.kind = TensorKind::f32;
       },
       {"layers.0", "input_scales", "kind"}},
      {"a linear of kind scales",
       [](Parts& p) {
         p[1].second[1].info.kind = TensorKind::scales, p[1].second[1].info.bias = false;
         p[1].second[1].info.group = 0, p[1].second[1].section.resize(60 * 72 * 4);
       },
       {"layers.0", "q_proj"}},
      {"missing blob", [](Parts& p) { p.pop_back(); }, {"head"}},
  };
  for (const Spoiled& spoiled : cases) {
    Parts parts = parts_of(source);
    spoiled.spoil(parts);
    add(parts, "spoiled");
    const auto model = load("spoiled");
    ASSERT_FALSE(model) << spoiled.what;
    EXPECT_EQ(model.error().code, Errc::corrupt) << spoiled.what;
    for (const char* word : spoiled.words)
      EXPECT_NE(model.error().what.find(word), std::string::npos)
          << spoiled.what << ": " << model.error().what;
  }
}

TEST_F(ModelTest, UnknownNameIsNotFound) { EXPECT_EQ(load("nothing").error().code, Errc::not_found); }

}  // namespace
}  // namespace dgq

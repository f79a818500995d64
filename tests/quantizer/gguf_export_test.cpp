// `dgq export gguf`, read back by our own reader of GGUF files. What llama.cpp makes of them: tests/plugin/ggml.
#include "quantizer/gguf_export.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "quantizer/checkpoint.h"
#include "quantizer/gguf.h"
#include "quantizer/gguf_tokenizer.h"
#include "quantizer/gguf_tokenizer_output.h"
#include "runtime/gguf_carrier.h"
#include "runtime/linear.h"
#include "runtime/tokenizer.h"
#include "tests/support/command.h"
#include "tests/support/families.h"
#include "tests/support/shared.h"

namespace dgq::test {
namespace {

struct Exported {
  explicit Exported(const TinyCheckpoint& tiny, const std::string& chat = "") {
    tiny.write(scratch / "model");
    if (!chat.empty()) write_text(scratch / "model" / "chat_template.jinja", chat);
    const std::string registry = (scratch / "r.db").string();
    const Outcome made =
        run_dgq("quantize " + (scratch / "model").string() +
                " --recipe fast --calibration-tokens 256 --name tiny --registry " + registry);
    EXPECT_EQ(made.exit_code, 0) << made.err;
    auto opened = Registry::open(registry, Registry::Mode::read_only);
    LayerCache cache(LayerCache::default_folder(registry));
    model.emplace(*Model::load(*opened, cache, "tiny"));
    linears.emplace(*StoredLinears::load(*opened, cache, "tiny"));
  }
  std::string write(GgufWeights weights) const {
    const auto done = export_gguf(*model, "tiny", weights, scratch / "m.gguf");
    EXPECT_TRUE(done) << done.error().what;
    return (scratch / "m.gguf").string();
  }

  ScratchFolder scratch;
  std::optional<Model> model;
  std::optional<StoredLinears> linears;
};

void expect_same(const Linear& exported, const Linear& ours, const char* name) {
  const auto& floats = std::get<F32Matrix>(exported);
  std::visit(
      [&](const auto& w) {
        std::vector<float> row(w.k);
        for (std::size_t i = 0; i < w.n; ++i) {
          copy_row(w, i, row.data());
          for (std::size_t j = 0; j < w.k; ++j) ASSERT_EQ(floats.w[i * w.k + j], row[j]) << name;
          if (w.bias) {
            ASSERT_NE(floats.bias, nullptr) << name;
            ASSERT_EQ(floats.bias[i], w.bias[i]) << name;
          }
        }
      },
      ours);
}

// Tiny linears are in float32, so a fat file is the version itself: config, rows in their order, biases, norms, tokenizer.
TEST(GgufExport, IsTheVersionAgain) {
  for (const TinyCheckpoint& tiny :
       {tiny_checkpoint(), tiny_qwen2(), tiny_qwen3(), tiny_llama_with_biases()}) {
    const Exported exported(tiny);
    auto checkpoint = Checkpoint::open(exported.write(GgufWeights::fat));
    ASSERT_TRUE(checkpoint) << checkpoint.error().what;
    EXPECT_EQ(config_to_json(checkpoint->config()), config_to_json(exported.model->config()));
    auto floats = load_f32(*checkpoint);
    ASSERT_TRUE(floats) << floats.error().what;
    const ModelWeights &theirs = floats->weights, &ours = exported.model->weights();
    expect_same(theirs.embedding, ours.embedding, "embedding");
    expect_same(theirs.head, ours.head, "head");
    for (std::size_t i = 0; i < ours.layers.size(); ++i) {
      const LayerWeights &a = theirs.layers[i], &b = ours.layers[i];
      expect_same(a.q, b.q, "q"), expect_same(a.k, b.k, "k"), expect_same(a.v, b.v, "v");
      expect_same(a.o, b.o, "o"), expect_same(a.gate, b.gate, "gate"), expect_same(a.up, b.up, "up");
      expect_same(a.down, b.down, "down");
      EXPECT_EQ(a.input_norm[3], b.input_norm[3]);
      EXPECT_EQ(a.q_norm == nullptr, b.q_norm == nullptr);
    }
    const auto tokenizer = Tokenizer::parse(checkpoint->tokenizer_json(), "exported");
    const auto before = Tokenizer::parse(exported.model->tokenizer_json(), "before");
    ASSERT_TRUE(tokenizer && before);
    EXPECT_EQ(*tokenizer->encode("the <|endoftext|> there", true),
              *before->encode("the <|endoftext|> there", true));
  }
}

TEST(GgufExport, ThinTensorsNameTheirBlobs) {
  const Exported exported(tiny_checkpoint());
  const std::string text = file_text(exported.write(GgufWeights::thin));
  const std::size_t at = text.find("DGQ1");
  ASSERT_NE(at, std::string::npos);
  const auto bytes = std::as_bytes(std::span(text)).subspan(at);
  const auto carrier = parse_carrier(bytes, "file");
  ASSERT_TRUE(carrier) << carrier.error().what;
  EXPECT_EQ(carrier->version, exported.model->version().digest);
  EXPECT_EQ(carrier->role, LinearRole::embedding);
  EXPECT_TRUE(exported.linears->find(*carrier, "file"));
  EXPECT_FALSE(read_fat_mark(std::as_bytes(std::span(text))));
  const std::string fat = file_text(exported.write(GgufWeights::fat));
  EXPECT_EQ(*read_fat_mark(std::as_bytes(std::span(fat))), carrier->version);
}

TEST(GgufExport, WritesTheChatTemplate) {
  const std::string chat = "{% for m in messages %}{{ m.content }}{% endfor %}";
  for (const std::string& text : {chat, std::string()}) {
    const Exported exported(tiny_checkpoint(), text);
    const auto file = GgufFile::open(exported.write(GgufWeights::fat));
    ASSERT_TRUE(file) << file.error().what;
    EXPECT_EQ(file->content.metadata.value("tokenizer.chat_template", ""), text);
  }
}

TEST(GgufExport, SignsChangeNoWeight) {
  const Carrier carrier{LinearRole::k, 64, sha256("version"), sha256("blob")};
  std::vector<std::byte> blocks(kFatWeights / kQ8Block * kQ8BlockBytes);
  for (std::size_t i = 0; i < blocks.size(); ++i)
    blocks[i] = i % kQ8BlockBytes == 1 ? std::byte{0x2c}
                                       : static_cast<std::byte>(static_cast<int>(i * 37 % 255) - 127);
  const std::vector<std::uint64_t> shape = {kFatWeights / kQ8Block, kQ8Block};
  const auto before = to_f32({"Q8_0", shape, blocks}, "before");
  std::vector<std::byte> signed_blocks = blocks;
  write_signs(encode_carrier(carrier), signed_blocks);
  EXPECT_NE(signed_blocks, blocks);
  EXPECT_EQ(*to_f32({"Q8_0", shape, signed_blocks}, "after"), *before);
  EXPECT_EQ(*parse_carrier(read_signs(signed_blocks), "signs"), carrier);
  EXPECT_FALSE(parse_carrier(read_signs(blocks), "anybody's"));
}

TEST(GgufExport, CarriersAreChecked) {
  const CarrierBytes good = encode_carrier({LinearRole::up, 0, sha256("version"), sha256("blob")});
  ASSERT_TRUE(parse_carrier(good, "x"));
  for (std::size_t i = 0; i < good.size(); ++i) {
    CarrierBytes bad = good;
    bad[i] ^= std::byte{1};
    EXPECT_FALSE(parse_carrier(bad, "x")) << i;
  }
  EXPECT_FALSE(parse_carrier(std::span(good).first(79), "x"));
  const auto of_tensor = [](std::size_t index) {
    return parse_carrier(encode_carrier({role_of_tensor(index), 0, sha256("version"), sha256("blob")}), "x");
  };
  EXPECT_EQ(tensor_index(of_tensor(0)->role), 0u);
  EXPECT_EQ(tensor_index(of_tensor(1023)->role), 1023u);
  EXPECT_FALSE(of_tensor(1024));  // more than a blob holds
  EXPECT_FALSE(tensor_index(LinearRole::down));
}

// What GGUF has no words for is refused by name, not written wrongly.
TEST(GgufExport, RefusesOtherTokenizers) {
  const Exported exported(tiny_checkpoint());
  const ModelConfig& config = exported.model->config();
  const auto refusal = [&](const std::string& key, const Json& value) {
    Json json = tiny_tokenizer();
    json[key] = value;
    GgufMetadata metadata;
    const auto added = add_tokenizer(metadata, config, json.dump(), "tiny");
    return added ? std::string() : added.error().what;
  };
  EXPECT_EQ(refusal("truncation", nullptr), "");
  EXPECT_NE(refusal("normalizer", {{"type", "NFKC"}}).find("its normalizer"), std::string::npos);
  EXPECT_NE(
      refusal("pre_tokenizer", {{"type", "Digits"}, {"individual_digits", false}}).find("its pre-tokenizer"),
      std::string::npos);
}

// Tokenizers of other models, byte level and SentencePiece: written and read back, they give the same ids.
TEST(GgufExport, KeepsTokenizers) {
  if (!memory_counts()) GTEST_SKIP() << "vocabularies of 150,000 tokens: half a minute";
  const auto folder = shared_file("data/tokenizers", "tokenizers of other models in GGUF files");
  if (folder.empty()) GTEST_SKIP();
  const std::string text =
      "Der alte Mann's 1234 ships\n\n sailed over 3.14 \xc3\xa4\xf0\x9f\x98\x80 tabs\tand   spaces";
  std::size_t tried = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename() != "tokenizer.json") continue;
    const std::string json = file_text(entry.path());
    auto tokenizer = Tokenizer::parse(json, entry.path().string());
    if (!tokenizer) continue;
    ModelConfig config{};
    config.vocab = tokenizer->vocabulary_size();
    GgufMetadata metadata;
    if (!add_tokenizer(metadata, config, json, entry.path().string())) continue;
    const ScratchFolder scratch;
    ASSERT_TRUE(write_gguf(scratch / "t.gguf", metadata, {}));
    auto file = GgufFile::open(scratch / "t.gguf");
    ASSERT_TRUE(file) << file.error().what;
    const auto back = tokenizer_from_gguf(file->content.metadata, "back");
    ASSERT_TRUE(back) << entry.path() << back.error().what;
    const auto again = Tokenizer::parse(*back, "back");
    ASSERT_TRUE(again) << entry.path() << again.error().what;
    EXPECT_EQ(*again->encode(text, true), *tokenizer->encode(text, true)) << entry.path();
    ++tried;
  }
  EXPECT_GT(tried, 0u);
}

}  // namespace
}  // namespace dgq::test

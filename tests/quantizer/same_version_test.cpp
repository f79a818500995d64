// The same numbers give the same version, whatever files they came in; the files are in the audit log.
#include <gtest/gtest.h>

#include <optional>

#include "quantizer/quantize.h"
#include "quantizer/safetensors.h"
#include "quantizer/stored_tensor.h"
#include "runtime/chat_template.h"
#include "tests/support/command.h"
#include "tests/support/families.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

using test::GgufWriter;
using test::ScratchFolder;
using test::TinyCheckpoint;

Result<QuantizeResult> quantize_quickly(const std::filesystem::path& model, Registry& registry,
                                        const std::filesystem::path& tokenizer = {}) {
  DGQ_TRY(const Checkpoint checkpoint, Checkpoint::open(model, tokenizer));
  QuantizeOptions options;
  options.recipe = *built_in_recipe("default");
  options.recipe.calibration_tokens = 64;
  options.tool = "dgq test";
  return quantize(checkpoint, registry, *ModelRef::parse("tiny"), options, *select_kernels(""));
}

// binary16 of a number within its normal range, rounded towards zero; smaller ones become 0.
std::uint16_t to_f16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const int exponent = static_cast<int>(bits >> 23 & 255) - 127 + 15;
  const std::uint32_t sign = bits >> 16 & 0x8000;
  return static_cast<std::uint16_t>(
      exponent <= 0 ? sign : sign | static_cast<std::uint32_t>(exponent) << 10 | (bits >> 13 & 0x3ff));
}

TinyCheckpoint in_dtype(TinyCheckpoint tiny, const std::string& dtype) {
  for (auto& [name, tensor] : tiny.tensors) {
    const std::vector<float> values =
        *to_f32({tensor.dtype, tensor.shape, std::as_bytes(std::span(tensor.bytes))}, name);
    if (dtype == "F32") tensor = test::f32_tensor(tensor.shape, values);
    if (dtype == "BF16") tensor = test::bf16_tensor(tensor.shape, values);
    if (dtype != "F16") continue;
    std::string bytes;
    for (const float value : values) bytes += test::little_endian(to_f16(value));
    tensor = {dtype, tensor.shape, bytes};
  }
  return tiny;
}

struct Made {
  ScratchFolder scratch;
  std::optional<Registry> registry;
  QuantizeResult result;
  Made() {
    auto opened = Registry::open(scratch / "r.db", Registry::Mode::read_write, true);
    EXPECT_TRUE(opened) << opened.error().what;
    registry.emplace(std::move(*opened));
  }
  void quantize(const std::filesystem::path& model, const std::filesystem::path& tokenizer = {}) {
    auto made = quantize_quickly(model, *registry, tokenizer);
    ASSERT_TRUE(made) << made.error().what;
    result = std::move(*made);
  }
};

// The version of a folder with these tensors, and that of a GGUF with those.
void expect_same_version(const TinyCheckpoint& folder, const TinyCheckpoint& gguf) {
  Made a, b;
  folder.write(a.scratch / "model");
  test::write_text(b.scratch / "m.gguf", test::gguf_of(gguf).bytes());
  a.quantize(a.scratch / "model");
  b.quantize(b.scratch / "m.gguf", a.scratch / "model" / "tokenizer.json");
  EXPECT_EQ(a.result.manifest.canonical(), b.result.manifest.canonical());
  EXPECT_EQ(a.result.version, b.result.version);
}

TEST(SameVersion, EveryFamily) {
  for (const TinyCheckpoint& tiny :
       {test::tiny_checkpoint(), test::tiny_llama_with_biases(), test::tiny_qwen2(), test::tiny_qwen3()})
    expect_same_version(tiny, tiny);
}

TEST(SameVersion, EveryFloatType) {
  for (const char* dtype : {"F32", "F16", "BF16"}) {
    const TinyCheckpoint tiny = in_dtype(test::tiny_checkpoint(), dtype);
    expect_same_version(tiny, tiny);
    expect_same_version(tiny, in_dtype(tiny, "F32"));
  }
}

TEST(SameVersion, OtherNumbersAreAnotherVersion) {
  Made a, b;
  TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.write(a.scratch / "model");
  tiny.tensors["model.norm.weight"].bytes[0] ^= 1;
  tiny.write(b.scratch / "model");
  a.quantize(a.scratch / "model");
  b.quantize(b.scratch / "model");
  EXPECT_NE(a.result.version, b.result.version);
  EXPECT_NE(a.result.manifest.provenance["sources"], b.result.manifest.provenance["sources"]);
}

TEST(SameVersion, ShardsAndOneFile) {
  Made a, b;
  test::tiny_checkpoint().write(a.scratch / "model");
  test::tiny_checkpoint().write_sharded(b.scratch / "model", 3);
  a.quantize(a.scratch / "model");
  b.quantize(b.scratch / "model");
  EXPECT_EQ(a.result.version, b.result.version);
}

// Without --tokenizer all but the text of the tokenizer is the same.
TEST(SameVersion, TheTokenizerOfAGgufIsWrittenAnew) {
  Made a, b;
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.write(a.scratch / "model");
  test::write_text(b.scratch / "m.gguf", test::gguf_of(tiny).bytes());
  a.quantize(a.scratch / "model");
  b.quantize(b.scratch / "m.gguf");
  EXPECT_NE(a.result.version, b.result.version);
  ASSERT_EQ(a.result.manifest.blobs.size(), b.result.manifest.blobs.size());
  for (const BlobRef& blob : a.result.manifest.blobs)
    EXPECT_EQ(blob.digest == b.result.manifest.find(blob.name)->digest, blob.name != "tokenizer")
        << blob.name;
}

// tokenizer_config.json, chat_template.jinja and GGUF metadata say the same; without any of them there is no such blob.
TEST(SameVersion, TheChatTemplateIsStoredWhereverItStands) {
  const std::string chat = "{% for m in messages %}{{ bos_token }}{{ m.content }}{% endfor %}";
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  Made none, text, list, file, gguf, other;
  const std::string bos = [&] {
    const Tokenizer tokenizer = *Tokenizer::parse(tiny.tokenizer, "t");
    return std::string(tokenizer.token(parse_config(tiny.config, "c")->bos));
  }();
  const auto folder = [&](Made& made, const Json& config) {
    tiny.write(made.scratch / "model");
    if (!config.is_null()) test::write_text(made.scratch / "model" / "tokenizer_config.json", config.dump());
  };
  folder(none, nullptr);
  folder(text, {{"chat_template", chat}, {"bos_token", {{"content", bos}}}});
  folder(list, {{"chat_template",
                 {{{"name", "default"}, {"template", chat}}, {{"name", "rag"}, {"template", "x"}}}}});
  folder(file, {{"chat_template", "what the file takes the place of"}});
  test::write_text(file.scratch / "model" / "chat_template.jinja", chat);
  folder(other, {{"chat_template", chat + "."}});
  for (Made* made : {&none, &text, &list, &file, &other}) made->quantize(made->scratch / "model");
  GgufWriter writer = test::gguf_of(tiny);
  writer.set("tokenizer.chat_template", chat);
  test::write_text(gguf.scratch / "m.gguf", writer.bytes());
  gguf.quantize(gguf.scratch / "m.gguf", text.scratch / "model" / "tokenizer.json");

  EXPECT_EQ(none.result.manifest.find(kChatTemplateBlob), nullptr);
  const BlobRef* blob = text.result.manifest.find(kChatTemplateBlob);
  ASSERT_NE(blob, nullptr);
  EXPECT_EQ(blob->media, kChatTemplateMedia);
  std::string stored;
  ASSERT_TRUE(text.registry->read_blob(blob->digest, [&](std::span<const std::byte> bytes) -> Result<void> {
    stored.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }));
  const auto source = ChatTemplateSource::parse(stored, "blob");
  ASSERT_TRUE(source);
  EXPECT_EQ(source->text, chat);
  EXPECT_EQ(source->bos, bos);
  for (const Made* made : {&list, &file, &gguf}) EXPECT_EQ(made->result.version, text.result.version);
  EXPECT_NE(other.result.version, text.result.version);
  EXPECT_NE(none.result.version, text.result.version);
}

TEST(SameVersion, FilesAreInTheAuditLog) {
  Made made;
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.write(made.scratch / "model");
  test::write_text(made.scratch / "m.gguf", test::gguf_of(tiny).bytes());
  made.quantize(made.scratch / "model");
  const Digest version = made.result.version;
  const auto names = [&] {
    std::vector<std::string> names;
    const auto files = made.registry->sources(version);
    EXPECT_TRUE(files);
    for (const FileDigest& file : *files) names.push_back(file.name);
    return names;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"config.json", "tokenizer.json", "model.safetensors"}));
  EXPECT_EQ((*made.registry->sources(version))[2].digest,
            sha256(test::file_text(made.scratch / "model" / "model.safetensors")));
  made.quantize(made.scratch / "m.gguf", made.scratch / "model" / "tokenizer.json");
  EXPECT_TRUE(made.result.reused) << "another container of the same model";
  EXPECT_EQ(made.result.version, version);
  EXPECT_TRUE(made.registry->sources(sha256("another"))->empty());
  const std::string show = "registry show tiny --registry " + (made.scratch / "r.db").string();
  const test::Outcome shown = test::run_dgq(show);
  EXPECT_NE(shown.out.find("Made from"), std::string::npos) << shown.out << shown.err;
  EXPECT_NE(shown.out.find("model.safetensors"), std::string::npos) << shown.out;
  EXPECT_EQ(Json::parse(test::run_dgq(show + " --json").out)["sources"].size(), 3u);
}

TEST(SameVersion, CommandsTakeAGguf) {
  const ScratchFolder scratch;
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.write(scratch / "model");
  GgufWriter gguf = test::gguf_of(tiny);
  test::write_text(scratch / "m.gguf", gguf.bytes());
  gguf.set("tokenizer.ggml.pre", "nobody-knows");
  test::write_text(scratch / "unknown.gguf", gguf.bytes());
  const std::string folder = (scratch / "model").string(), file = (scratch / "m.gguf").string(),
                    unknown =
                        (scratch / "unknown.gguf").string() + " --tokenizer " + folder + "/tokenizer.json";
  for (const std::string command :
       {"eval hash --text 'the cat' --checkpoint ", "run 'the cat' --tokens 5 --checkpoint "}) {
    const test::Outcome expected = test::run_dgq(command + folder);
    ASSERT_EQ(expected.exit_code, 0) << expected.err;
    EXPECT_EQ(test::run_dgq(command + file).out, expected.out);
    EXPECT_EQ(test::run_dgq(command + unknown).out, expected.out);
  }
}

TEST(SameVersion, BundledModelAsGguf) {
  const auto folder = test::repository_file("models/demo");
  TinyCheckpoint demo;
  demo.config = Json::parse(test::file_text(folder / "config.json"));
  demo.tokenizer = test::file_text(folder / "tokenizer.json");
  const auto file = SafetensorsFile::open(folder / "model.safetensors");
  ASSERT_TRUE(file);
  for (const auto& [name, tensor] : file->tensors)
    demo.tensors[name] = {tensor.dtype, tensor.shape,
                          std::string(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size())};
  const ScratchFolder scratch;
  GgufWriter gguf = test::gguf_of(demo);
  gguf.set("tokenizer.ggml.pre", "llama-bpe");
  test::write_text(scratch / "demo.gguf", gguf.bytes());
  const auto a = Checkpoint::open(folder), b = Checkpoint::open(scratch / "demo.gguf");
  ASSERT_TRUE(a && b) << (a ? b : a).error().what;
  EXPECT_EQ(a->config(), b->config());
  EXPECT_EQ(*a->weights_digest(), *b->weights_digest());
}

}  // namespace
}  // namespace dgq

#include "quantizer/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "kernels/packed.h"
#include "quantizer/checkpoint.h"
#include "quantizer/report.h"
#include "registry/layer_blob.h"
#include "runtime/bind.h"
#include "runtime/compare.h"
#include "runtime/model.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"
#include "tests/support/tiny_checkpoint.h"
#include "tests/support/xml.h"

namespace dgq {
namespace {

using test::ScratchFolder;
using test::TinyCheckpoint;

QuantizeOptions quick() {
  QuantizeOptions options;
  options.recipe = {"test", {32, 4}, Ends::w8, 64, {SearchOptions{}, CompensateOptions{}, DescendOptions{}}};
  options.tool = "dgq test";
  return options;
}

Registry new_registry(const std::filesystem::path& path) {
  Result<Registry> registry = Registry::open(path, Registry::Mode::read_write, true);
  EXPECT_TRUE(registry) << registry.error().what;
  return std::move(*registry);
}

Result<QuantizeResult> run(const std::filesystem::path& model, Registry& registry,
                           const QuantizeOptions& options = quick(), const char* isa = "") {
  DGQ_TRY(const Checkpoint checkpoint, Checkpoint::open(model));
  return quantize(checkpoint, registry, *ModelRef::parse("tiny"), options, *select_kernels(isa));
}

std::vector<std::byte> read_blob(Registry& registry, const Manifest& manifest, std::string_view name) {
  std::vector<std::byte> bytes;
  const BlobRef* blob = manifest.find(name);
  EXPECT_TRUE(blob) << name;
  const Result<void> read =
      registry.read_blob(blob->digest, [&](std::span<const std::byte> part) -> Result<void> {
        bytes.insert(bytes.end(), part.begin(), part.end());
        return {};
      });
  EXPECT_TRUE(read) << read.error().what;
  return bytes;
}

struct AlignedBytes {  // sections start at multiples of 64 bytes in memory too, as in a mapped file
  explicit AlignedBytes(const std::vector<std::byte>& from) : storage(from.size() / 64 + 1) {
    std::memcpy(storage.data(), from.data(), from.size());
    bytes = std::as_bytes(std::span(storage)).subspan(0, from.size());
  }
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> storage;
  std::span<const std::byte> bytes;
};

std::vector<std::string> names(const LayerBlob& blob) {
  std::vector<std::string> all;
  for (const Tensor& tensor : blob.tensors()) all.push_back(tensor.name);
  return all;
}

// Every tensor of the blob keeps the kernels' invariants, and w_hat is close to the checkpoint's weights.
void check_linear(const Tensor& tensor, const F32Matrix& w) {
  ASSERT_EQ(tensor.kind, TensorKind::w4_n16k8) << tensor.name;
  ASSERT_EQ(tensor.n, w.n);
  ASSERT_EQ(tensor.k, w.k);
  const W4Matrix packed = bind_w4(tensor.section.data(), tensor.n, tensor.k, tensor.group, tensor.bias);
  EXPECT_EQ(find_fault(packed), nullptr) << tensor.name << ": " << find_fault(packed);
  double error = 0, energy = 0;
  std::vector<float> row(w.k);
  for (std::size_t n = 0; n < w.n; ++n) {
    unpack_row(packed, n, row.data());
    for (std::size_t k = 0; k < w.k; ++k) {
      const double expected = w.w[n * w.k + k];
      error += (row[k] - expected) * (row[k] - expected);
      energy += expected * expected;
    }
  }
  // 4 bits: step^2 / 12 of a group's range is 0.3 % to 1 % of its energy. Compensation moves weights further than rounding
  // does, the more so with as few inputs as here.
  EXPECT_LT(error, 0.03 * energy) << tensor.name;
}

TEST(Quantize, StoresWhatTheRuntimeNeeds) {
  const ScratchFolder scratch;
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  const Result<QuantizeResult> made = run(scratch / "model", registry);
  ASSERT_TRUE(made) << made.error().what;
  const Result<VersionInfo> version = registry.resolve("tiny");
  ASSERT_TRUE(version) << version.error().what;
  EXPECT_EQ(version->digest, made->version);
  const Manifest& manifest = version->manifest;
  EXPECT_EQ(manifest.config, config_to_json(*parse_config(tiny.config, "config.json")));
  EXPECT_EQ(manifest.activation_block, 128u);
  EXPECT_EQ(manifest.recipe["group"], 32);
  EXPECT_EQ(manifest.provenance["sources"].size(), 3u);
  EXPECT_EQ(manifest.provenance["tool"], "dgq test");
  EXPECT_EQ(manifest.report["layers"].size(), 1u + 2 * 7);

  std::vector<std::string> blobs;
  for (const BlobRef& blob : manifest.blobs) blobs.push_back(blob.name);
  EXPECT_EQ(blobs, (std::vector<std::string>{"embedding", "layers.0", "layers.1", "head", "tokenizer"}));
  const std::vector<std::byte> tokenizer = read_blob(registry, manifest, "tokenizer");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(tokenizer.data()), tokenizer.size()), tiny.tokenizer);

  const AlignedBytes bytes(read_blob(registry, manifest, "layers.1"));
  const Result<LayerBlob> layer = LayerBlob::parse(bytes.bytes, "layers.1");
  ASSERT_TRUE(layer) << layer.error().what;
  EXPECT_EQ(names(*layer),
            (std::vector<std::string>{"input_layernorm", "post_attention_layernorm", "q_proj", "k_proj",
                                      "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}));
  const LayerF32 source = *Checkpoint::open(scratch / "model")->layer(1);
  const Linear* linears[] = {&source.weights.q,    &source.weights.k,  &source.weights.v,   &source.weights.o,
                             &source.weights.gate, &source.weights.up, &source.weights.down};
  for (std::size_t i = 0; i < std::size(linears); ++i)
    check_linear(layer->tensors()[2 + i], std::get<F32Matrix>(*linears[i]));
  const Tensor& norm = layer->tensors()[0];
  EXPECT_EQ(norm.n, 1u);
  EXPECT_EQ(std::memcmp(norm.section.data(), source.weights.input_norm, 64 * sizeof(float)), 0);
  const AlignedBytes ends(read_blob(registry, manifest, "head"));
  EXPECT_EQ(names(*LayerBlob::parse(ends.bytes, "head")), std::vector<std::string>{"norm"});  // tied
}

// Errors after each pass: of every pass that linears go through, none worse than the one before, the last what is stored. In the
// version; what it cost is beside it.
TEST(Quantize, ReportsEveryPassAndWhatItCost) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  QuantizeOptions options = quick();
  SearchOptions coarse;
  coarse.all_of_h = false;
  options.recipe.passes = {SmoothOptions{}, coarse, CompensateOptions{}, DescendOptions{}};
  const Result<QuantizeResult> made = run(scratch / "model", registry, options);
  ASSERT_TRUE(made) << made.error().what;
  for (const TensorReport& tensor : made->tensors) {
    if (tensor.name == "embedding.embed_tokens") continue;
    ASSERT_EQ(tensor.passes.size(), 3u) << tensor.name;
    EXPECT_EQ(tensor.passes[0].pass, "search");
    EXPECT_EQ(tensor.passes[1].pass, "compensate");
    EXPECT_EQ(tensor.passes[2].pass, "descend");
    EXPECT_LT(tensor.passes[0].error, tensor.error_minmax) << tensor.name;
    EXPECT_LT(tensor.passes[1].error, tensor.passes[0].error) << tensor.name;
    EXPECT_LT(tensor.passes[2].error, tensor.passes[1].error) << tensor.name;
    EXPECT_EQ(tensor.passes[2].error, tensor.error);
    EXPECT_LT(*tensor.clipped, 0.2) << tensor.name;
    EXPECT_GE(tensor.input->range, 1);
  }
  const auto stored = report_from_json(registry.resolve("tiny")->manifest.report, "manifest");
  EXPECT_EQ(to_json(*stored), to_json(made->tensors));
  ASSERT_EQ(made->costs.size(), 6u);
  EXPECT_EQ(made->costs[4].stage, "layers.1");
  EXPECT_GT(made->costs[4].seconds, 0);
  EXPECT_GT(made->costs[4].peak_rss_bytes, 1'000'000u);
  EXPECT_EQ(registry.costs(made->version).value(), to_json(made->costs).dump());
  EXPECT_EQ(to_json(run(scratch / "model", registry, options)->costs), to_json(made->costs));  // reused
}

// A linear that is W8 all over has its output error in the report too.
TEST(Quantize, CoarseLinearsAreJudgedByTheirOutput) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  QuantizeOptions options = quick();
  options.recipe.passes = {AllocateOptions{9, 0, 64, 0.03, true}, SearchOptions{}};
  const Result<QuantizeResult> made = run(scratch / "model", registry, options);
  ASSERT_TRUE(made) << made.error().what;
  const TensorReport& tensor = made->tensors.at(1);
  ASSERT_EQ(tensor.kind, "w8");
  EXPECT_TRUE(tensor.input);
  EXPECT_TRUE(tensor.passes.empty());
  EXPECT_GT(tensor.error, 0);
  EXPECT_LT(tensor.error, 1e-3);  // 254 levels over 6 deviations or so: (6 / 254)^2 / 12 of the energy
  EXPECT_EQ(tensor.clipped, 0);
}

TEST(Quantize, SameVersionOnEveryKernelAndThreadCount) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  Registry one = new_registry(scratch / "1.db"), two = new_registry(scratch / "2.db");
  QuantizeOptions options = quick();
  const Result<QuantizeResult> a = run(scratch / "model", one, options);
  options.threads = 2;
  const Result<QuantizeResult> b = run(scratch / "model", two, options, "ref");
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->version, b->version);
}

TEST(Quantize, ReusesAVersionOfTheSameOrigin) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  const Result<QuantizeResult> first = run(scratch / "model", registry),
                               again = run(scratch / "model", registry);
  ASSERT_TRUE(first && again) << (first ? again : first).error().what;
  EXPECT_FALSE(first->reused);
  EXPECT_TRUE(again->reused);
  EXPECT_EQ(again->version, first->version);
  ASSERT_EQ(again->tensors.size(), first->tensors.size());
  EXPECT_EQ(again->tensors[1].error, first->tensors[1].error);
  QuantizeOptions options = quick();
  options.force = true;
  const Result<QuantizeResult> forced = run(scratch / "model", registry, options);
  ASSERT_TRUE(forced) << forced.error().what;
  EXPECT_FALSE(forced->reused);
  EXPECT_EQ(forced->version, first->version);
  options = quick();
  options.seed = 2;
  EXPECT_FALSE(run(scratch / "model", registry, options)->reused);
  test::tiny_checkpoint(99).write(scratch / "model");
  EXPECT_FALSE(run(scratch / "model", registry, options)->reused);
}

TEST(Quantize, UntiedHeadWithBiases) {
  TinyCheckpoint tiny = test::tiny_checkpoint();
  tiny.config["tie_word_embeddings"] = false;
  tiny.config["mlp_bias"] = true;
  tiny.tensors["lm_head.weight"] = test::f32_tensor({260, 64}, test::random_floats(260 * 64, 1, 9));
  for (const char* layer : {"model.layers.0.mlp.", "model.layers.1.mlp."})
    for (const auto& [name, n] : {std::pair("gate", 96u), {"up", 96u}, {"down", 64u}})
      tiny.tensors[std::string(layer) + name + "_proj.bias"] =
          test::f32_tensor({n}, test::random_floats(n, 0.1f, n));
  const ScratchFolder scratch;
  tiny.write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  const Result<QuantizeResult> made = run(scratch / "model", registry);
  ASSERT_TRUE(made) << made.error().what;
  const AlignedBytes layer(read_blob(registry, made->manifest, "layers.0"));
  const LayerBlob layer_blob = *LayerBlob::parse(layer.bytes, "layers.0");
  const Tensor& gate = *layer_blob.find("gate_proj");
  ASSERT_TRUE(gate.bias);
  EXPECT_EQ(bind_w4(gate.section.data(), gate.n, gate.k, gate.group, true).bias[7],
            test::random_floats(96, 0.1f, 96)[7]);
  EXPECT_FALSE(layer_blob.find("q_proj")->bias);
  const AlignedBytes head(read_blob(registry, made->manifest, "head"));
  const LayerBlob head_blob = *LayerBlob::parse(head.bytes, "head");
  ASSERT_TRUE(head_blob.find("lm_head"));
  EXPECT_EQ(head_blob.find("lm_head")->kind, TensorKind::w8_n16k4);
}

// K = 64 and 172: neither is a multiple of 128.
TEST(Quantize, PadsColumns) {
  const auto model = test::shared_file("models/stories260K", "quantizing with padded columns");
  if (model.empty()) GTEST_SKIP();
  const ScratchFolder scratch;
  Registry registry = new_registry(scratch / "r.db");
  QuantizeOptions options = quick();
  options.recipe.format.group = 128;
  const Result<QuantizeResult> made = run(model, registry, options);
  ASSERT_TRUE(made) << made.error().what;
  const AlignedBytes bytes(read_blob(registry, made->manifest, "layers.4"));
  const LayerBlob blob = *LayerBlob::parse(bytes.bytes, "layers.4");
  const LayerF32 source = *Checkpoint::open(model)->layer(4);
  check_linear(*blob.find("q_proj"), std::get<F32Matrix>(source.weights.q));
  check_linear(*blob.find("down_proj"), std::get<F32Matrix>(source.weights.down));
  for (const TensorReport& tensor : made->tensors) {
    if (is_fine(tensor)) {
      EXPECT_LT(tensor.error, tensor.error_minmax) << tensor.name;
    }
  }
}

TEST(Quantize, StaticScalesGoIntoTheLayersThatHaveThem) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  const Result<QuantizeResult> plain = run(scratch / "model", registry);
  QuantizeOptions options = quick();
  options.recipe.passes.insert(options.recipe.passes.begin(), StaticOptions{0, 64});
  const Result<QuantizeResult> none = run(scratch / "model", registry, options);
  options.recipe.passes[0] = StaticOptions{100, 64};
  const Result<QuantizeResult> all = run(scratch / "model", registry, options);
  ASSERT_TRUE(plain && none && all) << (plain ? none ? all : none : plain).error().what;
  EXPECT_EQ(none->manifest.find("layers.1")->digest, plain->manifest.find("layers.1")->digest);
  for (const char* name : {"layers.0", "layers.1"}) {
    const AlignedBytes bytes(read_blob(registry, all->manifest, name));
    const Result<LayerWeights> layer =
        bind_layer(bytes.bytes, *parse_config(all->manifest.config, "config"), name);
    ASSERT_TRUE(layer) << layer.error().what;
    for (const float scale : layer->input_scale) EXPECT_GT(scale, 0);
    const AlignedBytes plain_bytes(read_blob(registry, plain->manifest, name));
    const auto gate = [&](const AlignedBytes& blob) {
      const LayerBlob parsed = *LayerBlob::parse(blob.bytes, name);
      const auto section = parsed.find("gate_proj")->section;
      return std::vector<std::byte>(section.begin(), section.end());
    };
    EXPECT_NE(gate(bytes), gate(plain_bytes)) << "weights are made for inputs as they will be rounded";
  }
}

TEST(Quantize, BudgetsAreKeptAndImpossibleOnesRefused) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  QuantizeOptions options = quick();
  std::uint64_t last = 0;
  for (const double bpw : {5.2, 6.0, 8.6}) {
    options.recipe.passes[0] = AllocateOptions{bpw, 0, 64, 0.03, true};
    options.recipe.passes.resize(1);
    options.recipe.passes.push_back(SearchOptions{});
    const Result<QuantizeResult> made = run(scratch / "model", registry, options);
    ASSERT_TRUE(made) << made.error().what;
    std::uint64_t bytes = 0, weights = 0;
    for (const TensorReport& tensor : made->tensors)
      if (tensor.name.starts_with("layers")) bytes += tensor.bytes, weights += tensor.n * tensor.k;
    EXPECT_LE(8.0 * static_cast<double>(bytes), bpw * static_cast<double>(weights));
    EXPECT_GT(bytes, last) << "more bits are used when they are there";
    last = bytes;
  }
  options.recipe.passes[0] = AllocateOptions{0, 20000, 64, 0.03, true};
  const Result<QuantizeResult> refused = run(scratch / "model", registry, options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid);
  EXPECT_NE(refused.error().what.find("the budget is too small for this model"), std::string::npos);
  options.recipe.passes[0] = AllocateOptions{1, 0, 64, 0.03, false};
  EXPECT_TRUE(run(scratch / "model", registry, options));
}

// A power of two, so that BF16 weights stay exact.
void scale_bf16(test::RawTensor& tensor, std::size_t column, int exponent) {
  const std::size_t columns = tensor.shape[1];
  for (std::size_t i = column; i < tensor.bytes.size() / 2; i += columns) {
    std::uint16_t bits;
    std::memcpy(&bits, &tensor.bytes[2 * i], 2);
    if ((bits >> 7 & 0xff) == 0) continue;
    bits = static_cast<std::uint16_t>(bits + exponent * (1 << 7));
    std::memcpy(&tensor.bytes[2 * i], &bits, 2);
  }
}

// One channel 32 times as large into every norm, which the weights after it take back: smoothing has to find it.
TinyCheckpoint with_outliers() {
  TinyCheckpoint tiny = test::tiny_checkpoint();
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
      std::string& bytes = tiny.tensors[layer + norm + ".weight"].bytes;
      float value;
      std::memcpy(&value, &bytes[4 * 7], 4);
      value *= 32;
      std::memcpy(&bytes[4 * 7], &value, 4);
    }
    for (const char* linear :
         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"})
      scale_bf16(tiny.tensors[layer + linear + ".weight"], 7, -5);
  }
  return tiny;
}

TEST(Quantize, SmoothTakesTheHarmOutOfOutliers) {
  const ScratchFolder scratch;
  with_outliers().write(scratch / "model");
  const Checkpoint checkpoint = *Checkpoint::open(scratch / "model");
  const ModelF32 reference = *load_f32(checkpoint);
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 512; ++i) tokens.push_back((i * i * 7 + i * 13) % 260);
  Registry registry = new_registry(scratch / "r.db");
  LayerCache cache(scratch / "layers");
  const auto kld = [&](const QuantizeOptions& options) {
    const Result<QuantizeResult> made = run(scratch / "model", registry, options);
    EXPECT_TRUE(made) << made.error().what;
    const Model model = *Model::load(registry, cache, "tiny");
    Decoder a(checkpoint.config(), *select_kernels(""), 1), b(model.config(), *select_kernels(""), 1);
    return compare_models({checkpoint.config(), reference.weights, a, KvType::f32},
                          {model.config(), model.weights(), b, KvType::f32}, tokens, 64, 0, 1)
        ->kld_mean;
  };
  QuantizeOptions options = quick();
  const double rough = kld(options);
  options.recipe.passes.insert(options.recipe.passes.begin(), SmoothOptions{97, 64});
  EXPECT_LT(kld(options), 0.8 * rough);
}

// Every pass at once: the same bytes on every kernel and thread count, and smoothing changes them.
TEST(Quantize, AllPassesGiveTheSameVersionEverywhere) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  QuantizeOptions options = quick();
  options.recipe.passes = {SmoothOptions{90, 64}, AllocateOptions{5.5, 0, 64, 0.03, true},
                           WeighOptions{},        SearchOptions{},
                           CompensateOptions{},   DescendOptions{}};
  Registry one = new_registry(scratch / "1.db"), two = new_registry(scratch / "2.db"),
           three = new_registry(scratch / "3.db");
  const Result<QuantizeResult> a = run(scratch / "model", one, options);
  options.threads = 3;
  const Result<QuantizeResult> b = run(scratch / "model", two, options, "ref");
  ASSERT_TRUE(a) << a.error().what;
  ASSERT_TRUE(b) << b.error().what;
  EXPECT_EQ(a->version, b->version);
  options.recipe.passes.erase(options.recipe.passes.begin());
  const Result<QuantizeResult> rough = run(scratch / "model", three, options);
  ASSERT_TRUE(rough) << rough.error().what;
  EXPECT_NE(read_blob(three, rough->manifest, "layers.0"), read_blob(one, a->manifest, "layers.0"));
}

// One clear line, and the registry as before.
void expect_refused(const TinyCheckpoint& tiny, const QuantizeOptions& options, Errc code,
                    const std::string& part) {
  const ScratchFolder scratch;
  tiny.write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  const Result<QuantizeResult> refused = run(scratch / "model", registry, options);
  ASSERT_FALSE(refused) << part;
  EXPECT_EQ(refused.error().code, code) << refused.error().what;
  EXPECT_NE(refused.error().what.find(part), std::string::npos) << refused.error().what;
  EXPECT_EQ(refused.error().what.find('\n'), std::string::npos) << refused.error().what;
  EXPECT_EQ(registry.stats()->versions, 0u);
  EXPECT_TRUE(registry.list()->empty());
}

TEST(Quantize, RefusesBadInput) {
  const TinyCheckpoint good = test::tiny_checkpoint();
  TinyCheckpoint bad = good;
  bad.tensors["model.layers.1.mlp.down_proj.weight"].bytes.replace(
      2 * 70, 2, "\xc0\x7f");  // found after layer 0 is stored
  expect_refused(bad, quick(), Errc::corrupt, "model.layers.1.mlp.down_proj.weight: element 70 is NaN");
  bad = good;
  bad.tokenizer = "{\"model\": 3}";
  expect_refused(bad, quick(), Errc::corrupt, "tokenizer.json");
  bad = good;
  bad.config["vocab_size"] = 128;
  bad.tensors["model.embed_tokens.weight"] = test::f32_tensor({128, 64}, test::random_floats(128 * 64, 1, 9));
  expect_refused(bad, quick(), Errc::corrupt,
                 "tokenizer.json has ids up to 259, but the model's vocabulary has 128");
  bad = good;
  bad.tensors["model.norm.weight"] = test::f32_tensor({64}, std::vector<float>(64, 3e38f));
  bad.tensors["model.layers.0.input_layernorm.weight"] = bad.tensors["model.norm.weight"];
  expect_refused(bad, quick(), Errc::corrupt, "");
  QuantizeOptions options = quick();
  options.recipe.calibration_tokens = 3;
  expect_refused(good, options, Errc::invalid, "--calibration-tokens must be 64 to");
}

TEST(Quantize, CalibratesOnAFile) {
  const ScratchFolder scratch;
  QuantizeOptions options = quick();
  options.calibration = scratch / "text";
  const TinyCheckpoint tiny = test::tiny_checkpoint();
  expect_refused(tiny, options, Errc::not_found, "text");
  test::write_text(options.calibration, "");
  expect_refused(tiny, options, Errc::invalid, "text holds no text");
  test::write_text(options.calibration, "abc\xff");
  expect_refused(tiny, options, Errc::invalid, "text: not UTF-8: byte 3");
  test::write_text(options.calibration, "the cat sat on the mat, and then the dog came");
  tiny.write(scratch / "model");
  Registry registry = new_registry(scratch / "r.db");
  const Result<QuantizeResult> made = run(scratch / "model", registry, options);
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(made->manifest.recipe["calibration"]["kind"], "text");
  EXPECT_TRUE(run(scratch / "model", registry, options)->reused);
  test::write_text(options.calibration, "the cat sat on the mat, and then the dog left");
  EXPECT_FALSE(run(scratch / "model", registry, options)->reused);
}

TEST(QuantizeCommand, TableReportAndReuse) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  const std::string command = "quantize " + (scratch / "model").string() + " --registry " +
                              (scratch / "r.db").string() +
                              " --name tiny:a --group 64 --calibration-tokens 64 --threads 2";
  const test::Outcome made = test::run_dgq(command + " --report " + (scratch / "report.json").string());
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("layers.1.down_proj"), std::string::npos) << made.out;
  const Json report = Json::parse(test::file_text(scratch / "report.json"));
  EXPECT_EQ(report["report"]["layers"].size(), 15u);
  EXPECT_EQ(report["costs"].size(), 6u);
  EXPECT_EQ(made.out.find("AFTER"), std::string::npos) << made.out;
  const test::Outcome again = test::run_dgq(command + " --json");
  ASSERT_EQ(again.exit_code, 0) << again.err;
  const Json json = Json::parse(again.out);
  EXPECT_EQ(json["reused"], true);
  EXPECT_EQ(json["version"], report["version"]);
  EXPECT_EQ(json["report"], report["report"]);
}

TEST(QuantizeCommand, PageAndPasses) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  const test::Outcome made = test::run_dgq(
      "quantize " + (scratch / "model").string() + " --registry " + (scratch / "r.db").string() +
      " --name tiny --recipe fast --calibration-tokens 64 --verbose --report " +
      (scratch / "report.html").string());
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.out.find("AFTER descend"), std::string::npos) << made.out;
  std::istringstream lines(made.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 110u) << line;
  std::string fault;
  const auto page = test::XmlReader::read(test::file_text(scratch / "report.html"), fault);
  ASSERT_TRUE(page) << fault;
  EXPECT_EQ(page->all("h1")[0]->text, "tiny:latest: quantization report");
  EXPECT_EQ(page->all("svg").size(), 9u);
  // The registry has the same to show.
  const test::Outcome shown =
      test::run_dgq("registry show tiny:latest --registry " + (scratch / "r.db").string() + " --html " +
                    (scratch / "shown.html").string());
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_EQ(test::file_text(scratch / "shown.html"), test::file_text(scratch / "report.html"));
}

TEST(QuantizeCommand, OneLinePerMistake) {
  const ScratchFolder scratch;
  test::tiny_checkpoint().write(scratch / "model");
  const std::string base =
      "quantize " + (scratch / "model").string() + " --registry " + (scratch / "r.db").string();
  for (const auto& [arguments, part] :
       {std::pair<std::string, std::string>{"quantize", "MODEL is missing"},
        {base, "--name is missing"},
        {base + " --name .bad", ".bad"},
        {base + " --name x --group 7", "--group must be"},
        {base + " --name x --group many", "group"},
        {base + " --name x --threads 0", "--threads must be"},
        {base + " --name x --activation-block 64", "--activation-block must be"},
        {base + " --name x --wrong", "wrong"},
        {"quantize " + (scratch / "none").string() + " --registry " + (scratch / "r.db").string() +
             " --name x",
         "is neither a folder"}}) {
    const test::Outcome outcome = test::run_dgq(arguments);
    EXPECT_NE(outcome.exit_code, 0) << arguments;
    EXPECT_LT(outcome.exit_code, 128) << arguments;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << arguments << ": " << outcome.err;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
    EXPECT_EQ(outcome.out, "") << arguments;
  }
  const test::Outcome help = test::run_dgq("quantize --help");
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.out.find("Examples:"), std::string::npos);
}

}  // namespace
}  // namespace dgq

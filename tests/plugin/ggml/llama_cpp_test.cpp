// Our backend inside an unmodified llama.cpp: the same model gives the same logits, up to the float parts, which are llama.cpp's.
#include <sys/stat.h>

#include <regex>

#include "quantizer/gguf_export.h"
#include "tests/plugin/ggml/llama_case.h"
#include "tests/support/families.h"
#include "tests/support/foreign_models.h"
#include "tests/support/shared.h"

namespace dgq::test {
namespace {

// Of logits, relative. llama.cpp computes norms, RoPE, softmax and SwiGLU itself, in another order of additions and with its own exp, which
// changes the inputs of linears by some 1e-7 of their size: 3e-7 was measured on 96 tokens of the demo model. An input that stands at the
// edge between two int8 values may be rounded the other way by that: 1/254 of the largest of its 128 columns, which is one part of some
// hundred in one layer, 1e-3 of the logits if it comes early.
constexpr double kFloatParts = 5e-3;
// Keys and values with 11 bits move the inputs of all linears behind them by some 2^-12, which is a sixteenth of a step of int8: enough to
// round one input of a dozen the other way. 0.025 was measured, the same with llama.cpp's own attention.
constexpr double kFloat16Cache = 0.05;
// Linears that are not ours take float inputs instead of int8 ones: 0.022 was measured on tiny models.
constexpr double kFloatInputs = 0.05;

const std::string kDemo = DGQ_DEMO_REGISTRY;
const Start kWithDemo{.environment = "DGQ_REGISTRY=" + kDemo + " "};

std::size_t number_behind(const std::string& text, const std::string& word) {
  const std::size_t at = text.find(word + " ");
  return at == std::string::npos ? 0 : std::stoul(text.substr(at + word.size() + 1));
}

struct Demo : testing::Test {
  static void SetUpTestSuite() {
    folder = new ScratchFolder;
    model = new Model(open_model(kDemo, "demo"));
    const Tokenizer tokenizer = must(Tokenizer::parse(model->tokenizer_json(), "demo"));
    tokens =
        must(tokenizer.encode(file_text(repository_file("models/demo/sample.txt")).substr(0, 4000), false));
    tokens.resize(DGQ_EMULATED ? 12 : 96);
    for (const GgufWeights weights : {GgufWeights::thin, GgufWeights::fat}) {
      const auto done = export_gguf(*model, "demo", weights, path_of(weights));
      ASSERT_TRUE(done) << done.error().what;
    }
  }
  static void TearDownTestSuite() {
    delete model;
    delete folder;
  }
  static std::string path_of(GgufWeights weights) {
    return (*folder / (weights == GgufWeights::thin ? "thin.gguf" : "fat.gguf")).string();
  }
  static std::size_t vocabulary() { return model->config().vocab; }

  static inline ScratchFolder* folder;
  static inline Model* model;
  static inline Tokens tokens;
};

TEST_F(Demo, ThinFileGivesOurLogits) {
  Outcome said;
  const Logits theirs = llama_logits(kWithDemo, path_of(GgufWeights::thin), tokens, &said);
  const double distance = relative_distance(theirs, own_logits(*model, KvType::f32, tokens));
  RecordProperty("distance", std::to_string(distance));
  std::printf("distance of logits: %.2e\n", distance);
  EXPECT_LT(distance, kFloatParts);
  // All linears: 7 per layer and the head, which is the embedding. The context's own graphs are never run.
  EXPECT_EQ(number_behind(said.out, "weights"), 7 * model->config().layers + 1);
  EXPECT_EQ(number_behind(said.out, "products"), 7 * model->config().layers + 1);
}

TEST_F(Demo, ThreadsChangeNothing) {
  if (DGQ_EMULATED) GTEST_SKIP() << "threads that spin wait for minutes under an emulator";
  Start one = kWithDemo, several = kWithDemo;
  one.threads = 1, several.threads = 3;
  EXPECT_EQ(llama_logits(several, path_of(GgufWeights::thin), tokens),
            llama_logits(one, path_of(GgufWeights::thin), tokens));
}

// Prompts in pieces and single tokens over a float16 cache: the same bits, whatever the pieces and the threads.
TEST_F(Demo, FlashAttentionGivesOurLogits) {
  const auto in_batches = [&](std::size_t batch, int threads) {
    Start start = kWithDemo;
    start.environment += "HOST_BATCH=" + std::to_string(batch) + " ";
    start.threads = threads;
    Outcome said;
    Logits logits = llama_logits(start, path_of(GgufWeights::thin), tokens, &said);
    EXPECT_EQ(number_behind(said.out, "attentions"),
              model->config().layers * ((tokens.size() - 1) / batch + 1));
    return logits;
  };
  const Logits theirs = in_batches(40, kThreads);
  const double distance = relative_distance(theirs, own_logits(*model, KvType::f32, tokens));
  std::printf("distance of logits: %.2e\n", distance);
  EXPECT_LT(distance, kFloat16Cache);
  EXPECT_EQ(in_batches(1, 1), theirs);
  if (!DGQ_EMULATED) {
    EXPECT_EQ(in_batches(5, 3), theirs);
  }
}

// A context that finds flash attention at another backend than the layer does without, and is slow.
TEST_F(Demo, FlashAttentionStays) {
  const Outcome said = run_host(kWithDemo, path_of(GgufWeights::thin) + " 4 2 3 1 2 demo", DGQ_LLAMA_BENCH);
  EXPECT_EQ(said.exit_code, 0) << said.err;
  EXPECT_NE(said.err.find("Flash Attention enabled"), std::string::npos) << said.err;
  EXPECT_TRUE(
      std::regex_match(said.out, std::regex("pp4 [0-9.]+ tokens/s, ours [0-9.]+, ratio [0-9.]+\n"
                                            "tg2 @ 3 [0-9.]+ tokens/s, ours [0-9.]+, ratio [0-9.]+\n")))
      << said.out;
}

TEST_F(Demo, ThinFileHoldsNoWeights) {
  struct stat status;
  ASSERT_EQ(::stat(path_of(GgufWeights::thin).c_str(), &status), 0);
  EXPECT_GT(status.st_size, 12 << 20);         // one byte per weight,
  EXPECT_LT(status.st_blocks * 512, 1 << 20);  // but holes: metadata, tokenizer and norms
}

TEST_F(Demo, QualityIsOurs) {
  if (DGQ_EMULATED) GTEST_SKIP() << "minutes under an emulator; the logits are compared";
  const Checkpoint checkpoint = must(Checkpoint::open(repository_file("models/demo")));
  const ModelF32 floats = must(load_f32(checkpoint));
  const Logits exact = own_logits(checkpoint.config(), floats.weights, kActBlock, KvType::f32, tokens);
  const double ours = mean_kld(exact, own_logits(*model, KvType::f32, tokens), vocabulary());
  const double theirs =
      mean_kld(exact, llama_logits(kWithDemo, path_of(GgufWeights::thin), tokens), vocabulary());
  std::printf("KLD against fp32: %.6f here, %.6f in llama.cpp\n", ours, theirs);
  EXPECT_NEAR(theirs, ours, ours * 0.02);
}

TEST_F(Demo, FatFileRunsWithTheBackendAndWithout) {
  const Logits thin = llama_logits(kWithDemo, path_of(GgufWeights::thin), tokens);
  Outcome said;
  EXPECT_EQ(llama_logits(kWithDemo, path_of(GgufWeights::fat), tokens, &said), thin);
  EXPECT_EQ(number_behind(said.out, "weights"), 7 * model->config().layers + 1);
  const Logits without = llama_logits({.backend = false}, path_of(GgufWeights::fat), tokens, &said);
  EXPECT_NE(said.out.find("no dgq backend"), std::string::npos);
  // 8-bit weights of 5-bit weights: nearly the same model.
  EXPECT_LT(relative_distance(without, thin), kFloatInputs);
}

TEST_F(Demo, FatFileRunsOnItsOwnWeightsWhereTheRegistryLacksThem) {
  Outcome said;
  const Logits fallback = llama_logits({.environment = "DGQ_REGISTRY=/nonexistent.db "},
                                       path_of(GgufWeights::fat), tokens, &said);
  EXPECT_EQ(fallback, llama_logits({.backend = false}, path_of(GgufWeights::fat), tokens));
  EXPECT_NE(said.err.find("the weights in the file are used instead"), std::string::npos) << said.err;
  EXPECT_EQ(number_behind(said.out, "weights"), 0u);
}

TEST_F(Demo, ThinFileWithoutTheBackendStopsAndSaysWhatItNeeds) {
  const ScratchFolder scratch;
  std::ofstream(scratch / "ids", std::ios::binary).write("\1\0\0\0", 4);
  const Outcome outcome =
      run_host({.backend = false}, path_of(GgufWeights::thin) + " logits " + (scratch / "ids").string() +
                                       " " + (scratch / "out").string());
  EXPECT_NE(outcome.exit_code, 0);
  EXPECT_EQ(file_text(scratch / "out"), "");  // no numbers at all, rather than wrong ones
  EXPECT_NE(outcome.err.find("needs GGML_BACKEND_PATH"), std::string::npos) << outcome.err;
}

TEST_F(Demo, TokenizerIsTheSame) {
  const Tokenizer tokenizer = must(Tokenizer::parse(model->tokenizer_json(), "demo"));
  const std::string text = "The old man's 1234 ships sailed\n\n  over the sea, and Sie waren müde.";
  std::string expected;
  for (const std::int32_t id : must(tokenizer.encode(text, true)))
    expected += (expected.empty() ? "" : " ") + std::to_string(id);
  const Outcome outcome = run_host(kWithDemo, path_of(GgufWeights::thin) + " tokens \"" + text + "\"");
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find("\ndgq")), expected) << outcome.err;
}

// On Arm the cores without SDOT, with it, and with i8mm; on x86-64 the reference kernels.
TEST_F(Demo, EveryCpuGivesTheSame) {
  const Tokens few(tokens.begin(), tokens.begin() + 6);
  const Logits ours = own_logits(*model, KvType::f32, few);
  std::vector<Start> starts = {kWithDemo};
  starts.front().environment += "DGQ_ISA=ref ";
  if (DGQ_EMULATED) {
    starts.clear();
    for (const char* cpu : {"cortex-a72", "cortex-a76", "max"})
      starts.push_back({.environment = kWithDemo.environment,
                        .emulator = "qemu-aarch64-static -cpu " + std::string(cpu) + " "});
  }
  for (const Start& start : starts)
    EXPECT_LT(relative_distance(llama_logits(start, path_of(GgufWeights::thin), few), ours), kFloatParts)
        << start.environment << start.emulator;
}

TEST_F(Demo, AnotherGgmlIsRefused) {
  for (const char* pretend : {"VERSION=9.9.9", "COMMIT=0000000"}) {
    const Start start{.environment =
                          "LD_PRELOAD=" DGQ_PRETENDED_GGML " PRETEND_" + std::string(pretend) + " "};
    const Outcome outcome =
        DGQ_EMULATED ? run_host({.environment = "PRETEND_" + std::string(pretend) + " ",
                                 .emulator = "qemu-aarch64-static -E LD_PRELOAD=" DGQ_PRETENDED_GGML " "},
                                "- list")
                     : run_host(start, "- list");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "CPU\n") << outcome.err;
    EXPECT_NE(outcome.err.find("dgq: this backend was built for ggml"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(run_host({}, "- list").out, "CPU\nDGQ\n");
}

// ---- what goes wrong: a line in the host's log, and the host goes on ----

struct Trouble : Demo {
  // The host says that the load failed, with these words in its log.
  static void expect_refused(const std::string& environment, const std::string& gguf,
                             const std::string& words) {
    const Outcome outcome = run_host({.environment = environment + " "}, gguf + " tokens a");
    EXPECT_EQ(outcome.exit_code, 1) << outcome.err;  // its own exit code, no signal
    EXPECT_NE(outcome.err.find(words), std::string::npos) << "not in the log: " << words << "\n"
                                                          << outcome.err;
  }
  static std::string thin() { return path_of(GgufWeights::thin); }
};

TEST_F(Trouble, RegistryIsMissing) {
  expect_refused("DGQ_REGISTRY=/nonexistent/registry.db", thin(), "/nonexistent/registry.db");
}

TEST_F(Trouble, VersionIsNotInTheRegistry) {
  const ScratchFolder scratch;
  tiny_checkpoint().write(scratch / "model");
  const std::string registry = (scratch / "r.db").string();
  ASSERT_EQ(run_dgq("quantize " + (scratch / "model").string() +
                    " --recipe fast --calibration-tokens 256 --name tiny --registry " + registry)
                .exit_code,
            0);
  expect_refused("DGQ_REGISTRY=" + registry, thin(),
                 "version " + model->version().digest.short_hex() + " is not in " + registry + ": import it");
}

TEST_F(Trouble, FileIsDamaged) {
  const std::string whole = file_text(thin()), path = (*folder / "damaged.gguf").string();
  std::string text = whole;
  const std::size_t at = text.find("DGQ1");
  ASSERT_NE(at, std::string::npos);
  text[at + 20] ^= 1;
  write_text(path, text);
  expect_refused(kWithDemo.environment, path, "damaged; export the file again");
  text[at] = 'X';
  write_text(path, text);
  expect_refused(kWithDemo.environment, path, "names no dgq version");
  write_text(path, whole.substr(0, whole.size() / 2));
  expect_refused(kWithDemo.environment, path, "not within the file bounds");
}

// A registry of its own, which the test may spoil.
struct OwnRegistry : Trouble {
  void SetUp() override {
    std::filesystem::copy_file(kDemo, registry);
    static_cast<void>(open_model(registry, "demo"));  // decodes the layer files
    few.assign(tokens.begin(), tokens.begin() + 4);
    expected = own_logits(*model, KvType::f32, few);
  }
  Start start() const { return {.environment = "DGQ_REGISTRY=" + registry + " "}; }
  double distance(const Start& how) const {
    return relative_distance(llama_logits(how, thin(), few), expected);
  }

  ScratchFolder scratch;
  const std::string registry = (scratch / "r.db").string();
  Tokens few;
  Logits expected;
};

TEST_F(OwnRegistry, DamagedLayerFileIsReplaced) {
  const auto file = LayerCache(LayerCache::default_folder(registry))
                        .path_of(model->version().manifest.find("layers.3")->digest);
  std::string bytes = file_text(file);
  bytes[bytes.size() / 2] ^= 1;
  std::filesystem::remove(file);
  write_text(file, bytes);
  EXPECT_LT(distance(start()), kFloatParts);
}

// The name moves, the version goes, its layer files go: the host keeps what it has mapped, the next one is told.
TEST_F(OwnRegistry, VersionGoesWhileTheHostRuns) {
  Start removing = start();
  const std::string on = " --registry " + registry + " >/dev/null 2>&1";
  removing.environment += "HOST_WHEN_LOADED='" + dgq_command() + " registry remove demo" + on + " && " +
                          dgq_command() + " registry gc" + on + "' ";
  EXPECT_LT(distance(removing), kFloatParts);
  expect_refused(start().environment, thin(), "is not in " + registry);
}

TEST_F(OwnRegistry, FileIsReadWithoutMmap) {
  Start reading = start();
  reading.environment += "HOST_NO_MMAP=1 ";
  EXPECT_LT(distance(reading), kFloatParts);
}

TEST_F(OwnRegistry, MediaAreReadOnly) {
  // Bind-mounted read-only in a name space of its own, where that is allowed.
  const std::string folder = scratch.path().string(), mount = "mount --bind " + folder + " " + folder +
                                                              " && mount -o remount,ro,bind " + folder;
  if (run_shell("unshare -m sh -c '" + mount + "'").exit_code != 0) {
    not_covered("llama.cpp with a registry on read-only media (needs unshare and mount)");
    GTEST_SKIP();
  }
  std::ofstream(*Demo::folder / "ids", std::ios::binary).write("\1\0\0\0", 4);
  const auto run = [&] {
    return run_shell("unshare -m sh -c '" + mount +
                     " && GGML_BACKEND_PATH=" DGQ_GGML_BACKEND " DGQ_REGISTRY=" + registry + " " +
                     DGQ_EMULATOR DGQ_LLAMA_HOST " " DGQ_LLAMA_FOLDER " " + thin() + " tokens a'");
  };
  const Outcome mapped = run();
  EXPECT_EQ(mapped.exit_code, 0) << mapped.err;
  EXPECT_NE(mapped.out.find("dgq weights 57"), std::string::npos) << mapped.out;
  std::filesystem::remove_all(LayerCache::default_folder(registry));
  const Outcome nowhere = run();  // to put the layer files
  EXPECT_EQ(nowhere.exit_code, 1) << nowhere.err;
  EXPECT_NE(nowhere.err.find("ead-only"), std::string::npos) << nowhere.err;
}

// ---- other architectures ----

struct Family {
  const char* name;
  TinyCheckpoint checkpoint;
};
void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

class Families : public testing::TestWithParam<Family> {};

// q, k and v with biases, norms of heads, an untied head, llama's rows in pairs.
TEST_P(Families, GivesOurLogits) {
  const ScratchFolder scratch;
  GetParam().checkpoint.write(scratch / "model");
  const std::string registry = (scratch / "r.db").string(), file = (scratch / "m.gguf").string();
  const Outcome made = run_dgq("quantize " + (scratch / "model").string() +
                               " --recipe fast --calibration-tokens 256 --name tiny --registry " + registry);
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Model model = open_model(registry, "tiny");
  const Tokens tokens = {5, 80, 3, 200, 17, 42, 258, 1, 99, 7, 150, 66};
  const Logits ours = own_logits(model, KvType::f32, tokens);
  const Start start{.environment = "DGQ_REGISTRY=" + registry + " "};
  const auto distance = [&](const std::string& option) {
    const Outcome exported = run_dgq("export gguf tiny --registry " + registry + " -o " + file + option);
    EXPECT_EQ(exported.exit_code, 0) << exported.err;
    return relative_distance(llama_logits(start, file, tokens), ours);
  };
  EXPECT_LT(distance(""), kFloatParts);
  EXPECT_LT(distance(" --fat"), kFloatInputs);  // its linears are too small to carry a digest, and in float32
}

INSTANTIATE_TEST_SUITE_P(, Families,
                         testing::Values(Family{"llama", tiny_checkpoint()}, Family{"qwen2", tiny_qwen2()},
                                         Family{"qwen3", tiny_qwen3()},
                                         Family{"llama_with_biases", tiny_llama_with_biases()}),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- families that we cannot run ----

struct ForeignFamily {
  const char* name;
  GgufWriter gguf;
  std::size_t linears, products;
  // Of logits, relative, between the source and what was made of it: four bits for 32 weights change a linear's output by 0.08 at most
  // (tests/quantizer/foreign_gguf_test.cpp), and there are as many of them in a row, whose errors add up as squares.
  double four_bits() const { return 0.08 * std::sqrt(static_cast<double>(linears)); }
};
void PrintTo(const ForeignFamily& family, std::ostream* out) { *out << family.name; }

class ForeignFamilies : public testing::TestWithParam<ForeignFamily> {};

TEST_P(ForeignFamilies, RunInThePlugin) {
  const ForeignFamily& family = GetParam();
  const ScratchFolder scratch;
  const std::string registry = (scratch / "r.db").string(), source = (scratch / "source.gguf").string(),
                    thin = (scratch / "thin.gguf").string(), fat = (scratch / "fat.gguf").string();
  write_text(source, family.gguf.bytes());
  for (const std::string& arguments :
       {"quantize " + source + " --name m", "export gguf m -o " + thin, "export gguf m --fat -o " + fat}) {
    const Outcome done = run_dgq(arguments + " --registry " + registry);
    ASSERT_EQ(done.exit_code, 0) << done.err;
  }
  const Tokens tokens = {5, 80, 3, 200, 17, 42, 258, 1, 99, 7, 150, 66};
  const Start with{.environment = "DGQ_REGISTRY=" + registry + " "}, without{.backend = false};
  const Logits exact = llama_logits(without, source, tokens);
  ASSERT_EQ(exact.size(), tokens.size() * kForeignVocabulary);
  Outcome said;
  const Logits ours = llama_logits(with, thin, tokens, &said);
  EXPECT_EQ(number_behind(said.out, "weights"), family.linears) << said.out;
  EXPECT_EQ(number_behind(said.out, "products"), family.products) << said.out;
  const double distance = relative_distance(ours, exact);
  std::printf("distance of logits: %.3f\n", distance);
  EXPECT_LT(distance, family.four_bits());
  EXPECT_GT(distance, 1e-3);  // it is not the source that ran
  EXPECT_EQ(llama_logits(with, fat, tokens, &said), ours);
  EXPECT_EQ(number_behind(said.out, "weights"), family.linears) << said.out;
  // The same weights in 8 bits, with float inputs.
  EXPECT_LT(relative_distance(llama_logits(without, fat, tokens), ours), kFloatInputs);
}

INSTANTIATE_TEST_SUITE_P(, ForeignFamilies,
                         testing::Values(ForeignFamily{"gpt2", tiny_gpt2(), kGpt2Linears, kGpt2Linears},
                                         ForeignFamily{"gemma", tiny_gemma(), kGemmaLinears, kGemmaLinears},
                                         // its embedding is only looked up
                                         ForeignFamily{"mixture", tiny_mixture(), kMixtureLinears,
                                                       kMixtureLinears - 1}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dgq::test

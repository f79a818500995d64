// GGUF files of families that only llama.cpp runs: into a registry, through everything that a registry does, and out again. What
// llama.cpp makes of them: tests/plugin/ggml.
#include "quantizer/foreign_gguf.h"

#include <gtest/gtest.h>

#include "quantizer/gguf.h"
#include "runtime/foreign.h"
#include "runtime/gguf_carrier.h"
#include "runtime/linear.h"
#include "runtime/stored_linears.h"
#include "tests/support/command.h"
#include "tests/support/foreign_models.h"

namespace dgq::test {
namespace {

TEST(ForeignNames, PlacesAndBack) {
  for (const auto& [name, blob, tensor] :
       {std::tuple("token_embd.weight", "embedding", "token_embd"),
        {"output.weight", "head", "output"},
        {"blk.0.attn_qkv.weight", "layers.0", "attn_qkv"},
        {"blk.127.ffn_down_shexp.weight", "layers.127", "ffn_down_shexp"},
        {"enc.blk.3.attn_q.weight", "layers.3", "enc.attn_q"},
        {"dec.blk.3.cross_attn_o.weight", "layers.3", "dec.cross_attn_o"},
        {"blk.7.shortconv.in_proj.weight", "layers.7", "shortconv.in_proj"}}) {
    const auto place = place_of_linear(name);
    ASSERT_TRUE(place) << name;
    EXPECT_EQ(place->blob, blob);
    EXPECT_EQ(place->tensor, tensor);
    EXPECT_EQ(name_of_linear(*place), name);
  }
  for (const char* name : {"",
                           "position_embd.weight",
                           "token_types.weight",
                           "output.bias",
                           "output_norm.weight",
                           "rope_freqs.weight",
                           "blk.0.attn_norm.weight",
                           "blk.0.attn_q.bias",
                           "blk.0.ffn_gate_inp.weight",
                           "blk.0.ffn_up_exps.weight",
                           "blk.0.ssm_conv1d.weight",
                           "blk.0.attn_q",
                           "blk..attn_q.weight",
                           "blk.x.attn_q.weight",
                           "blk.01.attn_q.weight",
                           "blk.-1.attn_q.weight",
                           "blk.4000.attn_q.weight",
                           "blk.99999999999.attn_q.weight",
                           "blk.0attn_q.weight",
                           "enc.token_embd.weight",
                           "enc.dec.blk.0.attn_q.weight",
                           "blk.0.enc.attn_q.weight",
                           "v.blk.0.attn_q.weight"})
    EXPECT_FALSE(place_of_linear(name)) << name;
}

struct Family {
  const char* name;
  GgufWriter gguf;
  std::size_t linears;
};

struct Quantized {
  explicit Quantized(const GgufWriter& gguf, const std::string& options = "") {
    write_text(file, gguf.bytes());
    made = run("quantize " + file + " --name m " + options);
  }
  Outcome run(const std::string& arguments) const { return run_dgq(arguments + " --registry " + registry); }
  StoredLinears linears() const {
    auto opened = Registry::open(registry, Registry::Mode::read_only);
    LayerCache cache(LayerCache::default_folder(registry));
    return std::move(*StoredLinears::load(*opened, cache, "m"));
  }

  ScratchFolder scratch;
  const std::string registry = (scratch / "r.db").string(), file = (scratch / "m.gguf").string();
  Outcome made;
};

void expect_one_line(const Outcome& outcome, const std::string& fragment) {
  EXPECT_NE(outcome.exit_code, 0) << outcome.out;
  EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  EXPECT_NE(outcome.err.find(fragment), std::string::npos) << "not said: " << fragment << "\n" << outcome.err;
}

double relative_error(const std::vector<float>& is, const std::vector<float>& was) {
  double error = 0, energy = 0;
  for (std::size_t i = 0; i < was.size(); ++i)
    error += std::pow(double{is[i]} - was[i], 2), energy += std::pow(double{was[i]}, 2);
  return std::sqrt(error / energy);
}

class Foreign : public testing::TestWithParam<Family> {};
void PrintTo(const Family& family, std::ostream* out) { *out << family.name; }

// All entries and names, other tensors byte for byte, linears within what their bits cost.
TEST_P(Foreign, FatFileIsTheModelAgain) {
  const Quantized q(GetParam().gguf);
  ASSERT_EQ(q.made.exit_code, 0) << q.made.err;
  EXPECT_NE(q.made.err.find("quantized for llama.cpp, by its weights alone"), std::string::npos)
      << q.made.err;
  const std::string fat = (q.scratch / "fat.gguf").string();
  const Outcome exported = q.run("export gguf m --fat -o " + fat);
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const auto before = GgufFile::open(q.file), after = GgufFile::open(fat);
  ASSERT_TRUE(before);
  ASSERT_TRUE(after) << after.error().what;
  Json expected = before->content.metadata;
  expected[std::string(kFatKey)] = q.linears().version().digest.hex();
  expected["general.quantization_version"] = 2;
  expected["general.file_type"] = 7;
  EXPECT_EQ(after->content.metadata, expected);
  ASSERT_EQ(after->content.tensors.size(), before->content.tensors.size());
  std::size_t linears = 0;
  for (const auto& [name, was] : before->content.tensors) {
    const auto found = after->content.tensors.find(name);
    ASSERT_NE(found, after->content.tensors.end()) << name;
    const StoredTensor& is = found->second;
    EXPECT_EQ(is.shape, was.shape) << name;
    if (place_of_linear(name)) {
      ++linears;
      EXPECT_EQ(is.dtype, "Q8_0") << name;
      EXPECT_TRUE(parse_carrier(read_signs(is.data), name)) << name;
      // 4 bits for groups of 32: a step of 2/15 of the largest, which is some 2 deviations, so 0.08 at most by rounding alone.
      const double limit = name == "token_embd.weight" || name == "output.weight" ? 0.01 : 0.09;
      EXPECT_LT(relative_error(*to_f32(is, name), *to_f32(was, name)), limit) << name;
    } else {
      EXPECT_EQ(is.dtype, was.dtype) << name;
      EXPECT_TRUE(std::ranges::equal(is.data, was.data)) << name;
    }
  }
  EXPECT_EQ(linears, GetParam().linears);
}

TEST_P(Foreign, ThinFileHoldsNoWeights) {
  const Quantized q(GetParam().gguf);
  const std::string thin = (q.scratch / "thin.gguf").string();
  const Outcome exported = q.run("export gguf m -o " + thin);
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  const std::string bytes = file_text(thin);
  const StoredLinears linears = q.linears();
  std::size_t found = 0;
  for (std::size_t at = bytes.find("DGQ1"); at != std::string::npos;
       at = bytes.find("DGQ1", at + 1), ++found) {
    const auto carrier = parse_carrier(std::as_bytes(std::span(bytes)).subspan(at), "thin");
    ASSERT_TRUE(carrier) << carrier.error().what;
    EXPECT_TRUE(linears.find(*carrier, "thin"));
  }
  EXPECT_EQ(found, GetParam().linears);
  EXPECT_NE(bytes.find("a tiny " + std::string(GetParam().name) + " (no weights inside"), std::string::npos);
  EXPECT_NE(bytes.find("tokenizer.chat_template"), std::string::npos);
}

TEST_P(Foreign, SameVersionForAnyThreadsAndAgain) {
  const Quantized one(GetParam().gguf, "--threads 1"), two(GetParam().gguf, "--threads 2"),
      other(GetParam().gguf, "--group 64");
  EXPECT_EQ(one.linears().version().digest, two.linears().version().digest);
  EXPECT_NE(one.linears().version().digest, other.linears().version().digest);
  const Outcome again = one.run("quantize " + one.file + " --name m");
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.out.find("reused"), std::string::npos) << again.out;
}

// Everything that looks at versions without running them.
TEST_P(Foreign, RegistryDoesWhatItDoes) {
  const Quantized q(GetParam().gguf), elsewhere(GetParam().gguf, "--group 64");
  const auto fine = [](const Outcome& outcome) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_NE(fine(q.run("registry list")).find("m:latest"), std::string::npos);
  const std::string shown = fine(q.run("registry show m"));
  for (const std::string& part :
       {std::string(GetParam().name) + ", 2 layers, hidden 160", std::string("rest"), std::string("w4"),
        std::string("search"), std::string("no inputs: of the weights")})
    EXPECT_NE(shown.find(part), std::string::npos) << part << "\n" << shown;
  fine(q.run("registry show m --html " + (q.scratch / "m.html").string()));
  fine(q.run("quantize " + q.file + " --name m:g64 --group 64"));
  EXPECT_NE(fine(q.run("registry diff m m:g64")).find("layers.0"), std::string::npos);
  const std::string bundle = (q.scratch / "m.bundle").string();
  fine(q.run("registry export m --output " + bundle));
  fine(elsewhere.run("registry remove m"));
  fine(elsewhere.run("registry gc"));
  fine(elsewhere.run("registry import " + bundle));
  fine(elsewhere.run("registry verify"));
  const std::string a = (q.scratch / "a").string(), b = (q.scratch / "b").string();
  fine(q.run("export gguf m -o " + a));
  fine(elsewhere.run("export gguf m -o " + b));
  EXPECT_EQ(file_text(a), file_text(b));
}

TEST_P(Foreign, WhatRunsModelsRefusesInOneLine) {
  const Quantized q(GetParam().gguf);
  const std::string words = "only llama.cpp runs a model of this family ([\"" + std::string(GetParam().name) +
                            "\"]): write a file for it with dgq export gguf";
  for (const char* command :
       {"run m hello", "eval hash --text the --model m", "unpack m --safetensors /nonexistent/folder",
        "bench model --model m", "registry expect m --record the", "agent m --listen 127.0.0.1:0"}) {
    const Outcome outcome = q.run(command);
    EXPECT_EQ(outcome.exit_code, 5) << command << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << command << "\n" << outcome.err;
  }
}

TEST_P(Foreign, OptionsThatNeedTheGraphAreRefused) {
  for (const char* option : {"--calibration x", "--calibration-tokens 256", "--seed 2", "--bpw 4.5",
                             "--max-bytes 1M", "--max-memory 1G", "--tokenizer t.json"}) {
    const Quantized q(GetParam().gguf, option);
    expect_one_line(q.made, "it can be quantized for llama.cpp, by its weights alone, without --");
  }
  for (const char* recipe : {"fast", "default", "best"})
    expect_one_line(Quantized(GetParam().gguf, std::string("--recipe ") + recipe).made, "needs calibration");
  const Quantized q(GetParam().gguf);
  expect_one_line(run_dgq("quantize " + q.file + " --dry-run"), "without --dry-run");
  expect_one_line(run_dgq("quantize " + q.file + " --part 1/2 --work " + (q.scratch / "w").string()),
                  "without --part");
}

TEST_P(Foreign, DamagedFilesAreRefusedInOneLine) {
  const std::string name = GetParam().gguf.tensors.back().name;
  const auto refused = [&](const std::string& fragment, const std::function<void(GgufWriter&)>& damage) {
    GgufWriter gguf = GetParam().gguf;
    damage(gguf);
    const Quantized q(gguf);
    EXPECT_EQ(q.made.exit_code == 4 || q.made.exit_code == 5, true) << q.made.exit_code;
    EXPECT_NE(q.made.err.find(fragment), std::string::npos) << fragment << "\n" << q.made.err;
    expect_one_line(q.run("registry show m"), "");
  };
  refused("goes on past the file's", [](GgufWriter& gguf) { gguf.tensors.back().bytes.resize(100); });
  refused("tensor \"" + name + "\" is of type Q4_K", [](GgufWriter& gguf) { gguf.tensors.back().type = 12; });
  refused("is NaN", [](GgufWriter& gguf) {
    GgufTensor& tensor = gguf.tensor("token_embd.weight");
    tensor.bytes.replace(10, 2, "\xff\x7f");
  });
  refused("there is no linear in it", [](GgufWriter& gguf) {
    std::erase_if(gguf.tensors,
                  [](const GgufTensor& tensor) { return place_of_linear(tensor.name).has_value(); });
  });
}

INSTANTIATE_TEST_SUITE_P(, Foreign,
                         testing::Values(Family{"gpt2", tiny_gpt2(), kGpt2Linears},
                                         Family{"gemma", tiny_gemma(), kGemmaLinears},
                                         Family{"llama", tiny_mixture(), kMixtureLinears}),
                         [](const auto& info) { return std::string(info.param.name); });

// In shards, with another alignment: the same version, since these concern the files.
TEST(ForeignGguf, FilesDoNotMatter) {
  const GgufWriter whole = tiny_gpt2();
  const Quantized q(whole);
  GgufWriter aligned = whole;
  aligned.alignment = 128;
  aligned.set("general.alignment", 128u);
  EXPECT_EQ(Quantized(aligned).linears().version().digest, q.linears().version().digest);
  GgufWriter first = whole, second;
  first.set("split.no", 0u), first.set("split.count", 2u);
  second.set("split.no", 1u), second.set("split.count", 2u);
  second.tensors.assign(first.tensors.begin() + 5, first.tensors.end());
  first.tensors.resize(5);
  const std::string stem = (q.scratch / "m").string();
  write_text(stem + "-00001-of-00002.gguf", first.bytes());
  write_text(stem + "-00002-of-00002.gguf", second.bytes());
  const Outcome made = q.run("quantize " + stem + "-00001-of-00002.gguf --name m");
  EXPECT_NE(made.out.find("reused"), std::string::npos) << made.out << made.err;
}

// Experts, one-dimensional weights and everything that is too small or of odd width stay as they are.
TEST(ForeignGguf, WhatCannotBeNamedStays) {
  GgufWriter gguf = tiny_gpt2();
  const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape) {
    std::size_t count = 1;
    for (const std::uint64_t size : shape) count *= size;
    gguf.tensors.push_back({name, shape, kGgufF32, in_gguf_type(kGgufF32, random_floats(count, 1, 7))});
  };
  add("blk.0.ffn_up_exps.weight", {2, 160, 160});
  add("blk.0.attn_q.weight", {2, 160, 160});
  add("blk.0.ffn_gate.weight", {30000});
  add("blk.1.ffn_gate.weight", {127, 160});  // 160 weights too few
  add("blk.1.attn_k.weight", {1000, 40});
  add("blk.0.ffn_gate_inp.weight", {200, 160});
  const Quantized q(gguf);
  ASSERT_EQ(q.made.exit_code, 0) << q.made.err;
  const StoredLinears stored = q.linears();
  std::size_t linears = 0;
  for (const BlobRef& blob : stored.version().manifest.blobs)
    if (blob.media == "layer") linears += stored.blob(blob.digest).tensors().size();
  EXPECT_EQ(linears, kGpt2Linears);
}

// A version that the registry got from elsewhere, with a rest that is no GGUF.
TEST(ForeignGguf, DamagedRestIsRefused) {
  const Quantized q(tiny_gpt2());
  auto registry = Registry::open(q.registry, Registry::Mode::read_write);
  ASSERT_TRUE(registry);
  auto version = registry->resolve("m");
  auto ingest = registry->begin_ingest();
  const std::string text = "GGUF, or what looks like it for a moment";
  for (BlobRef& blob : version->manifest.blobs)
    if (blob.name == kRestBlob)
      blob = *ingest->add_blob(kRestBlob, kRestMedia, std::as_bytes(std::span(text)));
  ASSERT_TRUE(ingest->commit(version->manifest, *ModelRef::parse("bad"), {}, "[]"));
  expect_one_line(q.run("export gguf bad -o " + (q.scratch / "x").string()), "blob rest");
  std::erase_if(version->manifest.blobs, [](const BlobRef& blob) { return blob.name == kRestBlob; });
  auto second = registry->begin_ingest();
  ASSERT_TRUE(second->commit(version->manifest, *ModelRef::parse("none"), {}, "[]"));
  expect_one_line(q.run("export gguf none -o " + (q.scratch / "x").string()), "has no blob rest");
}

// A killed run has left finished blobs: they are taken over, damaged ones are made again.
TEST(ForeignGguf, GoesOnWhereItWas) {
  const Quantized q(tiny_gpt2());
  const std::filesystem::path work = q.scratch / "work";
  const std::string small = (q.scratch / "small.db").string(), options = " --name n --work " + work.string();
  ASSERT_EQ(run_dgq("registry init --registry " + small).exit_code, 0);
  // Room for the blobs, each in a file of its own, and not for a write-ahead log with all of them.
  const Outcome killed = run_shell("ulimit -f 1000; " + dgq_command() + " quantize " + q.file + options +
                                   " --registry " + small);
  ASSERT_NE(killed.exit_code, 0);
  ASSERT_TRUE(std::filesystem::exists(work / "rest.json")) << killed.err;
  write_text(work / "layers.1.blob", "damaged");
  const Outcome made = q.run("quantize " + q.file + options);
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_NE(made.err.find("layers.1.blob is damaged: it is made again"), std::string::npos) << made.err;
  EXPECT_FALSE(std::filesystem::exists(work));
  auto registry = Registry::open(q.registry, Registry::Mode::read_only);
  EXPECT_EQ(registry->resolve("n")->digest, registry->resolve("m")->digest);
}

}  // namespace
}  // namespace dgq::test

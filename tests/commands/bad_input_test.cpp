// Bad input as a user meets it: the command says one line, exits with the code of its error, and the registry is as it was before.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <algorithm>
#include <functional>

#include "tests/support/command.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/not_covered.h"
#include "tests/support/tiny_checkpoint.h"
#include "tools/exit_codes.h"

namespace dgq {
namespace {

using test::Outcome;
using test::run_dgq;
using test::run_shell;
using test::ScratchFolder;
using test::TinyCheckpoint;

constexpr const char* kQuick = " --calibration-tokens 128 --threads 1";

// Refused: one line on stderr that starts with the command and holds `fragment`, nothing on stdout, an exit code of an Error.
void expect_refused(const Outcome& outcome, const std::string& fragment) {
  EXPECT_GE(outcome.exit_code, tools::kExitUsage) << outcome.err;
  EXPECT_LT(outcome.exit_code, tools::kExitInternal) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("dgq ")) << outcome.err;
  EXPECT_NE(outcome.err.find(fragment), std::string::npos) << outcome.err << "should mention: " << fragment;
}

void flip_byte(const std::filesystem::path& path, std::size_t at) {
  std::string bytes = test::file_text(path);
  ASSERT_LT(at, bytes.size());
  bytes[at] ^= 1;
  std::filesystem::permissions(path, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
  test::write_text(path, bytes);
}

class BadInput : public ::testing::Test {
 protected:
  std::string registry(const std::string& name = "r.db") const {
    return " --registry " + (scratch_ / name).string();
  }
  std::string model() const { return (scratch_ / "model").string(); }

  Outcome quantize(const TinyCheckpoint& checkpoint, const std::string& more = "") {
    std::filesystem::remove_all(scratch_ / "model");
    checkpoint.write(scratch_ / "model");
    return run_dgq("quantize " + model() + registry() + " --name tiny" + kQuick + more);
  }

  void add_good_version() {
    const Outcome added = quantize(test::tiny_checkpoint());
    ASSERT_EQ(added.exit_code, 0) << added.err;
  }

  std::string state() {
    return run_dgq("registry list --json" + registry()).out +
           run_dgq("registry verify --json" + registry()).out;
  }

  // Quantizing what `damage` makes of a good folder is refused, and the registry with a good version stays as it was.
  void expect_damage_refused(const std::string& fragment, const std::function<void(TinyCheckpoint&)>& damage,
                             const std::string& more = "") {
    add_good_version();
    const std::string before = state();
    TinyCheckpoint checkpoint = test::tiny_checkpoint(2);
    damage(checkpoint);
    expect_refused(quantize(checkpoint, more), fragment);
    EXPECT_EQ(state(), before);
  }

  // The same for a damaged model.safetensors.
  void expect_file_refused(const std::string& fragment,
                           const std::function<std::string(std::string)>& damage) {
    add_good_version();
    const std::string before = state();
    const TinyCheckpoint checkpoint = test::tiny_checkpoint(2);
    checkpoint.write(scratch_ / "model");
    test::write_text(scratch_ / "model" / "model.safetensors",
                     damage(test::safetensors_bytes(checkpoint.tensors)));
    expect_refused(run_dgq("quantize " + model() + registry() + " --name tiny" + kQuick), fragment);
    EXPECT_EQ(state(), before);
  }

  // The same for what `damage` makes of a good GGUF file.
  void expect_gguf_refused(const std::string& fragment, const std::function<void(test::GgufWriter&)>& damage,
                           std::size_t cut_off = 0) {
    add_good_version();
    const std::string before = state();
    test::GgufWriter gguf = test::gguf_of(test::tiny_checkpoint(2));
    damage(gguf);
    const std::string bytes = gguf.bytes(), file = (scratch_ / "m.gguf").string();
    test::write_text(file, bytes.substr(0, bytes.size() - cut_off));
    expect_refused(run_dgq("quantize " + file + registry() + " --name tiny" + kQuick), fragment);
    expect_refused(run_dgq("eval hash --text the --checkpoint " + file), fragment);
    EXPECT_EQ(state(), before);
  }

  ScratchFolder scratch_;
};

TEST_F(BadInput, TruncatedSafetensorsHeader) {
  expect_file_refused("truncated", [](const std::string& bytes) { return bytes.substr(0, 200); });
}

TEST_F(BadInput, TruncatedSafetensorsData) {
  expect_file_refused("truncated",
                      [](const std::string& bytes) { return bytes.substr(0, bytes.size() - 100); });
}

TEST_F(BadInput, OversizedSafetensorsHeader) {
  expect_file_refused("limit", [](std::string bytes) {
    bytes[6] = 1;  // a header of 2^48 bytes
    return bytes;
  });
}

TEST_F(BadInput, TensorOfWrongShape) {
  expect_damage_refused("k_proj.weight has shape [16, 64]", [](TinyCheckpoint& c) {
    c.tensors["model.layers.1.self_attn.k_proj.weight"] =
        test::f32_tensor({16, 64}, std::vector<float>(1024));
  });
}

TEST_F(BadInput, TensorOfWrongType) {
  expect_damage_refused("I32", [](TinyCheckpoint& c) { c.tensors["model.norm.weight"].dtype = "I32"; });
}

TEST_F(BadInput, MissingTensor) {
  expect_damage_refused("model.layers.0.mlp.up_proj.weight is missing",
                        [](TinyCheckpoint& c) { c.tensors.erase("model.layers.0.mlp.up_proj.weight"); });
}

TEST_F(BadInput, NanWeights) {
  expect_damage_refused("NaN", [](TinyCheckpoint& c) {
    c.tensors["model.layers.1.mlp.down_proj.weight"].bytes.replace(10, 2, "\xc0\x7f");
  });
}

TEST_F(BadInput, GgufTruncated) {
  expect_gguf_refused(
      "truncated", [](test::GgufWriter&) {}, 100);
}

TEST_F(BadInput, GgufQuantizedAlready) {
  expect_gguf_refused("tensor \"blk.0.ffn_up.weight\" is of type Q4_K",
                      [](test::GgufWriter& gguf) { gguf.tensor("blk.0.ffn_up.weight").type = 12; });
}

TEST_F(BadInput, GgufOfAnotherArchitecture) {
  expect_gguf_refused("architecture \"mamba\"",
                      [](test::GgufWriter& gguf) { gguf.set("general.architecture", "mamba"); });
}

TEST_F(BadInput, GgufWithUnknownPreTokenizer) {
  expect_gguf_refused("--tokenizer",
                      [](test::GgufWriter& gguf) { gguf.set("tokenizer.ggml.pre", "nobody-knows"); });
}

TEST_F(BadInput, UnknownConfigMember) {
  expect_damage_refused("\"logit_scale\"", [](TinyCheckpoint& c) { c.config["logit_scale"] = 0.5; });
}

TEST_F(BadInput, UnknownArchitecture) {
  expect_damage_refused("MambaForCausalLM",
                        [](TinyCheckpoint& c) { c.config["architectures"] = {"MambaForCausalLM"}; });
}

TEST_F(BadInput, LineBreaksInNamesFromFiles) {
  expect_damage_refused("Evil",
                        [](TinyCheckpoint& c) { c.config["architectures"] = {"Evil\nFor\x1b[2JCausalLM"}; });
}

TEST_F(BadInput, WrongFolderMakesNoRegistry) {
  expect_refused(run_dgq("quantize /nonexistent --name tiny" + registry()), "/nonexistent");
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "r.db"));
}

TEST_F(BadInput, UnsupportedConfig) {
  expect_damage_refused("sliding_window", [](TinyCheckpoint& c) {
    c.config["architectures"] = {"MistralForCausalLM"};
    c.config["sliding_window"] = 32;
  });
}

TEST_F(BadInput, BrokenTokenizer) {
  expect_damage_refused("tokenizer.json",
                        [](TinyCheckpoint& c) { c.tokenizer.resize(c.tokenizer.size() / 2); });
}

TEST_F(BadInput, EmptyCalibrationFile) {
  test::write_text(scratch_ / "empty.txt", "");
  expect_damage_refused(
      "empty.txt", [](TinyCheckpoint&) {}, " --calibration " + (scratch_ / "empty.txt").string());
}

TEST_F(BadInput, CalibrationFileThatIsNotUtf8) {
  test::write_text(scratch_ / "latin1.txt", "caf\xe9 au lait, and so on");
  expect_damage_refused(
      "latin1.txt", [](TinyCheckpoint&) {}, " --calibration " + (scratch_ / "latin1.txt").string());
}

TEST_F(BadInput, RegistryThatIsNotOurs) {
  test::write_text(scratch_ / "r.db",
                   "this is a letter to my aunt, long enough to look like a database header would");
  expect_refused(quantize(test::tiny_checkpoint()), "r.db");
  EXPECT_TRUE(test::file_text(scratch_ / "r.db").starts_with("this is a letter"));
  ASSERT_EQ(
      run_shell("sqlite3 " + (scratch_ / "other.db").string() + " 'CREATE TABLE cooking(recipe)'").exit_code,
      0);
  expect_refused(run_dgq("registry list" + registry("other.db")), "other.db");
  expect_refused(run_dgq("registry list" + registry("missing.db")), "missing.db");
}

TEST_F(BadInput, RegistryThatIsNewer) {
  add_good_version();
  ASSERT_EQ(run_shell("sqlite3 " + (scratch_ / "r.db").string() + " 'PRAGMA user_version = 999'").exit_code,
            0);
  expect_refused(run_dgq("registry list" + registry()), "newer");
  expect_refused(run_dgq("run tiny the" + registry()), "newer");
}

TEST_F(BadInput, FlippedByteInStoredChunk) {
  add_good_version();
  std::string bytes = test::file_text(scratch_ / "r.db");
  const std::size_t frame = bytes.rfind("\x28\xb5\x2f\xfd");  // the last zstd frame
  ASSERT_NE(frame, std::string::npos);
  bytes[frame + 50] ^= 1;
  test::write_text(scratch_ / "r.db", bytes);
  const Outcome verified = run_dgq("registry verify" + registry());
  EXPECT_EQ(verified.exit_code, 1) << verified.out;
  std::filesystem::remove_all(scratch_ / "r.db.layers");
  const Outcome run = run_dgq("run tiny the --tokens 2" + registry());
  EXPECT_EQ(run.exit_code, 4) << run.out;
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
}

TEST_F(BadInput, FlippedByteInMaterialisedFile) {
  add_good_version();
  const std::string run = "run tiny the --tokens 4 --greedy" + registry();
  const Outcome before = run_dgq(run);
  ASSERT_EQ(before.exit_code, 0) << before.err;
  std::filesystem::path largest;
  for (const auto& file : std::filesystem::recursive_directory_iterator(scratch_ / "r.db.layers"))
    if (file.is_regular_file() && (largest.empty() || file.file_size() > std::filesystem::file_size(largest)))
      largest = file.path();
  const std::string good = test::file_text(largest);
  flip_byte(largest, good.size() / 2);
  EXPECT_EQ(run_dgq("registry verify" + registry()).exit_code, 1);
  const Outcome after = run_dgq(run);  // found, and made anew from the registry
  EXPECT_EQ(after.exit_code, 0) << after.err;
  EXPECT_EQ(after.out, before.out);
  EXPECT_EQ(test::file_text(largest), good);
}

// A file system of its own in memory; needs root.
class Mount {
 public:
  Mount(const std::filesystem::path& folder, const std::string& options) : folder_(folder) {
    std::filesystem::create_directories(folder);
    mounted_ = ::mount("tmpfs", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
  }
  Mount(const Mount&) = delete;
  ~Mount() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  explicit operator bool() const { return mounted_; }
  bool make_read_only() {
    return ::mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  std::filesystem::path folder_;
  bool mounted_ = false;
};

TEST_F(BadInput, FullDisk) {
  const Mount disk(scratch_ / "disk", "size=700k");
  if (!disk) return test::not_covered("full disk, by command (needs root to mount a tmpfs)");
  test::tiny_checkpoint().write(scratch_ / "model");
  const std::string add = "quantize " + model() + registry("disk/r.db") + kQuick;
  // Fill what the first version leaves.
  const Outcome first = run_dgq(add + " --name first");
  if (first.exit_code == 0) {
    (void)run_shell("head -c 10M /dev/zero > " + (scratch_ / "disk/filler").string());
    test::tiny_checkpoint(3).write(scratch_ / "model");
    expect_refused(run_dgq(add + " --name second"), "no space left");
    std::filesystem::remove(scratch_ / "disk/filler");
    EXPECT_EQ(run_dgq("registry verify" + registry("disk/r.db")).exit_code, 0);
    EXPECT_EQ(run_dgq("registry show first" + registry("disk/r.db")).exit_code, 0);
    EXPECT_NE(run_dgq("registry show second" + registry("disk/r.db")).exit_code, 0);
  } else {
    expect_refused(first, "no space left");
  }
}

TEST_F(BadInput, ReadOnlyRegistry) {
  Mount disk(scratch_ / "disk", "size=32m");
  if (!disk) return test::not_covered("read-only registry, by command (needs root to mount a tmpfs)");
  test::tiny_checkpoint().write(scratch_ / "model");
  const std::string add = "quantize " + model() + registry("disk/r.db") + kQuick;
  ASSERT_EQ(run_dgq(add + " --name tiny").exit_code, 0);
  ASSERT_TRUE(disk.make_read_only());
  expect_refused(run_dgq("registry tag tiny tiny:stable" + registry("disk/r.db")), "r.db");
  expect_refused(run_dgq(add + " --name other --force"), "r.db");
  EXPECT_EQ(run_dgq("registry list" + registry("disk/r.db")).exit_code, 0);
  const Outcome run = run_dgq("run tiny the --tokens 2" + registry("disk/r.db") + " --cache " +
                              (scratch_ / "cache").string());
  EXPECT_EQ(run.exit_code, 0) << run.err;
}

TEST_F(BadInput, TwoProcessesAddAtOnce) {
  test::tiny_checkpoint(4).write(scratch_ / "a");
  test::tiny_checkpoint(5).write(scratch_ / "b");
  const auto add = [&](const std::string& name) {
    return test::dgq_command() + " quantize " + (scratch_ / name).string() + registry() + " --name " + name +
           kQuick;
  };
  const Outcome both =
      run_shell("(" + add("a") + ") & first=$!; " + add("b") + "; second=$?; wait $first && exit $second");
  EXPECT_EQ(both.exit_code, 0) << both.err;
  EXPECT_EQ(run_dgq("run a the --tokens 2" + registry()).exit_code, 0);
  EXPECT_EQ(run_dgq("run b the --tokens 2" + registry()).exit_code, 0);
  EXPECT_EQ(run_dgq("registry verify" + registry()).exit_code, 0);
}

TEST_F(BadInput, CommandLines) {
  for (const char* arguments :
       {"quantize", "run", "run nosuch the", "eval nosuch", "eval perplexity --text x", "nosuch",
        "run tiny the --tokenizer t.json", "quantize m.gguf --name x", "quantize README.md --name x",
        "registry nosuch", "tokenize --tokenizer /nonexistent x", "run tiny the --temperature -1",
        "quantize models --name 'bad name'", "kernels --no-such-option"}) {
    const Outcome outcome = run_dgq(arguments + registry());
    EXPECT_NE(outcome.exit_code, 0) << arguments;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1)
        << arguments << ": " << outcome.err;
  }
  for (const char* arguments :
       {"run tiny the --context -1", "registry log --limit=-1", "quantize models --name x --seed -1"})
    expect_refused(run_dgq(arguments + registry()), "takes a number from 0, not -1");
  EXPECT_EQ(run_shell("DGQ_ISA=pentium " + test::dgq_command() + " kernels").exit_code, tools::kExitUsage);
}

}  // namespace
}  // namespace dgq

// Jobs that are killed, meet a full disk or each other, or have little memory: as a user runs them.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "tests/support/command.h"
#include "tests/support/not_covered.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

namespace fs = std::filesystem;
using test::memory_counts;
using test::Outcome;
using test::run_dgq;

constexpr const char* kQuick = " --recipe fast --calibration-tokens 256 --threads 1";

class Scale : public ::testing::Test {
 protected:
  Scale() {
    test::tiny_checkpoint().write(scratch_ / "model");
    Json shape = test::tiny_checkpoint().config;
    shape.merge_patch({{"hidden_size", 256},
                       {"intermediate_size", 1024},
                       {"head_dim", 64},
                       {"vocab_size", 4096},
                       {"num_hidden_layers", 3},
                       {"max_position_embeddings", 256}});
    test::write_text(scratch_ / "shape.json", shape.dump());
  }

  std::string at(const std::string& name) const { return (scratch_ / name).string(); }
  std::string add(const std::string& registry = "r.db") const {
    return "quantize " + at("model") + kQuick + " --name tiny --registry " + at(registry);
  }
  Json json_of(const std::string& arguments) {
    const Outcome outcome = run_dgq(arguments + " --json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? *parse_json(outcome.out, arguments) : Json();
  }
  std::string expected_version() { return json_of(add("expected.db"))["version"]; }
  void expect_refused(const std::string& arguments, const std::string& fragment) {
    const Outcome outcome = run_dgq(arguments);
    EXPECT_GE(outcome.exit_code, 2) << arguments;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(fragment), std::string::npos) << outcome.err << "should mention: " << fragment;
  }
  std::uint64_t size_of(const fs::path& folder) {
    std::uint64_t bytes = 0;
    for (const auto& file : fs::recursive_directory_iterator(folder))
      if (file.is_regular_file()) bytes += file.file_size();
    return bytes;
  }

  test::ScratchFolder scratch_;
};

TEST_F(Scale, KilledAnywhereItGoesOnToTheSameVersion) {
  const auto start = std::chrono::steady_clock::now();
  const std::string expected = expected_version();
  const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (int kill = 0; kill < 6; ++kill) {
    const double after = whole * static_cast<double>(random() % 1000) / 1000;
    (void)test::run_shell("timeout --signal=KILL " + std::to_string(after) + " " + test::dgq_command() + " " +
                          add());
    const Outcome list = run_dgq("registry verify --registry " + at("r.db"));
    // An early kill may leave no registry, or a database without tables, of which the next run makes one.
    EXPECT_TRUE(list.exit_code == 0 || !fs::exists(scratch_ / "r.db") ||
                list.err.find("it is empty") != std::string::npos)
        << list.err;
  }
  EXPECT_EQ(json_of(add())["version"], expected) << "seed " << seed;
  EXPECT_FALSE(fs::exists(scratch_ / "r.db.work"));
}

// A file system of its own in memory, if this process may have one.
class Disk {
 public:
  Disk(const fs::path& folder, const std::string& size) : folder_(folder) {
    fs::create_directories(folder);
    mounted_ = ::mount("tmpfs", folder.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  Disk(const Disk&) = delete;
  ~Disk() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  explicit operator bool() const { return mounted_; }
  bool resize(const std::string& size) {
    return ::mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT, ("size=" + size).c_str()) == 0;
  }

 private:
  fs::path folder_;
  bool mounted_ = false;
};

TEST_F(Scale, AFullDiskInTheMiddleLosesNothing) {
  Disk disk(scratch_ / "disk", "32m");
  if (!disk) return test::not_covered("full disk while quantizing (needs root to mount a tmpfs)");
  const std::string expected = expected_version();
  // Room for the registry's own pages and some pieces.
  ASSERT_EQ(run_dgq("registry init --registry " + at("disk/r.db")).exit_code, 0);
  const std::string work = " --work " + at("disk/work");
  ASSERT_TRUE(disk.resize(std::to_string(size_of(scratch_ / "disk") + 150'000)));
  expect_refused(add("disk/r.db") + work, "no space left");
  EXPECT_TRUE(fs::exists(scratch_ / "disk/work/plan.json"));
  EXPECT_EQ(run_dgq("registry verify --registry " + at("disk/r.db")).exit_code, 0);
  EXPECT_EQ(json_of("registry list --registry " + at("disk/r.db")).dump().find("tiny"), std::string::npos);
  ASSERT_TRUE(disk.resize("32m"));
  const Outcome again = run_dgq(add("disk/r.db") + work + " --json");
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ((*parse_json(again.out, "out"))["version"], expected);
  EXPECT_NE(again.err.find("resuming: "), std::string::npos) << again.err;
  EXPECT_FALSE(fs::exists(scratch_ / "disk/work"));
}

TEST_F(Scale, TwoRunsOfTheSameJobEndWithOneVersion) {
  const std::string one = test::dgq_command() + " " + add() + " --json";
  const Outcome both = test::run_shell(one + " & " + one + "; wait");
  const Outcome after = run_dgq(add() + " --json");
  ASSERT_EQ(after.exit_code, 0) << after.err;
  EXPECT_EQ((*parse_json(after.out, "out"))["version"], expected_version());
  EXPECT_TRUE(both.error_lines() == 0 ||
              both.err.find("another dgq quantize is at work") != std::string::npos ||
              both.err.find("resuming") != std::string::npos)
      << both.err;
  EXPECT_EQ(run_dgq("registry verify --registry " + at("r.db")).exit_code, 0);
}

TEST_F(Scale, MemoryStaysUnderItsBound) {
  if (!memory_counts()) return test::not_covered("peak memory (sanitizer or emulator)");
  const std::string job =
      "quantize --synthetic " + at("shape.json") + " --recipe fast --calibration-tokens 40000 --threads 1";
  const Json free = json_of(job + " --dry-run --max-memory 1T");
  // 41 MB of activations wait: far more than the bound leaves for them.
  const std::uint64_t bound = free["memory"].get<std::uint64_t>() - 25'000'000;
  const std::string bounded = job + " --max-memory " + std::to_string(bound);
  EXPECT_TRUE(json_of(bounded + " --dry-run")["spills"]);
  EXPECT_FALSE(free["spills"]);
  const Json made = json_of(bounded + " --name t --registry " + at("s.db"));
  struct rusage children;
  ASSERT_EQ(::getrusage(RUSAGE_CHILDREN, &children), 0);
  EXPECT_LE(static_cast<std::uint64_t>(children.ru_maxrss) * 1024, bound);
  expect_refused(job + " --name t --registry " + at("s.db") + " --max-memory 5M",
                 "is too little for this model");
}

TEST_F(Scale, ADryRunIsRight) {
  // Under an emulator every token is slow.
  const std::string job = "quantize --synthetic " + at("shape.json") + " --threads 1 --calibration-tokens " +
                          (memory_counts() ? "2048" : "512");
  const std::vector<const char*> recipes =
      memory_counts() ? std::vector{"fast", "default"} : std::vector{"fast"};
  for (const char* recipe : recipes) {
    const std::string with = job + " --recipe " + recipe;
    const fs::path folder = scratch_ / recipe;
    fs::create_directories(folder);
    (void)json_of(with + " --part 1/1 --work " + (folder / "work").string());
    const Json made = json_of("quantize --merge " + (folder / "work").string() + " --name t --registry " +
                              (folder / "r.db").string());
    struct rusage children;
    ASSERT_EQ(::getrusage(RUSAGE_CHILDREN, &children), 0);
    const Json expected = json_of(with + " --dry-run");
    std::uint64_t bytes = 0;
    for (const char* piece : {"embedding", "layers.0", "layers.1", "layers.2", "head", "tokenizer"})
      bytes += fs::file_size(folder / "work" / (std::string(piece) + ".blob"));
    EXPECT_NEAR(expected["bytes"].get<double>(), static_cast<double>(bytes),
                0.02 * static_cast<double>(bytes));
    const auto disk = static_cast<double>(size_of(folder));
    EXPECT_NEAR(expected["disk"].get<double>(), disk, 0.15 * disk);
    EXPECT_GT(expected["seconds"].get<double>(), 0);
    const double peak = static_cast<double>(children.ru_maxrss) * 1024;
    if (memory_counts()) {
      EXPECT_NEAR(expected["memory"].get<double>(), peak, 0.15 * peak) << recipe;
    }
  }
  EXPECT_FALSE(fs::exists(scratch_ / "r.db"));
}

TEST_F(Scale, AMeasuredPerplexityIsOnTheCard) {
  ASSERT_EQ(run_dgq(add()).exit_code, 0);
  const std::string measure = "eval perplexity --model tiny --context 32 --text " +
                              (test::source_folder() / "LICENSE").string() + " --registry " + at("r.db");
  EXPECT_EQ(run_dgq(measure + " --windows 1").exit_code, 0);
  const std::string show = "registry show tiny --registry " + at("r.db");
  EXPECT_TRUE(json_of(show)["measurements"].empty()) << "nobody asked for it";
  EXPECT_EQ(run_dgq(measure + " --windows 1 --store").exit_code, 0);
  const Json measured = json_of(measure + " --windows 2 --store");
  const Json kept = json_of(show)["measurements"];
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[1]["perplexity"], measured["perplexity"]);
  EXPECT_EQ(kept[1]["text"], "LICENSE");
  const std::string card = run_dgq(show).out;
  EXPECT_NE(card.find(" on LICENSE, 2 windows of 32"), std::string::npos) << card;
  EXPECT_EQ(card.find("1 windows of 32"), std::string::npos) << "an older one of the same text";
}

TEST_F(Scale, WordsThatDoNotGoTogetherAreRefused) {
  const std::string model = "quantize " + at("model") + " --registry " + at("r.db");
  expect_refused(model + " --part 1/2", "--part needs --work");
  expect_refused(model + " --part 1/2 --work " + at("w") + " --name x", "--part makes no version");
  expect_refused(model + " --part two --work " + at("w"), "--part must be I/N");
  expect_refused(model + " --part 1/9 --work " + at("w"), "--part must be I/N");
  expect_refused(model + " --merge " + at("w") + " --name x", "give one of MODEL, --synthetic and --merge");
  expect_refused("quantize --merge " + at("w") + " --name x --registry " + at("r.db"), "plan.json");
  expect_refused("quantize --synthetic nosuch --name x", "there is no shape 'nosuch'");
  for (const char* size : {"much", "1.5Q", "-3M", "0", "4GG", "i", "1e30"}) {
    expect_refused(model + " --name x --max-memory=" + size, "--max-memory must be a size such as");
    expect_refused(model + " --name x --max-bytes=" + size, "--max-bytes must be a size such as");
  }
  expect_refused(model + " --name x --max-bytes 1k", "the budget is too small for this model");
}

}  // namespace
}  // namespace dgq

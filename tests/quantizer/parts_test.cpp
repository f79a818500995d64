// A job in pieces: the same version whether it is made at once, in parts, after a kill, or with too little memory.
#include <gtest/gtest.h>

#include "quantizer/memory_plan.h"
#include "quantizer/quantize.h"
#include "quantizer/work_folder.h"
#include "tests/support/command.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

namespace fs = std::filesystem;

// 5 layers of the tiny checkpoint's kind.
test::TinyCheckpoint five_layers(std::uint64_t seed = 1) {
  test::TinyCheckpoint tiny = test::tiny_checkpoint(seed);
  tiny.config["num_hidden_layers"] = 5;
  for (const char* layer : {"2", "3", "4"})
    for (const auto& [name, tensor] :
         test::tiny_checkpoint(seed + 100 * static_cast<std::uint64_t>(*layer)).tensors)
      if (const std::string prefix = "model.layers.0"; name.starts_with(prefix))
        tiny.tensors["model.layers." + std::string(layer) + name.substr(prefix.size())] = tensor;
  return tiny;
}

class Parts : public ::testing::Test {
 protected:
  Parts() {
    five_layers().write(scratch_ / "model");
    checkpoint_.emplace(*Checkpoint::open(scratch_ / "model"));
    options_.recipe = {"test",
                       {32, 4},
                       Ends::w8,
                       128,
                       {SmoothOptions{90, 64}, AllocateOptions{5.5, 0, 64, 0.03, true}, WeighOptions{},
                        StaticOptions{1, 64}, SearchOptions{}, CompensateOptions{}, DescendOptions{}}};
    options_.tool = "dgq test";
  }

  Registry registry(const std::string& name) const {
    return *Registry::open(scratch_ / name, Registry::Mode::read_write, true);
  }
  Note keep_notes() {
    return [this](const std::string& line) { notes_.push_back(line); };
  }
  Result<QuantizeResult> whole(Registry& to, const QuantizeOptions& options) {
    return quantize(*checkpoint_, to, *ModelRef::parse("tiny"), options, kernels_, {}, keep_notes());
  }
  Digest single_run() {
    Registry to = registry("single.db");
    const auto made = whole(to, options_);
    EXPECT_TRUE(made) << made.error().what;
    return made->version;
  }
  Result<void> part(std::size_t index, std::size_t count, const std::string& folder) {
    QuantizeOptions options = options_;
    options.work = scratch_ / folder;
    return quantize_part(*checkpoint_, options, {index, count}, kernels_, {}, keep_notes());
  }
  Result<QuantizeResult> merge(const std::vector<std::string>& folders) {
    std::vector<fs::path> paths;
    for (const std::string& folder : folders) paths.push_back(scratch_ / folder);
    Registry to = registry("merged.db");
    return merge_parts(paths, to, *ModelRef::parse("tiny"));
  }
  void expect_merge_refused(const std::vector<std::string>& folders, const std::string& fragment) {
    const auto refused = merge(folders);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().what.find(fragment), std::string::npos) << refused.error().what;
    EXPECT_EQ(refused.error().what.find('\n'), std::string::npos);
    EXPECT_EQ(registry("merged.db").stats()->blobs, 0u);
  }

  test::ScratchFolder scratch_;
  std::optional<Checkpoint> checkpoint_;
  QuantizeOptions options_;
  Kernels kernels_ = *select_kernels("");
  std::vector<std::string> notes_;
};

TEST_F(Parts, MergedAreTheSingleRun) {
  const Digest expected = single_run();
  EXPECT_FALSE(fs::exists(scratch_ / "single.db.work")) << "a finished job leaves nothing";
  for (const std::size_t count : {1u, 2u, 3u, 5u}) {
    std::vector<std::string> folders;
    for (std::size_t i = 1; i <= count; ++i) {
      folders.push_back(std::to_string(count) + "-" + std::to_string(i));
      const auto made = part(i, count, folders.back());
      ASSERT_TRUE(made) << made.error().what;
    }
    const auto merged = merge(folders);
    ASSERT_TRUE(merged) << merged.error().what;
    EXPECT_EQ(merged->version, expected) << count << " parts";
    EXPECT_EQ(registry("merged.db").sources(expected)->size(), 3u);
    std::string stages;
    for (const StageCost& cost : merged->costs) stages += cost.stage + " ";
    EXPECT_EQ(stages,
              "calibration text smooth allocate weigh-tokens static-activations "
              "embedding layers.0 layers.1 layers.2 layers.3 layers.4 head ");
  }
  EXPECT_TRUE(notes_.empty()) << notes_[0];
}

TEST_F(Parts, MayShareAFolderAndLayersOfOtherPartsAreNotMade) {
  ASSERT_TRUE(part(2, 2, "shared"));
  EXPECT_FALSE(fs::exists(scratch_ / "shared/layers.1.blob"));
  EXPECT_FALSE(fs::exists(scratch_ / "shared/embedding.blob"));
  expect_merge_refused({"shared"}, "there is no embedding, layers.0, layers.1 in ");
  ASSERT_TRUE(part(1, 2, "shared"));
  const auto merged = merge({"shared"});
  ASSERT_TRUE(merged) << merged.error().what;
  EXPECT_EQ(merged->version, single_run());
}

TEST_F(Parts, AreCheckedWhenMerged) {
  ASSERT_TRUE(part(1, 2, "1"));
  ASSERT_TRUE(part(2, 2, "2"));
  expect_merge_refused({"1", "nosuch"}, "nosuch");
  options_.seed = 2;
  ASSERT_TRUE(part(2, 2, "other seed"));
  expect_merge_refused({"1", "other seed"}, "other seed holds a part of another job");
  std::string blob = test::file_text(scratch_ / "2/layers.3.blob");
  blob[100] ^= 1;
  test::write_text(scratch_ / "2/layers.3.blob", blob);
  expect_merge_refused({"1", "2"}, "layers.3.blob is damaged");
  fs::copy(scratch_ / "other seed/layers.3.blob", scratch_ / "2/layers.3.blob",
           fs::copy_options::overwrite_existing);
  fs::copy(scratch_ / "other seed/layers.3.json", scratch_ / "2/layers.3.json",
           fs::copy_options::overwrite_existing);
  expect_merge_refused({"1", "2"}, "another job");
}

TEST_F(Parts, ThatThereAreNotAreRefused) {
  for (const Part& wrong : {Part{0, 2}, Part{3, 2}, Part{1, 6}, Part{1, 0}}) {
    options_.work = scratch_ / "w";
    const auto refused = quantize_part(*checkpoint_, options_, wrong, kernels_);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().what.find("--part must be I/N"), std::string::npos);
  }
  EXPECT_FALSE(fs::exists(scratch_ / "w"));
}

TEST_F(Parts, WhatAKilledRunLeftIsUsedAndWhatIsDamagedMadeAgain) {
  const Digest expected = single_run();
  ASSERT_TRUE(part(1, 2, "work"));
  options_.work = scratch_ / "work";
  std::string blob = test::file_text(scratch_ / "work/layers.0.blob");
  blob.resize(blob.size() - 1);
  test::write_text(scratch_ / "work/layers.0.blob", blob);
  test::write_text(scratch_ / "work/embedding.json", "{");
  test::write_text(scratch_ / "work/layers.4.blob.Ab12Cd", "what a kill in the middle of a write leaves");
  const fs::file_time_type plan = fs::last_write_time(scratch_ / "work/plan.blob");
  Registry to = registry("r.db");
  std::vector<std::string> labels;
  const auto made = quantize(
      *checkpoint_, to, *ModelRef::parse("tiny"), options_, kernels_,
      [&](const std::string& label, double) {
        EXPECT_EQ(plan, fs::last_write_time(scratch_ / "work/plan.blob"));
        labels.push_back(label);
      },
      keep_notes());
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(made->version, expected);
  ASSERT_EQ(notes_.size(), 3u);
  EXPECT_NE(notes_[0].find("embedding.json"), std::string::npos) << notes_[0];
  EXPECT_NE(notes_[1].find("layers.0.blob is damaged: it is made again"), std::string::npos) << notes_[1];
  EXPECT_NE(notes_[2].find("resuming: 1 of 8 blobs are in "), std::string::npos) << notes_[2];
  EXPECT_EQ(labels.front().find("layers.0: inputs"), 0u) << labels.front();
  EXPECT_FALSE(fs::exists(scratch_ / "work"));
}

TEST_F(Parts, WhatARunLeftThatWasKilledAtItsEndGoes) {
  Registry to = registry("single.db");
  ASSERT_TRUE(whole(to, options_));
  QuantizeOptions aside = options_;
  aside.work = scratch_ / "aside";
  ASSERT_TRUE(part(1, 1, "aside"));  // all pieces, as a run has them before it removes them
  const fs::path folder =
      scratch_ / "single.db.work" / fingerprint(WorkFolder::read(aside.work)->job()).hex();
  fs::create_directories(folder.parent_path());
  fs::rename(aside.work, folder);
  const auto again = whole(to, options_);
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_TRUE(again->reused);
  EXPECT_FALSE(fs::exists(scratch_ / "single.db.work"));
}

TEST_F(Parts, ADamagedPlanIsMadeAgain) {
  const Digest expected = single_run();
  ASSERT_TRUE(part(1, 2, "work"));
  std::string plan = test::file_text(scratch_ / "work/plan.blob");
  plan[plan.size() - 1] ^= 1;
  test::write_text(scratch_ / "work/plan.blob", plan);
  ASSERT_TRUE(part(2, 2, "work"));
  EXPECT_NE(notes_.at(0).find("plan.blob is damaged: the plan is made again"), std::string::npos)
      << notes_[0];
  EXPECT_EQ(merge({"work"})->version, expected);
}

TEST_F(Parts, AFolderOfAnotherJobIsRefused) {
  ASSERT_TRUE(part(1, 2, "work"));
  options_.recipe.calibration_tokens = 192;
  const auto refused = part(1, 2, "work");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("holds pieces of another job"), std::string::npos)
      << refused.error().what;
}

TEST_F(Parts, TwoRunsOfOneJobAreKeptApart) {
  QuantizeOptions options = options_;
  options.work = scratch_ / "work";
  Registry to = registry("r.db"), other = registry("other.db");
  bool tried = false;
  const auto made = quantize(*checkpoint_, to, *ModelRef::parse("tiny"), options, kernels_,
                             [&](const std::string&, double) {
                               if (std::exchange(tried, true)) return;
                               const auto second = whole(other, options);
                               ASSERT_FALSE(second);
                               EXPECT_EQ(second.error().code, Errc::busy);
                               EXPECT_NE(second.error().what.find("another dgq quantize"), std::string::npos);
                             });
  EXPECT_TRUE(tried);
  ASSERT_TRUE(made) << made.error().what;
}

TEST_F(Parts, ProgressOnlyGoesForward) {
  for (const std::size_t index : {1u, 2u, 3u}) {
    double last = 0;
    options_.work = scratch_ / "p";
    const auto see = [&](const std::string& label, double done) {
      EXPECT_GE(done, last) << label;
      EXPECT_LE(done, 1 + 1e-9) << label;
      last = done;
    };
    ASSERT_TRUE(quantize_part(*checkpoint_, options_, {index, 3}, kernels_, see));
    EXPECT_GT(last, 0.85);
  }
}

TEST_F(Parts, TooLittleMemoryIsRefused) {
  options_.max_memory = 1'000'000;
  Registry to = registry("r.db");
  const auto refused = whole(to, options_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid);
  EXPECT_NE(refused.error().what.find("--max-memory 1.0 MB is too little for this model: it needs "),
            std::string::npos)
      << refused.error().what;
  EXPECT_FALSE(fs::exists(scratch_ / "r.db.work"));
}

Checkpoint synthetic(std::size_t vocab) {
  Json json = test::tiny_checkpoint().config;
  json["vocab_size"] = vocab;
  return *Checkpoint::synthetic(*parse_config(json, "config.json"));
}

TEST(Memory, RowsThatDoNotFitWaitInAFile) {
  const test::ScratchFolder scratch;
  const Checkpoint checkpoint = synthetic(300);
  QuantizeOptions options;
  options.recipe = {"test", {32, 4}, Ends::w8, 160'000, {SearchOptions{}}};
  const auto version = [&](const char* name, std::uint64_t memory) {
    options.max_memory = memory;
    Registry to = *Registry::open(scratch / name, Registry::Mode::read_write, true);
    const auto made = quantize(checkpoint, to, *ModelRef::parse("tiny"), options, *select_kernels(""));
    EXPECT_TRUE(made) << made.error().what;
    return made->version;
  };
  const Digest plenty = version("plenty.db", std::uint64_t{1} << 40);
  constexpr std::uint64_t kRows = 160'000 * 64 * sizeof(float);
  const std::uint64_t peak =
      plan_memory(checkpoint.config(), options.recipe, false, std::uint64_t{1} << 40)->peak;
  const auto plan = plan_memory(checkpoint.config(), options.recipe, false, peak - kRows / 2);
  ASSERT_TRUE(plan) << plan.error().what;
  EXPECT_TRUE(plan->spill);
  EXPECT_EQ(plan->spilled, kRows);
  EXPECT_EQ(version("little.db", peak - kRows / 2), plenty);
}

TEST(Synthetic, ModelsOfAnyShapeBecomeVersions) {
  const test::ScratchFolder scratch;
  const Checkpoint checkpoint = synthetic(300);
  const std::vector<float> weights = checkpoint.layer(1)->storage[2], again = checkpoint.layer(1)->storage[2];
  EXPECT_EQ(weights, again);
  EXPECT_NE(weights, checkpoint.layer(0)->storage[2]);
  double sum = 0, square = 0;
  for (const float w : weights) sum += w, square += static_cast<double>(w) * w;
  // 4096 values of deviation 1/8: the mean's is 0.002, the variance's 2 %.
  EXPECT_NEAR(sum / 4096, 0, 0.01);
  EXPECT_NEAR(square / 4096 * 64, 1, 0.1);
  QuantizeOptions options;
  options.recipe = {"test", {32, 4}, Ends::w8, 64, {SearchOptions{}}};
  Registry registry = *Registry::open(scratch / "r.db", Registry::Mode::read_write, true);
  const auto made = quantize(checkpoint, registry, *ModelRef::parse("made-up"), options, *select_kernels(""));
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(made->manifest.recipe["calibration"]["kind"], "random");
  Json bytes_only = test::tiny_checkpoint().config;
  bytes_only["vocab_size"] = 256;
  EXPECT_FALSE(Checkpoint::synthetic(*parse_config(bytes_only, "config.json")))
      << "no room for the end of a text";
}

}  // namespace
}  // namespace dgq

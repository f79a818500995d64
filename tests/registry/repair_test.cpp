// What has rotted comes back from what is still whole, and from nothing else; what does not is named.
#include "registry/repair.h"

#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

class RepairTest : public ExchangeFixture {
 protected:
  fs::path layers() const { return scratch_ / "layers"; }
  Digest blob(const std::string& name, std::size_t index) {
    return registry_.resolve(name)->manifest.blobs[index].digest;
  }
  fs::path materialise(const std::string& name, std::size_t index) {
    LayerCache cache(layers());
    EXPECT_OK(cache.materialise(registry_, registry_.resolve(name)->manifest.blobs[index]));
    return cache.path_of(blob(name, index));
  }
  fs::path bundle(const std::vector<std::string>& names) {
    const fs::path file = scratch_ / "b.dgqb";
    std::ofstream(file, std::ios::binary) << *export_text(registry_, names);
    return file;
  }
  RepairReport mend(const std::vector<fs::path>& given = {}) {
    auto report = repair(registry_, {layers(), given});
    if (!report) throw std::runtime_error(report.error().what);
    return std::move(*report);
  }
  // Everything is whole, and `count` things came from a place that is called so.
  void expect_mended(const RepairReport& report, std::size_t count, const std::string& from) {
    EXPECT_TRUE(report.lost.empty()) << report.lost.front().what;
    EXPECT_EQ(report.restored.size(), count);
    for (const auto& restored : report.restored)
      EXPECT_NE(restored.from.find(from), std::string::npos) << restored.what << " from " << restored.from;
    EXPECT_TRUE(report.registry.faults.empty()) << report.registry.faults.front();
    EXPECT_TRUE(report.files.faults.empty()) << report.files.faults.front();
    expect_no_faults(registry_);
    expect_whole(registry_, "demo:one", model(1));
    expect_whole(registry_, "team/demo:two", large_);
  }
  // Flips a byte of a file that is read-only.
  static void flip_byte(const fs::path& file, std::size_t at) {
    std::string text = file_text(file);
    text.at(at) ^= 1;
    fs::remove(file);
    std::ofstream(file, std::ios::binary) << text;
  }
  std::uint64_t repairs() { return sql_integer("SELECT count(*) FROM audit WHERE action = 'repair'"); }

  Registry registry_ = open();
};

TEST_F(RepairTest, AWholeRegistryStaysAsItIs) {
  materialise("demo:one", 0);
  const RepairReport report = mend({bundle({"demo:one"})});
  expect_mended(report, 0, "");
  EXPECT_EQ(report.registry.blobs_checked, 6u);
  EXPECT_EQ(report.files.blobs_checked, 1u);
  EXPECT_EQ(repairs(), 0u);
}

TEST_F(RepairTest, FromLayerFiles) {
  materialise("demo:one", 0), materialise("team/demo:two", 3);
  const Digest two_chunks = blob("team/demo:two", 3);
  flip_stored_byte(blob("demo:one", 0));
  flip_stored_byte(two_chunks, 1);
  expect_mended(mend(), 2, "layer file");
  EXPECT_EQ(repairs(), 2u);
  EXPECT_EQ(
      sql_integer(
          "SELECT count(*) FROM audit WHERE action = 'repair' AND subject LIKE 'large of team/demo:two %'"),
      1u);
  // Rows that are not there at all.
  sql("DELETE FROM chunk WHERE blob = (SELECT blob FROM chunk WHERE position = 1)");
  sql("DELETE FROM version_blob WHERE blob = 1; DELETE FROM chunk WHERE blob = 1; DELETE FROM blob WHERE id "
      "= 1");
  expect_mended(mend(), 2, "layer file");
}

TEST_F(RepairTest, ALayerFileThatHasRottedItselfIsNoSource) {
  const fs::path file = materialise("demo:one", 0), whole = bundle({"team/demo:two"});
  flip_byte(file, 500);
  flip_stored_byte(blob("demo:one", 0));
  const RepairReport report = mend();
  EXPECT_TRUE(report.restored.empty());
  ASSERT_EQ(report.lost.size(), 1u);
  EXPECT_EQ(report.files.faults.size(), 1u);
  // What is right in the registry makes it again.
  const RepairReport again = mend({whole});  // which has the same blob
  expect_mended(again, 2, "");
  EXPECT_EQ(sha256(file_text(file)), blob("demo:one", 0));
  // One that nothing needs is removed: it would be a fault for good.
  const fs::path stray = layers() / "ab" / (std::string("ab") + std::string(62, '0'));
  fs::create_directories(stray.parent_path());
  std::ofstream(stray) << "x";
  EXPECT_EQ(mend().notes.size(), 1u);
  EXPECT_FALSE(fs::exists(stray));
}

TEST_F(RepairTest, FromBundlesAndLayouts) {
  const fs::path file = bundle({"demo:one", "team/demo:two"});
  ASSERT_TRUE(registry_.export_oci({"team/demo:two"}, scratch_ / "oci"));
  struct {
    const char* sql;
    std::size_t restored;  // blobs and manifests; there are 6 and 2, and one blob is empty
  } const damage[] = {
      {"UPDATE chunk SET data = zeroblob(length(data))", 5},
      {"DELETE FROM chunk", 5},
      {"DELETE FROM chunk; DELETE FROM blob; DELETE FROM version_blob", 6},
      {"DELETE FROM chunk; DELETE FROM blob; DELETE FROM version; DELETE FROM version_blob", 8},
  };
  for (const auto& [text, restored] : damage) {
    SCOPED_TRACE(text);
    sql(text);
    expect_mended(mend({file}), restored, "b.dgqb");
    sql("UPDATE chunk SET data = zeroblob(length(data))");
    expect_mended(mend({scratch_ / "oci"}), 5, "oci");  // which has the blobs of both
  }
}

// What a bundle has before it ends, or becomes wrong, is as good as any.
TEST_F(RepairTest, FromWhatIsLeftOfABundle) {
  const fs::path file = bundle({"team/demo:two"});
  sql("DELETE FROM chunk WHERE blob <= 3");
  fs::resize_file(file, fs::file_size(file) - 100'000);
  RepairReport report = mend({file});
  expect_mended(report, 3, "b.dgqb");
  flip_stored_byte(blob("team/demo:two", 4));
  report = mend({file});
  ASSERT_EQ(report.lost.size(), 1u);
  EXPECT_EQ(report.lost[0].what.find("raw of team/demo:two"), 0u) << report.lost[0].what;
  EXPECT_EQ(report.lost[0].versions, std::vector<std::string>{"team/demo:two"});
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("ends early"), std::string::npos);
  // A flipped byte costs the blob that it is in.
  flip_byte(bundle({"demo:one"}), 30'000);
  flip_stored_byte(blob("demo:one", 0)), flip_stored_byte(blob("demo:one", 2));
  report = mend({file});
  ASSERT_EQ(report.restored.size(), 1u);
  EXPECT_EQ(report.restored[0].what.find("layers.2 of"), 0u) << report.restored[0].what;
  EXPECT_EQ(report.lost.size(), 2u);
  expect_clear(repair(registry_, {layers(), {scratch_ / "none"}}).error(), Errc::not_found, "none");
  std::ofstream(file) << "not a bundle at all";
  expect_clear(repair(registry_, {layers(), {file}}).error(), Errc::corrupt, "b.dgqb");
}

TEST_F(RepairTest, WhatIsLostIsLeftAsItIsAndComesBackLater) {
  const fs::path file = bundle({"demo:one"});
  flip_stored_byte(blob("demo:one", 1));
  sql("DROP TRIGGER version_is_fixed; UPDATE version SET manifest = '{}' WHERE id = 1");
  const auto rows = [&] { return sql_integer("SELECT count(*) + sum(length(data)) FROM chunk"); };
  const std::uint64_t before = rows();
  const RepairReport report = mend();
  EXPECT_TRUE(report.restored.empty());
  ASSERT_EQ(report.lost.size(), 2u);
  EXPECT_EQ(report.lost[0].versions, std::vector<std::string>{"demo:one"});
  EXPECT_NE(report.lost[0].what.find(one_.hex()), std::string::npos) << report.lost[0].what;
  EXPECT_EQ(report.lost[1].versions, std::vector<std::string>{"team/demo:two"});
  EXPECT_EQ(rows(), before);
  EXPECT_EQ(repairs(), 0u);
  expect_mended(mend({file}), 2, "b.dgqb");
}

// A base, what is stored against it, and the version that no longer needs the base.
class RepairDeltaTest : public RepairTest {
 protected:
  RepairDeltaTest() {
    old_ = {{"layers.0", pseudo_weights(2 * kChunkBytes + 50'000, 5)}};
    tuned_ = old_;
    const Bytes changed = fine_tuned({old_[0].bytes.begin(), old_[0].bytes.begin() + kChunkBytes}, 6);
    std::ranges::copy(changed, tuned_[0].bytes.begin());  // the other two chunks are those of the old one
    EXPECT_OK(add(registry_, "tune", old_));
    base_ = blob("tune", 0);
    EXPECT_OK(registry_.copy("tune", "tune:old"));
    EXPECT_OK(add(registry_, "tune", tuned_));
    delta_ = blob("tune", 0);
    EXPECT_EQ(sql_integer("SELECT count(*) FROM chunk WHERE base IS NOT NULL"), 3u);
  }
  Model old_, tuned_;
  Digest base_, delta_;
};

TEST_F(RepairDeltaTest, ADeltaFromItsBase) {
  flip_stored_byte(delta_, 1);
  expect_mended(mend(), 1, "shares a base");
  expect_whole(registry_, "tune", tuned_);
  flip_stored_byte(delta_, 0);  // the base has other bytes there
  EXPECT_EQ(mend().lost.size(), 1u);
}

TEST_F(RepairDeltaTest, ABaseFromWhatIsStoredAgainstIt) {
  materialise("tune", 0);
  flip_stored_byte(base_, 2);
  const RepairReport report = mend();  // first the delta, from its layer file, then its chunk for the base
  expect_mended(report, 2, "");
  expect_whole(registry_, "tune", tuned_);
  expect_whole(registry_, "tune:old", old_);
}

TEST_F(RepairDeltaTest, ADeltaHealsWithItsBase) {
  materialise("tune:old", 0);
  flip_stored_byte(base_, 0);
  const RepairReport report = mend();
  expect_mended(report, 2, "");
  EXPECT_EQ(sql_integer("SELECT count(*) FROM chunk WHERE base IS NOT NULL"), 3u) << "still deltas";
  expect_whole(registry_, "tune", tuned_);
}

TEST_F(RepairDeltaTest, ABaseThatNothingElseNeedsGoes) {
  materialise("tune", 0);
  ASSERT_TRUE(registry_.remove(*ModelRef::parse("tune:old")));
  ASSERT_TRUE(registry_.gc());
  flip_stored_byte(base_, 0);
  const RepairReport report = mend();
  expect_mended(report, 1, "layer file");
  ASSERT_EQ(report.notes.size(), 1u);
  EXPECT_NE(report.notes[0].find("removed"), std::string::npos);
  expect_whole(registry_, "tune", tuned_);
  EXPECT_EQ(sql_integer("SELECT count(*) FROM chunk WHERE base IS NOT NULL"), 0u);
}

TEST_F(RepairDeltaTest, ABundleOfDeltas) {
  const fs::path file = bundle({"tune:old", "tune"});
  flip_stored_byte(base_, 0), flip_stored_byte(delta_, 0);
  expect_mended(mend({file}), 2, "b.dgqb");
  expect_whole(registry_, "tune", tuned_);
  expect_whole(registry_, "tune:old", old_);
}

// Nothing is written into a file whose pages contradict themselves.
TEST_F(RepairTest, DamagedPagesAreLeftAlone) {
  sql("PRAGMA writable_schema = ON; PRAGMA wal_checkpoint(TRUNCATE)");
  const std::uint64_t page =
      sql_integer("SELECT rootpage FROM sqlite_schema WHERE name = 'version_blob_blob'");
  registry_ = open(Registry::Mode::read_only);
  std::string text = file_text(path());
  std::fill_n(text.begin() + static_cast<std::ptrdiff_t>((page - 1) * 65536), 64, '\0');
  std::ofstream(path(), std::ios::binary) << text;
  registry_ = open();
  const RepairReport report = mend();
  EXPECT_TRUE(report.registry.database_damaged);
  EXPECT_FALSE(report.registry.faults.empty());
  EXPECT_TRUE(report.restored.empty());
  registry_ = open(Registry::Mode::read_only);
  EXPECT_TRUE(file_text(path()) == text);
}

TEST_F(RepairTest, OnlyAWriterRepairs) {
  registry_ = open(Registry::Mode::read_only);
  expect_clear(repair(registry_, {layers(), {}}).error(), Errc::invalid, "reading only");
}

}  // namespace
}  // namespace dgq::test

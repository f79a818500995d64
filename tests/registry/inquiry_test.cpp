// What a registry answers about itself: audit log, usage, differences, abandoned work folders.
#include "registry/inquiry.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

class InquiryTest : public RegistryFixture {
 protected:
  Registry registry_ = open();
};

using Lines = std::vector<std::string>;

Lines actions(const std::vector<AuditEntry>& entries) {
  Lines lines;
  for (const AuditEntry& entry : entries) lines.push_back(entry.action + " " + entry.subject);
  return lines;
}

TEST_F(InquiryTest, LogOfANameHasWhatConcernsItsVersions) {
  Manifest manifest;
  manifest.config = Json::object();
  Digest digest;
  {
    auto ingest = registry_.begin_ingest();
    manifest.blobs = {*ingest->add_blob("layers.0", "layer", pseudo_weights(100, 1))};
    digest = *ingest->commit(manifest, *ModelRef::parse("demo"), {{"model.safetensors", sha256("x")}}, "[1]");
  }
  ASSERT_TRUE(add(registry_, "demos", model(2)));
  ASSERT_TRUE(registry_.copy("demo", "story"));
  ASSERT_TRUE(registry_.remove(*ModelRef::parse("demo")));

  const auto all = registry_.log({});
  ASSERT_TRUE(all) << all.error().what;
  EXPECT_EQ(actions(*all), (Lines{"init schema 5", "add demo:latest", "source model.safetensors", "costs [1]",
                                  "add demos:latest", "tag story:latest", "remove demo:latest"}));
  const AuditEntry& added = (*all)[1];
  EXPECT_EQ(added.to, digest);
  EXPECT_FALSE(added.from);
  EXPECT_NE(added.who.find('@'), std::string::npos);
  EXPECT_TRUE(added.tool.starts_with("dgq "));
  EXPECT_GT(added.unix_s, 1'600'000'000);

  EXPECT_EQ(actions(*registry_.log({.name = "demo"})),
            (Lines{"add demo:latest", "source model.safetensors", "costs [1]", "remove demo:latest"}));
  // The same version under its second name: who added it, and what it is made of.
  EXPECT_EQ(actions(*registry_.log({.name = "story:latest"})),
            (Lines{"add demo:latest", "source model.safetensors", "costs [1]", "tag story:latest"}));
  EXPECT_EQ(actions(*registry_.log({.limit = 2})), (Lines{"tag story:latest", "remove demo:latest"}));
  EXPECT_EQ(registry_.log({.since_unix_s = added.unix_s + 1'000'000})->size(), 0u);
  expect_clear(registry_.log({.name = "dem"}).error(), Errc::not_found, "nothing about 'dem'");
  expect_clear(registry_.log({.name = "no name"}).error(), Errc::invalid, "no name");
}

TEST_F(InquiryTest, UsageCountsSharingAndCodecs) {
  Model blobs = model(1, 2, 200'000);
  ASSERT_TRUE(add(registry_, "demo:one", blobs));
  blobs.push_back({"raw", noise(50'000, 7)});
  blobs[1].bytes = fine_tuned(blobs[1].bytes, 1);  // a delta, of the same name in the version before
  ASSERT_TRUE(add(registry_, "demo:one", blobs));
  ASSERT_TRUE(registry_.copy("demo:one", "again"));
  const auto usage = registry_.usage();
  ASSERT_TRUE(usage) << usage.error().what;
  EXPECT_EQ(usage->versions, 1u);
  EXPECT_EQ(usage->untagged_versions, 1u);
  EXPECT_EQ(usage->names, 2u);
  EXPECT_EQ(usage->models, 2u);
  EXPECT_EQ(usage->blobs, 4u);
  EXPECT_EQ(usage->raw_bytes, 650'000u);
  EXPECT_EQ(usage->referred_bytes, 450'000u);
  EXPECT_EQ(usage->raw.chunks, 1u);
  EXPECT_EQ(usage->raw.stored_bytes, 50'000u);
  EXPECT_EQ(usage->zstd.chunks, 2u);
  EXPECT_EQ(usage->delta.chunks, 1u);
  EXPECT_LT(usage->delta.stored_bytes, usage->delta.raw_bytes / 2);
  EXPECT_EQ(usage->raw.stored_bytes + usage->zstd.stored_bytes + usage->delta.stored_bytes,
            usage->stored_bytes);
  EXPECT_EQ(usage->file_bytes % 65536, 0u);
  EXPECT_GE(usage->file_bytes, usage->stored_bytes);
  EXPECT_EQ(usage->gc_blobs, 0u) << "what the version without a name has is a base, or shared";
}

// The forecast is what gc then does: bases that are still needed, pins of adds that died, adds that live.
// The schema forbids other numbers, but a registry may come from anywhere.
TEST_F(InquiryTest, UnknownCodecsAreCountedAndNothingElse) {
  ASSERT_TRUE(add(registry_, "demo", {{"layers.0", noise(5000, 1)}, {"layers.1", noise(5000, 2)}}));
  const std::uint64_t chunks = registry_.usage()->raw.chunks;
  auto db = std::move(*sqlite::Db::open(path(), sqlite::Db::Access::read_write, 1000));
  ASSERT_TRUE(db->script("PRAGMA ignore_check_constraints = ON; UPDATE chunk SET codec = 1000000"));
  EXPECT_EQ(registry_.usage()->raw.chunks, chunks);
}

TEST_F(InquiryTest, WhatGcWouldFreeIsWhatItFrees) {
  const auto expect_forecast = [&](const char* when) {
    const auto usage = registry_.usage();
    ASSERT_TRUE(usage) << usage.error().what;
    const auto done = registry_.gc();
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(usage->gc_blobs, done->blobs_removed) << when;
    EXPECT_EQ(usage->gc_bytes, done->bytes_freed) << when;
    EXPECT_EQ(registry_.usage()->gc_blobs, 0u) << when;
  };
  Model blobs = model(1, 3, 200'000);
  ASSERT_TRUE(add(registry_, "demo", blobs));
  ASSERT_TRUE(add(registry_, "gone", model(9, 2, 50'000)));
  ASSERT_TRUE(registry_.remove(*ModelRef::parse("gone")));
  expect_forecast("a version without a name");
  for (Blob& blob : blobs) blob.bytes = fine_tuned(blob.bytes, 3);
  ASSERT_TRUE(add(registry_, "demo", blobs));
  expect_forecast("the version before, whose blobs are bases");
  {
    auto living = registry_.begin_ingest();
    ASSERT_TRUE(living->add_blob("x", "layer", noise(10'000, 1)));
    expect_forecast("an add that lives");
  }
  sql("INSERT INTO ingest(id, started, who) VALUES (1000, 0, 'dead');"
      "INSERT INTO blob(digest, bytes, stored_bytes) VALUES (zeroblob(32), 5, 7);"
      "INSERT INTO ingest_blob SELECT 1000, max(id) FROM blob");
  EXPECT_EQ(registry_.usage()->gc_bytes, 7u);
  expect_forecast("an add that died");
  ASSERT_TRUE(registry_.remove(*ModelRef::parse("demo")));
  expect_forecast("deltas and their bases");
  EXPECT_EQ(registry_.usage()->blobs, 0u);
}

TEST_F(InquiryTest, UsageOfAReadOnlyRegistry) {
  ASSERT_TRUE(add(registry_, "demo", model(1)));
  sql("INSERT INTO ingest(started, who, resume) VALUES (9e9, 'dead', zeroblob(32))");
  std::filesystem::remove(path().string() + ".lock");
  const auto usage = open(Registry::Mode::read_only).usage();
  ASSERT_TRUE(usage) << usage.error().what;
  EXPECT_EQ(usage->interrupted_imports, 1u);
  EXPECT_FALSE(std::filesystem::exists(path().string() + ".lock")) << "asking makes no file";
}

TEST_F(InquiryTest, BlobsSayWhoElseHasThem) {
  Model blobs = model(1);
  const Digest one = *add(registry_, "demo:one", blobs);
  blobs[2].bytes = pseudo_weights(100'000, 77);
  const Digest two = *add(registry_, "demo:two", blobs);
  const auto others = [&](const Digest& version) {
    std::uint64_t sum = 0;
    const auto uses = registry_.blob_uses(version);
    for (const BlobUse& use : *uses) sum += use.other_versions;
    return sum;
  };
  EXPECT_EQ(registry_.blob_uses(one)->size(), 3u);
  EXPECT_EQ(others(one), 2u);
  ASSERT_TRUE(registry_.copy("demo:two", "demo:three"));
  EXPECT_EQ(others(one), 2u) << "a second name is no second version";
  ASSERT_TRUE(registry_.remove(*ModelRef::parse("demo:one")));
  EXPECT_EQ(others(two), 0u) << "one without a name does not count";
}

TEST_F(InquiryTest, ManifestTextHashesToTheVersion) {
  const Digest digest = *add(registry_, "demo", model(1));
  EXPECT_EQ(sha256(*registry_.manifest_text(digest)), digest);
  expect_clear(registry_.manifest_text(sha256("x")).error(), Errc::not_found, "no version");
}

Bytes layer(float norm, TensorKind kind, const Bytes& weights) {
  LayerBlobBuilder builder;
  const float norms[16] = {norm};
  builder.add({.name = "norm", .kind = TensorKind::f32, .n = 1, .k = 16}, std::as_bytes(std::span(norms)));
  builder.add({.name = "q_proj", .kind = kind, .n = 16, .k = 128, .group = 128}, weights);
  return builder.finish();
}

TEST_F(InquiryTest, DiffSaysWhatIsDifferent) {
  const Bytes weights = pseudo_weights(1024, 1);
  Bytes changed = weights;
  for (std::size_t i = 0; i < 256; ++i) changed[i] ^= std::byte{1};
  ASSERT_TRUE(add(registry_, "demo:a",
                  {{"layers.0", layer(1, TensorKind::w4_n16k8, weights)},
                   {"layers.1", layer(1, TensorKind::w4_n16k8, weights)},
                   {"odd", pseudo_weights(300, 2)},
                   {"old", noise(1000, 3)}}));
  ASSERT_TRUE(add(registry_, "demo:b",
                  {{"layers.0", layer(1, TensorKind::w4_n16k8, changed)},
                   {"layers.1", layer(2, TensorKind::w6_n16k8, weights)},
                   {"odd", pseudo_weights(300, 4)},
                   {"new", noise(2000, 5)}}));
  const auto diff = registry_.diff("demo:a", "demo:b");
  ASSERT_TRUE(diff) << diff.error().what;
  ASSERT_EQ(diff->blobs.size(), 5u);
  const auto& [first, second, odd, old, fresh] =
      std::tie(diff->blobs[0], diff->blobs[1], diff->blobs[2], diff->blobs[3], diff->blobs[4]);
  ASSERT_EQ(first.tensors.size(), 1u) << "the norms are the same";
  EXPECT_EQ(first.tensors[0].name, "q_proj");
  EXPECT_EQ(first.tensors[0].sections->bytes, 1024u);
  EXPECT_EQ(first.tensors[0].sections->differing, 256u);
  ASSERT_EQ(second.tensors.size(), 2u);
  EXPECT_FALSE(second.tensors[1].sections) << "another kind";
  EXPECT_EQ(second.tensors[1].b->kind, TensorKind::w6_n16k8);
  EXPECT_TRUE(odd.a && odd.b && !odd.same() && odd.tensors.empty()) << "no layer blob, yet a difference";
  EXPECT_TRUE(old.a && !old.b);
  EXPECT_EQ(old.transfer_bytes, 0u);
  EXPECT_TRUE(!fresh.a && fresh.b);
  EXPECT_EQ(fresh.transfer_bytes, 2000u) << "noise is stored as it is";

  const auto none = registry_.diff("demo:a", "demo:a");
  for (const BlobDiff& blob : none->blobs) {
    EXPECT_TRUE(blob.same());
    EXPECT_EQ(blob.transfer_bytes, 0u);
  }
  EXPECT_EQ(registry_.diff("demo:a", "demo:c").error().code, Errc::not_found);
}

// Sections over several chunks, at other places in the two blobs, one of them stored as deltas.
TEST_F(InquiryTest, DiffOfLargeTensors) {
  constexpr std::size_t kBytes = 2 * kChunkBytes + 4096;
  const Bytes weights = pseudo_weights(kBytes, 1);
  Bytes changed = weights;
  for (const std::size_t at : {std::size_t{0}, kChunkBytes - 1, kChunkBytes, kBytes - 1})
    changed[at] ^= std::byte{1};
  const auto blob = [](bool first_is_longer, const Bytes& large) {
    LayerBlobBuilder builder;
    const Bytes first(first_is_longer ? 128 : 64);
    builder.add({.name = "first", .kind = TensorKind::f32, .n = 1, .k = first.size() / 4}, first);
    builder.add({.name = "large", .kind = TensorKind::w8_n16k4, .n = 16, .k = 8}, large);
    builder.add({.name = "last", .kind = TensorKind::f32, .n = 1, .k = 16}, Bytes(64));
    return builder.finish();
  };
  ASSERT_TRUE(add(registry_, "demo:a", {{"layers.0", blob(false, weights)}}));
  ASSERT_TRUE(registry_.copy("demo:a", "demo:b"));
  ASSERT_TRUE(add(registry_, "demo:b", {{"layers.0", blob(false, changed)}}));
  ASSERT_TRUE(add(registry_, "demo:c", {{"layers.0", blob(true, changed)}}));
  ASSERT_GT(registry_.usage()->delta.chunks, 0u);
  const auto tensors = [&](const char* a, const char* b) {
    auto diff = registry_.diff(a, b);
    EXPECT_OK(diff);
    return std::move(diff->blobs[0].tensors);
  };
  for (const char* other : {"demo:b", "demo:c"}) {
    const auto found = tensors("demo:a", other);
    const TensorDiff& large = found[found.size() - 1];
    EXPECT_EQ(found.size(), other == std::string("demo:b") ? 1u : 2u) << other;
    EXPECT_EQ(large.name, "large");
    EXPECT_EQ(large.sections->bytes, kBytes);
    EXPECT_EQ(large.sections->differing, 4u);
  }
  sql("DELETE FROM chunk WHERE position = 1 AND base IS NOT NULL");
  expect_clear(registry_.diff("demo:a", "demo:b").error(), Errc::corrupt, "layers.0: chunk 1");
}

// The chunks of a bundle for someone who has A are what diff said, when every base is on one of the two sides.
TEST_F(InquiryTest, TransferIsWhatADeltaBundleHolds) {
  Model blobs = model(1, 4, 200'000);
  ASSERT_TRUE(add(registry_, "demo:a", blobs));
  ASSERT_TRUE(registry_.copy("demo:a", "demo:b"));
  for (std::size_t i = 1; i < 4; ++i) blobs[i].bytes = fine_tuned(blobs[i].bytes, static_cast<unsigned>(i));
  ASSERT_TRUE(add(registry_, "demo:b", blobs));
  const auto transfer_bytes = [&](const char* from, const char* to) {
    std::uint64_t sum = 0;
    const auto diff = registry_.diff(from, to);
    for (const BlobDiff& blob : diff->blobs) sum += blob.transfer_bytes;
    return sum;
  };
  const std::uint64_t transfer = transfer_bytes("demo:a", "demo:b");
  const std::string bundle = *export_text(registry_, {"demo:b"}, "demo:a");
  EXPECT_GT(transfer, 10'000u);
  EXPECT_LT(transfer, 200'000u) << "deltas";
  EXPECT_LT(transfer, bundle.size());
  EXPECT_GT(transfer + 5'000, bundle.size()) << "the rest is the contents";

  // To someone who has another version the same deltas are no use.
  ASSERT_TRUE(add(registry_, "demo:c", model(8, 1, 1000)));
  EXPECT_GT(transfer_bytes("demo:c", "demo:b"), 3 * 200'000u);
}

class WorkTest : public InquiryTest {
 protected:
  std::filesystem::path job(char digit) { return path().string() + ".work/" + std::string(64, digit); }
  void make(const std::filesystem::path& folder, int days) {
    std::filesystem::create_directories(folder);
    for (const char* name : {"lock", "plan.blob"})
      std::ofstream(folder / name) << std::string(*name == 'p' ? 500 : 0, 'x');
    age(folder, days);
  }
  void age(const std::filesystem::path& folder, int days) {
    const auto then = std::filesystem::file_time_type::clock::now() - std::chrono::hours(24 * days + 1);
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      std::filesystem::last_write_time(entry.path(), then);
    std::filesystem::last_write_time(folder, then);
  }
};

TEST_F(WorkTest, OnlyWhatNobodyHoldsAndIsOldGoes) {
  make(job('1'), 8);
  make(job('2'), 2);
  make(job('3'), 8);
  make(path().string() + ".work/mine", 30);
  std::filesystem::create_directory_symlink(job('1'), job('4'));
  const Fd held(::open((job('3') / "lock").c_str(), O_RDWR));
  ASSERT_EQ(::flock(held.get(), LOCK_SH), 0);

  const auto told = registry_.abandoned_work(false);
  ASSERT_TRUE(told) << told.error().what;
  EXPECT_EQ(told->folders, 1u);
  EXPECT_EQ(told->bytes, 500u);
  EXPECT_TRUE(std::filesystem::exists(job('1') / "plan.blob"));

  EXPECT_EQ(registry_.abandoned_work(true)->folders, 1u);
  EXPECT_FALSE(std::filesystem::exists(job('1')));
  for (const auto& kept : {job('2'), job('3'), std::filesystem::path(path().string() + ".work/mine")})
    EXPECT_TRUE(std::filesystem::exists(kept / "plan.blob")) << kept;
  EXPECT_EQ(actions(*registry_.log({.limit = 1})), Lines{"gc 1 work folders, 500 bytes"});
  const auto rows = registry_.log({})->size();
  EXPECT_EQ(registry_.abandoned_work(true)->folders, 0u);
  EXPECT_EQ(registry_.log({})->size(), rows) << "nothing done, nothing written";
}

TEST_F(WorkTest, WhatIsNotOursStays) {
  make(job('1'), 0);
  std::filesystem::create_directory(job('1') / "photos");
  std::ofstream(job('1') / "photos" / "cat") << "x";
  age(job('1'), 8);
  ASSERT_TRUE(registry_.abandoned_work(true));
  EXPECT_TRUE(std::filesystem::exists(job('1') / "photos" / "cat"));
  EXPECT_FALSE(std::filesystem::exists(job('1') / "plan.blob"));
}

TEST_F(InquiryTest, LockFileBelongsToWhoOwnsTheRegistry) {
  ASSERT_EQ(::chmod(path().c_str(), 0660), 0);
  if (::geteuid() == 0)
    ASSERT_EQ(::chown(path().c_str(), 65534, 65534), 0);
  else
    not_covered("owner of the lock file: not root");
  ASSERT_TRUE(registry_.begin_ingest());
  struct stat db, lock;
  ASSERT_EQ(::stat(path().c_str(), &db), 0);
  ASSERT_EQ(::stat((path().string() + ".lock").c_str(), &lock), 0);
  EXPECT_EQ(lock.st_uid, db.st_uid);
  EXPECT_EQ(lock.st_gid, db.st_gid);
  EXPECT_EQ(lock.st_mode & 0777, 0660u);
}

}  // namespace
}  // namespace dgq::test

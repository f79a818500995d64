// What is damaged, full or read-only: found, said in one line, and nothing else lost.
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "registry/repair.h"
#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

// A mount that goes away with its test. False where mounting is not allowed.
class Mount {
 public:
  Mount() = default;
  Mount(const Mount&) = delete;
  ~Mount() {
    if (!folder_.empty()) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  bool small_disk(const fs::path& folder, const char* size) {
    fs::create_directory(folder);
    return keep(folder, ::mount("dgq-test", folder.c_str(), "tmpfs", 0, size) == 0);
  }
  bool read_only(const fs::path& folder) {
    return keep(folder, ::mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND, nullptr) == 0) &&
           ::mount(nullptr, folder.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) == 0;
  }

 private:
  bool keep(const fs::path& folder, bool mounted) {
    if (mounted) folder_ = folder;
    return mounted;
  }
  fs::path folder_;
};

class DamageTest : public RegistryFixture {};

TEST_F(DamageTest, FlippedByteInAStoredChunkIsFound) {
  Registry registry = open();
  Model blobs = model(1);
  blobs.push_back({"two_raw_chunks", noise(kChunkBytes + 1000, 3)});
  ASSERT_TRUE(add(registry, "demo", blobs));
  const Manifest manifest = registry.resolve("demo")->manifest;
  for (const std::size_t damaged : {std::size_t{1}, blobs.size() - 1}) {  // one in zstd, one raw
    const Digest digest = manifest.blobs[damaged].digest;
    flip_stored_byte(digest);
    expect_clear(read_all(registry, digest).error(), Errc::corrupt, digest.short_hex());
    const auto report = registry.verify();
    ASSERT_TRUE(report);
    ASSERT_EQ(report->faults.size(), 1u);
    EXPECT_NE(report->faults[0].find(blobs[damaged].name + " of demo:latest"), std::string::npos)
        << report->faults[0];
    EXPECT_EQ(report->blobs_checked, 4u);
    flip_stored_byte(digest);  // back
    expect_no_faults(registry);
  }
}

TEST_F(DamageTest, AddingAgainRepairs) {
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", model(1)));
  const Digest digest = registry.resolve("demo")->manifest.blobs[0].digest;
  flip_stored_byte(digest);
  sql("DELETE FROM chunk WHERE blob = 2");
  EXPECT_EQ(registry.verify()->faults.size(), 2u);
  ASSERT_TRUE(add(registry, "demo", model(1)));
  expect_no_faults(registry);
  expect_whole(registry, "demo", model(1));
  EXPECT_EQ(sql_integer("SELECT count(*) FROM audit WHERE action = 'repair'"), 2u);
}

TEST_F(DamageTest, EveryKindOfLieInTheTablesIsFoundAndMended) {
  const char* lies[] = {
      "UPDATE blob SET bytes = bytes + 1 WHERE id = 1",
      "UPDATE blob SET bytes = bytes - 1 WHERE id = 1",
      "UPDATE chunk SET raw_bytes = raw_bytes - 1 WHERE blob = 1",
      "UPDATE chunk SET raw_bytes = 1 << 40 WHERE blob = 1",
      "UPDATE chunk SET codec = 0 WHERE blob = 1",
      "UPDATE chunk SET position = 1 WHERE blob = 1",
      "UPDATE chunk SET data = x'' WHERE blob = 1",
      "INSERT INTO chunk SELECT 1, 1, codec, raw_bytes, data, base FROM chunk WHERE blob = 2",
      "UPDATE blob SET digest = zeroblob(32) WHERE id = 1",
      "PRAGMA foreign_keys = OFF; DELETE FROM blob WHERE id = 1",
      "DROP TRIGGER version_is_fixed; UPDATE version SET manifest = replace(manifest, '64', '65')",
      "DROP TRIGGER version_is_fixed; UPDATE version SET manifest = '{'",
      "DROP TRIGGER version_is_fixed; UPDATE version SET digest = zeroblob(32)",
      "PRAGMA foreign_keys = OFF; DELETE FROM version",
      "PRAGMA foreign_keys = OFF; DELETE FROM chunk WHERE blob = 3; DELETE FROM blob WHERE id = 3",
      "DELETE FROM version_blob WHERE blob = 2",
      "PRAGMA ignore_check_constraints = ON; UPDATE chunk SET codec = 7 WHERE blob = 1",
      "PRAGMA ignore_check_constraints = ON; UPDATE blob SET digest = x'00' WHERE id = 1",
      "INSERT INTO version_blob VALUES (1, 77)",
      "UPDATE chunk SET data = (SELECT data FROM chunk WHERE blob = 2) WHERE blob = 1",
  };
  const Model blobs = model(1, 3, 5000);
  const fs::path bundle = scratch_ / "demo.dgqb";
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", blobs));
    std::ofstream(bundle, std::ios::binary) << *export_text(registry, {"demo"});
  }
  fs::copy_file(path(), scratch_ / "good.db");
  for (const char* lie : lies) {
    fs::copy_file(scratch_ / "good.db", path(), fs::copy_options::overwrite_existing);
    SCOPED_TRACE(lie);
    sql(lie);
    Registry registry = open();
    const auto report = registry.verify();
    ASSERT_TRUE(report);
    EXPECT_FALSE(report->faults.empty());
    const auto mended = repair(registry, {scratch_ / "no layers", {bundle}});
    ASSERT_TRUE(mended) << mended.error().what;
    EXPECT_TRUE(mended->lost.empty()) << mended->lost.front().what;
    expect_no_faults(registry);
    expect_whole(registry, "demo", blobs);
    EXPECT_EQ(sql_integer("SELECT count(*) FROM sqlite_schema WHERE name = 'version_is_fixed'"), 1u);
  }
}

TEST_F(DamageTest, DamagedManifestIsNotUsed) {
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", model(1)));
  sql("DROP TRIGGER version_is_fixed; UPDATE version SET manifest = replace(manifest, '64', '65')");
  expect_clear(registry.resolve("demo").error(), Errc::corrupt, "demo");
}

TEST_F(DamageTest, FlippedBytesAnywhereInTheFileNeverCrash) {
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(1, 2, 50'000)));
  }
  const std::string good = file_text(path());
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 25; ++round) {
    std::string bad = good;
    // The schema and b-tree pages are small; most of the file is chunk data.
    for (int i = 0; i < 20; ++i) bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
    bad[random() % 4096] ^= 1;
    std::ofstream(path(), std::ios::binary) << bad;
    auto registry = Registry::open(path(), Registry::Mode::read_only);
    if (!registry) {
      EXPECT_EQ(registry.error().what.find('\n'), std::string::npos);
      continue;
    }
    static_cast<void>(registry->verify());
    static_cast<void>(registry->resolve("demo"));
  }
}

// Fills the disk that holds the registry: the add fails with one line, all that was there stays, and a
// smaller add works.
void fill_disk(const fs::path& registry_path, const fs::path& cache) {
  auto registry = Registry::open(registry_path, Registry::Mode::read_write, true);
  ASSERT_TRUE(registry) << registry.error().what;
  ASSERT_TRUE(add(*registry, "base", model(1)));
  const auto added =
      add(*registry, "large", {{"layers.0", noise(3'000'000, 1)}, {"layers.1", noise(30'000'000, 2)}});
  ASSERT_FALSE(added);
  expect_clear(added.error(), Errc::io, "no space left");
  EXPECT_EQ(registry->list()->size(), 1u);
  EXPECT_EQ(registry->stats()->blobs, 3u);
  expect_whole(*registry, "base", model(1));
  expect_no_faults(*registry);
  const auto smaller = add(*registry, "smaller", model(2));
  EXPECT_OK(smaller);
  const auto leftover = fs::exists(cache) ? std::distance(fs::recursive_directory_iterator(cache), {}) : 0;
  EXPECT_EQ(leftover, 0);
}

TEST_F(DamageTest, FullDisk) {
  const fs::path disk = scratch_ / "disk";
  Mount mount;
  if (!mount.small_disk(disk, "size=12m")) {
    not_covered("full disk: a small tmpfs (mounting needs root)");
    GTEST_SKIP();
  }
  fill_disk(disk / "registry.db", disk / "cache");
}

TEST_F(DamageTest, FullDiskWhileMaterialising) {
  const fs::path disk = scratch_ / "disk";
  Mount mount;
  if (!mount.small_disk(disk, "size=2m")) {
    not_covered("full disk while materialising: a small tmpfs (mounting needs root)");
    GTEST_SKIP();
  }
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", {{"layers.0", noise(5'000'000, 1)}, {"layers.1", noise(50'000, 2)}}));
  const Manifest manifest = registry.resolve("demo")->manifest;
  LayerCache cache(disk / "cache");
  expect_clear(cache.materialise(registry, manifest.blobs[0]).error(), Errc::io, "no space left");
  for (const auto& entry : fs::recursive_directory_iterator(disk))
    EXPECT_FALSE(entry.is_regular_file()) << entry.path();
  EXPECT_OK(cache.materialise(registry, manifest.blobs[1]));
}

TEST_F(DamageTest, FileSizeLimit) {  // the same where mounting is not allowed: files cannot grow past a limit
  const bool good = wait_for(start_child([&] {
                      std::signal(SIGXFSZ, SIG_IGN);
                      const rlimit limit{8 << 20, 8 << 20};
                      if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
                      fill_disk(path(), scratch_ / "cache");
                      return !testing::Test::HasFailure();
                    })) == 0;
  EXPECT_TRUE(good);
}

class ReadOnlyTest : public RegistryFixture {
 protected:
  void SetUp() override {
    fs::permissions(scratch_.path(), fs::perms(0755));
    fs::create_directory(folder_);
    {
      Registry registry = open();
      ASSERT_TRUE(add(registry, "demo", model(1)));
    }
    fs::copy_file(path(), file_);
  }
  void lock() {
    fs::permissions(file_, fs::perms(0444));
    fs::permissions(folder_, fs::perms(0555));
  }
  void TearDown() override { fs::permissions(folder_, fs::perms(0755)); }
  const fs::path folder_ = scratch_ / "image", file_ = folder_ / "registry.db";
};

TEST_F(ReadOnlyTest, FolderThatCannotBeWritten) {
  lock();
  EXPECT_TRUE(as_ordinary_user([&] {
    auto registry = Registry::open(file_, Registry::Mode::read_only);
    if (!registry) throw std::runtime_error(registry.error().what);
    expect_whole(*registry, "demo", model(1));
    expect_no_faults(*registry);
    expect_clear(Registry::open(file_, Registry::Mode::read_write).error(), Errc::io, file_.string());
    expect_clear(Registry::open(folder_ / "new.db", Registry::Mode::read_write, true).error(), Errc::io,
                 "new.db");
    return !testing::Test::HasFailure();
  }));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // nothing was left beside it
}

TEST_F(ReadOnlyTest, FileThatCannotBeWritten) {
  fs::permissions(file_, fs::perms(0444));
  EXPECT_TRUE(as_ordinary_user([&] {
    expect_clear(Registry::open(file_, Registry::Mode::read_write).error(), Errc::io, "read-only");
    auto registry = Registry::open(file_, Registry::Mode::read_only);
    if (!registry) throw std::runtime_error(registry.error().what);
    expect_whole(*registry, "demo", model(1));
    return !testing::Test::HasFailure();
  }));
}

TEST_F(ReadOnlyTest, FolderThatCannotBeWrittenButFileThatCan) {
  fs::permissions(file_, fs::perms(0666));
  fs::permissions(folder_, fs::perms(0555));
  EXPECT_TRUE(as_ordinary_user([&] {
    expect_clear(Registry::open(file_, Registry::Mode::read_write).error(), Errc::io, file_.string());
    auto registry = Registry::open(file_, Registry::Mode::read_only);
    if (!registry) throw std::runtime_error(registry.error().what);
    expect_whole(*registry, "demo", model(1));
    return !testing::Test::HasFailure();
  }));
}

TEST_F(ReadOnlyTest, ChangesThatAreOnlyInTheWalAreNeverMissed) {
  Registry writer = open();
  ASSERT_TRUE(add(writer, "demo:new", model(2)));  // stays in the -wal file while the writer lives
  ASSERT_GT(fs::file_size(path().string() + "-wal"), 0u);
  fs::copy_file(path(), file_, fs::copy_options::overwrite_existing);
  fs::copy_file(path().string() + "-wal", file_.string() + "-wal");
  fs::permissions(file_.string() + "-wal", fs::perms(0444));
  lock();
  EXPECT_TRUE(as_ordinary_user([&] {
    auto registry = Registry::open(file_, Registry::Mode::read_only);
    if (registry)
      expect_whole(*registry, "demo:new", model(2));
    else
      expect_clear(registry.error(), Errc::io, "unfinished changes");
    return !testing::Test::HasFailure();
  }));
}

TEST_F(ReadOnlyTest, ReadOnlyFileSystem) {
  Mount mount;
  if (!mount.read_only(folder_)) {
    not_covered("registry on a read-only file system (mounting needs root)");
    GTEST_SKIP();
  }
  auto registry = Registry::open(file_, Registry::Mode::read_only);
  ASSERT_TRUE(registry) << registry.error().what;
  expect_whole(*registry, "demo", model(1));
  expect_clear(Registry::open(file_, Registry::Mode::read_write).error(), Errc::io, "read-only");
}

}  // namespace
}  // namespace dgq::test

#include "registry/layer_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <latch>
#include <optional>
#include <thread>

#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

class LayerCacheTest : public RegistryFixture {
 protected:
  void SetUp() override {
    registry_ = std::make_unique<Registry>(open());
    ASSERT_TRUE(add(*registry_, "demo", model(1)));
    blob_ = registry_->resolve("demo")->manifest.blobs[0];
  }
  fs::path file(const BlobRef& blob) const {
    return scratch_ / "cache" / blob.digest.hex().substr(0, 2) / blob.digest.hex();
  }
  LayerCache::Entry materialise() {
    auto entry = cache_.materialise(*registry_, blob_);
    if (!entry) throw std::runtime_error(entry.error().what);
    EXPECT_EQ(sha256(entry->file.bytes()), blob_.digest);
    return std::move(*entry);
  }
  // Changes one byte in place and sets mtime back, as a careful vandal would.
  void flip_byte_in_file() {
    struct stat before;
    ASSERT_EQ(::stat(file(blob_).c_str(), &before), 0);
    fs::permissions(file(blob_), fs::perms(0644));
    const Fd fd(::open(file(blob_).c_str(), O_RDWR));
    char byte;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, 1000), 1);
    byte ^= 1;
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, 1000), 1);
    const timespec times[] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::futimens(fd.get(), times), 0);
  }
  std::unique_ptr<Registry> registry_;
  BlobRef blob_;
  LayerCache cache_{scratch_ / "cache"};
};

TEST_F(LayerCacheTest, MaterialisesOnceAndReuses) {
  const auto first = materialise();
  EXPECT_FALSE(first.reused);
  EXPECT_FALSE(first.replaced);
  struct stat info;
  ASSERT_EQ(::stat(file(blob_).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0444u);
  EXPECT_TRUE(materialise().reused);
  EXPECT_EQ(LayerCache::default_folder("/a/r.db"), fs::path("/a/r.db.layers"));
}

TEST_F(LayerCacheTest, ThoseWhoDecodeAtOnceMapOneFile) {
  for (int round = 0; round < 20; ++round) {
    fs::remove_all(scratch_ / "cache");
    std::array<std::optional<LayerCache::Entry>, 4> entries;
    std::vector<std::thread> threads;
    std::latch ready(4);
    for (auto& entry : entries)
      threads.emplace_back([&] {
        Registry registry = open();
        ready.arrive_and_wait();
        auto made = LayerCache(scratch_ / "cache").materialise(registry, blob_);
        if (made) entry.emplace(std::move(*made));
      });
    for (std::thread& thread : threads) thread.join();
    for (const auto& entry : entries) ASSERT_TRUE(entry);
    // A mapping of a file that another one was renamed over is called "(deleted)".
    const std::string maps = file_text("/proc/self/maps");
    EXPECT_EQ(maps.find(file(blob_).string() + " (deleted)"), std::string::npos) << "round " << round;
  }
}

TEST_F(LayerCacheTest, FlippedByteIsFoundAndReplaced) {
  const auto mapped_before = materialise();
  flip_byte_in_file();
  const auto entry = materialise();
  EXPECT_FALSE(entry.reused);
  EXPECT_TRUE(entry.replaced);
  EXPECT_TRUE(materialise().reused);
}

TEST_F(LayerCacheTest, WrongFileIsReplaced) {
  materialise();
  fs::permissions(file(blob_), fs::perms(0644));
  fs::resize_file(file(blob_), 10);
  EXPECT_TRUE(materialise().replaced);
  fs::remove(file(blob_));
  fs::create_symlink("/dev/zero", file(blob_));
  EXPECT_TRUE(materialise().replaced);
}

TEST_F(LayerCacheTest, CopiedFolderIsCheckedAndThenRemembered) {
  materialise();
  const fs::path original = file(blob_);
  fs::rename(original, scratch_ / "aside");
  fs::copy_file(scratch_ / "aside", original);  // right bytes, another inode: the stamp does not fit
  const std::string stale = file_text(original.string() + ".ok");
  const auto entry = materialise();
  EXPECT_TRUE(entry.reused);
  EXPECT_FALSE(entry.replaced);
  EXPECT_NE(file_text(original.string() + ".ok"), stale);
}

TEST_F(LayerCacheTest, DamagedRegistryLeavesNoFile) {
  flip_stored_byte(blob_.digest);
  expect_clear(cache_.materialise(*registry_, blob_).error(), Errc::corrupt, blob_.digest.short_hex());
  for (const auto& entry : fs::recursive_directory_iterator(scratch_ / "cache"))
    EXPECT_FALSE(entry.is_regular_file());
}

TEST_F(LayerCacheTest, VerifyHashesWhateverTheStampSays) {
  EXPECT_EQ(cache_.verify()->blobs_checked, 0u);  // no folder yet
  materialise();
  EXPECT_EQ(cache_.verify()->blobs_checked, 1u);
  EXPECT_TRUE(cache_.verify()->faults.empty());
  flip_byte_in_file();
  // A disk that changed a byte on its own would leave a stamp that still fits: forge one.
  struct stat info;
  ASSERT_EQ(::stat(file(blob_).c_str(), &info), 0);
  const auto time = [](const timespec& t) {
    return std::to_string(t.tv_sec) + "." + std::to_string(t.tv_nsec);
  };
  std::ofstream(file(blob_).string() + ".ok")
      << "dgq-stamp 1 size=" << info.st_size << " inode=" << info.st_ino << " mtime=" << time(info.st_mtim)
      << " ctime=" << time(info.st_ctim) << "\n";
  EXPECT_TRUE(cache_.materialise(*registry_, blob_)->reused);  // the stamp is believed...
  const auto report = cache_.verify();                         // ...but not by verify
  ASSERT_TRUE(report);
  ASSERT_EQ(report->faults.size(), 1u);
  EXPECT_NE(report->faults[0].find(blob_.digest.hex()), std::string::npos);
  EXPECT_TRUE(materialise().replaced);  // and from then on by nobody
}

TEST_F(LayerCacheTest, UnusedFilesAndTemporariesOfTheDeadGo) {
  ASSERT_TRUE(add(*registry_, "other", model(2)));
  const BlobRef other = registry_->resolve("other")->manifest.blobs[0];
  const auto kept = materialise();
  EXPECT_OK(cache_.materialise(*registry_, other));
  const fs::path dead = file(blob_).string() + ".tmp.AAAAAA", living = file(blob_).string() + ".tmp.BBBBBB";
  std::ofstream(dead) << "half";
  std::ofstream(living) << "half";
  std::ofstream(scratch_ / "cache/README") << "not ours";
  const Fd held(::open(living.c_str(), O_RDONLY));
  ASSERT_EQ(::flock(held.get(), LOCK_EX), 0);

  EXPECT_OK(registry_->remove(*ModelRef::parse("other")));
  ASSERT_TRUE(registry_->gc());
  const auto removed = cache_.remove_unused(*registry_);
  ASSERT_TRUE(removed) << removed.error().what;
  EXPECT_EQ(*removed, 2u);
  EXPECT_FALSE(fs::exists(file(other)));
  EXPECT_FALSE(fs::exists(file(other).string() + ".ok"));
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(living));
  EXPECT_TRUE(fs::exists(scratch_ / "cache/README"));
  EXPECT_TRUE(materialise().reused);
}

TEST_F(LayerCacheTest, ReadOnlyFolder) {
  fs::permissions(scratch_.path(), fs::perms(0755));
  materialise();
  const BlobRef other = registry_->resolve("demo")->manifest.blobs[1];
  fs::remove(file(blob_).string() + ".ok");
  registry_.reset();  // no open database crosses a fork
  for (const auto& folder : {scratch_ / "cache", file(blob_).parent_path()})
    fs::permissions(folder, fs::perms(0555));
  EXPECT_TRUE(as_ordinary_user([&] {
    auto registry = Registry::open(path(), Registry::Mode::read_only);
    if (!registry) throw std::runtime_error(registry.error().what);
    expect_clear(cache_.materialise(*registry, other).error(), Errc::io, "cache");
    const auto there =
        cache_.materialise(*registry, blob_);  // hashed, since its stamp is lost; usable all the same
    EXPECT_TRUE(there && there->reused);
    return !testing::Test::HasFailure();
  }));
  for (const auto& folder : {scratch_ / "cache", file(blob_).parent_path()})
    fs::permissions(folder, fs::perms(0755));
}

}  // namespace
}  // namespace dgq::test

// Several processes on one registry, and processes that die in the middle.
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

using Clock = std::chrono::steady_clock;

class ProcessTest : public RegistryFixture {
 protected:
  bool add_in_child(const std::string& name, const Model& blobs) {
    auto registry = Registry::open(path(), Registry::Mode::read_write);
    if (!registry) throw std::runtime_error(registry.error().what);
    const auto added = add(*registry, name, blobs);
    if (!added) throw std::runtime_error(added.error().what);
    return true;
  }
};

TEST_F(ProcessTest, TwoProcessesAddAtOnce) {
  open();
  std::vector<pid_t> children;
  for (unsigned i = 0; i < 3; ++i)
    children.push_back(start_child([&] {
      Model blobs = model(10 + i, 4);
      blobs.push_back({"shared", pseudo_weights(200'000, 5)});  // all want to store this one
      return add_in_child("model" + std::to_string(i), blobs);
    }));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  Registry registry = open();
  EXPECT_EQ(registry.list()->size(), 3u);
  EXPECT_EQ(registry.stats()->blobs, 3u * 4 + 1);
  EXPECT_EQ(sql_integer("SELECT count(*) FROM ingest"), 0u);
  expect_no_faults(registry);
}

TEST_F(ProcessTest, TwoProcessesInitAtOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i)
    children.push_back(start_child([&] {
      const auto registry = Registry::open(path(), Registry::Mode::read_write, true);
      if (!registry) throw std::runtime_error(registry.error().what);
      return true;
    }));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(sql_integer("SELECT count(*) FROM audit WHERE action = 'init'"), 1u);
}

TEST_F(ProcessTest, ReaderBesideWriterSeesWholeVersionsOnly) {
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(0)));
  }
  const pid_t writer = start_child([&] {
    for (unsigned i = 1; i <= 8; ++i) add_in_child("demo", model(i));
    return true;
  });
  Registry reader = open(Registry::Mode::read_only);
  std::vector<Digest> seen;
  int status = 0;
  bool running = true;
  while (running) {
    running = ::waitpid(writer, &status, WNOHANG) == 0;
    const auto version = reader.resolve("demo");
    ASSERT_TRUE(version) << version.error().what;
    for (const BlobRef& blob : version->manifest.blobs) EXPECT_OK(read_all(reader, blob.digest));
    if (seen.empty() || seen.back() != version->digest) seen.push_back(version->digest);
  }
  EXPECT_EQ(status, 0);
  EXPECT_GE(seen.size(), 1u);
  expect_whole(reader, "demo", model(8));
}

TEST_F(ProcessTest, KilledAnywhereTheRegistryIsAsBefore) {
  const Model base = model(1);
  const auto blobs_of = [](int round) { return model(100 + static_cast<unsigned>(round), 4, 300'000); };
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "base", base));
  }
  const auto started = Clock::now();
  ASSERT_EQ(wait_for(start_child([&] { return add_in_child("timed", blobs_of(-1)); })), 0);
  const auto whole_add = Clock::now() - started;

  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  int committed = 0;
  constexpr int kRounds = 20;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "killed:" + std::to_string(round);
    const pid_t child = start_child([&] { return add_in_child(name, blobs_of(round)); });
    std::this_thread::sleep_for(whole_add * (random() % 1000) / 1000);
    ::kill(child, SIGKILL);
    wait_for(child);

    Registry registry = open();
    expect_no_faults(registry);
    expect_whole(registry, "base", base);
    if (registry.resolve(name)) {
      expect_whole(registry, name, blobs_of(round));
      ++committed;
    }
    ASSERT_FALSE(testing::Test::HasFailure()) << "round " << round << ", seed " << seed;
  }
  Registry registry = open();
  ASSERT_TRUE(add(registry, "after", blobs_of(1000)));  // cleans up after the last of the dead
  EXPECT_EQ(sql_integer("SELECT count(*) FROM ingest"), 0u);
  EXPECT_EQ(registry.stats()->blobs, 3u + 4u * (2 + static_cast<unsigned>(committed)));
  expect_no_faults(registry);
  std::printf("%d of %d adds were done before they were killed\n", committed, kRounds);
}

TEST_F(ProcessTest, StoppedAddIsNotTakenForDead) {
  open();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = start_child([&] {
    auto registry = Registry::open(path(), Registry::Mode::read_write);
    auto ingest = registry->begin_ingest();
    if (!ingest || !ingest->add_blob("layers.0", "layer", pseudo_weights(1000, 1))) return false;
    if (::write(ready[1], "x", 1) != 1) return false;
    while (true) ::pause();
  });
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  Registry registry = open();
  EXPECT_EQ(registry.gc()->blobs_removed, 0u);
  EXPECT_EQ(registry.stats()->blobs, 1u);
  ::kill(child, SIGKILL);
  wait_for(child);
  EXPECT_EQ(registry.gc()->blobs_removed, 1u);
  EXPECT_EQ(sql_integer("SELECT count(*) FROM ingest"), 0u);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(ProcessTest, TwoProcessesMaterialiseTheSameBlob) {
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", model(1)));
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i)
    children.push_back(start_child([&] {
      auto reader = Registry::open(path(), Registry::Mode::read_only);
      const auto version = reader->resolve("demo");
      LayerCache cache(scratch_ / "cache");
      for (const BlobRef& blob : version->manifest.blobs) {
        const auto entry = cache.materialise(*reader, blob);
        if (!entry) throw std::runtime_error(entry.error().what);
        if (sha256(entry->file.bytes()) != blob.digest) return false;
      }
      return true;
    }));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_TRUE(LayerCache(scratch_ / "cache").verify()->faults.empty());
}

}  // namespace
}  // namespace dgq::test

// Every change of a registry, killed at random points, with power lost at random points, and on a disk that fails
// (tests/support/unreliable_disk.h): afterwards `verify` is clean, what was there is whole, what was reported as done is there, and
// the change can be made again.
//
// DGQ_CRASH_SEED repeats a run (each test prints its seed), DGQ_CRASH_POINTS says how many points each change gets.
#include <fcntl.h>

#include "registry/repair.h"
#include "tests/registry/exchange.h"
#include "tests/support/unreliable_disk.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;
using Event = DiskPlan::Event;

constexpr unsigned kPoints = 240;  // crashes and failures of each change

unsigned number_from(const char* variable, unsigned otherwise) {
  const char* text = std::getenv(variable);
  return text ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

class CrashTest : public testing::Test {
 protected:
  // A change of what is on the disk. `run` calls `done` as soon as the change was reported as done.
  struct Change {
    std::function<Result<void>(const std::function<void()>& done)> run;
    std::function<void(bool done)> check;  // what must hold, when it was and when it was not done
    bool mends = false;  // it begins with damage, of which some may be left when it was not done
  };

  fs::path root() const { return scratch_ / "disk"; }
  fs::path registry() const { return root() / "registry.db"; }
  fs::path cache() const { return root() / "cache"; }
  Result<Registry> open() const { return Registry::open(registry(), Registry::Mode::read_write, true); }

  // Makes `change` again and again, each time from what is on the disk now.
  void crash(const Change& change) {
    const unsigned seed = number_from("DGQ_CRASH_SEED", std::random_device()());
    const unsigned points = number_from("DGQ_CRASH_POINTS", kPoints);
    std::mt19937 random(seed);
    const std::uint64_t calls = count_calls(change, false), calls_and_reads = count_calls(change, true);
    ASSERT_GT(calls, 0u);
    std::printf("DGQ_CRASH_SEED=%u: %u points of %llu changing calls (%llu with reads)\n", seed, points,
                static_cast<unsigned long long>(calls), static_cast<unsigned long long>(calls_and_reads));
    for (unsigned point = 0; point < points && !HasFailure();) {
      restore();
      bool done = false;
      const unsigned in_a_row = 1 + (random() % 4 == 0) * (1 + random() % 2);  // also while recovering
      for (unsigned i = 0; i < in_a_row; ++i, ++point) {
        DiskPlan plan{.root = root(),
                      .event = kEvents[random() % std::size(kEvents)],
                      .seed = static_cast<unsigned>(random())};
        plan.at = 1 + random() % ((plan.event == Event::fail ? calls_and_reads : calls) + 1);
        SCOPED_TRACE("point " + std::to_string(point) + " event " +
                     std::to_string(static_cast<int>(plan.event)) + " at " + std::to_string(plan.at) +
                     " seed " + std::to_string(seed));
        done = meet(change, plan) || done;
        if (HasFailure()) return;
      }
      SCOPED_TRACE("before point " + std::to_string(point) + " seed " + std::to_string(seed));
      look(change, done);
      EXPECT_OK(change.run([] {}));
      look(change, true);
      EXPECT_EQ(*(*open_sql())->integer("SELECT count(*) FROM ingest"), 0);
    }
  }

  // The disk as it was when this was first called.
  void restore() {
    if (!fs::exists(start())) fs::rename(root(), start());
    fs::remove_all(root());
    fs::copy(start(), root(), fs::copy_options::recursive);
  }

  // Makes the change in a process of its own, on such a disk. Whether it was reported as done.
  bool meet(const Change& change, const DiskPlan& plan) {
    int pipe_ends[2];
    EXPECT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
    const Fd from(pipe_ends[0]);
    Fd to(pipe_ends[1]);
    const pid_t child = start_child([&] {
      start_disk(plan);
      const auto changed =
          change.run([&] { static_cast<void>(write_all(to.get(), std::as_bytes(std::span("x", 1)), "")); });
      const bool may_fail = plan.event == Event::fail || plan.event == Event::full;
      if (!changed && !may_fail) throw std::runtime_error(changed.error().what);
      if (!changed && changed.error().what.find('\n') != std::string::npos) return false;
      if (plan.event != Event::kill) lose_power();
      return true;
    });
    to = Fd();
    char byte;
    const bool done = ::read(from.get(), &byte, 1) == 1;
    const int code = wait_for(child);
    EXPECT_TRUE(code == 0 || code == 128 + SIGKILL) << "exit code " << code;
    return done;
  }

  static constexpr Event kEvents[] = {Event::kill, Event::power_loss, Event::power_loss,
                                      Event::fail, Event::full,       Event::shorten};

  // Of the registry and of its layer files.
  Result<std::vector<std::string>> faults(Registry& registry) const {
    DGQ_TRY(VerifyReport blobs, registry.verify());
    DGQ_TRY(const VerifyReport files, LayerCache(cache()).verify());
    blobs.faults.insert(blobs.faults.end(), files.faults.begin(), files.faults.end());
    return std::move(blobs.faults);
  }

  Result<std::unique_ptr<sqlite::Db>> open_sql() const {
    return sqlite::Db::open(registry(), sqlite::Db::Access::read_write, 1000);
  }

  ScratchFolder scratch_;

 private:
  fs::path start() const { return scratch_ / "start"; }

  std::uint64_t count_calls(const Change& change, bool reads) {
    restore();
    int pipe_ends[2];
    EXPECT_EQ(::pipe(pipe_ends), 0);
    EXPECT_EQ(wait_for(start_child([&] {
                start_disk({.root = root(), .event = reads ? Event::fail : Event::none});
                const auto changed = change.run([] {});
                if (!changed) throw std::runtime_error(changed.error().what);
                const std::uint64_t calls = disk_calls();
                return ::write(pipe_ends[1], &calls, sizeof calls) == sizeof calls;
              })),
              0);
    std::uint64_t calls = 0;
    EXPECT_EQ(::read(pipe_ends[0], &calls, sizeof calls), static_cast<ssize_t>(sizeof calls));
    ::close(pipe_ends[0]), ::close(pipe_ends[1]);
    return calls;
  }

  void look(const Change& change, bool done) {
    auto registry = open();
    ASSERT_TRUE(registry) << registry.error().what;
    const auto found = faults(*registry);
    ASSERT_TRUE(found) << found.error().what;
    EXPECT_TRUE(found->empty() || (change.mends && !done)) << found->front();
    change.check(done);
  }
};

Result<void> add_and_tell(Registry& registry, const std::string& name, const Model& blobs,
                          const std::function<void()>& done) {
  DGQ_CHECK(add(registry, name, blobs));
  done();
  return {};
}

Model tuned(Model blobs) {
  for (Blob& blob : blobs) blob.bytes = fine_tuned(std::move(blob.bytes), 7);
  return blobs;
}

const Model kBase = model(1, 2, 60'000), kOld = model(2, 3, 60'000), kNew = tuned(kOld);

TEST_F(CrashTest, Init) {
  fs::create_directory(root());
  const fs::path path = root() / "share/dgq/registry.db";
  crash({[=](const auto& done) -> Result<void> {
           DGQ_TRY(const Registry made, Registry::open(path, Registry::Mode::read_write, true));
           done();
           return {};
         },
         [=](bool done) {
           if (done) {
             EXPECT_OK(Registry::open(path, Registry::Mode::read_only));
           }
         }});
}

class StockedCrashTest : public CrashTest {
 protected:
  void SetUp() override {
    fs::create_directory(root());
    Registry stocked = std::move(*open());
    ASSERT_TRUE(add(stocked, "base", kBase));
    ASSERT_TRUE(add(stocked, "demo", kOld));
  }
  // The old versions, and `name`: the old one or, when done, the new one.
  std::function<void(bool)> expect_moved(const std::string& name, const Model& before, const Model& after) {
    return [=, this](bool done) {
      Registry registry = std::move(*open());
      expect_whole(registry, "base", kBase);
      const auto now = registry.resolve(name);
      ASSERT_TRUE(now) << now.error().what;
      const bool moved = now->manifest.blobs[0].digest == sha256(after[0].bytes);
      EXPECT_TRUE(moved || !done) << name << " was reported as changed";
      expect_whole(registry, name, moved ? after : before);
    };
  }
  // A registry elsewhere that has kNew as demo.
  Registry other() {
    auto made = Registry::open(scratch_ / "other.db", Registry::Mode::read_write, true);
    EXPECT_OK(add(*made, "demo", kNew));
    return std::move(*made);
  }
};

TEST_F(StockedCrashTest, Add) {
  crash({[this](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           return add_and_tell(registry, "demo", kNew, done);
         },
         expect_moved("demo", kOld, kNew)});
}

TEST_F(StockedCrashTest, ImportBundle) {
  Registry from = other();
  const std::string bundle = *export_text(from, {"demo"});
  crash({[&](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_CHECK(import_text(registry, bundle));
           done();
           return {};
         },
         expect_moved("demo", kOld, kNew)});
}

TEST_F(StockedCrashTest, ImportOciLayout) {
  Registry from = other();
  const fs::path folder = scratch_ / "oci";
  ASSERT_TRUE(from.export_oci({"demo"}, folder));
  crash({[&](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_CHECK(registry.import_oci(folder, {}));
           done();
           return {};
         },
         expect_moved("demo", kOld, kNew)});
}

TEST_F(StockedCrashTest, Tag) {
  {
    Registry registry = std::move(*open());
    ASSERT_TRUE(add(registry, "other", kNew));
  }
  crash({[this](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_TRY(const VersionInfo version, registry.resolve("other"));
           DGQ_CHECK(registry.tag(version.digest, *ModelRef::parse("demo")));
           done();
           return {};
         },
         expect_moved("demo", kOld, kNew)});
}

TEST_F(StockedCrashTest, Gc) {
  {
    Registry registry = std::move(*open());
    ASSERT_TRUE(add(registry, "demo", kNew));  // the old one stays as a base
    ASSERT_TRUE(add(registry, "gone", model(3, 3, 60'000)));
    LayerCache layers(cache());
    for (const char* name : {"base", "gone"}) {
      const Manifest manifest = registry.resolve(name)->manifest;
      for (const BlobRef& blob : manifest.blobs) ASSERT_TRUE(layers.materialise(registry, blob));
    }
    ASSERT_TRUE(registry.remove(*ModelRef::parse("gone")));
    auto abandoned = registry.begin_ingest();  // and an add that died
    ASSERT_TRUE(abandoned && abandoned->add_blob("layers.0", "layer", noise(70'000, 1)));
    fs::copy(root(), scratch_ / "died", fs::copy_options::recursive);
  }
  fs::remove_all(root());
  fs::rename(scratch_ / "died", root());
  crash({[this](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_CHECK(registry.gc());
           DGQ_CHECK(LayerCache(cache()).remove_unused(registry));
           done();
           return {};
         },
         [this](bool done) {
           Registry registry = std::move(*open());
           expect_whole(registry, "base", kBase);
           expect_whole(registry, "demo", kNew);
           if (done) {
             EXPECT_EQ(registry.stats()->blobs, kBase.size() + kOld.size() + kNew.size());
           }
         }});
}

TEST_F(StockedCrashTest, Materialise) {
  crash({[this](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_TRY(const VersionInfo version, registry.resolve("demo"));
           for (const BlobRef& blob : version.manifest.blobs)
             DGQ_CHECK(LayerCache(cache()).materialise(registry, blob));
           done();
           return {};
         },
         [this](bool done) {
           Registry registry = std::move(*open());
           expect_whole(registry, "base", kBase);
           if (done) {
             EXPECT_EQ(LayerCache(cache()).verify()->blobs_checked, kOld.size());
           }
         }});
}

// A base with what is stored against it, a blob that is gone, a manifest, a layer file and what gc goes by.
TEST_F(StockedCrashTest, Repair) {
  const fs::path bundle = scratch_ / "demo.dgqb";
  {
    Registry registry = std::move(*open());
    ASSERT_TRUE(add(registry, "demo:new", kOld));
    ASSERT_TRUE(add(registry, "demo:new", kNew));
    LayerCache layers(cache());
    const Manifest old = registry.resolve("demo")->manifest;
    for (const BlobRef& blob : old.blobs) ASSERT_TRUE(layers.materialise(registry, blob));
    std::ofstream(bundle, std::ios::binary) << *export_text(registry, {"demo:new", "demo"});
    const auto db = std::move(*open_sql());
    ASSERT_TRUE(db->script(
        "UPDATE chunk SET data = zeroblob(length(data)) WHERE blob = (SELECT min(base) FROM chunk);"
        "DELETE FROM chunk WHERE blob = (SELECT max(id) FROM blob); DELETE FROM blob WHERE id = (SELECT "
        "max(id) FROM blob); DELETE FROM version_blob WHERE blob = (SELECT max(base) FROM chunk);"
        "DROP TRIGGER version_is_fixed; UPDATE version SET manifest = '{}' WHERE id = (SELECT max(id) FROM "
        "version)"));
    fs::permissions(layers.path_of(old.blobs[1].digest), fs::perms::owner_write, fs::perm_options::add);
    std::ofstream(layers.path_of(old.blobs[1].digest)) << "x";
    ASSERT_GE(faults(registry)->size(), 5u);
  }
  crash({[=, this](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_TRY(const RepairReport report, repair(registry, {cache(), {bundle}}));
           if (report.registry.faults.empty() && report.files.faults.empty()) done();
           return {};
         },
         [this](bool done) {
           Registry registry = std::move(*open());
           expect_whole(registry, "base", kBase);
           if (!done) return;
           expect_whole(registry, "demo", kOld);
           expect_whole(registry, "demo:new", kNew);
         },
         true});
}

TEST_F(StockedCrashTest, ExportOciLayout) {
  const fs::path folder = root() / "stick/oci";
  crash({[&](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           // As the Error says: it needs a folder of its own.
           if (!fs::exists(folder / "oci-layout")) fs::remove_all(folder);
           if (fs::exists(folder)) return {};
           DGQ_CHECK(registry.export_oci({"demo"}, folder));
           done();
           return {};
         },
         [&](bool done) {
           if (!done && !fs::exists(folder / "oci-layout")) return;
           auto target = Registry::open(scratch_ / "target.db", Registry::Mode::read_write, true);
           ASSERT_TRUE(target);
           EXPECT_OK(target->import_oci(folder, {}));
           expect_whole(*target, "demo", kOld);
         }});
}

// Over a bundle that is there: it is that one or the new one, whole.
TEST_F(StockedCrashTest, ExportBundle) {
  const fs::path file = root() / "demo.dgqb";
  const auto write_bundle = [=](Registry& registry, const char* name) -> Result<void> {
    DGQ_TRY(AtomicFile bundle, AtomicFile::create(file));
    DGQ_CHECK(registry.export_bundle({name}, {}, [&](auto bytes) { return bundle.append(bytes); }));
    return bundle.commit();
  };
  {
    Registry registry = std::move(*open());
    EXPECT_OK(write_bundle(registry, "base"));
  }
  crash({[&](const auto& done) -> Result<void> {
           DGQ_TRY(Registry registry, open());
           DGQ_CHECK(write_bundle(registry, "demo"));
           done();
           return {};
         },
         [&](bool done) {
           auto target = Registry::open(scratch_ / "target.db", Registry::Mode::read_write, true);
           ASSERT_TRUE(target);
           const auto imported = import_text(*target, file_text(file));
           ASSERT_TRUE(imported) << imported.error().what;
           const bool moved = imported->versions[0].names == std::vector<std::string>{"demo:latest"};
           EXPECT_TRUE(moved || !done) << "was reported as written";
           expect_whole(*target, moved ? "demo" : "base", moved ? kOld : kBase);
         }});
}

// The disk itself: without these the tests above could not fail.
class UnreliableDiskTest : public CrashTest {
 protected:
  void SetUp() override { fs::create_directories(root() / "folder"); }
  // What is left of `file` when power is lost after `body`.
  std::set<std::string> left_after(const std::function<void()>& body, bool syncs = true) {
    std::set<std::string> seen;
    for (unsigned seed = 0; seed < 40; ++seed) {
      fs::remove_all(root());
      fs::create_directories(root() / "folder");
      EXPECT_EQ(wait_for(start_child([&] {
                  start_disk({.root = root(), .event = Event::power_loss, .seed = seed, .syncs = syncs});
                  body();
                  lose_power();
                  return true;
                })),
                128 + SIGKILL);
      seen.insert(fs::exists(file_) ? file_text(file_) : "none");
    }
    return seen;
  }
  void write(const char* text, bool sync_it) const {
    const Fd fd(::open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644));
    static_cast<void>(write_all(fd.get(), std::as_bytes(std::span(std::string_view(text))), file_));
    if (sync_it) ::fsync(fd.get());
  }
  const fs::path file_ = root() / "folder/file";
  using Set = std::set<std::string>;
};

TEST_F(UnreliableDiskTest, WhatIsNotSyncedMayBeLost) {
  EXPECT_EQ(left_after([&] { write("one", false); }), (Set{"", "none", "one"}));
  EXPECT_EQ(left_after([&] { write("one", true); }), (Set{"none", "one"}));
  const auto safely = [&] {
    write("one", true);
    static_cast<void>(sync_folder(file_.parent_path()));
  };
  EXPECT_EQ(left_after(safely), (Set{"one"}));
  EXPECT_EQ(left_after([&] { safely(), ::unlink(file_.c_str()); }), (Set{"none", "one"}));
  EXPECT_EQ(left_after([&] { static_cast<void>(write_file_atomic(file_, {})); }), (Set{""}));
  EXPECT_EQ(left_after(safely, false), (Set{"", "none", "one"}));
}

// On a disk that says it has synced and has not, what was reported as done is lost.
TEST_F(StockedCrashTest, ALyingDiskIsSeen) {
  unsigned lost = 0;
  for (unsigned seed = 0; seed < 20; ++seed) {
    restore();
    const Change change{[this](const auto& done) -> Result<void> {
                          DGQ_TRY(Registry registry, open());
                          return add_and_tell(registry, "demo", kNew, done);
                        },
                        {}};
    EXPECT_TRUE(meet(change, {.root = root(), .event = Event::power_loss, .seed = seed, .syncs = false}));
    auto registry = open();
    const auto report = registry ? registry->verify() : Result<VerifyReport>(registry.error());
    const auto version = registry ? registry->resolve("demo") : Result<VersionInfo>(registry.error());
    lost += !report || !report->faults.empty() || !version ||
            version->manifest.blobs[0].digest != sha256(kNew[0].bytes);
  }
  EXPECT_GT(lost, 10u);
}

}  // namespace
}  // namespace dgq::test

// Bundles: what goes out comes in, whole or not at all.
#include "registry/bundle.h"

#include <fcntl.h>

#include <csignal>

#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

namespace fs = std::filesystem;

class BundleTest : public ExchangeFixture {
 protected:
  BundleTest() {
    Registry registry = open();
    whole_ = *export_text(registry, {"demo:one", "team/demo:two"});
  }
  // Nothing of the bundle can be seen.
  void expect_nothing(Registry& registry) {
    EXPECT_TRUE(registry.list()->empty());
    expect_no_faults(registry);
  }
  std::string whole_;
};

TEST_F(BundleTest, RoundTrip) {
  Registry registry = other();
  const auto summary = import_text(registry, whole_);
  ASSERT_TRUE(summary) << summary.error().what;
  EXPECT_EQ(summary->blobs, 6u);
  EXPECT_EQ(summary->new_blobs, 6u);
  EXPECT_EQ(summary->versions.size(), 2u);
  EXPECT_EQ(registry.resolve("demo:one")->digest, one_);
  EXPECT_EQ(registry.resolve("team/demo:two")->digest, two_);
  expect_whole(registry, "demo:one", model(1));
  expect_whole(registry, "team/demo:two", large_);
  expect_no_faults(registry);
  EXPECT_EQ(*export_text(registry, {"demo:one", "team/demo:two"}), whole_);
  EXPECT_EQ(import_text(registry, whole_)->new_blobs, 0u);  // again: nothing to do
  auto db = std::move(*sqlite::Db::open(scratch_ / "other.db", sqlite::Db::Access::read_only, 1000));
  EXPECT_EQ(*db->integer("SELECT count(*) FROM audit WHERE action = 'import'"), 2);
  EXPECT_EQ(*db->integer("SELECT count(*) FROM ingest"), 0);
}

TEST_F(BundleTest, ManifestsAreKeptToTheByte) {
  // A newer dgq may write members that this one does not know; the digest is over the text as it is.
  const Bytes blob = pseudo_weights(100, 1);
  BundleVersion version;
  version.text =
      R"({"new member":1, "format":1,"config":{},"activation_block":0,"blobs":[{"name":"a","media":"layer","bytes":100,)"
      R"("digest":")" +
      sha256(blob).hex() + "\"}]}";
  version.manifest = *Manifest::parse(version.text, "test");
  version.names = {*ModelRef::parse("demo")};
  BundleContents contents;
  contents.versions.push_back(version);
  contents.blobs.push_back({sha256(blob), 100, {}});
  std::string text;
  BundleWriter writer([&](std::span<const std::byte> bytes) -> Result<void> {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  });
  ASSERT_TRUE(writer.begin(contents) && writer.chunk({BundleCodec::raw, 100, blob}) && writer.finish());
  Registry registry = other();
  EXPECT_OK(import_text(registry, text));
  EXPECT_EQ(registry.resolve("demo")->digest, sha256(version.text));
  expect_no_faults(registry);
  EXPECT_NE(export_text(registry, {"demo"})->find("new member"), std::string::npos);
}

TEST_F(BundleTest, NamesMoveWithAnAuditRow) {
  Registry registry = other();
  const Digest before = *add(registry, "demo:one", model(9));
  EXPECT_OK(import_text(registry, whole_));
  EXPECT_EQ(registry.resolve("demo:one")->digest, one_);
  auto db = std::move(*sqlite::Db::open(scratch_ / "other.db", sqlite::Db::Access::read_only, 1000));
  auto row =
      db->query("SELECT from_digest, to_digest FROM audit WHERE action = 'import' AND subject = 'demo:one'");
  ASSERT_TRUE(row && *row->step());
  EXPECT_EQ(*row->digest(0), before);
  EXPECT_EQ(*row->digest(1), one_);
}

TEST_F(BundleTest, WhatIsNamedTwiceGoesOnceAndADigestBringsAllNames) {
  Registry registry = open();
  EXPECT_OK(registry.tag(one_, *ModelRef::parse("demo:same")));
  const auto text = export_text(registry, {"demo:one", "demo:same", "demo:one"});
  EXPECT_EQ(*text, *export_text(registry, {one_.hex()}));
  Registry target = other();
  EXPECT_OK(import_text(target, *text));
  EXPECT_EQ(target.resolve("demo:same")->tags.size(), 2u);
  expect_clear(export_text(registry, {"no-such"}).error(), Errc::not_found, "no-such");
}

TEST_F(BundleTest, SinceLeavesOutWhatTheOtherSideHas) {
  Registry registry = open(), target = other(), empty = other("empty.db");
  const auto update = export_text(registry, {"team/demo:two"}, "demo:one");
  ASSERT_TRUE(update);
  EXPECT_LT(update->size(), kChunkBytes + 20'000);
  const Error error = import_text(empty, *update).error();
  expect_clear(error, Errc::not_found, "layers.0 of team/demo:two");
  expect_clear(error, Errc::not_found, one_.short_hex());
  expect_nothing(empty);
  EXPECT_EQ(empty.stats()->blobs, 0u);
  EXPECT_OK(import_text(target, *export_text(registry, {"demo:one"})));
  const auto summary = import_text(target, *update);
  ASSERT_TRUE(summary) << summary.error().what;
  EXPECT_EQ(summary->blobs_left_out, 3u);
  EXPECT_EQ(summary->new_blobs, 3u);
  expect_whole(target, "team/demo:two", large_);
}

TEST_F(BundleTest, AFlippedBitAnywhereIsRefused) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  std::vector<std::size_t> places = {
      0, 8, 12, 13, 15, 16, whole_.size() - 1, whole_.size() - 32, whole_.size() - 33};
  for (int i = 0; i < 40; ++i) places.push_back(random() % whole_.size());
  for (int i = 0; i < 10; ++i) places.push_back(random() % 2000);  // in the contents
  Registry registry = other();
  for (const std::size_t at : places) {
    std::string bad = whole_;
    bad[at] = static_cast<char>(bad[at] ^ 1 << random() % 8);
    const auto imported = import_text(registry, bad);
    ASSERT_FALSE(imported) << at << " of " << whole_.size();
    EXPECT_EQ(imported.error().what.find('\n'), std::string::npos);
    EXPECT_TRUE(registry.list()->empty()) << at;
  }
  expect_nothing(registry);
  EXPECT_OK(import_text(registry, whole_));
  expect_whole(registry, "team/demo:two", large_);
}

TEST_F(BundleTest, CutShortItGoesOnWithWhatHadArrived) {
  Registry registry = other();
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{100}, std::size_t{2000}}) {
    expect_clear(import_text(registry, whole_.substr(0, size)).error(), Errc::corrupt, "ends early");
    EXPECT_EQ(registry.stats()->blobs, 0u);
  }
  const Error error = import_text(registry, whole_.substr(0, whole_.size() - 10)).error();
  expect_clear(error, Errc::corrupt, "kept for the next import of it, blobs: 6");
  expect_nothing(registry);
  EXPECT_EQ(registry.stats()->blobs, 6u);
  ASSERT_TRUE(add(registry, "between", model(5)));  // another add leaves them alone
  const auto kept = registry.gc();
  EXPECT_EQ(kept->blobs_removed, 0u);
  EXPECT_EQ(kept->interrupted_imports, 1u);
  expect_clear(import_text(registry, whole_ + "x").error(), Errc::corrupt, "after its end");
  const auto summary = import_text(registry, whole_);
  ASSERT_TRUE(summary) << summary.error().what;
  EXPECT_EQ(summary->new_blobs, 0u);
  expect_whole(registry, "demo:one", model(1));
  EXPECT_EQ(registry.gc()->interrupted_imports, 0u);
}

TEST_F(BundleTest, GivenUpImportsAreFreed) {
  Registry registry = other();
  const std::string cut = whole_.substr(0, whole_.size() - 10);
  ASSERT_FALSE(import_text(registry, cut));
  EXPECT_EQ(registry.gc(true)->blobs_removed, 6u);
  ASSERT_FALSE(import_text(registry, cut));
  auto db = std::move(*sqlite::Db::open(scratch_ / "other.db", sqlite::Db::Access::read_write, 1000));
  EXPECT_OK(db->run("UPDATE ingest SET started = started - 8 * 24 * 3600"));
  EXPECT_EQ(registry.gc()->blobs_removed, 6u);
}

TEST_F(BundleTest, RepairsWhatHasRotted) {
  Registry registry = open();
  flip_stored_byte(registry.resolve("demo:one")->manifest.blobs[0].digest);
  flip_stored_byte(registry.resolve("team/demo:two")->manifest.blobs[3].digest, 1);
  expect_clear(export_text(registry, {"demo:one"}).error(), Errc::corrupt, "chunk 0");
  EXPECT_EQ(import_text(registry, whole_)->new_blobs, 2u);
  expect_no_faults(registry);
  EXPECT_EQ(sql_integer("SELECT count(*) FROM audit WHERE action = 'repair'"), 2u);
}

// The contents as text, changed; the chunks stay.
TEST_F(BundleTest, LiesInTheContentsAreRefused) {
  BundleReader reader(source_of(whole_), "test");
  const std::string good = reader.begin()->text();
  ASSERT_TRUE(BundleContents::parse(good, "test"));
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    text.replace(at, from.size(), to);
    EXPECT_FALSE(BundleContents::parse(text, "test")) << to;
  };
  for (const char* name : {"../demo", "/demo", "demo/../x", "demo\\n", "", "demo:a/b", "demo:", "a b"})
    refused("\"demo:one\"", "\"" + std::string(name) + "\"");
  refused("\"demo:one\"", "");  // no name
  refused("\"demo:one\"", "1");
  refused("\"bytes\":100000", "\"bytes\":100001");
  refused("\"bytes\":100000", "\"bytes\":-1");
  refused("\"since\":null", "\"since\":\"12\"");
  refused("\"since\":null", "\"since\":{}");
  refused("\"format\\\":1", "\"format\\\":2");  // in a manifest
  const std::string base = R"("base":null)", blob = sha256(model(1)[0].bytes).hex();
  refused(base, R"("base":")" + blob + "\"");  // itself, or one that comes later
  EXPECT_FALSE(BundleContents::parse(R"({"versions":[],"blobs":[]})", "test"));
  EXPECT_FALSE(BundleContents::parse("[]", "test"));
  EXPECT_FALSE(BundleContents::parse("{", "test"));
}

TEST_F(BundleTest, KilledAnywhereItGoesOn) {
  const Model blobs = model(3, 12, 400'000);
  std::string text;
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "many", blobs));
    text = *export_text(registry, {"many"});
  }
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  std::uint64_t arrived = 0;
  bool done = false;
  other();
  for (int round = 0; round < 40 && !done; ++round) {
    // Dies when it has been given a random number of the bytes that are still to come.
    const std::size_t fatal = text.size() * arrived / 12 + random() % (text.size() / 4);
    const int code = wait_for(start_child([&] {
      Registry registry = other();
      std::size_t given = 0;
      const ByteSource source = source_of(text);
      const auto imported = registry.import_bundle(
          [&](std::span<std::byte> into) -> Result<std::size_t> {
            if (given >= fatal) ::kill(::getpid(), SIGKILL);
            auto got = source(into);
            if (got) given += *got;
            return got;
          },
          "x.dgqb");
      return imported.has_value();
    }));
    done = code == 0;
    Registry registry = other();
    expect_no_faults(registry);
    EXPECT_EQ(registry.list()->size(), done ? 1u : 0u);
    EXPECT_GE(registry.stats()->blobs, arrived);  // what was whole is kept
    arrived = registry.stats()->blobs;
    ASSERT_FALSE(testing::Test::HasFailure()) << "round " << round << ", seed " << seed;
  }
  EXPECT_TRUE(done);
  Registry registry = other();
  expect_whole(registry, "many", blobs);
  EXPECT_EQ(registry.gc()->blobs_removed, 0u);
}

TEST_F(BundleTest, TwoImportsOfOneBundleAtOnce) {
  other();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i)
    children.push_back(start_child([&] {
      Registry registry = other();
      const auto imported = import_text(registry, whole_);
      if (!imported) throw std::runtime_error(imported.error().what);
      return true;
    }));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  Registry registry = other();
  expect_whole(registry, "team/demo:two", large_);
  expect_no_faults(registry);
  EXPECT_EQ(registry.gc()->interrupted_imports, 0u);
}

class BundleCommandTest : public BundleTest {
 protected:
  std::string in(const char* registry) { return " --registry " + (scratch_ / registry).string(); }
  void expect_line(const std::string& line, const std::string& expected) {
    const Outcome outcome = run_shell(line);
    EXPECT_GE(outcome.exit_code, 2) << line;
    EXPECT_EQ(outcome.out, "") << line;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << outcome.err;
  }
  const std::string dgq_ = dgq_command() + " registry ";
  const std::string file_ = (scratch_ / "demo.dgqb").string();
};

TEST_F(BundleCommandTest, ThroughAFile) {
  other();
  const Outcome exported =
      run_shell(dgq_ + "export demo:one team/demo:two -o " + file_ + " --json" + in("registry.db"));
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_EQ(Json::parse(exported.out).at("file_bytes"), whole_.size());
  EXPECT_EQ(file_text(file_), whole_);
  const Outcome imported = run_shell(dgq_ + "import " + file_ + " --json" + in("other.db"));
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
  EXPECT_EQ(Json::parse(imported.out).at("new_blobs"), 6);
  EXPECT_EQ(Json::parse(imported.out).at("versions").at(0).at("version"), one_.hex());
  EXPECT_NE(run_shell(dgq_ + "list" + in("other.db")).out.find("team/demo:two"), std::string::npos);
  for (const auto& entry : fs::directory_iterator(scratch_.path()))  // no temporary file is left
    EXPECT_EQ(entry.path().string().find("dgqb."), std::string::npos) << entry.path();
}

TEST_F(BundleCommandTest, ThroughAPipe) {
  other();
  const Outcome piped = run_shell(dgq_ + "export team/demo:two -o -" + in("registry.db") + " | " + dgq_ +
                                  "import -" + in("other.db"));
  ASSERT_EQ(piped.exit_code, 0) << piped.err;
  Registry registry = other();
  expect_whole(registry, "team/demo:two", large_);
}

TEST_F(BundleCommandTest, FromAFolderThatCannotBeWritten) {
  const fs::path stick = scratch_ / "stick", home = scratch_ / "home";
  fs::create_directory(stick), fs::create_directory(home);
  std::ofstream(stick / "demo.dgqb", std::ios::binary) << whole_;
  fs::permissions(scratch_.path(), fs::perms(0755));
  fs::permissions(stick / "demo.dgqb", fs::perms(0444)), fs::permissions(stick, fs::perms(0555));
  fs::permissions(home, fs::perms(0777));
  EXPECT_TRUE(as_ordinary_user([&] {
    auto registry = Registry::open(home / "registry.db", Registry::Mode::read_write, true);
    const Fd fd(::open((stick / "demo.dgqb").c_str(), O_RDONLY));
    const auto imported = registry->import_bundle(
        [&](std::span<std::byte> bytes) { return read_some(fd.get(), bytes, "demo.dgqb"); }, "demo.dgqb");
    if (!imported) throw std::runtime_error(imported.error().what);
    expect_whole(*registry, "demo:one", model(1));
    return !testing::Test::HasFailure();
  }));
  fs::permissions(stick, fs::perms(0755));
}

TEST_F(BundleCommandTest, MistakesGiveOneLine) {
  other();
  const std::string registry = in("registry.db");
  expect_line(dgq_ + "export" + registry, "which model");
  expect_line(dgq_ + "export demo:one" + registry, "-o");
  expect_line(dgq_ + "export nothing -o " + file_ + registry, "nothing");
  expect_line(dgq_ + "export demo:one -o /dev/null" + registry, "not a regular file");
  expect_line(dgq_ + "export demo:one -o - --json" + registry, "--json");
  expect_line(dgq_ + "export demo:one -o " + (scratch_ / "no/such/folder").string() + registry,
              "no/such/folder");
  expect_line(dgq_ + "export demo:one --since nothing -o " + file_ + registry, "nothing");
  EXPECT_FALSE(fs::exists(file_));
  expect_line(dgq_ + "import" + registry, "which file, or");
  expect_line(dgq_ + "import " + file_ + registry, "No such file");
  expect_line(dgq_ + "import " + scratch_.path().string() + registry, "--oci");
  expect_line(dgq_ + "import " + path().string() + in("other.db"), "not a bundle");
  std::ofstream(file_, std::ios::binary) << std::string(whole_).replace(8, 1, "\x02");
  expect_line(dgq_ + "import " + file_ + in("other.db"), "upgrade");
}

}  // namespace
}  // namespace dgq::test

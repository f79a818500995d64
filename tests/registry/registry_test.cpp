#include "registry/registry.h"

#include <fstream>

#include "registry/chunk.h"
#include "registry/schema.h"
#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

class RegistryTest : public RegistryFixture {};

TEST_F(RegistryTest, OpenSaysWhatIsNotARegistry) {
  const auto open_error = [&](Registry::Mode mode) { return Registry::open(path(), mode).error(); };
  for (const auto mode : {Registry::Mode::read_only, Registry::Mode::read_write}) {
    expect_clear(open_error(mode), Errc::not_found, "dgq registry init");
    std::ofstream(path()) << "This is not a database, but it is long enough to be taken for one. "
                          << std::string(2000, 'x');
    expect_clear(open_error(mode), Errc::corrupt, "not a dgq registry");
    std::filesystem::remove(path());
    std::ofstream(path()).close();
    expect_clear(open_error(mode), Errc::corrupt, "empty");
    std::filesystem::remove(path());
    std::filesystem::create_directory(path());
    expect_clear(open_error(mode), Errc::corrupt, "not a regular file");
    std::filesystem::remove(path());
    ASSERT_TRUE(
        sqlite::Db::open(path(), sqlite::Db::Access::create, 0).value()->script("CREATE TABLE theirs(x)"));
    expect_clear(open_error(mode), Errc::corrupt, "another program");
    std::filesystem::remove(path());
  }
}

// What means something else to SQLite: a temporary database, one in memory, a URI.
TEST_F(RegistryTest, OddPathsAreFiles) {
  expect_clear(Registry::open("", Registry::Mode::read_write, true).error(), Errc::invalid, "empty");
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(scratch_.path());
  for (const std::string name : {":memory:", "x.db?mode=memory", "100% #1.db", "-x", "file:y.db"}) {
    EXPECT_OK(Registry::open(name, Registry::Mode::read_write, true));
    EXPECT_TRUE(std::filesystem::is_regular_file(name)) << name;
  }
  EXPECT_OK(Registry::open("/" + path().string(), Registry::Mode::read_write, true));
  EXPECT_TRUE(std::filesystem::is_regular_file(path()));
  std::filesystem::current_path(before);
}

TEST_F(RegistryTest, ForeignDatabasesAreNotTouchedByInit) {
  ASSERT_TRUE(
      sqlite::Db::open(path(), sqlite::Db::Access::create, 0).value()->script("CREATE TABLE theirs(x)"));
  const std::string before = file_text(path());
  expect_clear(Registry::open(path(), Registry::Mode::read_write, true).error(), Errc::corrupt,
               "another program");
  EXPECT_EQ(file_text(path()), before);
}

TEST_F(RegistryTest, NewerRegistryAsksForAnUpgrade) {
  open();
  sql("PRAGMA user_version = 1000");
  for (const auto mode : {Registry::Mode::read_only, Registry::Mode::read_write})
    expect_clear(Registry::open(path(), mode, mode == Registry::Mode::read_write).error(), Errc::unsupported,
                 "upgrade");
}

TEST_F(RegistryTest, InitMakesFoldersAndSettings) {
  const auto deep = scratch_ / "a/b/registry.db";
  ASSERT_TRUE(Registry::open(deep, Registry::Mode::read_write, true));
  auto db = std::move(*sqlite::Db::open(deep, sqlite::Db::Access::read_only, 0));
  EXPECT_EQ(*db->integer("PRAGMA application_id"), kApplicationId);
  EXPECT_EQ(*db->integer("PRAGMA page_size"), 65536);
  EXPECT_EQ(*db->integer("SELECT count(*) FROM audit WHERE action = 'init'"), 1);
  ASSERT_TRUE(Registry::open(deep, Registry::Mode::read_write, true));  // again: nothing happens
  EXPECT_EQ(*db->integer("SELECT count(*) FROM audit"), 1);
}

TEST_F(RegistryTest, InterruptedInitIsFinished) {
  std::ofstream(path()).close();
  EXPECT_OK(Registry::open(path(), Registry::Mode::read_write, true));
  EXPECT_OK(Registry::open(path(), Registry::Mode::read_only));
}

TEST_F(RegistryTest, AddThenReadBack) {
  Registry registry = open();
  Model blobs = model(1);
  blobs.push_back({"large", noise(kChunkBytes + 12345, 2)});  // two chunks, stored raw
  blobs.push_back({"small", {}});
  const auto digest = add(registry, "demo:g64", blobs);
  ASSERT_TRUE(digest) << digest.error().what;
  Registry reader = open(Registry::Mode::read_only);
  expect_whole(reader, "demo:g64", blobs);
  expect_no_faults(reader);
  for (const std::string& reference : {digest->hex(), digest->hex().substr(0, 8)}) {
    const auto version = reader.resolve(reference);
    ASSERT_TRUE(version) << version.error().what;
    EXPECT_EQ(version->digest, *digest);
    EXPECT_EQ(version->tags, std::vector<std::string>{"demo:g64"});
  }
  EXPECT_EQ(reader.list()->size(), 1u);
  EXPECT_EQ(reader.stats()->blobs, 5u);
  EXPECT_LT(reader.stats()->stored_bytes, reader.stats()->raw_bytes);
}

TEST_F(RegistryTest, NotFoundNamesWhatThereIs) {
  Registry registry = open();
  expect_clear(registry.resolve("demo").error(), Errc::not_found, "dgq quantize");
  ASSERT_TRUE(add(registry, "demo:g64", model(1)));
  expect_clear(registry.resolve("demo").error(), Errc::not_found, "demo:g64");
  expect_clear(registry.resolve("0123456789").error(), Errc::not_found, "demo:g64");
  expect_clear(registry.resolve("no such name").error(), Errc::invalid, "no such name");
  expect_clear(registry.remove(*ModelRef::parse("other")).error(), Errc::not_found, "demo:g64");
  expect_clear(registry.tag(sha256("x"), *ModelRef::parse("other")).error(), Errc::not_found,
               sha256("x").hex());
  expect_clear(registry.read_blob(sha256("x"), {}).error(), Errc::not_found, sha256("x").short_hex());
}

TEST_F(RegistryTest, EqualBlobsAreStoredOnce) {
  Registry registry = open();
  ASSERT_TRUE(add(registry, "a", model(1)));
  const auto before = registry.stats();
  Model same = model(1);
  same.push_back({"more", pseudo_weights(1000, 99)});
  ASSERT_TRUE(add(registry, "b", same));
  EXPECT_EQ(registry.stats()->blobs, before->blobs + 1);
  EXPECT_EQ(registry.stats()->raw_bytes, before->raw_bytes + 1000);
  EXPECT_EQ(registry.stats()->versions, 2u);
}

TEST_F(RegistryTest, SameVersionAgainIsFine) {
  Registry registry = open();
  const auto first = add(registry, "a", model(1)), second = add(registry, "a", model(1)),
             third = add(registry, "b", model(1));
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(*first, *third);
  EXPECT_EQ(registry.resolve("a")->tags.size(), 2u);
  EXPECT_EQ(registry.stats()->versions, 1u);
}

TEST_F(RegistryTest, TagsMoveAndVersionsStay) {
  Registry registry = open();
  const Digest one = *add(registry, "demo", model(1)), two = *add(registry, "demo", model(2));
  EXPECT_EQ(registry.resolve("demo")->digest, two);
  EXPECT_EQ(registry.resolve(one.hex()).error().code, Errc::not_found);  // no tag is left on it
  EXPECT_OK(registry.tag(one, *ModelRef::parse("demo:old")));            // which can be undone
  expect_whole(registry, "demo:old", model(1));
  EXPECT_OK(registry.tag(one, *ModelRef::parse("demo")));
  expect_whole(registry, "demo", model(1));
}

TEST_F(RegistryTest, RemoveThenGcFreesOnlyWhatNothingNeeds) {
  Registry registry = open();
  Model shared = model(1);
  shared.push_back({"own", noise(2'000'000, 7)});
  ASSERT_TRUE(add(registry, "keep", model(1)));
  ASSERT_TRUE(add(registry, "drop", shared));
  EXPECT_EQ(registry.gc()->blobs_removed, 0u);
  EXPECT_OK(registry.remove(*ModelRef::parse("drop")));
  EXPECT_EQ(registry.resolve("drop").error().code, Errc::not_found);
  const auto bytes_before = sql_integer("PRAGMA page_count") * 65536;
  const auto report = registry.gc();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_EQ(report->blobs_removed, 1u);
  EXPECT_EQ(report->bytes_freed, 2'000'000u);
  EXPECT_LT(std::filesystem::file_size(path()) + 1'900'000, bytes_before);  // the file has shrunk
  expect_whole(registry, "keep", model(1));
  expect_no_faults(registry);
}

TEST_F(RegistryTest, UncommittedAddLeavesNothing) {
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", model(1)));
  {
    auto ingest = registry.begin_ingest();
    ASSERT_TRUE(ingest);
    for (const Blob& blob : model(2)) ASSERT_TRUE(ingest->add_blob(blob.name, "layer", blob.bytes));
    ASSERT_TRUE(ingest->add_blob("shared", "layer", model(1)[0].bytes));
    EXPECT_EQ(open(Registry::Mode::read_only).list()->size(), 1u);
  }
  EXPECT_EQ(registry.stats()->blobs, 3u);
  expect_whole(registry, "demo", model(1));
}

TEST_F(RegistryTest, CommitNeedsEveryBlob) {
  Registry registry = open();
  auto ingest = registry.begin_ingest();
  Manifest manifest;
  manifest.config = Json::object();
  manifest.blobs = {{"layers.0", "layer", sha256("never added"), 11}};
  expect_clear(ingest->commit(manifest, *ModelRef::parse("demo")).error(), Errc::not_found, "layers.0");
  manifest.blobs = {*ingest->add_blob("layers.0", "layer", pseudo_weights(10, 1))};
  manifest.blobs[0].bytes = 11;
  expect_clear(ingest->commit(manifest, *ModelRef::parse("demo")).error(), Errc::not_found, "layers.0");
  manifest.blobs[0].bytes = 10;
  EXPECT_OK(ingest->commit(manifest, *ModelRef::parse("demo")));  // the failures before left it usable
  EXPECT_EQ(ingest->commit(manifest, *ModelRef::parse("demo")).error().code, Errc::invalid);
  EXPECT_EQ(ingest->add_blob("x", "layer", pseudo_weights(10, 1)).error().code, Errc::invalid);
}

TEST_F(RegistryTest, GcSparesARunningAdd) {
  Registry registry = open(), other = open();
  auto ingest = registry.begin_ingest();
  Manifest manifest;
  manifest.config = Json::object();
  manifest.blobs.push_back(*ingest->add_blob("layers.0", "layer", model(1)[0].bytes));
  EXPECT_EQ(other.gc()->blobs_removed, 0u);
  ASSERT_TRUE(other.begin_ingest());  // cleans up after the dead only
  EXPECT_OK(ingest->commit(manifest, *ModelRef::parse("demo")));
  expect_no_faults(other);
}

TEST_F(RegistryTest, EveryChangeLeavesAnAuditRow) {
  Registry registry = open();
  const Digest one = *add(registry, "demo", model(1)), two = *add(registry, "demo", model(2));
  EXPECT_OK(registry.tag(two, *ModelRef::parse("demo:stable")));
  EXPECT_OK(registry.tag(two, *ModelRef::parse("demo:stable")));  // no change, no row
  EXPECT_OK(registry.remove(*ModelRef::parse("demo:stable")));
  EXPECT_OK(registry.gc());
  auto db = std::move(*sqlite::Db::open(path(), sqlite::Db::Access::read_only, 0));
  auto rows =
      db->query("SELECT action, subject, from_digest, to_digest, who, tool, time FROM audit ORDER BY id");
  std::vector<std::string> seen;
  while (*rows->step()) {
    seen.push_back(std::string(rows->text(0)) + " " + std::string(rows->text(1)));
    EXPECT_NE(rows->text(4).find('@'), std::string_view::npos);
    EXPECT_TRUE(rows->text(5).starts_with("dgq "));
    EXPECT_GT(rows->integer(6), 1'600'000'000);
    if (seen.size() == 3) {
      EXPECT_EQ(*rows->digest(2), one);
      EXPECT_EQ(*rows->digest(3), two);
    }
  }
  ASSERT_EQ(seen.size(), 7u);
  EXPECT_EQ(seen[1], "add demo:latest");
  EXPECT_EQ(seen[2], "add demo:latest");
  EXPECT_EQ(seen[3], "tag demo:stable");
  EXPECT_EQ(seen[4], "remove demo:stable");
  EXPECT_EQ(seen[5], "gc version");
  EXPECT_TRUE(seen[6].starts_with("gc 3 blobs"));
  auto writer = std::move(*sqlite::Db::open(path(), sqlite::Db::Access::read_write, 0));
  EXPECT_FALSE(writer->script("DELETE FROM audit"));
  EXPECT_FALSE(writer->script("UPDATE version SET manifest = '{}'"));
}

// Costs are what the last to make the version has told, whatever the name.
TEST_F(RegistryTest, CostsStandBesideTheVersion) {
  Registry registry = open();
  const auto commit = [&](const char* name, const std::string& costs) {
    auto ingest = registry.begin_ingest();
    Manifest manifest;
    manifest.config = Json::object();
    manifest.blobs.push_back(*ingest->add_blob("layers.0", "layer", model(1)[0].bytes));
    return *ingest->commit(manifest, *ModelRef::parse(name), {}, costs);
  };
  const Digest version = commit("demo", "");
  EXPECT_EQ(registry.costs(version).value(), "");
  EXPECT_EQ(commit("demo", "[1]"), version);
  EXPECT_EQ(commit("other", "[2]"), version);
  EXPECT_EQ(registry.costs(version).value(), "[2]");
  EXPECT_EQ(commit("demo", ""), version);
  EXPECT_EQ(registry.costs(version).value(), "[2]");
  EXPECT_EQ(registry.costs(*add(registry, "demo", model(2))).value(), "");
}

TEST_F(RegistryTest, ReadOnlyRegistryObjectRefusesChanges) {
  ASSERT_TRUE(add(*std::make_unique<Registry>(open()), "demo", model(1)));
  Registry reader = open(Registry::Mode::read_only);
  for (const Error& error :
       {reader.begin_ingest().error(), reader.gc().error(), reader.remove(*ModelRef::parse("demo")).error(),
        reader.tag(sha256("x"), *ModelRef::parse("demo")).error()})
    expect_clear(error, Errc::invalid, "for reading only");
}

TEST_F(RegistryTest, WriterThatHoldsTheLockMakesOthersBusy) {
  open();
  auto one = std::move(*sqlite::Db::open(path(), sqlite::Db::Access::read_write, 0));
  auto two = std::move(*sqlite::Db::open(path(), sqlite::Db::Access::read_write, 20));
  const auto held = sqlite::Transaction::begin(*one, sqlite::Transaction::Kind::write);
  ASSERT_TRUE(held);
  expect_clear(sqlite::Transaction::begin(*two, sqlite::Transaction::Kind::write).error(), Errc::busy,
               "another process");
}

TEST(Chunk, GainDecidesTheCodecAndDecodingIsBounded) {
  ChunkEncoder encoder;
  ChunkDecoder decoder;
  const Bytes weights = pseudo_weights(100'000, 1), random = noise(100'000, 1);
  EXPECT_EQ(encoder.encode(random).codec, ChunkCodec::raw);
  const auto chunk = encoder.encode(weights);
  EXPECT_EQ(chunk.codec, ChunkCodec::zstd);
  const auto decoded = decoder.decode(1, 100'000, chunk.stored);
  ASSERT_TRUE(decoded) << decoded.error().what;
  EXPECT_TRUE(std::equal(decoded->begin(), decoded->end(), weights.begin(), weights.end()));
  for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{99'999},
                                   std::int64_t{100'001}, std::int64_t{kChunkBytes} + 1, INT64_MAX})
    EXPECT_EQ(decoder.decode(1, wrong, chunk.stored).error().code, Errc::corrupt) << wrong;
  EXPECT_EQ(decoder.decode(0, 100'000, chunk.stored).error().code, Errc::corrupt);
  EXPECT_EQ(decoder.decode(1, 100'000, {}).error().code, Errc::corrupt);
  EXPECT_EQ(decoder.decode(7, 100'000, chunk.stored).error().code, Errc::unsupported);
}

}  // namespace
}  // namespace dgq::test

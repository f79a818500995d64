// Blobs stored against those of the version before.
#include "registry/chunk.h"
#include "tests/registry/exchange.h"

namespace dgq::test {
namespace {

constexpr const char* kBasedChunks = "SELECT count(*) FROM chunk WHERE base IS NOT NULL";
constexpr const char* kLongChains =
    "SELECT count(*) FROM chunk c JOIN chunk b ON b.blob = c.base AND b.position = c.position WHERE b.base "
    "IS NOT NULL";

class DeltaTest : public RegistryFixture {
 protected:
  // Two chunks of weights, and one blob that never changes.
  static Model first() {
    return {{"layers.0", pseudo_weights(kChunkBytes + 500'000, 1)}, {"head", pseudo_weights(9000, 2)}};
  }
  static Model tuned(const Model& model, unsigned seed) {
    Model other = model;
    other[0].bytes = fine_tuned(other[0].bytes, seed);
    return other;
  }
  std::uint64_t stored(Registry& registry, const std::string& name) {
    const Digest digest = registry.resolve(name)->manifest.blobs[0].digest;
    const std::vector<BlobInfo> blobs = *registry.blobs();
    for (const BlobInfo& blob : blobs)
      if (blob.digest == digest) return blob.stored_bytes;
    return 0;
  }
};

TEST_F(DeltaTest, FineTuneTakesAFractionAndReadsBack) {
  Registry registry = open();
  const std::uint64_t empty_pages = sql_integer("PRAGMA page_count");
  const Model one = first(), two = tuned(one, 7);
  ASSERT_TRUE(add(registry, "demo", one));
  const std::uint64_t plain = stored(registry, "demo");
  EXPECT_OK(registry.tag(registry.resolve("demo")->digest, *ModelRef::parse("demo:old")));
  ASSERT_TRUE(add(registry, "demo", two));
  EXPECT_EQ(sql_integer(kBasedChunks), 2u);
  EXPECT_LT(stored(registry, "demo") * 8, plain);
  expect_whole(registry, "demo", two);
  expect_whole(registry, "demo:old", one);
  expect_no_faults(registry);
  LayerCache cache(scratch_ / "cache");
  const auto entry = cache.materialise(registry, registry.resolve("demo")->manifest.blobs[0]);
  ASSERT_TRUE(entry) << entry.error().what;
  EXPECT_TRUE(std::equal(two[0].bytes.begin(), two[0].bytes.end(), entry->file.bytes().begin(),
                         entry->file.bytes().end()));
  // The file has given back what the plain chunks took.
  EXPECT_LT((sql_integer("PRAGMA page_count") - empty_pages) * 65536, plain * 5 / 4);
}

TEST_F(DeltaTest, OnlyWhereItSavesClearly) {
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", first()));
  Model unlike = first();
  unlike[0].bytes = pseudo_weights(unlike[0].bytes.size(), 99);
  ASSERT_TRUE(add(registry, "demo", unlike));
  EXPECT_EQ(sql_integer(kBasedChunks), 0u);
  ASSERT_TRUE(add(registry, "other", tuned(unlike, 3)));  // another name: nothing says that they are alike
  EXPECT_EQ(sql_integer(kBasedChunks), 0u);
  Model half = unlike;  // decided chunk by chunk
  half[0].bytes = fine_tuned(half[0].bytes, 5);
  const Bytes fresh = pseudo_weights(500'000, 77);
  std::copy(fresh.begin(), fresh.end(), half[0].bytes.end() - 500'000);
  ASSERT_TRUE(add(registry, "demo", half));
  EXPECT_EQ(sql_integer(kBasedChunks), 1u);
  expect_whole(registry, "demo", half);
  expect_no_faults(registry);
}

TEST_F(DeltaTest, LongerAndShorterThanItsBase) {
  Registry registry = open();
  const Model one = first();
  Model longer = tuned(one, 1), shorter = one;
  const Bytes more = pseudo_weights(kChunkBytes, 8);
  longer[0].bytes.insert(longer[0].bytes.end(), more.begin(), more.end());
  shorter[0].bytes.resize(kChunkBytes - 12345);
  ASSERT_TRUE(add(registry, "demo", one));
  ASSERT_TRUE(add(registry, "demo", longer));
  expect_whole(registry, "demo", longer);
  ASSERT_TRUE(add(registry, "demo", shorter));
  expect_whole(registry, "demo", shorter);
  expect_no_faults(registry);
}

TEST_F(DeltaTest, ChainsAreOneDeep) {
  Registry registry = open();
  Model blobs = first();
  ASSERT_TRUE(add(registry, "demo", blobs));
  for (unsigned i = 0; i < 3; ++i) {
    blobs = tuned(blobs, 20 + i);
    ASSERT_TRUE(add(registry, "demo", blobs));
    EXPECT_EQ(sql_integer(kLongChains), 0u);
    expect_whole(registry, "demo", blobs);
  }
  EXPECT_EQ(sql_integer(kBasedChunks), 6u);
  EXPECT_EQ(sql_integer("SELECT count(DISTINCT base) FROM chunk"), 1u);
}

TEST_F(DeltaTest, GcKeepsABaseAsLongAsItIsNeeded) {
  Registry registry = open();
  const Model one = first(), two = tuned(one, 7);
  ASSERT_TRUE(add(registry, "demo", one));
  ASSERT_TRUE(add(registry, "demo", two));  // the first version has no name now
  EXPECT_EQ(registry.gc()->blobs_removed, 0u);
  expect_whole(registry, "demo", two);
  expect_no_faults(registry);
  EXPECT_OK(registry.remove(*ModelRef::parse("demo")));
  EXPECT_EQ(registry.gc()->blobs_removed, 3u);
  EXPECT_EQ(registry.stats()->blobs, 0u);
}

TEST_F(DeltaTest, DamageInABaseIsFoundAndRepaired) {
  Registry registry = open();
  const Model one = first(), two = tuned(one, 7);
  ASSERT_TRUE(add(registry, "demo:one", one));
  EXPECT_OK(registry.tag(registry.resolve("demo:one")->digest, *ModelRef::parse("demo")));
  ASSERT_TRUE(add(registry, "demo", two));
  const Digest base = registry.resolve("demo:one")->manifest.blobs[0].digest;
  flip_stored_byte(base, 1);
  EXPECT_EQ(registry.verify()->faults.size(), 2u);
  ASSERT_TRUE(add(registry, "demo:one", one));
  expect_no_faults(registry);
  expect_whole(registry, "demo", two);
  flip_stored_byte(registry.resolve("demo")->manifest.blobs[0].digest, 0);
  ASSERT_TRUE(add(registry, "demo", two));
  expect_no_faults(registry);
  // Against a damaged base nothing is stored, and the add does not fail.
  flip_stored_byte(base, 0);
  ASSERT_TRUE(add(registry, "demo:one", tuned(one, 8)));
  expect_whole(registry, "demo:one", tuned(one, 8));
}

TEST_F(DeltaTest, LiesAboutBasesAreFound) {
  const char* lies[] = {
      "UPDATE chunk SET base = blob WHERE base IS NOT NULL",
      "UPDATE chunk SET base = NULL WHERE base IS NOT NULL",
      "UPDATE chunk SET base = (SELECT id FROM blob WHERE bytes = 9000) WHERE base IS NOT NULL",
      "PRAGMA foreign_keys = OFF; UPDATE chunk SET base = 777 WHERE base IS NOT NULL",
      "UPDATE chunk SET base = (SELECT max(blob) FROM chunk) WHERE base IS NULL AND position = 1",
  };
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", first()));
    ASSERT_TRUE(add(registry, "demo", tuned(first(), 7)));
  }
  std::filesystem::copy_file(path(), scratch_ / "good.db");
  for (const char* lie : lies) {
    std::filesystem::copy_file(scratch_ / "good.db", path(),
                               std::filesystem::copy_options::overwrite_existing);
    sql(lie);
    const auto report = open().verify();
    ASSERT_TRUE(report) << lie;
    EXPECT_FALSE(report->faults.empty()) << lie;
  }
}

TEST_F(DeltaTest, RegistryOfTheSchemaBeforeIsMigrated) {
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", first()));
  }
  sql(std::string(kBeforeSignatures) +
      "DROP INDEX chunk_base; ALTER TABLE chunk DROP COLUMN base; ALTER TABLE ingest DROP COLUMN resume;"
      "PRAGMA user_version = 1");
  expect_clear(Registry::open(path(), Registry::Mode::read_only).error(), Errc::unsupported,
               "dgq registry init");
  Registry registry = open();
  ASSERT_TRUE(add(registry, "demo", tuned(first(), 7)));
  EXPECT_EQ(sql_integer(kBasedChunks), 2u);
  expect_whole(registry, "demo", tuned(first(), 7));
  EXPECT_EQ(sql_integer("SELECT count(*) FROM audit WHERE action = 'migrate'"), 1u);
}

// Bundles keep a delta where the receiver has its base, and only there.
TEST_F(DeltaTest, BundlesKnowBases) {
  Registry registry = open();
  const Model one = first(), two = tuned(one, 7);
  ASSERT_TRUE(add(registry, "demo:one", one));
  EXPECT_OK(registry.tag(registry.resolve("demo:one")->digest, *ModelRef::parse("demo:two")));
  ASSERT_TRUE(add(registry, "demo:two", two));
  const auto both = export_text(registry, {"demo:two", "demo:one"}),
             alone = export_text(registry, {"demo:two"}),
             update = export_text(registry, {"demo:two"}, "demo:one");
  ASSERT_TRUE(both && alone && update);
  EXPECT_LT(update->size() * 5, alone->size());
  EXPECT_LT(both->size(), alone->size() * 5 / 4);
  const auto into = [&](const char* name, const std::vector<const std::string*>& texts) {
    auto other = Registry::open(scratch_ / name, Registry::Mode::read_write, true);
    for (const std::string* text : texts) EXPECT_OK(import_text(*other, *text));
    expect_whole(*other, "demo:two", two);
    expect_no_faults(*other);
    return std::move(*other);
  };
  into("alone.db", {&*alone});
  Registry other = into("both.db", {&*both});
  EXPECT_EQ(other.stats()->stored_bytes, registry.stats()->stored_bytes);
  expect_clear(import_text(*std::make_unique<Registry>(
                               *Registry::open(scratch_ / "empty.db", Registry::Mode::read_write, true)),
                           *update)
                   .error(),
               Errc::not_found, "--since");

  // Where the base is a delta itself, the chunks are stored plainly.
  Registry third = *Registry::open(scratch_ / "third.db", Registry::Mode::read_write, true);
  const Model zero = tuned(one, 9);
  ASSERT_TRUE(add(third, "demo:one", zero));
  ASSERT_TRUE(import_text(third, *export_text(registry, {"demo:one"})));
  EXPECT_OK(import_text(third, *update));
  expect_whole(third, "demo:two", two);
  expect_no_faults(third);
  auto db = std::move(*sqlite::Db::open(scratch_ / "third.db", sqlite::Db::Access::read_only, 1000));
  EXPECT_EQ(*db->integer(kLongChains), 0);
  EXPECT_GT(*db->integer(kBasedChunks), 0);
}

TEST(ChunkDelta, NeedsItsBaseAndStaysBounded) {
  ChunkEncoder encoder;
  ChunkDecoder decoder;
  const Bytes base = pseudo_weights(200'000, 1), raw = fine_tuned(base, 2);
  const auto stored = encoder.encode_against(base, raw, raw.size() / 2);
  ASSERT_FALSE(stored.empty());
  const Bytes delta(stored.begin(), stored.end());
  const auto decoded = decoder.decode(1, 200'000, delta, base);
  ASSERT_TRUE(decoded) << decoded.error().what;
  EXPECT_TRUE(std::equal(decoded->begin(), decoded->end(), raw.begin(), raw.end()));
  EXPECT_EQ(decoder.decode(1, 200'000, delta).error().code, Errc::corrupt);
  EXPECT_EQ(decoder.decode(1, 200'000, delta, std::span(base).first(1000)).error().code, Errc::corrupt);
  EXPECT_EQ(decoder.decode(1, 199'999, delta, base).error().code, Errc::corrupt);
  EXPECT_TRUE(encoder.encode_against(base, raw, 100).empty());
  const auto plain = encoder.encode(raw);  // a prefix serves one frame only
  EXPECT_OK(decoder.decode(1, 200'000, plain.stored));
}

}  // namespace
}  // namespace dgq::test

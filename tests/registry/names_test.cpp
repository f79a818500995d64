// copy and rename: all or nothing, and in the audit log.
#include "tests/registry/fixture.h"

namespace dgq::test {
namespace {

class NamesTest : public RegistryFixture {
 protected:
  void SetUp() override {
    one_ = *add(registry_, "demo:one", model(1));
    two_ = *add(registry_, "demo:two", model(2));
    other_ = *add(registry_, "other", model(3));
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    const auto tags = registry_.list();
    for (const TagInfo& tag : *tags) names.push_back(tag.model + ":" + tag.tag);
    return names;
  }
  Digest version(const std::string& name) { return registry_.resolve(name)->digest; }
  // The newest rows of the audit log, "action subject".
  std::vector<std::string> audit(std::uint64_t rows) {
    std::vector<std::string> lines;
    const auto log = registry_.log({.limit = rows});
    for (const AuditEntry& entry : *log)
      lines.push_back(entry.action + " " + entry.subject + (entry.from ? " from" : "") +
                      (entry.to ? " to" : ""));
    return lines;
  }

  Registry registry_ = open();
  Digest one_, two_, other_;
};

using Names = std::vector<std::string>;

TEST_F(NamesTest, CopyOfOneVersionMovesTheNameThatIsThere) {
  const auto given = registry_.copy("demo:one", "other");
  ASSERT_TRUE(given) << given.error().what;
  ASSERT_EQ(given->size(), 1u);
  EXPECT_EQ(given->front().to.text(), "other:latest");
  EXPECT_EQ(version("other"), one_);
  EXPECT_EQ(version("demo:one"), one_);
  EXPECT_EQ(audit(1), Names{"tag other:latest from to"});
  EXPECT_EQ(registry_.log({.limit = 1})->front().from, other_);
}

TEST_F(NamesTest, CopyOfAModelTakesAllTags) {
  ASSERT_EQ(registry_.copy("demo", "backup/demo")->size(), 2u);
  EXPECT_EQ(names(), (Names{"backup/demo:one", "backup/demo:two", "demo:one", "demo:two", "other:latest"}));
  EXPECT_EQ(version("backup/demo:two"), two_);
  EXPECT_EQ(audit(2), (Names{"tag backup/demo:one to", "tag backup/demo:two to"}));
}

TEST_F(NamesTest, RenameTakesAllTagsAlong) {
  ASSERT_EQ(registry_.rename("demo", "story")->size(), 2u);
  EXPECT_EQ(names(), (Names{"other:latest", "story:one", "story:two"}));
  EXPECT_EQ(version("story:one"), one_);
  EXPECT_EQ(audit(4), (Names{"rename demo:one from", "rename story:one to", "rename demo:two from",
                             "rename story:two to"}));
  EXPECT_EQ(registry_.gc()->blobs_removed, 0u);
}

TEST_F(NamesTest, RenameOfOneTag) {
  ASSERT_EQ(registry_.rename("demo:one", "demo:stable")->size(), 1u);
  EXPECT_EQ(names(), (Names{"demo:stable", "demo:two", "other:latest"}));
}

// The second of the two tags is in the way: the first one stays as well.
TEST_F(NamesTest, RenameOntoANameThatIsThereChangesNothing) {
  ASSERT_TRUE(registry_.copy("other", "story:two"));
  const Names before = names();
  const auto rows = registry_.log({})->size();
  const auto refused = registry_.rename("demo", "story");
  ASSERT_FALSE(refused);
  expect_clear(refused.error(), Errc::invalid, "story:two already");
  EXPECT_EQ(names(), before);
  EXPECT_EQ(registry_.log({})->size(), rows);
  EXPECT_FALSE(registry_.rename("demo", "demo"));
  EXPECT_EQ(names(), before);
}

TEST_F(NamesTest, MistakesAreNamed) {
  expect_clear(registry_.copy("nobody", "story").error(), Errc::not_found, "no model 'nobody'");
  expect_clear(registry_.rename("demo:three", "demo:four").error(), Errc::not_found, "demo:one");
  expect_clear(registry_.copy("demo", "not a name").error(), Errc::invalid, "not a name");
  Registry reader = open(Registry::Mode::read_only);
  expect_clear(reader.copy("demo", "story").error(), Errc::invalid, "reading only");
}

TEST_F(NamesTest, PrefixesOfDigestsAndUnknownNames) {
  EXPECT_EQ(version(one_.hex().substr(0, 9)), one_);
  EXPECT_EQ(version(one_.hex()), one_);
  expect_clear(registry_.resolve("0000000000").error(), Errc::not_found, "demo:one, demo:two, other:latest");
  ASSERT_TRUE(registry_.remove(*ModelRef::parse("demo:one")));
  EXPECT_FALSE(registry_.resolve(one_.hex()));  // it has no name any more
  // Two versions whose digests begin alike.
  sql("INSERT INTO version(digest, manifest, created) VALUES "
      "(x'abababab00000000000000000000000000000000000000000000000000000000', '{}', 0),"
      "(x'abababab11000000000000000000000000000000000000000000000000000000', '{}', 0);"
      "INSERT INTO tag(model, tag, version, updated) SELECT 'twin', hex(digest), id, 0 FROM version WHERE "
      "manifest = '{}'");
  expect_clear(registry_.resolve("abababab").error(), Errc::invalid, "more digits");
  EXPECT_EQ(registry_.resolve("abababab1").error().code, Errc::corrupt) << "found, but its manifest is none";
}

}  // namespace
}  // namespace dgq::test

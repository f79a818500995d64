// `dgq registry` as a user meets it.
#include "tests/registry/command_fixture.h"

namespace dgq::test {
namespace {

TEST_F(RegistryCommandTest, LifeOfARegistry) {
  EXPECT_EQ(json("init").at("created"), true);
  EXPECT_EQ(json("init").at("created"), false);
  EXPECT_NE(run("list").out.find("is empty"), std::string::npos);
  Digest digest;
  {
    Registry registry = open();
    digest = *add(registry, "demo", model(1));
    LayerCache cache(LayerCache::default_folder(path()));
    EXPECT_OK(cache.materialise(registry, registry.resolve("demo")->manifest.blobs[0]));
  }
  EXPECT_EQ(json("list").at("models").at(0).at("version"), digest.hex());
  EXPECT_NE(run("list").out.find("demo:latest"), std::string::npos);
  const Json shown = json("show demo");
  EXPECT_EQ(shown.at("blobs").size(), 3u);
  EXPECT_GT(shown.at("blobs").at(0).at("stored_bytes"), 0);
  EXPECT_NE(run("show " + digest.short_hex()).out.find("LlamaForCausalLM"), std::string::npos);

  EXPECT_EQ(json("tag demo demo:stable").at("name"), "demo:stable");
  EXPECT_EQ(json("remove demo").at("version"), digest.hex());
  EXPECT_EQ(json("list").at("models").size(), 1u);
  EXPECT_EQ(json("verify").at("files_checked"), 1);
  EXPECT_EQ(json("remove demo:stable").at("version"), digest.hex());
  EXPECT_EQ(json("tag " + digest.hex() + " demo").at("version"), digest.hex());  // undone
  EXPECT_EQ(run("remove demo").exit_code, 0);
  const Json freed = json("gc");
  EXPECT_EQ(freed.at("blobs_removed"), 3);
  EXPECT_EQ(freed.at("files_removed"), 1);
  EXPECT_EQ(json("list").at("blobs"), 0);
}

// A version that was made before passes, clipped weights and inputs were in the report.
TEST_F(RegistryCommandTest, ShowPrintsTheReportOfAnOldVersion) {
  Registry registry = open();
  const auto add_with = [&](const char* name, const Json& report) {
    auto ingest = registry.begin_ingest();
    Manifest manifest;
    manifest.config = Json::object();
    manifest.blobs = {*ingest->add_blob("layers.0", "layer", pseudo_weights(100, 1))};
    manifest.report = report;
    manifest.provenance = {{"tool", "dgq test"}};
    ASSERT_TRUE(ingest->commit(manifest, *ModelRef::parse(name)));
  };
  const Json layer = {{"name", "layers.0.q_proj"},
                      {"n", 384},
                      {"k", 384},
                      {"kind", "w4"},
                      {"group", 128},
                      {"bytes", 78336},
                      {"bpw", 4.25},
                      {"error_minmax", 0.0123},
                      {"error", 0.00987}};
  add_with("demo", {{"layers", {layer}}});
  const Outcome shown = run("show demo");
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  for (const char* text : {"layers.0.q_proj", "4.250", "0.0123", "0.00987", "dgq test"})
    EXPECT_NE(shown.out.find(text), std::string::npos) << shown.out;
  EXPECT_EQ(run("show demo --html " + (scratch_ / "demo.html").string()).exit_code, 0);
  EXPECT_NE(file_text(scratch_ / "demo.html").find("layers.0.q_proj"), std::string::npos);
  EXPECT_EQ(json("show demo").at("report").at("layers").at(0), layer);

  add_with("odd", {{"layers", {layer, "not an object"}}});
  const Outcome odd = run("show odd");
  EXPECT_EQ(odd.exit_code, 0) << odd.err;
  EXPECT_NE(odd.out.find("The report cannot be shown"), std::string::npos) << odd.out;
  EXPECT_NE(odd.out.find("dgq test"), std::string::npos) << "the rest is shown";
  expect_line("show odd --html " + (scratch_ / "odd.html").string(), "name");
}

TEST_F(RegistryCommandTest, VerifyListsFaultsAndFails) {
  Digest damaged;
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(1)));
    damaged = registry.resolve("demo")->manifest.blobs[1].digest;
  }
  EXPECT_EQ(run("verify").exit_code, 0);
  flip_stored_byte(damaged);
  const Outcome outcome = run("verify");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.out.find("layers.1 of demo:latest"), std::string::npos) << outcome.out;
  const Json report = json("verify", 1);
  EXPECT_EQ(report.at("ok"), false);
  EXPECT_EQ(report.at("faults").size(), 1u);
}

TEST_F(RegistryCommandTest, VerifyRepairs) {
  const std::string bundle = (scratch_ / "demo.dgqb").string();
  Digest first, second;
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(1)));
    const Manifest manifest = registry.resolve("demo")->manifest;
    first = manifest.blobs[0].digest, second = manifest.blobs[1].digest;
    LayerCache cache(LayerCache::default_folder(path()));
    EXPECT_OK(cache.materialise(registry, manifest.blobs[0]));
  }
  EXPECT_EQ(run("export demo -o " + bundle).exit_code, 0);
  EXPECT_EQ(run("verify").out.find("--repair"), std::string::npos);
  flip_stored_byte(first), flip_stored_byte(second);
  const std::string found = run("verify").out, last = found.substr(found.rfind('\n', found.size() - 2) + 1);
  EXPECT_NE(last.find("dgq registry verify --repair"), std::string::npos) << last;

  const Json part = json("verify --repair", 1);
  EXPECT_EQ(part.at("ok"), false);
  ASSERT_EQ(part.at("restored").size(), 1u);
  EXPECT_NE(part.at("restored")[0].at("from").get<std::string>().find("layer file"), std::string::npos);
  ASSERT_EQ(part.at("lost").size(), 1u);
  EXPECT_EQ(part.at("lost")[0].at("needed_by"), Json::array({"demo:latest"}));
  const Outcome lost = run("verify --repair");
  EXPECT_EQ(lost.exit_code, 1);
  EXPECT_NE(
      lost.out.find("lost: layers.1 of demo:latest (" + second.short_hex() + "), needed by demo:latest\n"),
      std::string::npos)
      << lost.out;

  const Outcome mended = run("verify --repair --from " + bundle);
  EXPECT_EQ(mended.exit_code, 0) << mended.out;
  EXPECT_NE(
      mended.out.find("restored: layers.1 of demo:latest (" + second.short_hex() + ") from " + bundle + "\n"),
      std::string::npos)
      << mended.out;
  EXPECT_EQ(json("verify").at("ok"), true);
  expect_line("verify --from " + bundle, "--repair");
  expect_line("verify demo --repair", "whole registry");
  expect_line("verify --repair --from " + (scratch_ / "none").string(), "none");
}

// The way that docs/REGISTRY.md tells.
TEST_F(RegistryCommandTest, ANewFileOfWhatADamagedOneHas) {
  if (run_shell("command -v sqlite3").exit_code != 0) {
    not_covered("a new registry out of a damaged database: sqlite3 is not installed");
    GTEST_SKIP();
  }
  const std::string bundle = (scratch_ / "demo.dgqb").string(), next = (scratch_ / "new.db").string();
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(1)));
  }
  EXPECT_EQ(run("export demo -o " + bundle).exit_code, 0);
  const std::uint64_t page = sql_integer("SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'");
  std::string text = file_text(path());
  std::fill_n(text.begin() + static_cast<std::ptrdiff_t>((page - 1) * 65536), 200, '\0');
  std::ofstream(path(), std::ios::binary) << text;
  EXPECT_EQ(json("verify", 1).at("database_damaged"), true);
  const Outcome refused = run("verify --repair --from " + bundle);
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.out.find("docs/REGISTRY.md"), std::string::npos) << refused.out;
  EXPECT_TRUE(file_text(path()) == text);
  const std::string docs = file_text(test::source_folder() / "docs/REGISTRY.md");
  const std::size_t from = docs.find("    (echo \"PRAGMA page_size"),
                    to = docs.find("    dgq registry verify --repair --reg");
  ASSERT_TRUE(from < to && to != docs.npos);
  EXPECT_EQ(run_shell("cd " + scratch_.path().string() + "\n" + docs.substr(from, to - from)).exit_code, 0);
  const Outcome mended = run_dgq("registry verify --repair --registry " + next + " --from " + bundle);
  EXPECT_EQ(mended.exit_code, 0) << mended.out << mended.err;
  Registry registry = std::move(*Registry::open(next, Registry::Mode::read_write));
  expect_whole(registry, "demo", model(1));
}

// What nothing needs is no fault.
TEST_F(RegistryCommandTest, VerifyTellsWhatNothingNeeds) {
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo", model(1)));
    ASSERT_TRUE(add(registry, "gone", model(2)));
    LayerCache cache(LayerCache::default_folder(path()));
    for (const char* name : {"demo", "gone"})
      EXPECT_OK(cache.materialise(registry, registry.resolve(name)->manifest.blobs[0]));
    EXPECT_EQ(json("verify").at("notes"), Json::array());
    ASSERT_TRUE(registry.remove(*ModelRef::parse("gone")));
  }
  const Outcome outcome = run("verify");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find("note: 3 blobs that no version needs, "), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("note: 1 layer file that no version needs, 100.0 kB (dgq registry gc)\n"),
            std::string::npos)
      << outcome.out;
  EXPECT_EQ(run("gc").exit_code, 0);
  EXPECT_EQ(json("verify").at("notes"), Json::array());
  sql("INSERT INTO ingest(started, who, resume) VALUES (unixepoch(), 'x', x'00')");
  EXPECT_EQ(json("verify").at("notes").size(), 1u) << "an interrupted import";
}

TEST_F(RegistryCommandTest, MistakesGiveOneLine) {
  expect_line("list", "dgq registry init");
  open();
  expect_line("show demo", "no model 'demo'");
  expect_line("show", "--help");
  expect_line("tag demo", "missing name");
  expect_line("remove 'not a name'", "not a name");
  expect_line("list --no-such-flag", "--help");
  expect_line("frobnicate", "frobnicate");
  sql("PRAGMA user_version = 77");
  expect_line("list", "upgrade");
  expect_line("init", "upgrade");
  std::ofstream(path()) << std::string(5000, 'x');
  expect_line("verify", "not a dgq registry");
}

}  // namespace
}  // namespace dgq::test

// cat, diff, log, stats, copy, rename, untag, gc --work as a user meets them.
#include "tests/registry/command_fixture.h"

namespace dgq::test {
namespace {

class RegistryInquiryCommandTest : public RegistryCommandTest {
 protected:
  void SetUp() override {
    Registry registry = open();
    one_ = *add(registry, "demo:one", model(1));
    Model blobs = model(1);
    blobs[2].bytes = pseudo_weights(100'000, 5);
    two_ = *add(registry, "demo:two", blobs);
  }
  Digest one_, two_;
};

TEST_F(RegistryInquiryCommandTest, CatIsByteForByte) {
  const Outcome manifest = run("cat demo:one");
  EXPECT_EQ(manifest.exit_code, 0) << manifest.err;
  EXPECT_EQ(sha256(manifest.out), one_);
  EXPECT_EQ(json("cat demo:one").at("blobs").size(), 3u);
  const Outcome blob = run("cat demo:one layers.1");
  const Bytes expected = model(1)[1].bytes;
  EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(blob.out)), expected));
  EXPECT_EQ(run("cat demo:one " + sha256(expected).short_hex()).out, blob.out);
  expect_line("cat demo:one layers.9", "layers.0, layers.1, layers.2");
  expect_line("cat demo:one layers.1 --json", "manifest");
  // `script` gives the command a terminal.
  const Outcome terminal =
      run_shell("script -qec '" + dgq_command() + " registry cat demo:one layers.1 --registry " +
                path().string() + "' /dev/null");
  if (terminal.exit_code == 127) {
    not_covered("binary on a terminal: no script(1)");
    return;
  }
  EXPECT_EQ(terminal.exit_code, 2);
  EXPECT_NE(terminal.out.find("not for a terminal"), std::string::npos) << terminal.out;
}

TEST_F(RegistryInquiryCommandTest, DiffAndItsExitCode) {
  const Json diff = json("diff demo:one demo:two");
  EXPECT_EQ(diff.at("same"), false);
  EXPECT_EQ(diff.at("blobs").at(2).at("change"), "changed");
  EXPECT_EQ(diff.at("transfer_blobs"), 1);
  const Outcome text = run("diff demo:one demo:two");
  EXPECT_NE(text.out.find("2 blobs the same, 1 changed"), std::string::npos) << text.out;
  EXPECT_EQ(run("diff demo:one demo:two --exit-code").exit_code, 1);
  EXPECT_EQ(run("diff demo:one demo:one --exit-code").exit_code, 0);
  EXPECT_NE(run("diff demo:one " + one_.hex()).out.find("the same version"), std::string::npos);
  expect_line("diff demo:one", "missing b");
}

TEST_F(RegistryInquiryCommandTest, DiffNamesMembersOfTheManifestAndErrors) {
  Registry registry = open();
  const auto add_with = [&](const char* name, double error, int group) {
    auto ingest = registry.begin_ingest();
    LayerBlobBuilder layer;
    layer.add({.name = "q_proj", .kind = TensorKind::w8_n16k4, .n = 16, .k = 32},
              pseudo_weights(576, static_cast<unsigned>(group)));
    Manifest manifest;
    manifest.config = Json::object();
    manifest.blobs = {*ingest->add_blob("layers.0", "layer", layer.finish())};
    manifest.recipe = {{"passes", {{{"pass", "search"}, {"group", group}}}}};
    manifest.report = {{"layers",
                        {{{"name", "layers.0.q_proj"},
                          {"n", 16},
                          {"k", 32},
                          {"kind", "w8"},
                          {"group", 0},
                          {"bytes", 576},
                          {"bpw", 9.0},
                          {"error_minmax", 0.5},
                          {"error", error}}}}};
    ASSERT_TRUE(ingest->commit(manifest, *ModelRef::parse(name)));
  };
  add_with("a", 0.2, 64);
  add_with("b", 0.1, 128);
  const Json diff = json("diff a b");
  EXPECT_EQ(diff.at("manifest").size(), 1u) << diff.at("manifest");
  EXPECT_EQ(diff.at("manifest").at(0).at("path"), "/recipe/passes/0/group");
  EXPECT_EQ(diff.at("manifest").at(0).at("b"), 128);
  EXPECT_EQ(diff.at("tensors").at(0).at("error_b"), 0.1);
  EXPECT_GT(diff.at("tensors").at(0).at("bytes_differing"), 0);
  const Outcome text = run("diff a b");
  for (const char* part : {"-50.0 %", "layers.0.q_proj", "/recipe/passes/0/group"})
    EXPECT_NE(text.out.find(part), std::string::npos) << text.out;
}

TEST_F(RegistryInquiryCommandTest, LogCutsLongSubjectsInTheTableOnly) {
  const std::string costs = "[{\"stage\":\"" + std::string(200, 'x') + "\"}]";
  {
    Registry registry = open();
    auto ingest = registry.begin_ingest();
    Manifest manifest;
    manifest.config = Json::object();
    manifest.blobs = {*ingest->add_blob("layers.0", "layer", pseudo_weights(100, 1))};
    ASSERT_TRUE(ingest->commit(manifest, *ModelRef::parse("costly"), {}, costs));
  }
  const Outcome table = run("log costly");
  EXPECT_NE(table.out.find("costs   [{\"stage\":\"xxx"), std::string::npos) << table.out;
  EXPECT_EQ(table.out.find(std::string(60, 'x')), std::string::npos);
  const Json log = json("log costly");
  EXPECT_EQ(log.at("entries").back().at("subject"), costs);
  EXPECT_EQ(log.at("entries").front().at("action"), "add");
  EXPECT_TRUE(log.at("entries").front().at("from").is_null());
  EXPECT_EQ(json("log --limit 1").at("entries").size(), 1u);
  EXPECT_EQ(json("log --since 2001-01-01").at("entries").size(), json("log").at("entries").size());
  EXPECT_EQ(json("log --since 1h").at("entries").size(), json("log").at("entries").size());
  EXPECT_EQ(json("log --since 2100-01-01T00:00:00Z").at("entries").size(), 0u);
  for (const char* wrong : {"yesterday", "3x", "h", "''", "-1h", "2026-13-01", "99999999999999999999d"})
    expect_line(std::string("log --since ") + wrong, "--since");
  expect_line("log nobody", "nothing about 'nobody'");
}

TEST_F(RegistryInquiryCommandTest, StatsAndAbandonedWork) {
  const std::filesystem::path job = path().string() + ".work/" + std::string(64, 'a');
  std::filesystem::create_directories(job);
  std::ofstream(job / "lock");
  std::ofstream(job / "plan.blob") << std::string(1000, 'x');
  for (const auto& at : {job / "lock", job / "plan.blob", job})
    std::filesystem::last_write_time(at,
                                     std::filesystem::file_time_type::clock::now() - std::chrono::hours(200));
  const Json stats = json("stats");
  EXPECT_EQ(stats.at("versions"), 2);
  EXPECT_EQ(stats.at("referred_bytes"), 600'000);
  EXPECT_EQ(stats.at("bytes"), 400'000);
  EXPECT_GT(stats.at("dedup_factor"), 1.5);
  EXPECT_EQ(stats.at("abandoned_work").at("bytes"), 1000);
  const Outcome text = run("stats");
  for (const char* part : {"zstd", "gc would free 0 blobs", "1 abandoned work folders"})
    EXPECT_NE(text.out.find(part), std::string::npos) << text.out;
  EXPECT_NE(run("gc").out.find("kept: 1 abandoned work folders"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(job));
  EXPECT_EQ(json("gc --work").at("abandoned_work").at("removed"), true);
  EXPECT_FALSE(std::filesystem::exists(job));
}

TEST_F(RegistryInquiryCommandTest, NamesAreCopiedRenamedAndRemoved) {
  EXPECT_EQ(json("copy demo story").at("names").size(), 2u);
  EXPECT_EQ(json("rename story tale").at("names").at(1).at("to"), "tale:two");
  EXPECT_EQ(run("list --names").out, "demo:one\ndemo:two\ntale:one\ntale:two\n");
  expect_line("rename demo tale", "tale:one already");
  EXPECT_EQ(json("untag tale:one").at("version"), one_.hex());
  expect_line("untag tale", "which tag");
  expect_line("untag tale:one", "no model 'tale:one'");
  expect_line("list --names --json", "not both");
}

TEST_F(RegistryInquiryCommandTest, ShowIsACard) {
  const Json card = json("show demo:two").at("card");
  EXPECT_EQ(card.at("bytes"), 300'000);
  EXPECT_EQ(card.at("shared_bytes"), 200'000);
  Registry registry = open();
  auto ingest = registry.begin_ingest();
  Manifest manifest;
  manifest.config = {{"architectures", {"LlamaForCausalLM"}}, {"max_position_embeddings", 512}};
  manifest.blobs = {*ingest->add_blob("layers.0", "layer", pseudo_weights(100, 1))};
  manifest.recipe = {{"method", "dgq"}, {"name", "mine"}, {"passes", {{{"pass", "static-activations"}}}}};
  const auto tensor = [](const char* name, const char* kind, int group, int bytes) {
    return Json{{"name", name}, {"n", 1000},           {"k", 800},
                {"kind", kind}, {"group", group},      {"bytes", bytes},
                {"bpw", 1.0},   {"error_minmax", 0.1}, {"error", 0.1}};
  };
  manifest.report = {
      {"layers",
       {tensor("embedding.embed_tokens", "w8", 0, 800'000), tensor("layers.0.q_proj", "w4", 64, 400'000)}}};
  manifest.provenance = {{"calibration", "abc123"}};
  ASSERT_TRUE(ingest->commit(manifest, *ModelRef::parse("made")));
  const Outcome shown = run("show made");
  for (const char* part :
       {"LlamaForCausalLM", "context 512", "1.60 M in matrices, 800000 of them in linears",
        "4.000 of linears, 6.000 of all", "dgq mine", "static scales", "calibration   abc123"})
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
  EXPECT_EQ(json("show made").at("card").at("bits_per_weight"), 6.0);
}

// Every one that docs/REGISTRY.md lists runs, on names that are there, and has an answer.
TEST_F(RegistryInquiryCommandTest, QuestionsInSql) {
  if (run_shell("command -v sqlite3").exit_code != 0) {
    not_covered("questions in SQL: sqlite3 is not installed");
    GTEST_SKIP();
  }
  {
    Registry registry = open();
    ASSERT_TRUE(add(registry, "demo:old", model(3)));
    ASSERT_TRUE(add(registry, "demo:latest", model(1)));
  }
  sql("INSERT INTO audit(time, who, tool, action, subject, to_digest) VALUES"
      " (unixepoch('2026-10-01'), 'x', 'dgq', 'tag', 'demo:latest', zeroblob(32));"
      "DROP TRIGGER version_is_fixed; UPDATE version SET manifest = json_set(manifest, '$.report', "
      "json('{\"layers\": [{\"name\": "
      "\"q\"}]}'))");
  const std::string docs = file_text(source_folder() / "docs/REGISTRY.md");
  std::size_t from = docs.find("    -- "), questions = 0;
  const std::size_t end = docs.find("\n## ", from);
  for (std::size_t to; from < end; from = to, ++questions) {
    to = std::min(docs.find("    -- ", from + 1), end);
    std::ofstream(scratch_ / "question.sql") << docs.substr(from, to - from);
    const Outcome answer =
        run_shell("sqlite3 -readonly " + path().string() + " <" + (scratch_ / "question.sql").string());
    EXPECT_EQ(answer.exit_code, 0);
    EXPECT_EQ(answer.err, "") << docs.substr(from, to - from);
    EXPECT_GT(answer.out.size(), 2u) << docs.substr(from, to - from);
  }
  EXPECT_EQ(questions, 6u);
}

}  // namespace
}  // namespace dgq::test

// `dgq tokenize` as a user runs it.
#include <gtest/gtest.h>

#include <fstream>

#include "base/file.h"
#include "base/json.h"
#include "registry/registry.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

using test::run_dgq;
using test::run_shell;

const std::string kTokenizer = "--tokenizer " + test::repository_file("models/demo/tokenizer.json").string();
const std::string kTokenize = test::dgq_command() + " tokenize " + kTokenizer;

std::vector<Json> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(*parse_json(line, "output"));
  return lines;
}

TEST(TokenizeCommand, StreamsTheGoldenFile) {
  const auto golden_path = test::repository_file("models/demo/tokenizer_golden.jsonl");
  const auto golden = lines_of(test::file_text(golden_path));
  ASSERT_EQ(golden.size(), 263u);
  for (const std::string flags : {"", " --decode"}) {
    const auto outcome = run_shell(kTokenize + " --jsonl" + flags + " < " + golden_path.string());
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    const auto lines = lines_of(outcome.out);
    ASSERT_EQ(lines.size(), golden.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      EXPECT_EQ(lines[i]["ids"], golden[i]["ids"]);
      EXPECT_EQ(lines[i]["text"], golden[i][flags.empty() ? "text" : "decoded"]);
    }
  }
}

TEST(TokenizeCommand, TextFileOrStandardInput) {
  const test::ScratchFolder scratch;
  std::ofstream(scratch / "text") << "Hello world";
  EXPECT_EQ(run_dgq("tokenize " + kTokenizer + " 'Hello world'").out, "42 507 81 950\n");
  EXPECT_EQ(run_dgq("tokenize " + kTokenizer + " --file " + (scratch / "text").string()).out,
            "42 507 81 950\n");
  EXPECT_EQ(run_shell("printf 'Hello world' | " + kTokenize).out, "42 507 81 950\n");
  EXPECT_EQ(run_shell("echo 42 507 81 950 | " + kTokenize + " --decode").out, "Hello world\n");
  EXPECT_EQ(run_dgq("tokenize " + kTokenizer + " --json 'Hello world'").out,
            "{\"text\":\"Hello world\",\"ids\":[42,507,81,950]}\n");
  EXPECT_EQ(run_dgq("tokenize " + kTokenizer + " ''").out, "\n");
  EXPECT_EQ(run_dgq("tokenize " + kTokenizer + " --decode --skip-special '0 42'").out, "H\n");
  EXPECT_EQ(run_dgq("tokenize " + kTokenizer + " --decode '0 42'").out, "<|endoftext|>H\n");
}

TEST(TokenizeCommand, JsonLinesInShortForm) {
  EXPECT_EQ(run_shell("echo '\"Hello world\"' | " + kTokenize + " --jsonl").out,
            "{\"text\":\"Hello world\",\"ids\":[42,507,81,950]}\n");
  EXPECT_EQ(run_shell("echo '[42, 507]' | " + kTokenize + " --jsonl --decode").out,
            "{\"ids\":[42,507],\"text\":\"Hell\"}\n");
}

TEST(TokenizeCommand, SpecialAddsBos) {
  const auto path = test::shared_file("models/stories260K/tokenizer.json", "dgq tokenize --special");
  if (path.empty()) GTEST_SKIP();
  const std::string command = "tokenize --tokenizer " + path.string();
  const std::string plain = run_dgq(command + " Once").out;
  EXPECT_EQ(run_dgq(command + " --special Once").out, "1 " + plain);
}

// A registry with one model, which is a tokenizer only (or not even that).
Result<void> make_registry(const std::filesystem::path& path, bool with_tokenizer) {
  DGQ_TRY(Registry registry, Registry::open(path, Registry::Mode::read_write, true));
  DGQ_TRY(Ingest ingest, registry.begin_ingest());
  DGQ_TRY(const std::string json, read_file(test::repository_file("models/demo/tokenizer.json"), 1 << 20));
  Manifest manifest;
  manifest.config = Json::object();
  DGQ_TRY(const BlobRef blob, ingest.add_blob(with_tokenizer ? "tokenizer" : "other", "tokenizer.json",
                                              std::as_bytes(std::span(json))));
  manifest.blobs = {blob};
  DGQ_TRY(const ModelRef name, ModelRef::parse("tiny"));
  const auto committed = ingest.commit(manifest, name);
  if (!committed) return committed.error();
  return {};
}

TEST(TokenizeCommand, ModelOfARegistry) {
  const test::ScratchFolder scratch;
  const auto path = scratch / "registry.db", without = scratch / "without.db";
  const auto made = make_registry(path, true), made_without = make_registry(without, false);
  ASSERT_TRUE(made) << made.error().what;
  ASSERT_TRUE(made_without) << made_without.error().what;
  const std::string flag = "tokenize --registry ";
  EXPECT_EQ(run_dgq(flag + path.string() + " --model tiny 'Hello world'").out, "42 507 81 950\n");
  EXPECT_NE(run_dgq(flag + path.string() + " --model other x").err.find("other"), std::string::npos);
  EXPECT_EQ(run_dgq(flag + without.string() + " --model tiny x").err,
            "dgq tokenize: tiny was stored without a tokenizer\n");
}

struct Misuse {
  const char* line;     // for the shell, T standing for kTokenize
  const char* message;  // part of the one line on stderr
};

TEST(TokenizeCommand, BadInputIsOneLine) {
  const Misuse misuses[] = {
      {"printf '%s\\n' '\"ok\"' '{' | T --jsonl", "standard input, line 2: not valid JSON"},
      {"printf '%s\\n' '\"ok\"' '7' | T --jsonl", "line 2: must be {\"text\""},
      {"printf '%s\\n' '{\"ids\": [1, 4096]}' | T --jsonl --decode", "line 1: no token has the id 4096"},
      {"printf '%s\\n' '[1, 2.5]' | T --jsonl --decode", "line 1: 2.5 is not a token id"},
      {"printf '%s\\n' '[-1]' | T --jsonl --decode", "line 1: -1 is not a token id"},
      {"T --decode '1 2x'", "\"2x\" is not a token id"},
      {"T --decode 99999999999", "is not a token id"},
      {"printf '\\377' | T", "standard input: the text is not UTF-8 (byte 0)"},
      {"T --file /nonexistent", "cannot open /nonexistent: No such file"},
      {"T --file /", "cannot read /"},
      {"T --json --jsonl", "--json or --jsonl"},
      {"T --file a b", "a TEXT or --file"},
      {"T --model m x", "either --model"},
      {"T --special --decode 1", "--special is for encoding"},
      {"T --skip-special x", "--skip-special needs --decode"},
      {"T --nonsense", "nonsense"},
      {"T x > /dev/full", "cannot write to standard output"},
  };
  for (const auto& [line, message] : misuses) {
    std::string command = line;
    const std::size_t at = command.starts_with("T ") ? 0 : command.find(" T") + 1;
    command.replace(at, 1, kTokenize);
    const auto outcome = run_shell(command);
    EXPECT_GT(outcome.exit_code, 0) << line;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << line << ": " << outcome.err;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  }
}

TEST(TokenizeCommand, BrokenTokenizerNamesTheFile) {
  const test::ScratchFolder scratch;
  std::ofstream(scratch / "t.json") << "{\"model\": {";
  const auto outcome = run_dgq("tokenize --tokenizer " + (scratch / "t.json").string() + " x");
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_NE(outcome.err.find("t.json: not valid JSON: parse error at line 1"), std::string::npos)
      << outcome.err;
}

TEST(TokenizeCommand, HelpShowsExamples) {
  const auto outcome = run_dgq("tokenize --help");
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.out.find("Examples:"), std::string::npos);
}

}  // namespace
}  // namespace dgq

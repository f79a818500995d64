// The tokenizer in GGUF metadata gives the ids of the tokenizer.json that the metadata was made of.
#include "quantizer/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <functional>

#include "quantizer/gguf.h"
#include "runtime/tokenizer.h"
#include "tests/support/command.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/shared.h"
#include "tests/support/tokenizer_golden.h"

namespace dgq {
namespace {

using test::GgufWriter;

Result<std::string> convert(const GgufWriter& gguf) {
  const std::string bytes = gguf.bytes();
  DGQ_TRY(const Gguf parsed, parse_gguf(std::as_bytes(std::span(bytes)), "m.gguf"));
  return tokenizer_from_gguf(parsed.metadata, "m.gguf");
}

// The tokenizer that the runtime makes of it.
Tokenizer tokenizer_of(const GgufWriter& gguf) {
  const auto text = convert(gguf);
  EXPECT_TRUE(text) << text.error().what;
  auto tokenizer = Tokenizer::parse(text ? *text : "", "m.gguf");
  EXPECT_TRUE(tokenizer) << tokenizer.error().what;
  return std::move(*tokenizer);
}

Json read_json(const std::filesystem::path& path) { return Json::parse(test::file_text(path)); }

void check_byte_level(const std::filesystem::path& folder, const char* golden, const char* pre) {
  GgufWriter gguf;
  test::set_gguf_tokenizer(gguf, read_json(folder / "tokenizer.json"), pre);
  test::check_golden(tokenizer_of(gguf), folder / golden);
}

TEST(GgufTokenizer, Demo) {
  check_byte_level(test::repository_file("models/demo"), "tokenizer_golden.jsonl", "llama-bpe");
}

struct Shared {
  const char *folder, *golden, *pre;
};
class GgufTokenizerShared : public testing::TestWithParam<Shared> {};
TEST_P(GgufTokenizerShared, GivesTheGoldenIds) {
  const auto folder = test::shared_file(GetParam().folder, "tokenizer goldens through GGUF");
  if (folder.empty()) GTEST_SKIP();
  check_byte_level(folder, GetParam().golden, GetParam().pre);
}
INSTANTIATE_TEST_SUITE_P(Files, GgufTokenizerShared,
                         testing::Values(Shared{"models/eval", "tokenizer_golden.jsonl", "llama-bpe"},
                                         Shared{"data/tokenizers/gpt2", "golden.jsonl", "gpt-2"},
                                         Shared{"data/tokenizers/qwen2.5", "golden.jsonl", "qwen2"}));

// SentencePiece's metadata from a tokenizer.json with byte fallback. score: of a token of the vocabulary.
GgufWriter sentence_piece(const Json& tokenizer,
                          const std::function<float(std::int32_t, const std::string&)>& score) {
  GgufWriter gguf;
  test::set_gguf_tokenizer(gguf, tokenizer, "default");
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<float> scores;
  for (const auto& [text, id] : tokenizer["model"]["vocab"].items()) {
    const auto at = id.get<std::size_t>();
    if (tokens.size() <= at) tokens.resize(at + 1), types.resize(at + 1, 5);
    tokens[at] = text;
    types[at] = text == "<unk>" ? 2 : text.size() == 6 && text.starts_with("<0x") ? 6 : 1;
  }
  for (const Json& added : tokenizer["added_tokens"]) {
    const auto at = added["id"].get<std::size_t>();
    if (tokens.size() <= at) tokens.resize(at + 1), types.resize(at + 1, 5);
    tokens[at] = added["content"];
    if (types[at] != 2) types[at] = 3;
  }
  for (std::size_t i = 0; i < tokens.size(); ++i)
    scores.push_back(types[i] == 1 ? score(static_cast<std::int32_t>(i), tokens[i]) : 0);
  gguf.set("tokenizer.ggml.model", "llama");
  gguf.set("tokenizer.ggml.tokens", tokens);
  gguf.set("tokenizer.ggml.token_type", types);
  gguf.set("tokenizer.ggml.scores", scores);
  gguf.erase("tokenizer.ggml.merges");
  return gguf;
}

Json merges(const std::string& tokenizer_json) { return Json::parse(tokenizer_json)["model"]["merges"]; }

// "a b" and ["a", "b"] alike.
Json as_pairs(const Json& merges) {
  Json pairs = Json::array();
  for (const Json& merge : merges) {
    const std::string text = merge.is_string() ? merge.get<std::string>() : "";
    const std::size_t space = text.find(' ');
    pairs.push_back(merge.is_string() ? Json::array({text.substr(0, space), text.substr(space + 1)}) : merge);
  }
  return pairs;
}

// Phi-3 has Llama 2's vocabulary: scores go down by 1 from the first token after the bytes, but for runs of spaces, which
// come last.
TEST(GgufTokenizer, SentencePieceOfPhi3) {
  const auto folder = test::shared_file("data/tokenizers/phi-3", "SentencePiece goldens through GGUF");
  if (folder.empty()) GTEST_SKIP();
  const Json original = read_json(folder / "tokenizer.json");
  const GgufWriter gguf = sentence_piece(original, [](std::int32_t id, const std::string& text) {
    const bool spaces = text.size() > 3 && test::replace_all(text, "\u2581", "").empty();
    return spaces ? -1e9f : -static_cast<float>(id - 259);
  });
  EXPECT_TRUE(merges(*convert(gguf)) == as_pairs(original["model"]["merges"]));
  test::check_golden(tokenizer_of(gguf), folder / "golden.jsonl");
}

// Pieces and scores of a tokenizer.model: a protocol buffer whose field 1 are pieces, with text in field 1 and score in 2.
std::vector<float> scores_of_model(const std::string& bytes) {
  std::vector<float> scores;
  for (std::size_t at = 0; at + 1 < bytes.size() && bytes[at] == 0x0a;) {
    const std::size_t end = at + 2 + static_cast<unsigned char>(bytes[at + 1]);  // short messages
    std::size_t field = at + 2;
    field += 2 + static_cast<unsigned char>(bytes[field + 1]);  // the text
    float score = 0;
    if (bytes[field] == 0x15) std::memcpy(&score, bytes.data() + field + 1, sizeof score);
    scores.push_back(score);
    at = end;
  }
  return scores;
}

TEST(GgufTokenizer, SentencePieceOfStories260K) {
  const auto folder = test::shared_file("models/stories260K", "SentencePiece scores of tokenizer.model");
  if (folder.empty()) GTEST_SKIP();
  const std::vector<float> scores = scores_of_model(test::file_text(folder / "tokenizer.model"));
  ASSERT_EQ(scores.size(), 512u);
  const Json original = read_json(folder / "tokenizer.json");
  GgufWriter gguf = sentence_piece(
      original, [&](std::int32_t id, const std::string&) { return scores[static_cast<std::size_t>(id)]; });
  gguf.erase("tokenizer.ggml.add_bos_token");  // on when it does not say
  gguf.set("tokenizer.ggml.bos_token_id", 1u);
  EXPECT_EQ(merges(*convert(gguf)), as_pairs(original["model"]["merges"]));
  const Tokenizer ours = tokenizer_of(gguf), theirs = *Tokenizer::read(folder / "tokenizer.json");
  const auto story = test::shared_file("data/tinystories.txt", "SentencePiece on a long text");
  std::string text = "Once upon a time, there was a cat.\nIt said: \"Miau äöü 猫🙂\"  twice";
  if (!story.empty()) text += test::file_text(story).substr(0, 100000);
  EXPECT_EQ(*ours.encode(text, true), *theirs.encode(text, true));
  EXPECT_EQ(ours.encode("a", true)->front(), 1);
  EXPECT_EQ(*ours.decode(*ours.encode(text, true), true), text);
}

// 0..2 special, then pieces. "abc" can come from "ab" + "c" and "a" + "bc".
GgufWriter small_pieces() {
  GgufWriter gguf;
  gguf.set("tokenizer.ggml.model", "llama");
  gguf.set("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>", "<s>", "</s>", "\u2581", "a", "b", "c",
                                                             "ab", "bc", "abc", "[PAD0]"});
  gguf.set("tokenizer.ggml.token_type", std::vector<std::int32_t>{2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5});
  gguf.set("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -9, -9, -9, -9, -2, -1, -3, 0});
  gguf.set("tokenizer.ggml.bos_token_id", 1u);
  gguf.set("tokenizer.ggml.eos_token_id", 2u);
  return gguf;
}

TEST(GgufTokenizer, ScoresDecideWhatMerges) {
  GgufWriter gguf = small_pieces();
  EXPECT_EQ(merges(*convert(gguf)).dump(), R"([["b","c"],["a","b"],["a","bc"],["ab","c"]])");
  EXPECT_EQ(*tokenizer_of(gguf).encode("abc ab", true), (std::vector<std::int32_t>{1, 3, 9, 3, 7}));
  EXPECT_FALSE(tokenizer_of(gguf).find("[PAD0]"));
  gguf.set("tokenizer.ggml.add_bos_token", false);
  gguf.set("tokenizer.ggml.add_eos_token", true);
  gguf.set("tokenizer.ggml.add_space_prefix", false);
  EXPECT_EQ(*tokenizer_of(gguf).encode("abc ab", true), (std::vector<std::int32_t>{9, 3, 7, 2}));
  EXPECT_EQ(*tokenizer_of(gguf).decode(std::vector<std::int32_t>{3, 9}, true), " abc");
}

TEST(GgufTokenizer, PreTokenizersDiffer) {
  GgufWriter gguf;
  test::set_gguf_tokenizer(gguf, test::tiny_tokenizer(), "smollm");
  const auto ids = [&](const char* pre, const char* text) {
    gguf.set("tokenizer.ggml.pre", pre);
    return *tokenizer_of(gguf).encode(text, true);
  };
  EXPECT_EQ(ids("gpt-2", " the"), (std::vector<std::int32_t>{259}));
  EXPECT_EQ(ids("qwen2", "e\u0301").size(), 2u);  // NFC: one character of two bytes
  EXPECT_EQ(ids("llama-bpe", "e\u0301").size(), 3u);
  EXPECT_EQ(ids("smollm", "12 the"), (std::vector<std::int32_t>{'1' + 1, '2' + 1, 259}));
  gguf.erase("tokenizer.ggml.add_bos_token");
  gguf.set("tokenizer.ggml.bos_token_id", 0u);
  EXPECT_EQ(ids("llama-bpe", "x"), (std::vector<std::int32_t>{0, 'x' + 1}));  // adds BOS unless told not to
  EXPECT_EQ(ids("qwen2", "x"), (std::vector<std::int32_t>{'x' + 1}));
}

TEST(GgufTokenizer, RefusesByName) {
  const auto expect_fault = [](const GgufWriter& gguf, Errc code, const std::string& part) {
    const auto text = convert(gguf);
    ASSERT_FALSE(text) << part;
    EXPECT_EQ(text.error().code, code) << text.error().what;
    EXPECT_NE(text.error().what.find(part), std::string::npos)
        << text.error().what << "\nshould hold: " << part;
    EXPECT_TRUE(text.error().what.starts_with("m.gguf: ")) << text.error().what;
  };
  const auto with = [](GgufWriter gguf, const std::string& key, auto value) {
    gguf.set("tokenizer.ggml." + key, value);
    return gguf;
  };
  const auto without = [](GgufWriter gguf, const std::string& key) {
    gguf.erase("tokenizer.ggml." + key);
    return gguf;
  };
  GgufWriter bytes;
  test::set_gguf_tokenizer(bytes, test::tiny_tokenizer(), "gpt-2");
  const GgufWriter pieces = small_pieces();
  expect_fault(with(bytes, "model", "bert"), Errc::unsupported, "tokenizer model \"bert\" is not supported");
  expect_fault(without(bytes, "model"), Errc::corrupt, "\"tokenizer.ggml.model\" is missing");
  expect_fault(with(bytes, "pre", "tekken"), Errc::unsupported, "pre-tokenizer \"tekken\" is not supported");
  expect_fault(without(bytes, "pre"), Errc::corrupt, "\"tokenizer.ggml.pre\" is missing");
  expect_fault(without(bytes, "tokens"), Errc::corrupt, "\"tokenizer.ggml.tokens\" must be an array");
  expect_fault(without(bytes, "merges"), Errc::corrupt, "\"tokenizer.ggml.merges\" must be an array");
  expect_fault(with(bytes, "merges", std::vector<std::string>{"ab"}), Errc::corrupt,
               "merge 0 is not \"a b\"");
  expect_fault(with(bytes, "merges", std::vector<std::int32_t>{1}), Errc::corrupt, "merge 0 is not \"a b\"");
  expect_fault(with(bytes, "token_type", std::vector<std::int32_t>{1}), Errc::corrupt,
               "has 1 elements for 260");
  expect_fault(with(pieces, "token_type", std::vector<std::int32_t>(11, 7)), Errc::corrupt, "of type 1 to 6");
  expect_fault(with(pieces, "tokens", std::vector<std::string>(11, "x")), Errc::corrupt,
               "\"x\" stands there twice");
  expect_fault(with(pieces, "scores", std::vector<float>{1}), Errc::corrupt, "has 1 elements for 11 tokens");
  expect_fault(with(pieces, "scores", std::vector<float>(11, HUGE_VALF)), Errc::corrupt,
               "score 0 is not a finite");
  expect_fault(without(pieces, "scores"), Errc::corrupt, "\"tokenizer.ggml.scores\" must be an array");
  expect_fault(without(pieces, "bos_token_id"), Errc::corrupt, "\"tokenizer.ggml.bos_token_id\" is missing");
  expect_fault(with(pieces, "bos_token_id", 11u), Errc::corrupt, "tokenizer.ggml.bos_token_id");
  std::vector<std::string> tokens(11, "");
  for (std::size_t i = 0; i < 11; ++i) tokens[i] = std::to_string(i);
  tokens[9] = std::string(2000, 'x');
  expect_fault(with(pieces, "tokens", tokens), Errc::corrupt, "has 2000 bytes");
}

}  // namespace
}  // namespace dgq

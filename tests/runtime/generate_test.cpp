// Real models from prompt to text: stories260K (K = 172, its own SentencePiece-like tokenizer), and `dgq run` and `dgq eval`.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/json.h"
#include "quantizer/checkpoint.h"
#include "runtime/detokenizer.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"

namespace dgq {
namespace {

TEST(Stories, GreedyTextIsTheSameOnEveryKernel) {
  const auto folder = test::shared_file("models/stories260K", "stories260K in fp32");
  if (folder.empty()) GTEST_SKIP() << "shared/models/stories260K is not there";
  auto checkpoint = Checkpoint::open(folder);
  ASSERT_TRUE(checkpoint) << checkpoint.error().what;
  const auto model = load_f32(*checkpoint);
  ASSERT_TRUE(model) << model.error().what;
  const auto tokenizer = Tokenizer::parse(checkpoint->tokenizer_json(), "tokenizer.json");
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  for (const auto& row : gemm_f32_kernels()) {
    const auto kernels = select_kernels(row.isa);
    if (!kernels) continue;  // kernels' own tests say what this CPU lacks
    Decoder decoder(checkpoint->config(), *kernels, 1);
    Session session(checkpoint->config(), model->weights, decoder, 100, KvType::f32);
    std::vector<std::int32_t> tokens = *tokenizer->encode("Once upon a time", true);
    Sampler sampler({});
    Detokenizer detokenizer(*tokenizer);
    ASSERT_TRUE(session.append(tokens));
    std::string text;
    for (const std::int32_t token : tokens) text += detokenizer.push(token);
    for (int i = 0; i < 60; ++i) {
      tokens.push_back(*sampler.sample(session.logits(), tokens));
      text += detokenizer.push(tokens.back());
      ASSERT_TRUE(session.append(tokens.back()));
    }
    // What this checkpoint says in every implementation of it.
    EXPECT_EQ(text.find("Once upon a time, there was a little girl named Lily. She loved to play outside in "
                        "the park. One day, "
                        "she saw a big, red ball."),
              0u)
        << row.isa << ": " << text;
  }
}

class RunCommand : public testing::Test {
 protected:
  std::string demo = "--checkpoint " + test::repository_file("models/demo").string() + " ";
};

TEST_F(RunCommand, SameSeedSameTextOnAnyThreads) {
  const std::string prompt = demo + "'The old king' --tokens 12 --seed 3 ";
  const auto one = test::run_dgq("run " + prompt + "--threads 1"),
             two = test::run_dgq("run " + prompt + "--threads 2");
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_GT(one.out.size(), 10u);
  EXPECT_EQ(one.out, two.out);
  EXPECT_NE(one.err.find("kernel "), std::string::npos) << one.err;
  EXPECT_NE(one.err.find("tok/s"), std::string::npos) << one.err;
  EXPECT_NE(test::run_dgq("run " + demo + "'The old king' --tokens 12 --seed 4").out, one.out);
}

TEST_F(RunCommand, JsonIsOneObjectAndNothingElse) {
  const auto outcome = test::run_dgq("run " + demo + "'The old king' --tokens 5 --greedy --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = parse_json(outcome.out, "output");
  ASSERT_TRUE(json) << outcome.out;
  EXPECT_EQ((*json)["tokens"].size(), 5u);
  EXPECT_EQ((*json)["stop"], "tokens");
  EXPECT_FALSE((*json)["text"].get<std::string>().empty());
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1);
}

TEST_F(RunCommand, PromptFromStandardInput) {
  const auto piped =
      test::run_shell("printf 'The old king' | " + test::dgq_command() + " run " + demo + "- --tokens 4");
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_EQ(piped.out, test::run_dgq("run " + demo + "'The old king' --tokens 4").out);
}

TEST_F(RunCommand, StopsAtTheEndOfTheContext) {
  const auto outcome = test::run_dgq("run " + demo + "'The old king' --tokens 50 --context 9 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = *parse_json(outcome.out, "output");
  EXPECT_EQ(json["stop"], "context");
  EXPECT_EQ(json["context"], 9);
}

TEST_F(RunCommand, OneClearLineForBadInput) {
  const std::pair<std::string, const char*> cases[] = {
      {"run " + demo + "hello --tokens 0", "--tokens"},
      {"run " + demo + "hello --context 513", "513"},
      {"run " + demo + "'a long prompt that does not fit' --context 3", "context of 3"},
      {"run " + demo + "hello --temperature -1", "temperature"},
      {"run " + demo + "hello --threads 0", "--threads"},
      {"run " + demo + "hello --kv fp4", "fp4"},
      {"run " + demo + "\"$(printf '\\377')\"", "UTF-8"},
      {"run " + demo, "prompt"},
      {"run", "--checkpoint"},
      {"eval nonsense", "dgq eval --help"},
      {"eval perplexity " + demo, "text"},
      {"eval perplexity " + demo + "--text /nonexistent/file", "/nonexistent/file"},
      {"eval perplexity " + demo + "--context 1 --text " + test::repository_file("LICENSE").string(),
       "2 tokens"},
      {"eval perplexity --text " + test::repository_file("LICENSE").string(), "--model"},
      {"eval perplexity --store " + demo + "--text " + test::repository_file("LICENSE").string(), "--store"},
      {"eval hash " + demo + "--text ''", "empty"},
  };
  for (const auto& [line, word] : cases) {
    const auto outcome = test::run_dgq(line);
    EXPECT_NE(outcome.exit_code, 0) << line;
    EXPECT_EQ(outcome.out, "") << line;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << line << ": " << outcome.err;
    EXPECT_EQ(outcome.error_lines(), 1u) << outcome.err;
  }
}

TEST_F(RunCommand, PerplexityOfAShortText) {
  const std::string text = "--text " + test::repository_file("LICENSE").string();
  const auto outcome = test::run_dgq("eval perplexity " + demo + text + " --context 64 --windows 3 --json");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = *parse_json(outcome.out, "output");
  EXPECT_EQ(json["windows"], 3);
  EXPECT_EQ(json["tokens"], 3 * 63);
  EXPECT_GT(json["perplexity"].get<double>(), 1);
  EXPECT_LT(json["perplexity"].get<double>(), 4096);  // better than knowing nothing
  EXPECT_GT(json["standard_error"].get<double>(), 0);
}

}  // namespace
}  // namespace dgq

#include "runtime/choices.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/perplexity.h"
#include "runtime/session.h"
#include "tests/runtime/synthetic.h"
#include "tests/support/command.h"
#include "tests/support/shared.h"
#include "tests/support/tiny_checkpoint.h"

namespace dgq {
namespace {

using test::small_config;
using test::SyntheticModel;

TEST(ParseQuestions, EveryFormat) {
  const auto blimp =
      parse_questions(R"({"sentence_good": "He is.", "sentence_bad": "He are.", "UID": "x"})", "f");
  ASSERT_TRUE(blimp) << blimp.error().what;
  EXPECT_EQ(blimp->at(0).context, "");
  EXPECT_EQ(blimp->at(0).options, (std::vector<std::string>{"He is.", "He are."}));
  EXPECT_EQ(blimp->at(0).answer, 0u);

  const auto piqa = parse_questions(
      "{\"goal\": \"Boil.\", \"sol1\": \"Cool it\", \"sol2\": \"Heat it\", \"label\": 1}\n\n"
      "{\"goal\": \"Cool.\", \"sol1\": \"a\", \"sol2\": \"b\", \"label\": 0}\r\n",
      "f");
  ASSERT_TRUE(piqa) << piqa.error().what;
  ASSERT_EQ(piqa->size(), 2u);
  EXPECT_EQ(piqa->at(0).context, "Question: Boil.\nAnswer:");
  EXPECT_EQ(piqa->at(0).options, (std::vector<std::string>{" Cool it", " Heat it"}));
  EXPECT_EQ(piqa->at(0).answer, 1u);

  const auto arc =
      parse_questions(R"({"id": "1", "question": {"stem": "Why?", "choices": [{"text": "no", "label": "A"},
      )"
                      R"({"text": "so", "label": "B"}, {"text": "yes", "label": "C"}]}, "answerKey": "B"})",
                      "f");
  ASSERT_FALSE(arc);  // one object in two lines
  const auto arc1 = parse_questions(
      R"({"question": {"stem": "Why?", "choices": [{"text": "no", "label": "1"}, {"text": "so", "label": "2"}]}, )"
      R"("answerKey": "2"})",
      "f");
  ASSERT_TRUE(arc1) << arc1.error().what;
  EXPECT_EQ(arc1->at(0).context, "Question: Why?\nAnswer:");
  EXPECT_EQ(arc1->at(0).answer, 1u);

  const auto lambada = parse_questions("{\"text\": \"She went to the old house \\n\"}", "f");
  ASSERT_TRUE(lambada) << lambada.error().what;
  EXPECT_EQ(lambada->at(0).context, "She went to the old");
  EXPECT_EQ(lambada->at(0).options, std::vector<std::string>{" house"});
}

TEST(ParseQuestions, MistakesNameTheLine) {
  const auto expect_fault = [](const std::string& text, const std::string& what) {
    const auto questions = parse_questions(text, "f.jsonl");
    ASSERT_FALSE(questions) << text;
    EXPECT_NE(questions.error().what.find(what), std::string::npos) << questions.error().what;
  };
  const std::string good = "{\"text\": \"two words\"}\n";
  expect_fault("", "f.jsonl has no question");
  expect_fault(" \n\n", "has no question");
  expect_fault(good + "{", "f.jsonl, line 2");
  expect_fault(good + "[1]", "f.jsonl, line 2 is no question");
  expect_fault(good + R"({"sentence_good": "a", "sentence_bad": "b"})", "line 2 is of another format");
  expect_fault(R"({"text": "word"})", "at least two words");
  expect_fault(R"({"sentence_good": "a"})", "sentence_bad");
  expect_fault(R"({"goal": "a", "sol1": "b", "sol2": "c"})", "label");
  expect_fault(R"({"goal": "a", "sol1": "b", "sol2": "c", "label": 2})", "label");
  expect_fault(R"({"question": {"stem": "a", "choices": []}, "answerKey": "A"})", "choices");
  expect_fault(R"({"question": "a", "answerKey": "A"})", "choices");
  expect_fault(
      R"({"question": {"stem": "a", "choices": [{"text": "b", "label": "A"}, {"text": "c", "label": "B"}]}, )"
      R"("answerKey": "C"})",
      "answerKey");
}

// Token by token, nothing shared between texts.
double log_likelihood(const SyntheticModel& model, const Tokenizer& tokenizer, const std::string& context,
                      const std::string& option) {
  Decoder decoder(model.config, *select_kernels(""), 1);
  Session session(model.config, model.weights, decoder, 512, KvType::int8);
  const auto whole = *tokenizer.encode(context + option, true);
  const std::size_t first = std::max<std::size_t>(1, tokenizer.encode(context, true)->size());
  double sum = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (i >= first) sum -= negative_log_likelihood(session.logits(), whole[i]);
    EXPECT_TRUE(session.append(whole[i]));
  }
  return sum;
}

TEST(AnswerQuestions, AgreesWithTokenByToken) {
  const SyntheticModel model(small_config(), true);
  const auto tokenizer = Tokenizer::parse(test::tiny_tokenizer().dump(), "tiny");
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  const std::vector<Question> questions = {
      {"Question: the\nAnswer:", {" the sun", " a longer one, the moon", " x"}, 0},
      {"Question: other\nAnswer:", {" the sun", " the sea"}, 1},
      {"", {"the good one", "the bad"}, 0},
      {"and then the", {" end"}, 0}};
  std::size_t right = 0, right_per_byte = 0;
  double nll = 0;
  for (const Question& question : questions) {
    std::vector<double> total, per_byte;
    for (const std::string& option : question.options) {
      total.push_back(log_likelihood(model, *tokenizer, question.context, option));
      per_byte.push_back(total.back() / static_cast<double>(option.size()));
    }
    nll -= total[question.answer] / static_cast<double>(questions.size());
    if (question.options.size() == 1) continue;  // random weights never write a given word
    const auto best = [](const std::vector<double>& x) {
      return static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin());
    };
    right += best(total) == question.answer;
    right_per_byte += best(per_byte) == question.answer;
  }
  Decoder decoder(model.config, *select_kernels(""), 2);
  const auto result =
      answer_questions(model.config, model.weights, decoder, KvType::int8, *tokenizer, questions);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(result->questions, 4u);
  EXPECT_NEAR(result->nll, nll, 1e-12);
  EXPECT_EQ(result->right.value, static_cast<double>(right) / 4);
  EXPECT_EQ(result->right_per_byte.value, static_cast<double>(right_per_byte) / 4);
  EXPECT_NEAR(result->right.standard_error, std::sqrt(result->right.value * (1 - result->right.value) / 3),
              1e-15);
}

// A single option is right when it is what greedy decoding writes.
TEST(AnswerQuestions, LastWordsMustBeTheLikeliest) {
  const SyntheticModel model(small_config(), false);
  const auto tokenizer = *Tokenizer::parse(test::tiny_tokenizer().dump(), "tiny");
  Decoder decoder(model.config, *select_kernels(""), 1);
  Session session(model.config, model.weights, decoder, 64, KvType::f32);
  ASSERT_TRUE(session.append(*tokenizer.encode("a b", true)));
  std::vector<float> logits(session.logits().begin(), session.logits().end());
  const auto letter_of = [&](auto compare) {
    std::size_t best = 'a' + 1;  // token of byte b is b + 1
    for (std::size_t token = 'a' + 1; token <= 'z' + 1u; ++token)
      if (compare(logits[token], logits[best])) best = token;
    return best;
  };
  const std::size_t likeliest = letter_of(std::greater<>());
  const auto answer = [&](std::size_t token) {
    const std::vector<Question> one = {{"a b", {std::string(1, static_cast<char>(token - 1))}, 0}};
    return answer_questions(model.config, model.weights, decoder, KvType::f32, tokenizer, one)->right.value;
  };
  const bool above_all = std::max_element(logits.begin(), logits.end()) - logits.begin() ==
                         static_cast<std::ptrdiff_t>(likeliest);
  EXPECT_EQ(answer(likeliest), above_all ? 1 : 0);
  EXPECT_EQ(answer(letter_of(std::less<>())), 0);
}

TEST(AnswerQuestions, FaultsNameTheQuestion) {
  const SyntheticModel model(small_config(), false);
  const auto tokenizer = *Tokenizer::parse(test::tiny_tokenizer().dump(), "tiny");
  Decoder decoder(model.config, *select_kernels(""), 1);
  const auto expect_fault = [&](const Question& question, const std::string& what) {
    const std::vector<Question> questions = {{"a", {"b", "c"}, 0}, question};
    const auto result =
        answer_questions(model.config, model.weights, decoder, KvType::f32, tokenizer, questions);
    ASSERT_FALSE(result);
    EXPECT_NE(result.error().what.find("question 2: " + what), std::string::npos) << result.error().what;
  };
  expect_fault({"a", {"b", ""}, 0}, "an option has no tokens");
  expect_fault({std::string(600, 'a'), {"b", "c"}, 0}, "it has 601 tokens, more than the model's 512");
}

TEST(ChoicesCommand, TheDemoModelKnowsSomeGrammar) {
  const test::ScratchFolder scratch;
  std::string pairs;
  for (const auto& [good, bad] : std::vector<std::pair<std::string, std::string>>{
           {"He was a good man.", "He were a good man."},
           {"They were in the house.", "They was in the house."},
           {"She had seen him.", "She had saw him."},
           {"The old man said that he was tired.", "The old man said that tired he was the."}})
    pairs += Json{{"sentence_good", good}, {"sentence_bad", bad}}.dump() + "\n";
  test::write_text(scratch / "pairs.jsonl", pairs);
  const std::string base = "eval choices " + (scratch / "pairs.jsonl").string() + " --checkpoint " +
                           test::repository_file("models/demo").string();
  const test::Outcome json = test::run_dgq(base + " --json");
  ASSERT_EQ(json.exit_code, 0) << json.err;
  const Json result = Json::parse(json.out);
  EXPECT_EQ(result["questions"], 4);
  EXPECT_GE(result["right"]["share"], 0.75);
  const test::Outcome limited = test::run_dgq(base + " --limit 1");
  EXPECT_NE(limited.out.find("(1 questions)"), std::string::npos) << limited.out;
  const test::Outcome refused = test::run_dgq("eval choices /nowhere.jsonl --model demo");
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("/nowhere.jsonl"), std::string::npos) << refused.err;
}

}  // namespace
}  // namespace dgq

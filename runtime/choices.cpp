#include "runtime/choices.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/json.h"
#include "runtime/perplexity.h"
#include "runtime/session.h"

namespace dgq {
namespace {

constexpr std::size_t kMaxOptions = 64;

std::string ask(const std::string& question) { return "Question: " + question + "\nAnswer:"; }

Result<Question> parse_blimp(const Json& line, std::string_view where) {
  Question question;
  for (const char* member : {"sentence_good", "sentence_bad"}) {
    DGQ_TRY(std::string sentence, json_string(line, member, where));
    question.options.push_back(std::move(sentence));
  }
  return question;
}

Result<Question> parse_piqa(const Json& line, std::string_view where) {
  DGQ_TRY(const std::string goal, json_string(line, "goal", where));
  Question question{ask(goal), {}, 0};
  for (const char* member : {"sol1", "sol2"}) {
    DGQ_TRY(const std::string solution, json_string(line, member, where));
    question.options.push_back(" " + solution);
  }
  DGQ_TRY(const std::int64_t label, json_int(line, "label", 0, 1, where));
  question.answer = static_cast<std::size_t>(label);
  return question;
}

Result<Question> parse_arc(const Json& line, std::string_view where) {
  const Json& asked = line["question"];
  const auto choices = asked.find("choices");
  if (choices == asked.end() || !choices->is_array() || choices->size() < 2 || choices->size() > kMaxOptions)
    return Error{Errc::corrupt, std::string(where) + ": \"choices\" must be an array of 2 to " +
                                    std::to_string(kMaxOptions)};
  DGQ_TRY(const std::string stem, json_string(asked, "stem", where));
  DGQ_TRY(const std::string key, json_string(line, "answerKey", where));
  Question question{ask(stem), {}, choices->size()};
  for (const Json& choice : *choices) {
    DGQ_TRY(const std::string label, json_string(choice, "label", where));
    DGQ_TRY(const std::string text, json_string(choice, "text", where));
    if (label == key) question.answer = question.options.size();
    question.options.push_back(" " + text);
  }
  if (question.answer == choices->size())
    return Error{Errc::corrupt, std::string(where) + ": \"answerKey\" is the label of no choice"};
  return question;
}

Result<Question> parse_lambada(const Json& line, std::string_view where) {
  DGQ_TRY(std::string text, json_string(line, "text", where));
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.pop_back();
  const std::size_t space = text.rfind(' ');
  if (space == std::string::npos || space == 0)
    return Error{Errc::corrupt, std::string(where) + ": \"text\" must have at least two words"};
  return Question{text.substr(0, space), {text.substr(space)}, 0};
}

struct Format {
  const char* member;  // that only its lines have
  Result<Question> (*parse)(const Json& line, std::string_view where);
};
constexpr Format kFormats[] = {
    {"sentence_good", parse_blimp}, {"goal", parse_piqa}, {"question", parse_arc}, {"text", parse_lambada}};

const Format* format_of(const Json& line) {
  for (const Format& format : kFormats)
    if (line.is_object() && line.contains(format.member)) return &format;
  return nullptr;
}

struct Score {
  double log_likelihood = 0;
  bool likeliest = true;  // each token was the likeliest one
};

// Runs one text after the other; what a text has in common with the one before it is not run again.
class Scorer {
 public:
  Scorer(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv)
      : config_(config), weights_(weights), decoder_(decoder), kv_(kv) {}

  // The tokens [first, end) given those before them. 0 < first < tokens.size().
  Score score(std::span<const std::int32_t> tokens, std::size_t first) {
    if (!cache_ || cache_->capacity() < tokens.size()) {
      cache_.emplace(config_, std::min(std::max<std::size_t>(2 * tokens.size(), 256), config_.max_positions),
                     kv_);
      seen_.clear();
    }
    const auto fresh = std::mismatch(tokens.begin(), tokens.end(), seen_.begin(), seen_.end()).first;
    const std::size_t begin = std::min(static_cast<std::size_t>(fresh - tokens.begin()), first - 1);
    std::vector<Row> rows;
    for (std::size_t i = begin; i + 1 < tokens.size(); ++i) rows.push_back({&*cache_, i});
    std::vector<std::size_t> wanted;  // rows that predict a token of the option
    for (std::size_t i = first - 1; i + 1 < tokens.size(); ++i) wanted.push_back(i - begin);
    logits_.resize(wanted.size() * config_.vocab);
    decoder_.forward(weights_, tokens.subspan(begin, rows.size()), rows, wanted, logits_.data());
    seen_.assign(tokens.begin(), tokens.end() - 1);
    Score score;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::span<const float> at(logits_.data() + i * config_.vocab, config_.vocab);
      const std::int32_t token = tokens[first + i];
      score.log_likelihood -= negative_log_likelihood(at, token);
      score.likeliest = score.likeliest && std::max_element(at.begin(), at.end()) - at.begin() == token;
    }
    return score;
  }

 private:
  const ModelConfig& config_;
  const ModelWeights& weights_;
  Decoder& decoder_;
  KvType kv_;
  std::optional<KvCache> cache_;
  std::vector<std::int32_t> seen_;  // whose keys and values the cache holds
  std::vector<float> logits_;
};

struct Encoded {
  std::vector<std::int32_t> tokens;
  std::size_t first;  // of the option
};

Result<Encoded> encode(const ModelConfig& config, const Tokenizer& tokenizer, const Question& question,
                       const std::string& option) {
  DGQ_TRY(const std::vector<std::int32_t> context, tokenizer.encode(question.context, true));
  DGQ_TRY(std::vector<std::int32_t> whole, tokenizer.encode(question.context + option, true));
  DGQ_CHECK(check_tokens(config, whole));
  std::size_t first = context.size();
  if (first == 0) {
    if (const std::int32_t start = start_token(config); start >= 0) whole.insert(whole.begin(), start);
    first = 1;
  }
  if (first >= whole.size()) return Error{Errc::invalid, "an option has no tokens of its own"};
  if (whole.size() > config.max_positions)
    return Error{Errc::invalid, "it has " + std::to_string(whole.size()) + " tokens, more than the model's " +
                                    std::to_string(config.max_positions) + " positions"};
  return Encoded{std::move(whole), first};
}

Share share_of(std::size_t right, std::size_t count) {
  const double n = static_cast<double>(count), p = static_cast<double>(right) / n;
  return {p, count > 1 ? std::sqrt(p * (1 - p) / (n - 1)) : 0};
}

}  // namespace

Result<std::vector<Question>> parse_questions(std::string_view jsonl, std::string_view where) {
  std::vector<Question> questions;
  const Format* format = nullptr;
  for (std::size_t number = 1; !jsonl.empty(); ++number) {
    const std::string_view line = jsonl.substr(0, jsonl.find('\n'));
    jsonl.remove_prefix(std::min(line.size() + 1, jsonl.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string at = std::string(where) + ", line " + std::to_string(number);
    DGQ_TRY(const Json json, parse_json(line, at));
    const Format* found = format_of(json);
    if (!found || (format && found != format))
      return Error{Errc::corrupt,
                   at + (found ? " is of another format than the first line"
                               : " is no question of BLiMP, PIQA, ARC or LAMBADA (see dgq eval "
                                 "choices --help)")};
    format = found;
    DGQ_TRY(Question question, format->parse(json, at));
    questions.push_back(std::move(question));
  }
  if (questions.empty()) return Error{Errc::invalid, std::string(where) + " has no question"};
  return questions;
}

Result<ChoiceResult> answer_questions(
    const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
    const Tokenizer& tokenizer, std::span<const Question> questions,
    const std::function<void(std::size_t done, std::size_t total)>& progress) {
  Scorer scorer(config, weights, decoder, kv);
  std::size_t right = 0, right_per_byte = 0;
  double nll = 0;
  for (std::size_t number = 0; number < questions.size(); ++number) {
    const Question& question = questions[number];
    const std::string where = "question " + std::to_string(number + 1);
    std::vector<Score> scores;
    std::vector<double> total, per_byte;
    for (const std::string& option : question.options) {
      const Result<Encoded> encoded = encode(config, tokenizer, question, option);
      if (!encoded) return Error{encoded.error().code, where + ": " + encoded.error().what};
      scores.push_back(scorer.score(encoded->tokens, encoded->first));
      total.push_back(scores.back().log_likelihood);
      if (!std::isfinite(total.back())) return Error{Errc::corrupt, where + ": the logits are not finite"};
      per_byte.push_back(total.back() / static_cast<double>(option.size()));
    }
    const auto wins = [&](const std::vector<double>& values) {
      if (values.size() == 1) return scores[0].likeliest;
      return std::max_element(values.begin(), values.end()) - values.begin() ==
             static_cast<std::ptrdiff_t>(question.answer);
    };
    right += wins(total);
    right_per_byte += wins(per_byte);
    nll -= total[question.answer];
    if (progress) progress(number + 1, questions.size());
  }
  return ChoiceResult{questions.size(), share_of(right, questions.size()),
                      share_of(right_per_byte, questions.size()),
                      nll / static_cast<double>(questions.size())};
}

}  // namespace dgq

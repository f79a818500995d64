// runtime/choices.h - multiple-choice and minimal-pair sets: which of several texts does a model find likeliest?
//
// One question per line of a .jsonl file, in the form in which these sets are published; the format is seen by its members:
//
//   BLiMP    {"sentence_good": ..., "sentence_bad": ...}                      two whole sentences
//   PIQA     {"goal": ..., "sol1": ..., "sol2": ..., "label": 0 or 1}         "Question: GOAL\nAnswer: SOL"
//   ARC      {"question": {"stem": ..., "choices": [{"text", "label"}, ...]}, "answerKey": ...}   as PIQA
//   LAMBADA  {"text": ...}     the last word, of all that could follow
//
// The log-likelihood of an option is the sum over its tokens, given the context before it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/decoder.h"
#include "runtime/tokenizer.h"

namespace dgq {

struct Question {
  std::string context;               // may be empty
  std::vector<std::string> options;  // one: right when the model, at its likeliest, writes just that
  std::size_t answer = 0;
};

// corrupt: a line that is no question of the first line's format; names the line. invalid: no line at all.
Result<std::vector<Question>> parse_questions(std::string_view jsonl, std::string_view where);

struct Share {
  double value = 0,
         standard_error = 0;  // of n right or wrong answers: sqrt(p * (1 - p) / (n - 1)); 0 for n = 1
};
struct ChoiceResult {
  std::size_t questions = 0;
  Share right;           // by log-likelihood; of single options: written by the model at its likeliest
  Share right_per_byte;  // by log-likelihood per byte of the option, which does not favour short ones
  double nll = 0;        // nats: the mean over the questions of -log-likelihood of the right option
};

// A question's text begins with what the tokenizer puts before a text, else with `config`'s BOS or first EOS, so that its first token
// has a context too. Errors: invalid: an option without tokens of its own, or a question longer than the model's positions
// (named by number, from 1); corrupt: a logit is not finite.
Result<ChoiceResult> answer_questions(
    const ModelConfig& config, const ModelWeights& weights, Decoder& decoder, KvType kv,
    const Tokenizer& tokenizer, std::span<const Question> questions,
    const std::function<void(std::size_t done, std::size_t total)>& progress = {});

}  // namespace dgq

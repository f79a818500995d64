#include "agent/completion_request.h"

#include <random>

#include "agent/request_format.h"
#include "runtime/session.h"

namespace dgq::agent {
namespace {

constexpr std::int64_t kDefaultTokens = 16;  // OpenAI's
constexpr std::size_t kMostStops = 16, kLongestStop = 1024;

std::uint64_t random_seed() {
  std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

void read_sampling(Members& members, SamplerOptions& sampling) {
  sampling.temperature = static_cast<float>(members.number("temperature", 0, 100).value_or(1));
  sampling.top_k = static_cast<std::int32_t>(members.integer("top_k", 0, INT32_MAX).value_or(0));
  sampling.top_p = static_cast<float>(members.number("top_p", 1e-6, 1).value_or(1));
  sampling.min_p = static_cast<float>(members.number("min_p", 0, 1).value_or(0));
  sampling.repetition_penalty = static_cast<float>(members.number("repeat_penalty", 0.01, 100).value_or(1));
  sampling.repetition_window = static_cast<std::int32_t>(
      members.integer("repeat_last_n", 0, INT32_MAX).value_or(SamplerOptions{}.repetition_window));
  const auto seed = members.integer("seed", INT64_MIN, INT64_MAX);
  sampling.seed = seed && *seed != -1 ? static_cast<std::uint64_t>(*seed) : random_seed();
}

std::vector<std::string> read_stop(Members& members) {
  const Json* value = members.value("stop");
  if (!value) return {};
  const Json list = value->is_string() ? Json::array({*value}) : *value;
  std::vector<std::string> stops;
  bool good = list.is_array() && list.size() <= kMostStops;
  if (good)
    for (const Json& stop : list) {
      const auto* text = stop.get_ptr<const std::string*>();
      good = good && text && !text->empty() && text->size() <= kLongestStop;
      if (good) stops.push_back(*text);
    }
  if (!good)
    members.fail("stop", "must be a string, or a list of at most " + std::to_string(kMostStops) +
                             ", of 1 to " + std::to_string(kLongestStop) + " bytes each");
  return stops;
}

std::size_t read_max_tokens(Members& members, const CompletionDefaults& defaults) {
  std::optional<std::int64_t> tokens;
  const char* first = nullptr;
  for (const char* name : defaults.max_names) {
    const bool llama =
        name == std::string_view("n_predict");  // of llama-server; -1: until the context is full
    const auto given = members.integer(name, llama ? -1 : 1, INT32_MAX);
    if (!given) continue;
    if (*given == 0) members.fail(name, "must be at least 1, or -1 for as many as the context has room for");
    if (tokens) members.fail(name, "and \"" + std::string(first) + "\" are two names of one thing: give one");
    tokens = given, first = name;
  }
  const std::int64_t wanted = tokens.value_or(defaults.max_tokens);
  return static_cast<std::size_t>(wanted < 0 ? INT32_MAX : wanted);
}

// What would change the answer and is not there. Neutral values are taken, since clients send them.
void refuse_the_rest(Members& members) {
  members.only("n", {1}, "one answer per request");
  members.only("frequency_penalty", {0, 0.0}, "use \"repeat_penalty\"");
  members.only("presence_penalty", {0, 0.0}, "use \"repeat_penalty\"");
  members.only("logit_bias", {Json::object()}, "logits are not biased");
  members.ignore({"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"});
}

void read_stream(Members& members, CompletionRequest& request) {
  request.stream = members.flag("stream").value_or(false);
  const Json* options = members.value("stream_options");
  if (!options) return;
  if (!request.stream || !options->is_object())
    return members.fail("stream_options", "must be an object, beside \"stream\": true");
  Members inner(*options);
  request.include_usage = inner.flag("include_usage").value_or(false);
  if (const auto error = inner.error())
    members.fail("stream_options", "holds something else: " + error->message);
}

std::vector<std::int32_t> encode(Members& members, const ServedModel& model, const std::string& text) {
  auto tokens = model.tokenizer.encode(text, true);
  if (!tokens) {
    members.fail("prompt", "cannot be encoded: " + tokens.error().what);
    return {};
  }
  if (tokens->empty() && start_token(*model.config) >= 0) tokens->push_back(start_token(*model.config));
  return std::move(*tokens);
}

std::vector<std::int32_t> read_prompt(Members& members, const ServedModel& model) {
  const Json* prompt = members.value("prompt");
  if (!prompt) {
    members.fail("prompt", "is missing");
    return {};
  }
  if (prompt->is_array() && prompt->size() == 1 && !prompt->front().is_number()) prompt = &prompt->front();
  if (const auto* text = prompt->get_ptr<const std::string*>()) return encode(members, model, *text);
  auto tokens = token_list(*prompt);
  if (!tokens) members.fail("prompt", "must be one string, or one list of token ids");
  return tokens.value_or(std::vector<std::int32_t>{});
}

}  // namespace

std::optional<ApiError> read_the_rest(Members& members, std::string_view text, const ServedModel& model,
                                      const CompletionDefaults& defaults, CompletionRequest& request) {
  members.ignore({"model"});  // the caller has found it
  read_sampling(members, request.generation.sampling);
  request.stop = read_stop(members);
  request.generation.max_tokens = read_max_tokens(members, defaults);
  request.generation.stop_at_eos = !members.flag("ignore_eos").value_or(false);
  request.generation.cache_prompt = members.flag("cache_prompt").value_or(true);
  read_stream(members, request);
  refuse_the_rest(members);
  if (auto format = read_format(members, text, model, request.generation.more_eos)) {
    if (!request.functions.empty())
      members.fail("response_format", "cannot stand beside \"tools\", whose calls have a form of their own");
    request.generation.constraint = std::move(format);
  }
  if (request.generation.constraint && !request.stop.empty())
    members.fail("stop", "cannot stand beside a form of the answer, which it would cut");
  if (request.generation.constraint && !request.generation.stop_at_eos)
    members.fail("ignore_eos", "cannot stand beside a form of the answer, which ends");
  const std::vector<std::int32_t>& prompt = request.generation.prompt;
  if (prompt.empty()) members.fail(defaults.prompt, "is empty, and the model has no token to start with");
  if (const auto known = check_tokens(*model.config, prompt); !known)
    members.fail(defaults.prompt, "does not fit the model: " + known.error().what);
  if (auto error = members.error()) return error;
  const std::size_t context = model.engine->options().kv.context;
  if (prompt.size() <= context) return std::nullopt;
  return ApiError{.message = "the prompt has " + std::to_string(prompt.size()) +
                             " tokens, the context holds " + std::to_string(context),
                  .param = defaults.prompt,
                  .code = "context_length_exceeded"};
}

std::optional<ApiError> read_completion(const Json& body, std::string_view text, const ServedModel& model,
                                        CompletionRequest& request) {
  Members members(body);
  if (const auto count = members.integer("logprobs", 0, kMostLogprobs))
    request.generation.logprobs = static_cast<std::size_t>(*count);
  request.generation.prompt = read_prompt(members, model);
  members.only("best_of", {1}, "one answer per request");
  members.only("echo", {false}, "the answer does not repeat the prompt");
  members.only("suffix", {""}, "the models here only continue a text");
  return read_the_rest(members, text, model, {kDefaultTokens, {"max_tokens", "n_predict"}, "prompt"},
                       request);
}

ApiError api_error(const Error& error) {
  if (error.code == Errc::invalid) return {.message = error.what};
  if (error.code == Errc::busy) return {429, error.what, "rate_limit_error", {}, "rate_limit_exceeded"};
  return {500, error.what, "server_error"};
}

}  // namespace dgq::agent

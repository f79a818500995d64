#include "agent/health_check.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "agent/members.h"
#include "runtime/logits_hash.h"
#include "runtime/perplexity.h"
#include "runtime/session.h"

namespace dgq::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kTimedTokens = 16;  // after the first
constexpr std::size_t kSomeTokens = 16;   // where no prompt is given
constexpr std::size_t kMostPrompts = 64;
constexpr double kLongestMs = 86'400'000;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 60;

std::string shown(const std::string& text) {
  constexpr std::size_t kShown = 40;
  return "\"" + text.substr(0, kShown) + (text.size() > kShown ? "..." : "") + "\"";
}

std::optional<ApiError> read_prompt(const Json& json, HealthCheck::Prompt& prompt) {
  Members members(json);
  const auto text = members.text("text");
  if (!text || text->empty()) members.fail("text", "is missing");
  if (const auto hash = members.text("sha256")) {
    const auto digest = Digest::parse(*hash);
    if (digest)
      prompt.logits = *digest;
    else
      members.fail("sha256", "must be 64 hex digits, as dgq eval hash prints them");
  }
  prompt.text = text.value_or("");
  return members.error();
}

std::optional<ApiError> read_canary(const Json& json, HealthCheck::Canary& canary) {
  Members members(json);
  const auto text = members.text("text");
  if (!text || text->empty()) members.fail("text", "is missing");
  canary.context = static_cast<std::size_t>(members.integer("context", 2, 4096).value_or(64));
  const auto limit = members.number("limit", 1, 1e12);
  if (!limit) members.fail("limit", "is missing: the perplexity that is still good");
  canary.text = text.value_or("");
  canary.limit = limit.value_or(0);
  return members.error();
}

Error invalid(const std::string& where, const ApiError& error) {
  return {Errc::invalid, "the health check: " + where + error.message};
}

std::string milliseconds(double ms) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f ms", ms);
  return text;
}

Result<std::vector<std::int32_t>> tokens_of(const Model& model, const Tokenizer& tokenizer,
                                            const std::vector<HealthCheck>& checks) {
  for (const HealthCheck& check : checks)
    if (!check.prompts.empty()) return tokenizer.encode(check.prompts.front().text, true);
  const std::size_t count = std::min(kSomeTokens, model.config().max_positions);
  std::vector<std::int32_t> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int32_t>(i * model.config().vocab / count));
  return tokens;
}

// Time to the first token, and of those after it.
Result<Health> measure(const Model& model, Decoder& decoder, const std::vector<std::int32_t>& tokens) {
  const std::size_t context = std::min(tokens.size() + kTimedTokens, model.config().max_positions);
  Session session(model.config(), model.weights(), decoder, context, KvType::int8);
  auto began = Clock::now();
  const auto passed = [&] {
    const std::chrono::duration<double, std::milli> took = Clock::now() - began;
    began = Clock::now();
    return took.count();
  };
  Health health;
  DGQ_CHECK(session.append(tokens));
  health.first_token_ms = passed();
  const std::size_t more = context - tokens.size();
  for (std::size_t i = 0; i < more; ++i) {
    const auto logits = session.logits();
    DGQ_CHECK(session.append(
        static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())));
  }
  health.token_ms = more == 0 ? 0 : passed() / static_cast<double>(more);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  health.memory_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  return health;
}

Result<void> check_prompt(const Model& model, const Tokenizer& tokenizer, Decoder& decoder,
                          const HealthCheck::Prompt& prompt) {
  DGQ_TRY(const auto tokens, tokenizer.encode(prompt.text, true));
  auto hash = hash_logits(model.config(), model.weights(), decoder, KvType::int8, tokens);
  if (!hash) return Error{hash.error().code, "the prompt " + shown(prompt.text) + ": " + hash.error().what};
  if (prompt.logits && *prompt.logits != *hash)
    return Error{Errc::corrupt, "the logits of " + shown(prompt.text) + " have the hash " +
                                    hash->short_hex() + ", expected was " + prompt.logits->short_hex()};
  return {};
}

Result<void> check_canary(const Model& model, const Tokenizer& tokenizer, Decoder& decoder,
                          const HealthCheck::Canary& canary) {
  DGQ_TRY(const auto tokens, encode_documents(tokenizer, canary.text));
  DGQ_TRY(const PerplexityResult result,
          perplexity(model.config(), model.weights(), decoder, KvType::int8, tokens, canary.context, 0));
  if (std::isfinite(result.perplexity) && result.perplexity <= canary.limit) return {};
  char text[120];
  std::snprintf(text, sizeof text, "the perplexity of the canary text is %.4g, the limit is %.4g",
                result.perplexity, canary.limit);
  return Error{Errc::corrupt, text};
}

Result<void> check_limits(const Health& health, const HealthCheck& check) {
  const auto over = [](const char* what, const std::string& found, const std::string& limit) {
    return Error{Errc::corrupt, std::string(what) + " " + found + ", the limit is " + limit};
  };
  if (check.first_token_ms && health.first_token_ms > *check.first_token_ms)
    return over("the first token took", milliseconds(health.first_token_ms),
                milliseconds(*check.first_token_ms));
  if (check.token_ms && health.token_ms > *check.token_ms)
    return over("a token took", milliseconds(health.token_ms), milliseconds(*check.token_ms));
  if (check.memory_bytes && health.memory_bytes > *check.memory_bytes)
    return over("loading and checking took", std::to_string(health.memory_bytes) + " bytes of memory",
                std::to_string(*check.memory_bytes));
  return {};
}

}  // namespace

Result<HealthCheck> read_health_check(const Json& json) {
  if (!json.is_object()) return Error{Errc::invalid, "the health check is no JSON object"};
  HealthCheck check;
  Members members(json);
  if (const Json* prompts = members.value("prompts")) {
    if (!prompts->is_array() || prompts->size() > kMostPrompts)
      members.fail("prompts", "must be a list of at most " + std::to_string(kMostPrompts) + " objects");
    else
      for (const Json& prompt : *prompts) {
        if (!prompt.is_object()) return Error{Errc::invalid, "the health check: a prompt is no object"};
        if (const auto error = read_prompt(prompt, check.prompts.emplace_back()))
          return invalid("a prompt's ", *error);
      }
  }
  if (const Json* canary = members.value("perplexity")) {
    if (!canary->is_object()) return Error{Errc::invalid, "the health check: \"perplexity\" is no object"};
    if (const auto error = read_canary(*canary, check.perplexity.emplace()))
      return invalid("the perplexity's ", *error);
  }
  check.first_token_ms = members.number("first_token_ms", 0, kLongestMs);
  check.token_ms = members.number("token_ms", 0, kLongestMs);
  if (const auto bytes = members.integer("memory_bytes", 1, kMostBytes))
    check.memory_bytes = static_cast<std::uint64_t>(*bytes);
  if (const auto error = members.error()) return invalid("", *error);
  return check;
}

Result<Health> run_health_checks(const Model& model, const Tokenizer& tokenizer, int threads,
                                 const std::vector<HealthCheck>& checks) {
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  Decoder decoder(model.config(), kernels, threads, model.activation_block());
  DGQ_TRY(const auto tokens, tokens_of(model, tokenizer, checks));
  DGQ_CHECK(hash_logits(model.config(), model.weights(), decoder, KvType::int8, tokens));
  for (const HealthCheck& check : checks) {
    for (const auto& prompt : check.prompts) DGQ_CHECK(check_prompt(model, tokenizer, decoder, prompt));
    if (check.perplexity) DGQ_CHECK(check_canary(model, tokenizer, decoder, *check.perplexity));
  }
  DGQ_TRY(const Health health, measure(model, decoder, tokens));
  for (const HealthCheck& check : checks) DGQ_CHECK(check_limits(health, check));
  return health;
}

}  // namespace dgq::agent

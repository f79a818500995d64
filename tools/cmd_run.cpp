// tools/cmd_run.cpp - `dgq run`: text from a prompt, streamed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>

#include "base/file.h"
#include "base/ordered_json.h"
#include "runtime/detokenizer.h"
#include "runtime/json_constraint.h"
#include "runtime/sampler.h"
#include "runtime/token_trie.h"
#include "tools/cmd_load.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr const char* kExamples =
    "  dgq run demo \"The old king\" --tokens 100\n"
    "  dgq run demo:latest - --greedy --json < prompt.txt\n"
    "  dgq run demo \"A friend of mine: \" --json-schema person.json\n"
    "  dgq run --checkpoint models/demo \"The old king\"\n";

void add_options(Options& options) {
  const SamplerOptions base;
  add_model_options(options);
  options.named.add_options()                                                                             //
      ("model", po::value<std::string>()->value_name("NAME[:TAG]"), "the model (or the first argument)")  //
      ("prompt", po::value<std::string>()->value_name("TEXT"),
       "the prompt; - reads it from standard input")                                                   //
      ("tokens", po::value<int>()->default_value(128)->value_name("N"), "tokens to generate at most")  //
      ("context", po::value<std::size_t>()->default_value(0)->value_name("N"),
       "positions of the KV cache (default: what prompt and --tokens need)")                           //
      ("seed", po::value<std::uint64_t>()->default_value(1)->value_name("N"), "same seed, same text")  //
      ("greedy", po::bool_switch(), "always the likeliest token")                                      //
      ("temperature", po::value<float>()->default_value(0.8f, "0.8"), "0: greedy")                     //
      ("top-k", po::value<std::int32_t>()->default_value(40), "only the k likeliest tokens; 0: all")   //
      ("top-p", po::value<float>()->default_value(0.95f, "0.95"),
       "only the likeliest that make up p; 1: all")  //
      ("min-p", po::value<float>()->default_value(0.0f, "0"),
       "only tokens this likely next to the likeliest")                              //
      ("repeat-penalty", po::value<float>()->default_value(1.1f, "1.1"), "1: none")  //
      ("repeat-window", po::value<std::int32_t>()->default_value(base.repetition_window),
       "tokens that the penalty looks back; 0: all")                          //
      ("ignore-eos", po::bool_switch(), "go on after the end-of-text token")  //
      ("json-schema", po::value<std::string>()->value_name("FILE"),
       "the text is JSON that this schema allows, whole within --tokens (docs/AGENT.md)")  //
      ("json", po::bool_switch(), "print one JSON object")                                 //
      ("stats", po::value<std::string>()->value_name("FILE"), "write that JSON object to a file as well");
  options.positional.add("model", 1).add("prompt", 1);
}

SamplerOptions sampler_options(const Options& options) {
  SamplerOptions sampler;
  sampler.temperature = options.get<bool>("greedy") ? 0 : options.get<float>("temperature");
  sampler.top_k = options.get<std::int32_t>("top-k");
  sampler.top_p = options.get<float>("top-p");
  sampler.min_p = options.get<float>("min-p");
  sampler.repetition_penalty = options.get<float>("repeat-penalty");
  sampler.repetition_window = options.get<std::int32_t>("repeat-window");
  sampler.seed = options.get<std::uint64_t>("seed");
  return sampler;
}

Result<void> print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return {};
  return Error{Errc::io, "cannot write to standard output"};
}

// What the command line names: NAME PROMPT, or with --checkpoint only PROMPT.
struct Request {
  std::string model, prompt;
};

Result<Request> read_request(const Options& options) {
  const auto text = [&](const char* name) {
    return options.has(name) ? options.get<std::string>(name) : std::string();
  };
  Request request{text("model"), text("prompt")};
  bool prompted = options.has("prompt");
  if (options.has("checkpoint") && options.has("model") && !prompted) {
    request = {"", request.model};
    prompted = true;
  } else if (options.has("checkpoint") == options.has("model")) {
    return Error{Errc::invalid, "name a model or give --checkpoint DIR, not both (see dgq run --help)"};
  }
  if (!prompted)
    return Error{Errc::invalid, "there is no prompt; give it as text, or - to read standard input"};
  if (request.prompt == "-")
    request.prompt.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  return request;
}

Result<std::vector<std::int32_t>> encode_prompt(const LoadedModel& model, const std::string& prompt) {
  DGQ_TRY(auto tokens, model.tokenizer().encode(prompt, true));
  if (tokens.empty() && model.config().bos >= 0) tokens.push_back(model.config().bos);
  if (tokens.empty()) return Error{Errc::invalid, "the prompt is empty and the model has no start token"};
  return tokens;
}

struct Limits {
  std::size_t tokens;
  bool stop_at_eos;
};

constexpr const char* kSchemaOption = "json-schema";

Result<std::unique_ptr<JsonConstraint>> read_schema(const LoadedModel& model, const Options& options) {
  const auto& file = options.get<std::string>(kSchemaOption);
  DGQ_TRY(const std::string text, read_file(file, 4 * kMaxSchemaBytes));
  DGQ_TRY(const OrderedJson schema, parse_ordered_json(text, file));
  auto grammar = compile_json_schema(schema);
  if (!grammar) return Error{grammar.error().code, file + ": " + grammar.error().what};
  DGQ_TRY(TokenTrie trie, TokenTrie::make(model.tokenizer()));
  return JsonConstraint::make(std::make_shared<const JsonGrammar>(std::move(*grammar)),
                              std::make_shared<const TokenTrie>(std::move(trie)), model.config().eos);
}

struct Generation {
  std::vector<std::int32_t> tokens;  // the prompt's, then the new ones
  std::string text;                  // of the new ones
  const char* stop = "tokens";       // or "eos", "context", "schema"
  double prefill_s = 0, decode_s = 0;
};

// sink gets the text as it is made.
Result<Generation> generate(const LoadedModel& model, Session& session, std::vector<std::int32_t> prompt,
                            const SamplerOptions& options, const Limits& limits, JsonConstraint* constraint,
                            const std::function<Result<void>(const std::string&)>& sink) {
  Generation made;
  made.tokens = std::move(prompt);
  Sampler sampler(options);
  Detokenizer detokenizer(model.tokenizer());
  for (const std::int32_t token : made.tokens)
    detokenizer.push(token);  // text depends on what stood before it
  const auto emit = [&](const std::string& piece) -> Result<void> {
    made.text += piece;
    return piece.empty() ? Result<void>{} : sink(piece);
  };
  double clock = now_s();
  DGQ_CHECK(session.append(made.tokens));
  made.prefill_s = now_s() - clock;
  clock = now_s();
  for (std::size_t i = 0; i < limits.tokens; ++i) {
    if (i > 0) DGQ_CHECK(session.append(made.tokens.back()));
    const std::size_t left = std::min(limits.tokens - i, session.context() - session.position() + 1);
    const auto allowed = constraint ? constraint->allowed(left) : std::span<const std::uint64_t>();
    DGQ_TRY(const std::int32_t token, sampler.sample(session.logits(), made.tokens, allowed));
    const auto& eos = model.config().eos;
    if ((limits.stop_at_eos || constraint) && std::find(eos.begin(), eos.end(), token) != eos.end()) {
      made.stop = "eos";
      break;
    }
    made.tokens.push_back(token);
    DGQ_CHECK(emit(detokenizer.push(token)));
    if (constraint) constraint->accept(token);
    if (constraint && constraint->is_over()) {
      made.stop = constraint->was_hurried() ? "tokens" : "schema";
      break;
    }
    if (session.position() == session.context() && i + 1 < limits.tokens) {
      made.stop = "context";
      break;
    }
  }
  DGQ_CHECK(emit(detokenizer.finish()));
  made.decode_s = now_s() - clock;
  return made;
}

double per_second(std::size_t count, double seconds) {
  return seconds > 0 ? std::round(10 * static_cast<double>(count) / seconds) / 10 : 0;
}

OrderedJson describe(const LoadedModel& model, const Session& session, const Generation& made,
                     std::size_t prompt_tokens) {
  OrderedJson json = model.describe();
  json["text"] = made.text;
  json["tokens"] =
      std::vector(made.tokens.begin() + static_cast<std::ptrdiff_t>(prompt_tokens), made.tokens.end());
  json["stop"] = made.stop;
  json["prompt_tokens"] = prompt_tokens;
  json["prefill_s"] = made.prefill_s;
  json["prefill_tokens_per_s"] = per_second(prompt_tokens, made.prefill_s);
  json["decode_s"] = made.decode_s;
  // The first new token comes from the prompt's logits: steps count, not tokens.
  json["decode_tokens_per_s"] = per_second(session.position() - prompt_tokens, made.decode_s);
  json["context"] = session.context();
  json["kv_bytes"] = session.kv_bytes();
  return json;
}

Result<void> report(const LoadedModel& model, const OrderedJson& json, const Options& options) {
  const std::string line = json.dump() + "\n";
  DGQ_CHECK(print(options.get<bool>("json") ? line : "\n"));
  if (options.has("stats"))
    DGQ_CHECK(write_file_atomic(options.get<std::string>("stats"), std::as_bytes(std::span(line))));
  std::fprintf(stderr, "%s | prefill %zu tokens, %.0f tok/s | decode %zu tokens, %.0f tok/s\n",
               model.footprint().c_str(), json["prompt_tokens"].get<std::size_t>(),
               json["prefill_tokens_per_s"].get<double>(), json["tokens"].size(),
               json["decode_tokens_per_s"].get<double>());
  return {};
}

}  // namespace

Result<int> run_generate(const Arguments& arguments) {
  Options options{"dgq run NAME[:TAG] PROMPT",
                  "Generates text with a model of the registry, and streams it.",
                  kExamples,
                  {},
                  {},
                  {}};
  add_options(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const SamplerOptions sampling = sampler_options(options);
  DGQ_CHECK(check(sampling));
  if (options.get<int>("tokens") < 1) return Error{Errc::invalid, "--tokens must be at least 1"};
  if (options.has(kSchemaOption) && options.get<bool>("ignore-eos"))
    return Error{Errc::invalid, "--ignore-eos does not go with --json-schema, whose texts end"};
  const Limits limits{static_cast<std::size_t>(options.get<int>("tokens")), !options.get<bool>("ignore-eos")};
  DGQ_TRY(const Request request, read_request(options));

  DGQ_TRY(const LoadedModel model, LoadedModel::load(options, request.model));
  DGQ_TRY(auto prompt, encode_prompt(model, request.prompt));
  DGQ_TRY(const std::size_t allowed, check_context(model.config(), options.get<std::size_t>("context")));
  const std::size_t prompt_tokens = prompt.size();
  const auto decoder = model.make_decoder();
  Session session(model.config(), model.weights(), *decoder, std::min(allowed, prompt_tokens + limits.tokens),
                  model.kv_type());
  std::unique_ptr<JsonConstraint> constraint;
  if (options.has(kSchemaOption)) {
    DGQ_TRY(constraint, read_schema(model, options));
    const std::size_t room = std::min(limits.tokens, session.context() - prompt_tokens + 1);
    if (prompt_tokens > session.context() || constraint->least_tokens() > room)
      return Error{Errc::invalid,
                   "a text of this schema may need " + std::to_string(constraint->least_tokens()) +
                       " tokens, and there may be " + std::to_string(room) + ": raise --tokens"};
  }
  const bool as_json = options.get<bool>("json");
  const auto sink = [&](const std::string& piece) { return as_json ? Result<void>{} : print(piece); };
  DGQ_TRY(const Generation made,
          generate(model, session, std::move(prompt), sampling, limits, constraint.get(), sink));
  DGQ_CHECK(report(model, describe(model, session, made, prompt_tokens), options));
  return 0;
}

}  // namespace dgq::tools

// tools/cmd_eval.cpp - `dgq eval`: perplexity of a model or checkpoint, and a hash of its logits.
#include <cstdio>

#include "runtime/choices.h"
#include "runtime/compare.h"
#include "runtime/logits_hash.h"
#include "tools/cmd_load.h"
#include "tools/compare_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr std::size_t kMaxTextFile = std::size_t{1} << 30;

constexpr const char* kExamples =
    "  dgq eval perplexity --model demo --text book.txt --windows 40\n"
    "  dgq eval perplexity --model demo --text book.txt --store\n"
    "  dgq eval perplexity --checkpoint models/demo --text book.txt --json\n"
    "  dgq eval compare models/demo demo --text book.txt --tokens 20000 --plot demo.svg\n"
    "  dgq eval choices piqa.jsonl --model demo\n"
    "  dgq eval hash --model demo --text \"The old king\"\n";

// Options of both, and the model they name.
struct Evaluation {
  Options options;

  explicit Evaluation(std::string usage, std::string about)
      : options{std::move(usage), std::move(about), kExamples, {}, {}, {}} {
    add_model_options(options);
    options.named.add_options()("model", po::value<std::string>()->value_name("NAME[:TAG]"), "the model")  //
        ("json", po::bool_switch(), "print one JSON object");
  }

  Result<LoadedModel> load() const {
    if (options.has("model") == options.has("checkpoint"))
      return Error{Errc::invalid, "give either --model NAME[:TAG] or --checkpoint DIR"};
    return LoadedModel::load(options, options.has("model") ? options.get<std::string>("model") : "");
  }
};

Result<int> finish(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fputc('\n', stdout) == EOF || std::fflush(stdout) != 0)
    return Error{Errc::io, "cannot write to standard output"};
  return 0;
}

Result<std::vector<std::int32_t>> encode(const LoadedModel& model, std::string_view text,
                                         const std::string& path) {
  auto encoded = encode_documents(model.tokenizer(), text);
  if (!encoded) return Error{encoded.error().code, path + ": " + encoded.error().what};
  return encoded;
}

// "window 3 of 8"
auto show_count(Progress& progress, const char* of_what) {
  return [&progress, of_what](std::size_t done, std::size_t total) {
    progress.update(std::string(of_what) + " " + std::to_string(done) + " of " + std::to_string(total),
                    static_cast<double>(done) / static_cast<double>(total));
  };
}

OrderedJson to_json(const PerplexityResult& result) {
  return {{"perplexity", result.perplexity},
          {"standard_error", result.standard_error},
          {"mean_nll", result.mean_nll}};
}

// Into the registry, where `dgq registry show` finds it.
Result<void> store_measurement(const Options& options, const OrderedJson& model, OrderedJson measured,
                               const std::string& path, std::string_view text) {
  measured["text"] = std::filesystem::path(path).filename().string();
  measured["text_sha256"] = sha256(text).hex();
  for (const char* key : {"kernel", "kv"}) measured[key] = model[key];
  DGQ_TRY(const Digest version, Digest::parse(model["version"].get<std::string>()));
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_write));
  return registry.add_measurement(version,
                                  measured.dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
}

Result<int> eval_perplexity(const Arguments& arguments) {
  Evaluation evaluation(
      "dgq eval perplexity (--model NAME[:TAG] | --checkpoint DIR) --text FILE",
      "Perplexity over windows of a text. Documents in the file are separated by <|endoftext|>.");
  Options& options = evaluation.options;
  options.named.add_options()                                                                              //
      ("text", po::value<std::string>()->required()->value_name("FILE"), "the text")                       //
      ("context", po::value<std::size_t>()->default_value(512)->value_name("N"), "tokens of a window")     //
      ("windows", po::value<std::size_t>()->default_value(0)->value_name("N"), "windows at most; 0: all")  //
      ("store", po::bool_switch(), "keep the result in the registry, for dgq registry show");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (options.get<bool>("store") && !options.has("model"))
    return Error{Errc::invalid, "--store keeps what was measured of a model of the registry: give --model"};
  const auto& path = options.get<std::string>("text");
  DGQ_TRY(const std::string text, read_file(path, kMaxTextFile));
  DGQ_TRY(const LoadedModel model, evaluation.load());
  const auto context = options.get<std::size_t>("context");
  DGQ_CHECK(check_context(model.config(), context));
  DGQ_TRY(const auto encoded, encode(model, text, path));
  const auto decoder = model.make_decoder();
  Progress progress;
  DGQ_TRY(const PerplexityResult result,
          perplexity(model.config(), model.weights(), *decoder, model.kv_type(), encoded, context,
                     options.get<std::size_t>("windows"), show_count(progress, "window")));
  progress.finish();
  OrderedJson measured = to_json(result), json = model.describe();
  measured["context"] = context;
  measured["windows"] = result.windows;
  measured["tokens"] = result.tokens;
  if (options.get<bool>("store")) DGQ_CHECK(store_measurement(options, json, measured, path, text));
  if (options.get<bool>("json")) {
    json.update(measured);
    return finish(json.dump());
  }
  char line[160];
  std::snprintf(line, sizeof line, "perplexity %.4f +- %.4f (%zu windows of %zu, %zu tokens scored) | ",
                result.perplexity, result.standard_error, result.windows, context, result.tokens);
  return finish(line + model.footprint());
}

OrderedJson to_json(const Comparison& c) {
  return {{"kld",
           {{"mean", c.kld_mean},
            {"standard_error", c.kld_standard_error},
            {"median", c.kld_median},
            {"p99", c.kld_99},
            {"max", c.kld_max}}},
          {"same_top", {{"share", c.same_top}, {"standard_error", c.same_top_standard_error}}},
          {"top_probability_shift", {{"mean", c.top_shift_mean}, {"rms", c.top_shift_rms}}},
          {"windows", c.reference.windows},
          {"tokens", c.reference.tokens}};
}

void print_comparison(const Comparison& c, const std::string& a, const std::string& b, std::size_t context) {
  std::printf("%zu windows of %zu, %zu tokens scored; +- is one standard error\n", c.reference.windows,
              context, c.reference.tokens);
  std::printf("perplexity        %.4f +- %.4f  %s\n", c.reference.perplexity, c.reference.standard_error,
              a.c_str());
  std::printf("                  %.4f +- %.4f  %s\n", c.other.perplexity, c.other.standard_error, b.c_str());
  std::printf("KL divergence     %.6f +- %.6f  median %.6f, 99 %% %.6f, max %.6f\n", c.kld_mean,
              c.kld_standard_error, c.kld_median, c.kld_99, c.kld_max);
  std::printf("same top token    %.3f %% +- %.3f %%\n", 100 * c.same_top, 100 * c.same_top_standard_error);
  std::printf("its probability   %+.4f %% mean change, %.4f %% rms\n", 100 * c.top_shift_mean,
              100 * c.top_shift_rms);
}

Result<int> eval_compare(const Arguments& arguments) {
  Options options{"dgq eval compare A B --text FILE",
                  "KL divergence of B's predictions from A's, and the perplexity of both, over windows of a "
                  "text. A and B are\n"
                  "each a model of the registry, NAME[:TAG], or a checkpoint folder, run in fp32.",
                  kExamples,
                  {},
                  {},
                  {}};
  add_run_options(options);
  options.named.add_options()                                                                            //
      ("a", po::value<std::string>()->required()->value_name("NAME[:TAG]"), "the reference")             //
      ("b", po::value<std::string>()->required()->value_name("NAME[:TAG]"), "what is compared with it")  //
      ("text", po::value<std::string>()->required()->value_name("FILE"), "the text")                     //
      ("context", po::value<std::size_t>()->default_value(512)->value_name("N"), "tokens of a window")   //
      ("tokens", po::value<std::size_t>()->default_value(0)->value_name("N"),
       "tokens of the text at most, in whole windows; 0: all")  //
      ("plot", po::value<std::string>()->value_name("FILE.svg"),
       "KL divergence and perplexity over the position in the window")                        //
      ("store", po::bool_switch(), "keep the result with B in the registry, for dgq report")  //
      ("json", po::bool_switch(), "print one JSON object");
  options.positional.add("a", 1).add("b", 1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const auto& path = options.get<std::string>("text");
  const auto context = options.get<std::size_t>("context"), limit = options.get<std::size_t>("tokens");
  if (limit != 0 && limit < context)
    return Error{Errc::invalid, "--tokens must be at least one window of " + std::to_string(context)};
  DGQ_TRY(const std::string text, read_file(path, kMaxTextFile));
  DGQ_TRY(const LoadedModel a, LoadedModel::load_either(options, options.get<std::string>("a")));
  DGQ_TRY(const LoadedModel b, LoadedModel::load_either(options, options.get<std::string>("b")));
  if (options.get<bool>("store") && b.describe()["version"].is_null())
    return Error{Errc::invalid,
                 "--store keeps the result with a model of the registry, and B is a checkpoint"};
  for (const LoadedModel* model : {&a, &b}) DGQ_CHECK(check_context(model->config(), context));
  DGQ_TRY(const auto encoded, encode(a, text, path));
  DGQ_TRY(const auto same, encode(b, text, path));
  if (encoded != same)
    return Error{Errc::invalid, "the tokenizers of the two models cut " + path + " differently"};
  const auto decoder_a = a.make_decoder(), decoder_b = b.make_decoder();
  Progress progress;
  DGQ_TRY(const Comparison result,
          compare_models({a.config(), a.weights(), *decoder_a, a.kv_type()},
                         {b.config(), b.weights(), *decoder_b, b.kv_type()}, encoded, context,
                         limit / context, a.threads(), show_count(progress, "window")));
  progress.finish();
  const auto &name_a = options.get<std::string>("a"), &name_b = options.get<std::string>("b");
  if (options.get<bool>("store")) {
    OrderedJson measured = to_json(result);
    measured["against"] = name_a;
    measured["context"] = context;
    DGQ_CHECK(store_measurement(options, b.describe(), std::move(measured), path, text));
  }
  if (options.has("plot")) {
    const std::string plot = plot_positions(result, name_a, name_b);
    DGQ_CHECK(write_file_atomic(options.get<std::string>("plot"), std::as_bytes(std::span(plot))));
  }
  if (!options.get<bool>("json")) {
    print_comparison(result, name_a, name_b, context);
    return 0;
  }
  OrderedJson json = to_json(result), reference = a.describe(), other = b.describe();
  reference.update(to_json(result.reference));
  other.update(to_json(result.other));
  json["context"] = context;
  json["a"] = reference;
  json["b"] = other;
  json["positions"] = positions_json(result);
  return finish(json.dump());
}

Result<int> eval_hash(const Arguments& arguments) {
  Evaluation evaluation(
      "dgq eval hash (--model NAME[:TAG] | --checkpoint DIR) --text TEXT",
      "SHA-256 of the logits at every position of a text: the same on every kernel, thread count and CPU.");
  Options& options = evaluation.options;
  options.named.add_options()("text", po::value<std::string>()->required()->value_name("TEXT"),
                              "the text itself");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const LoadedModel model, evaluation.load());
  DGQ_TRY(const auto tokens, model.tokenizer().encode(options.get<std::string>("text"), true));
  const auto decoder = model.make_decoder();
  DGQ_TRY(const Digest digest,
          hash_logits(model.config(), model.weights(), *decoder, model.kv_type(), tokens));
  if (!options.get<bool>("json")) return finish(digest.hex());
  OrderedJson json = model.describe();
  json["tokens"] = tokens.size();
  json["sha256"] = digest.hex();
  return finish(json.dump());
}

OrderedJson to_json(const Share& share) {
  return {{"share", share.value}, {"standard_error", share.standard_error}};
}

Result<int> eval_choices(const Arguments& arguments) {
  Evaluation evaluation(
      "dgq eval choices FILE.jsonl (--model NAME[:TAG] | --checkpoint DIR)",
      "How many questions a model answers rightly: minimal pairs (BLiMP), multiple choice (PIQA with a "
      "\"label\"\nin each line, ARC) or last words (LAMBADA), one JSON object per line as their authors "
      "publish them.\nThe option with the highest log-likelihood is the answer.");
  Options& options = evaluation.options;
  options.named.add_options()                                                                       //
      ("file", po::value<std::string>()->required()->value_name("FILE"), "the questions (.jsonl)")  //
      ("limit", po::value<std::size_t>()->default_value(0)->value_name("N"), "questions at most; 0: all");
  options.positional.add("file", 1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const auto& path = options.get<std::string>("file");
  DGQ_TRY(const std::string text, read_file(path, kMaxTextFile));
  DGQ_TRY(std::vector<Question> questions, parse_questions(text, path));
  if (const auto limit = options.get<std::size_t>("limit"); limit != 0 && limit < questions.size())
    questions.resize(limit);
  DGQ_TRY(const LoadedModel model, evaluation.load());
  const auto decoder = model.make_decoder();
  Progress progress;
  auto result = answer_questions(model.config(), model.weights(), *decoder, model.kv_type(),
                                 model.tokenizer(), questions, show_count(progress, "question"));
  if (!result) return Error{result.error().code, path + ": " + result.error().what};
  progress.finish();
  if (options.get<bool>("json")) {
    OrderedJson json = model.describe();
    json["questions"] = result->questions;
    json["right"] = to_json(result->right);
    json["right_per_byte"] = to_json(result->right_per_byte);
    json["nll"] = result->nll;
    return finish(json.dump());
  }
  char line[200];
  std::snprintf(line, sizeof line,
                "right %.2f %% +- %.2f %%, by likelihood per byte %.2f %% +- %.2f %% (%zu questions) | ",
                100 * result->right.value, 100 * result->right.standard_error,
                100 * result->right_per_byte.value, 100 * result->right_per_byte.standard_error,
                result->questions);
  return finish(line + model.footprint());
}

constexpr Command kCommands[] = {
    {"perplexity", "perplexity of a model or checkpoint on a text", eval_perplexity},
    {"compare", "KL divergence between two models on a text", eval_compare},
    {"choices", "multiple-choice questions, minimal pairs, last words", eval_choices},
    {"hash", "hash of the logits: the same on every kernel, thread count and CPU", eval_hash},
};
constexpr CommandGroup kEval = {"dgq eval", "Measures a model of the registry, or a checkpoint in fp32.",
                                kExamples, kCommands};

}  // namespace

Result<int> run_eval(const Arguments& arguments) { return dispatch(kEval, arguments); }

}  // namespace dgq::tools

// tools/cmd_registry_expect.cpp - `dgq registry expect`: what a version must do before an agent serves it.
#include "agent/health_check.h"
#include "registry/deployment.h"
#include "runtime/logits_hash.h"
#include "tools/cmd_load.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr std::size_t kLargestFile = 1 << 20;

// The prompts with the logits that the version has for them here; they are the same on every CPU.
Result<Json> record(const Options& options, const std::string& reference) {
  DGQ_TRY(const LoadedModel model, LoadedModel::load(options, reference));
  const auto decoder = model.make_decoder();
  Json prompts = Json::array();
  for (const std::string& text : options.get<std::vector<std::string>>("record")) {
    DGQ_TRY(const auto tokens, model.tokenizer().encode(text, true));
    DGQ_TRY(const Digest hash, hash_logits(model.config(), model.weights(), *decoder, KvType::int8, tokens));
    prompts.push_back({{"text", text}, {"sha256", hash.hex()}});
  }
  return Json{{"prompts", prompts}};
}

// What is to be kept; null: nothing.
Result<Json> wanted(const Options& options, const std::string& reference) {
  if (options.has("record")) return record(options, reference);
  if (options.get<bool>("clear")) return Json();
  const auto& file = options.get<std::string>("set");
  DGQ_TRY(const std::string text, read_file(file, kLargestFile));
  return parse_json(text, file);
}

}  // namespace

Result<int> registry_expect(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry expect NAME[:TAG] [options]",
                       "Shows or says what a version must do before an agent serves it: prompts with the "
                       "hash of their logits, a "
                       "text with a limit of perplexity, limits of time and memory (docs/AGENT.md has the "
                       "JSON). It stays with the "
                       "version, and is asked for beside what the deployment asks (dgq deploy --check). "
                       "Logits have the same bits "
                       "on every CPU, so that what was recorded on one machine can be expected on all.",
                       "  dgq registry expect demo:stable --record \"The old king\"\n"
                       "  dgq registry expect demo:stable > health.json         (and on a device:)\n"
                       "  dgq registry expect demo:stable --set health.json\n"
                       "  dgq registry expect demo:stable --clear\n");
  options.named.add_options()  //
      ("record", po::value<std::vector<std::string>>()->value_name("TEXT"),
       "expect the logits that it has now for this prompt; can be given several times")         //
      ("set", po::value<std::string>()->value_name("FILE"), "expect what stands in this file")  //
      ("clear", po::bool_switch(), "expect nothing");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments,
                     {{"model", "NAME[:TAG]", "the version, as the first argument or here"}}));
  if (!go_on) return 0;
  const int changes = options.has("record") + options.has("set") + options.get<bool>("clear");
  if (changes > 1) return Error{Errc::invalid, "give one of --record, --set and --clear"};
  const auto& reference = options.get<std::string>("model");
  DGQ_TRY(Registry registry,
          open_registry(options, changes ? Registry::Mode::read_write : Registry::Mode::read_only));
  DGQ_TRY(const VersionInfo version, registry.resolve(reference));
  if (changes) {
    DGQ_TRY(const Json json, wanted(options, reference));
    if (!json.is_null()) DGQ_CHECK(agent::read_health_check(json));
    DGQ_CHECK(set_expectations(registry, version.digest, json.is_null() ? "" : json.dump()));
  }
  DGQ_TRY(const std::string now, expectations_of(registry, version.digest));
  const Json json = now.empty() ? Json::object() : Json::parse(now, nullptr, false);
  if (options.get<bool>("json"))
    print_json({{"version", version.digest.hex()}, {"expected", json}});
  else
    print_json(json);
  return 0;
}

}  // namespace dgq::tools

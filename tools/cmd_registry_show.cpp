// tools/cmd_registry_show.cpp - `dgq registry show`: everything that a version says about itself.
#include <map>

#include "registry/registry.h"
#include "tools/report_output.h"
#include "tools/signature_output.h"

namespace dgq::tools {
namespace {

// A member as a person reads it; "-" when it is not there. Manifests come from elsewhere: no type is taken
// for granted.
std::string cell(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || found->is_null()) return "-";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_number_float()) return found->dump(-1, ' ', false, Json::error_handler_t::replace);
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", found->get<double>());
  return text;
}

std::string architecture(const Json& config) {
  std::string name = cell(config, "architectures");
  std::erase_if(name, [](char c) { return c == '[' || c == ']' || c == '"'; });
  return name + ", " + cell(config, "num_hidden_layers") + " layers, hidden " + cell(config, "hidden_size") +
         ", ffn " + cell(config, "intermediate_size") + ", heads " + cell(config, "num_attention_heads") +
         " (kv " + cell(config, "num_key_value_heads") + "), vocabulary " + cell(config, "vocab_size");
}

void print_object(const char* title, const Json& object) {
  if (object.is_object() && !object.empty())
    std::cout << '\n' << title << '\n' << object.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

struct Shown {
  std::string registry;
  VersionInfo version;
  std::map<Digest, std::uint64_t> stored;  // bytes of each blob in the registry
  std::vector<FileDigest> sources;         // files that it was made from
  std::vector<StageCost> costs;            // of making it
  std::vector<SignatureInfo> signatures;
  std::map<std::string, Verdict> verdicts;  // by model name
};

std::uint64_t stored_bytes(const Shown& shown, const BlobRef& blob) {
  const auto found = shown.stored.find(blob.digest);
  return found == shown.stored.end() ? 0 : found->second;
}

// Anyone's report: one that is not understood keeps nobody from seeing the rest.
void print_tensors(const Json& report) {
  if (report.is_null()) return;
  std::cout << '\n';
  if (const auto tensors = report_from_json(report, "report"))
    print_report(*tensors, false);
  else
    std::cout << "The report cannot be shown: " << one_line(tensors.error().what) << '\n';
}

void print_costs(const std::vector<StageCost>& costs) {
  if (costs.empty()) return;
  const StageCost made = total(costs);
  std::printf("Made in %.1f s with at most %s of memory (by stage: --json, --html)\n", made.seconds,
              human_bytes(static_cast<double>(made.peak_rss_bytes)).c_str());
}

void print_sources(const std::vector<FileDigest>& sources) {
  if (sources.empty()) return;
  std::cout << "\nMade from\n";
  Table table({"FILE", "SHA-256"});
  for (const FileDigest& file : sources) table.add({one_line(file.name), file.digest.hex()});
  table.print();
}

Json sources_json(const std::vector<FileDigest>& sources) {
  Json list = Json::array();
  for (const FileDigest& file : sources) list.push_back({{"file", file.name}, {"sha256", file.digest.hex()}});
  return list;
}

void print_text(const Shown& shown) {
  const Manifest& manifest = shown.version.manifest;
  std::uint64_t bytes = 0, stored = 0;
  for (const BlobRef& blob : manifest.blobs) bytes += blob.bytes, stored += stored_bytes(shown, blob);
  std::string tags;
  for (const std::string& tag : shown.version.tags) tags += (tags.empty() ? "" : ", ") + tag;
  const std::string activations =
      manifest.activation_block == 0
          ? "int8, one scale per row"
          : "int8, one scale per " + std::to_string(manifest.activation_block) + " columns";
  std::cout << "version       " << shown.version.digest.hex() << "\ntags          " << tags
            << "\ncreated       " << utc_time(shown.version.created_unix_s) << "\narchitecture  "
            << architecture(manifest.config) << "\nactivations   " << activations << "\nsize          "
            << human_bytes(static_cast<double>(bytes)) << " in " << manifest.blobs.size() << " blobs, "
            << human_bytes(static_cast<double>(stored)) << " in the registry\n\n";
  Table table({"BLOB", "MEDIA", "DIGEST", ">BYTES", ">STORED"});
  for (const BlobRef& blob : manifest.blobs)
    table.add({blob.name, blob.media, blob.digest.short_hex(), std::to_string(blob.bytes),
               std::to_string(stored_bytes(shown, blob))});
  table.print();
  print_tensors(manifest.report);
  print_costs(shown.costs);
  print_object("Recipe", manifest.recipe);
  print_object("Provenance", manifest.provenance);
  print_sources(shown.sources);
  print_signatures(shown.signatures, shown.verdicts);
}

Json as_json(const Shown& shown) {
  const Manifest& manifest = shown.version.manifest;
  Json blobs = Json::array();
  for (const BlobRef& blob : manifest.blobs)
    blobs.push_back({{"name", blob.name},
                     {"media", blob.media},
                     {"digest", blob.digest.hex()},
                     {"bytes", blob.bytes},
                     {"stored_bytes", stored_bytes(shown, blob)}});
  Json verdicts = Json::object();
  for (const auto& [model, verdict] : shown.verdicts)
    verdicts[model] = signed_json(verdict, !shown.signatures.empty());
  return {{"registry", shown.registry},
          {"version", shown.version.digest.hex()},
          {"tags", shown.version.tags},
          {"created", utc_time(shown.version.created_unix_s)},
          {"config", manifest.config},
          {"activation_block", manifest.activation_block},
          {"blobs", std::move(blobs)},
          {"recipe", manifest.recipe},
          {"provenance", manifest.provenance},
          {"report", manifest.report},
          {"costs", to_json(shown.costs)},
          {"sources", sources_json(shown.sources)},
          {"signatures", signatures_as_json(shown.signatures)},
          {"signed", std::move(verdicts)}};
}

Result<void> write_html(const Shown& shown, const std::string& name, const std::filesystem::path& path) {
  const VersionInfo& version = shown.version;
  DGQ_TRY(std::vector<TensorReport> tensors, report_from_json(version.manifest.report, name));
  return write_page({name, version.digest.hex(), version.manifest, std::move(tensors), shown.costs}, path);
}

}  // namespace

Result<int> registry_show(const Arguments& arguments) {
  namespace po = boost::program_options;
  Options options;
  options.usage = "dgq registry show MODEL[:TAG] | DIGEST [options]";
  options.about =
      "Shows a version: its digest, tags, architecture, blobs, provenance, recipe and per-layer report.";
  options.examples =
      "  dgq registry show demo\n"
      "  dgq registry show demo:g64 --json | jq .provenance\n"
      "  dgq registry show demo --html demo.html\n"
      "  dgq registry show 3f7a90c1   (8 or more digits of a version's digest)\n";
  add_registry_options(options);
  options.named.add_options()                                                                              //
      ("model", po::value<std::string>()->value_name("NAME"), "the model, as the first argument or here")  //
      ("html", po::value<std::string>()->value_name("FILE"),
       "write a page with summary, plots, recipe and provenance, and print nothing")  //
      ("json", po::bool_switch(), "print one JSON object");
  options.positional.add("model", 1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (!options.has("model")) return Error{Errc::invalid, "which model? (see dgq registry show --help)"};

  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  Shown shown;
  shown.registry = registry.path().string();
  DGQ_TRY(shown.version, registry.resolve(options.get<std::string>("model")));
  DGQ_TRY(const std::vector<BlobInfo> blobs, registry.blobs());
  for (const BlobInfo& blob : blobs) shown.stored[blob.digest] = blob.stored_bytes;
  DGQ_TRY(const Trust trust, read_trust(registry));
  DGQ_TRY(shown.signatures, signatures_of(registry, trust, shown.version.digest));
  for (const std::string& model : models_named(shown.version, shown.version.digest.hex()))
    shown.verdicts[model] = trust.judge(shown.signatures, model);
  DGQ_TRY(shown.sources, registry.sources(shown.version.digest));
  DGQ_TRY(const std::string costs, registry.costs(shown.version.digest));
  DGQ_TRY(shown.costs, parse_costs(costs, "costs of version " + shown.version.digest.short_hex()));
  if (options.has("html")) {
    DGQ_CHECK(write_html(shown, options.get<std::string>("model"), options.get<std::string>("html")));
    return 0;
  }
  if (options.get<bool>("json"))
    print_json(as_json(shown));
  else
    print_text(shown);
  return 0;
}

}  // namespace dgq::tools

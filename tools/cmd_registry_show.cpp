// tools/cmd_registry_show.cpp - `dgq registry show`: everything that a version says about itself.
#include <algorithm>
#include <iomanip>
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
  return number("%.4g", found->get<double>());
}

// "LlamaForCausalLM".
std::string family(const Json& config) {
  std::string name = cell(config, "architectures");
  std::erase_if(name, [](char c) { return c == '[' || c == ']' || c == '"'; });
  return name;
}

std::string count(std::size_t n) {
  const double value = static_cast<double>(n);
  return n >= 1'000'000'000 ? number("%.2f G", value / 1e9)
         : n >= 1'000'000   ? number("%.2f M", value / 1e6)
                            : std::to_string(n);
}

bool has_pass(const Json& recipe, const char* name) {
  const auto passes = recipe.is_object() ? recipe.find("passes") : recipe.end();
  if (!recipe.is_object() || passes == recipe.end() || !passes->is_array()) return false;
  return std::any_of(passes->begin(), passes->end(),
                     [&](const Json& pass) { return cell(pass, "pass") == name; });
}

std::string activations(const Manifest& manifest) {
  const std::string found = manifest.activation_block == 0
                                ? "one scale per row"
                                : "one scale per " + std::to_string(manifest.activation_block) + " columns";
  return has_pass(manifest.recipe, "static-activations")
             ? "int8, static scales for the inputs that the recipe's pass static-activations chose, " +
                   found + " for the others"
             : "int8, " + found;
}

void print_object(const char* title, const Json& object) {
  if (object.is_object() && !object.empty())
    std::cout << '\n' << title << '\n' << object.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

struct Shown {
  std::string registry;
  VersionInfo version;
  std::map<Digest, BlobUse> blobs;
  std::vector<FileDigest> sources;                  // files that it was made from
  std::vector<StageCost> costs;                     // of making it
  std::vector<Json> measurements;                   // oldest first
  std::optional<std::vector<TensorReport>> report;  // nullopt: none, or one that is not understood
  std::vector<SignatureInfo> signatures;
  std::map<std::string, Verdict> verdicts;  // by model name
};

std::uint64_t stored_bytes(const Shown& shown, const BlobRef& blob) {
  const auto found = shown.blobs.find(blob.digest);
  return found == shown.blobs.end() ? 0 : found->second.stored_bytes;
}

struct Sizes {
  std::uint64_t raw = 0, stored = 0, shared = 0,
                shared_stored = 0;  // shared: with other versions that have a name
};

Sizes sizes_of(const Shown& shown) {
  Sizes sizes;
  for (const auto& [digest, blob] : shown.blobs) {
    sizes.raw += blob.bytes, sizes.stored += blob.stored_bytes;
    if (blob.other_versions > 0) sizes.shared += blob.bytes, sizes.shared_stored += blob.stored_bytes;
  }
  return sizes;
}

ReportTotal linears(const std::vector<TensorReport>& tensors) {
  std::vector<TensorReport> found;
  for (const TensorReport& tensor : tensors)
    if (tensor.name.starts_with("layers.")) found.push_back(tensor);
  return total(found);
}

void print_line(const char* title, const std::string& text) {
  std::cout << std::left << std::setw(14) << title << one_line(text) << '\n';
}

// The latest for each text and context.
void print_measurements(const std::vector<Json>& measurements) {
  std::map<std::string, std::string> latest;
  for (const Json& measured : measurements)
    if (measured.is_object() && measured.contains("perplexity"))
      latest[cell(measured, "text_sha256") + " " + cell(measured, "context")] =
          cell(measured, "perplexity") + " +- " + cell(measured, "standard_error") + " on " +
          cell(measured, "text") + ", " + cell(measured, "windows") + " windows of " +
          cell(measured, "context");
  for (const auto& [key, text] : latest) print_line("perplexity", text);
}

// What a person asks first: what it is, how large, how it was made, what it is called.
void print_card(const Shown& shown) {
  const Manifest& manifest = shown.version.manifest;
  const Json &config = manifest.config, &made_with = manifest.recipe;
  print_line("version", shown.version.digest.hex());
  std::string tags;
  for (const std::string& tag : shown.version.tags) tags += (tags.empty() ? "" : ", ") + tag;
  print_line("tags", tags);
  print_line("created", utc_time(shown.version.created_unix_s));
  print_line("architecture", family(config) + ", " + cell(config, "num_hidden_layers") + " layers, hidden " +
                                 cell(config, "hidden_size") + ", ffn " + cell(config, "intermediate_size") +
                                 ", heads " + cell(config, "num_attention_heads") + " (kv " +
                                 cell(config, "num_key_value_heads") + "), vocabulary " +
                                 cell(config, "vocab_size") + ", context " +
                                 cell(config, "max_position_embeddings"));
  if (shown.report) {
    const ReportTotal all = total(*shown.report), inner = linears(*shown.report);
    print_line("parameters",
               count(all.weights) + " in matrices, " + count(inner.weights) + " of them in linears");
    print_line("bits/weight", number("%.3f", inner.bits_per_weight()) + " of linears, " +
                                  number("%.3f", all.bits_per_weight()) + " of all");
  }
  if (made_with.is_object())
    print_line("recipe", cell(made_with, "method") + " " + cell(made_with, "name") + ", " +
                             cell(made_with, "bits") + " bits, group " + cell(made_with, "group"));
  print_line("activations", activations(manifest));
  if (manifest.provenance.is_object()) print_line("calibration", cell(manifest.provenance, "calibration"));
  const Sizes sizes = sizes_of(shown);
  print_line("size", size_text(sizes.raw) + " in " + std::to_string(manifest.blobs.size()) + " blobs, " +
                         size_text(sizes.stored) +
                         " in the registry; shared with other versions: " + size_text(sizes.shared) + ", " +
                         size_text(sizes.shared_stored) + " in the registry");
  print_measurements(shown.measurements);
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
  print_card(shown);
  std::cout << '\n';
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
  const Sizes sizes = sizes_of(shown);
  Json card = {{"bytes", sizes.raw},
               {"stored_bytes", sizes.stored},
               {"shared_bytes", sizes.shared},
               {"shared_stored_bytes", sizes.shared_stored}};
  if (shown.report) {
    const ReportTotal all = total(*shown.report), inner = linears(*shown.report);
    card["weights"] = all.weights;
    card["bits_per_weight"] = all.bits_per_weight();
    card["linear_weights"] = inner.weights;
    card["linear_bits_per_weight"] = inner.bits_per_weight();
  }
  return {{"registry", shown.registry},
          {"version", shown.version.digest.hex()},
          {"tags", shown.version.tags},
          {"created", utc_time(shown.version.created_unix_s)},
          {"config", manifest.config},
          {"activation_block", manifest.activation_block},
          {"activations", activations(manifest)},
          {"card", std::move(card)},
          {"blobs", std::move(blobs)},
          {"recipe", manifest.recipe},
          {"provenance", manifest.provenance},
          {"report", manifest.report},
          {"costs", to_json(shown.costs)},
          {"measurements", shown.measurements},
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
  options.usage = "dgq registry show NAME[:TAG] | DIGEST [options]";
  options.about =
      "Shows a version: its card (digest, tags, architecture, bits per weight, sizes), blobs, per-layer "
      "report, recipe, "
      "provenance.";
  options.examples =
      "  dgq registry show demo\n"
      "  dgq registry show demo:g64 --json | jq .provenance\n"
      "  dgq registry show demo --html demo.html\n"
      "  dgq registry show 3f7a90c1   (8 or more digits of a version's digest)\n";
  add_registry_options(options);
  options.named.add_options()  //
      ("model", po::value<std::string>()->value_name("NAME[:TAG]"),
       "the model, as the first argument or here")  //
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
  DGQ_TRY(const std::vector<BlobUse> blobs, registry.blob_uses(shown.version.digest));
  for (const BlobUse& blob : blobs) shown.blobs.emplace(blob.digest, blob);
  if (auto report = report_from_json(shown.version.manifest.report, "report"))
    shown.report = std::move(*report);
  DGQ_TRY(const Trust trust, read_trust(registry));
  DGQ_TRY(shown.signatures, signatures_of(registry, trust, shown.version.digest));
  for (const std::string& model : models_named(shown.version, shown.version.digest.hex()))
    shown.verdicts[model] = trust.judge(shown.signatures, model);
  DGQ_TRY(shown.sources, registry.sources(shown.version.digest));
  DGQ_TRY(const std::string costs, registry.costs(shown.version.digest));
  DGQ_TRY(shown.costs, parse_costs(costs, "costs of version " + shown.version.digest.short_hex()));
  DGQ_TRY(const std::vector<std::string> measurements, registry.measurements(shown.version.digest));
  for (const std::string& text : measurements)
    if (auto measured = parse_json(text, "a measurement")) shown.measurements.push_back(std::move(*measured));
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

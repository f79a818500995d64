// tools/cmd_registry.cpp - `dgq registry`: the list of its commands, and init, list, gc.
#include "registry/layer_cache.h"
#include "registry/registry.h"
#include "tools/signature_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

Result<int> init(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry init [options]",
                       "Makes an empty registry. One that is there stays as it is (one made by an older "
                       "dgq is brought up to date).",
                       "  dgq registry init\n  dgq registry init --registry /srv/models/registry.db\n");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const auto path = registry_path(options);
  std::error_code ignored;
  const bool existed = std::filesystem::exists(path, ignored);
  DGQ_CHECK(Registry::open(path, Registry::Mode::read_write, true));
  if (options.get<bool>("json"))
    print_json({{"registry", path.string()}, {"created", !existed}});
  else
    std::cout << path.string() << (existed ? " is there already\n" : " created\n");
  return 0;
}

// What `list` shows of one name.
struct Listed {
  TagInfo tag;
  Verdict verdict;
  bool has_signatures;
};

void print_list(const std::vector<Listed>& names, const RegistryStats& stats, const std::string& path) {
  if (names.empty()) {
    std::cout << path << " is empty; add a model with: dgq quantize\n";
    return;
  }
  Table table({"MODEL", "VERSION", ">SIZE", ">STORED", "UPDATED", "SIGNED"});
  for (const auto& [tag, verdict, has_signatures] : names)
    table.add({tag.model + ":" + tag.tag, tag.version.short_hex(),
               human_bytes(static_cast<double>(tag.bytes)),
               human_bytes(static_cast<double>(tag.stored_bytes)), utc_time(tag.updated_unix_s),
               signed_cell(verdict, has_signatures)});
  table.print();
  std::cout << '\n'
            << counted(stats.versions, "version") << ", " << counted(stats.blobs, "different blob") << ", "
            << human_bytes(static_cast<double>(stats.raw_bytes)) << ", "
            << human_bytes(static_cast<double>(stats.stored_bytes)) << " stored in " << path << '\n';
}

Json list_json(const std::vector<Listed>& names, const RegistryStats& stats, const std::string& path) {
  Json models = Json::array();
  for (const auto& [tag, verdict, has_signatures] : names)
    models.push_back({{"name", tag.model + ":" + tag.tag},
                      {"version", tag.version.hex()},
                      {"bytes", tag.bytes},
                      {"stored_bytes", tag.stored_bytes},
                      {"updated", utc_time(tag.updated_unix_s)},
                      {"signed", signed_json(verdict, has_signatures)}});
  return {{"registry", path},     {"models", std::move(models)}, {"versions", stats.versions},
          {"blobs", stats.blobs}, {"bytes", stats.raw_bytes},    {"stored_bytes", stats.stored_bytes}};
}

Result<int> list(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry list [options]", "Lists the models of the registry.",
                       "  dgq registry list\n"
                       "  dgq registry list --names | grep ':old$' | xargs -r -n 1 dgq registry untag\n"
                       "  dgq registry list --json | jq -r '.models[].name'\n");
  options.named.add_options()("names", po::bool_switch(), "print only the names, one a line");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  DGQ_TRY(const std::vector<TagInfo> tags, registry.list());
  if (options.get<bool>("names")) {
    if (options.get<bool>("json")) return Error{Errc::invalid, "give --names or --json, not both"};
    for (const TagInfo& tag : tags) std::cout << tag.model << ':' << tag.tag << '\n';
    return 0;
  }
  DGQ_TRY(const Trust trust, read_trust(registry));
  DGQ_TRY(Signatures signatures, all_signatures(registry, trust));
  std::vector<Listed> names;
  for (const TagInfo& tag : tags) {
    const std::vector<SignatureInfo>& by = signatures[tag.version];
    names.push_back({tag, trust.judge(by, tag.model), !by.empty()});
  }
  DGQ_TRY(const RegistryStats stats, registry.stats());
  if (options.get<bool>("json"))
    print_json(list_json(names, stats, registry.path().string()));
  else
    print_list(names, stats, registry.path().string());
  return 0;
}

Result<int> gc(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry gc [options]",
      "Frees the bytes of versions without a name, of adds that were killed, and of "
      "layer files that nothing in the registry needs. Safe beside running adds and "
      "running models. What an interrupted import has brought is kept for a week.",
      "  dgq registry gc\n"
      "  dgq registry gc --interrupted     (frees interrupted imports as well)\n"
      "  dgq registry gc --work            (and what killed runs of dgq quantize have left)\n");
  options.named.add_options()                                                           //
      ("interrupted", po::bool_switch(), "free what interrupted imports have brought")  //
      ("work", po::bool_switch(),
       "remove work folders beside the registry that no run holds and that are older than a week");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(GcReport report, registry.gc(options.get<bool>("interrupted")));
  DGQ_TRY(report.files_removed, LayerCache(cache_folder(options)).remove_unused(registry));
  const bool remove_work = options.get<bool>("work");
  DGQ_TRY(const AbandonedWork work, registry.abandoned_work(remove_work));
  if (options.get<bool>("json"))
    print_json(
        {{"registry", registry.path().string()},
         {"blobs_removed", report.blobs_removed},
         {"bytes_freed", report.bytes_freed},
         {"files_removed", report.files_removed},
         {"interrupted_imports", report.interrupted_imports},
         {"abandoned_work", {{"folders", work.folders}, {"bytes", work.bytes}, {"removed", remove_work}}}});
  else {
    std::cout << counted(report.blobs_removed, "blob") << " (" << size_text(report.bytes_freed) << ") and "
              << counted(report.files_removed, "layer file") << " removed\n";
    if (report.interrupted_imports > 0)
      std::cout << "kept: " << counted(report.interrupted_imports, "interrupted import")
                << " (import again to go on, or gc --interrupted)\n";
    if (work.folders > 0) std::cout << (remove_work ? "removed: " : "kept: ") << abandoned_text(work) << '\n';
  }
  return 0;
}

constexpr Command kCommands[] = {
    {"init", "make an empty registry", init},
    {"list", "list the models", list},
    {"show", "show a version: model card, blobs, provenance, recipe, per-layer report", registry_show},
    {"cat", "write a manifest or a blob to standard output", registry_cat},
    {"diff", "compare two versions", registry_diff},
    {"log", "list who changed what, and when", registry_log},
    {"stats", "tell where the bytes are, and what gc would free", registry_stats},
    {"tag", "give a version another name, or move a name", registry_tag},
    {"untag", "remove a tag", registry_untag},
    {"copy", "give a version or a model a second name", registry_copy},
    {"rename", "rename a model or a tag", registry_rename},
    {"remove", "remove a name", registry_remove},
    {"sign", "sign a version", registry_sign},
    {"expect", "say what a version must do before it serves: known logits, limits", registry_expect},
    {"policy", "show or set what happens to versions that nobody trusted has signed", registry_policy},
    {"verify", "check the registry and the layer files against their digests, and mend them",
     registry_verify},
    {"gc", "free what no name needs", gc},
    {"export", "write versions into one file, for another registry", registry_export},
    {"import", "add the versions of such a file", registry_import},
};

constexpr CommandGroup kRegistry = {
    "dgq registry", "Manages the registry of models: one SQLite file.",
    "  dgq registry list\n  dgq registry show demo\n  dgq registry log demo\n  dgq registry verify\n",
    kCommands};

}  // namespace

Result<int> run_registry(const Arguments& arguments) { return dispatch(kRegistry, arguments); }

}  // namespace dgq::tools

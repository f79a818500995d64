// tools/cmd_registry_stats.cpp - `dgq registry stats`: where the bytes are.
#include "registry/registry.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

double ratio(std::uint64_t a, std::uint64_t b) {
  return b == 0 ? 1 : static_cast<double>(a) / static_cast<double>(b);
}

struct Codec {
  const char* name;
  const CodecUsage& usage;
};

std::vector<Codec> codecs(const RegistryUsage& usage) {
  return {{"raw", usage.raw}, {"zstd", usage.zstd}, {"delta", usage.delta}};
}

void print_text(const RegistryUsage& usage, const AbandonedWork& work, const std::string& path) {
  std::cout << "registry     " << path << ", " << size_text(usage.file_bytes) << " ("
            << size_text(usage.free_bytes) << " of it free)\nversions     " << usage.versions << " with "
            << usage.names << " names of " << usage.models << " models; " << usage.untagged_versions
            << " without a name\nblobs        " << usage.blobs << " different, " << size_text(usage.raw_bytes)
            << ", " << size_text(usage.stored_bytes) << " stored\ndedup        versions refer to "
            << size_text(usage.referred_bytes) << ": "
            << number("%.2f", ratio(usage.referred_bytes, usage.stored_bytes)) << " times what is stored\n\n";
  Table table({"CODEC", ">CHUNKS", ">RAW", ">STORED", ">SHARE"});
  for (const auto& [name, codec] : codecs(usage))
    table.add({name, std::to_string(codec.chunks), size_text(codec.raw_bytes), size_text(codec.stored_bytes),
               codec.chunks ? number("%.1f %%", 100 * ratio(codec.stored_bytes, codec.raw_bytes)) : "-"});
  table.print();
  std::cout << "\ngc would free " << counted(usage.gc_blobs, "blob") << ", " << size_text(usage.gc_bytes)
            << '\n';
  if (usage.interrupted_imports > 0)
    std::cout << counted(usage.interrupted_imports, "interrupted import")
              << " (import again to go on, or gc --interrupted)\n";
  if (work.folders > 0) std::cout << abandoned_text(work) << '\n';
}

Json as_json(const RegistryUsage& usage, const AbandonedWork& work, const std::string& path) {
  Json by_codec = Json::object();
  for (const auto& [name, codec] : codecs(usage))
    by_codec[name] = {
        {"chunks", codec.chunks}, {"bytes", codec.raw_bytes}, {"stored_bytes", codec.stored_bytes}};
  return {{"registry", path},
          {"versions", usage.versions},
          {"untagged_versions", usage.untagged_versions},
          {"names", usage.names},
          {"models", usage.models},
          {"blobs", usage.blobs},
          {"bytes", usage.raw_bytes},
          {"stored_bytes", usage.stored_bytes},
          {"referred_bytes", usage.referred_bytes},
          {"dedup_factor", ratio(usage.referred_bytes, usage.stored_bytes)},
          {"codecs", std::move(by_codec)},
          {"file_bytes", usage.file_bytes},
          {"free_bytes", usage.free_bytes},
          {"gc", {{"blobs", usage.gc_blobs}, {"bytes", usage.gc_bytes}}},
          {"interrupted_imports", usage.interrupted_imports},
          {"abandoned_work", {{"folders", work.folders}, {"bytes", work.bytes}}}};
}

}  // namespace

Result<int> registry_stats(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry stats [options]",
                       "Tells where the bytes of the registry are: versions and blobs, what sharing and "
                       "compression save, what is free, "
                       "and what gc would free.",
                       "  dgq registry stats\n  dgq registry stats --json | jq .dedup_factor\n");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  DGQ_TRY(const RegistryUsage usage, registry.usage());
  DGQ_TRY(const AbandonedWork work, registry.abandoned_work(false));
  const std::string path = registry.path().string();
  if (options.get<bool>("json"))
    print_json(as_json(usage, work, path));
  else
    print_text(usage, work, path);
  return 0;
}

}  // namespace dgq::tools

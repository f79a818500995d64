// tools/cmd_registry_cat.cpp - `dgq registry cat`: a manifest or a blob, byte for byte.
#include <unistd.h>

#include "registry/registry.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

Result<void> write_stdout(std::span<const std::byte> bytes) {
  return write_all(STDOUT_FILENO, bytes, "to stdout");
}

// By its name in the version, or by (the beginning of) its digest.
Result<BlobRef> find_blob(const VersionInfo& version, const std::string& text) {
  if (const BlobRef* blob = version.manifest.find(text)) return *blob;
  std::string names;
  for (const BlobRef& blob : version.manifest.blobs) {
    if (text.size() >= 8 && blob.digest.hex().starts_with(text)) return blob;
    names += (names.empty() ? "" : ", ") + blob.name;
  }
  return Error{Errc::not_found, "version " + version.digest.short_hex() + " has no blob '" + text +
                                    "'; it has " + names.substr(0, 300)};
}

Result<int> print_manifest(const Options& options, Registry& registry, const VersionInfo& version) {
  if (options.get<bool>("json")) {
    DGQ_TRY(const std::string text, registry.manifest_text(version.digest));
    DGQ_TRY(const Json manifest, parse_json(text, "manifest of " + version.digest.short_hex()));
    print_json(manifest);
    return 0;
  }
  DGQ_TRY(std::string text, registry.manifest_text(version.digest));
  if (::isatty(STDOUT_FILENO)) text += '\n';
  DGQ_CHECK(write_stdout(std::as_bytes(std::span(text))));
  return 0;
}

}  // namespace

Result<int> registry_cat(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry cat NAME[:TAG] | DIGEST [BLOB] [options]",
      "Writes the manifest of a version, or the raw bytes of one of its blobs, to standard output, "
      "byte for byte: their SHA-256 is the version, or the blob's digest.",
      "  dgq registry cat demo --json              (indented)\n"
      "  dgq registry cat demo | sha256sum         (the version)\n"
      "  dgq registry cat demo tokenizer > tokenizer.json\n"
      "  dgq registry cat demo layers.0 | xxd | head\n");
  DGQ_TRY(
      const bool go_on,
      parse_with(options, arguments, {{"model", "NAME[:TAG]", "the version, as the first argument or here"}},
                 {{"blob", "BLOB", "a name or digest of `show`, as the second argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_only));
  DGQ_TRY(const VersionInfo version, registry.resolve(options.get<std::string>("model")));
  if (!options.has("blob")) return print_manifest(options, registry, version);
  if (options.get<bool>("json"))
    return Error{Errc::invalid, "--json is for the manifest: a blob goes out as it is"};
  DGQ_TRY(const BlobRef blob, find_blob(version, options.get<std::string>("blob")));
  if (blob.media == "layer" && ::isatty(STDOUT_FILENO))
    return Error{Errc::invalid,
                 "blob " + blob.name + " is not for a terminal: send it into a file or a pipe"};
  DGQ_CHECK(registry.read_blob(blob.digest, write_stdout));
  return 0;
}

}  // namespace dgq::tools

// tools/cmd_registry_names.cpp - `dgq registry tag`, `untag`, `remove`, `copy`, `rename`: names of versions.
#include "registry/registry.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

// A whole digest may also name a version that has lost its last tag: that is how a remove is undone before
// gc.
Result<Digest> find_version(Registry& registry, const std::string& reference) {
  if (const auto digest = Digest::parse(reference)) return *digest;
  DGQ_TRY(const VersionInfo version, registry.resolve(reference));
  return version.digest;
}

Result<int> remove_name(const Options& options, const std::string& text) {
  DGQ_TRY(const ModelRef name, ModelRef::parse(text));
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(const Digest version, registry.remove(name));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"name", name.text()}, {"version", version.hex()}});
  else
    std::cout << name.text() << " removed; it was version " << version.hex() << '\n';
  return 0;
}

void print_warning(const std::string& warning) {
  if (!warning.empty()) print_warnings({warning});
}

using Give = Result<std::vector<NameGiven>> (Registry::*)(std::string_view from, std::string_view to);

// copy and rename: `options` are described, but for the two names.
Result<int> give_names(Options options, const Arguments& arguments, Give give, const char* done) {
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments,
                     {{"from", "NAME[:TAG]", "the name that is there, as the first argument or here"},
                      {"to", "NAME[:TAG]", "the new one, as the second argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(const std::vector<NameGiven> names,
          (registry.*give)(options.get<std::string>("from"), options.get<std::string>("to")));
  Json list = Json::array();
  for (const NameGiven& name : names) {
    print_warning(name.warning);
    list.push_back({{"from", name.from.text()}, {"to", name.to.text()}, {"version", name.version.hex()}});
  }
  if (options.get<bool>("json")) {
    print_json({{"registry", registry.path().string()}, {"names", std::move(list)}});
    return 0;
  }
  for (const NameGiven& name : names)
    std::cout << name.from.text() << done << name.to.text() << " (version " << name.version.short_hex()
              << ")\n";
  return 0;
}

}  // namespace

Result<int> registry_tag(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry tag SOURCE NAME[:TAG] [options]",
                       "Gives a version another name, or moves a name to it. SOURCE is NAME[:TAG] or a "
                       "digest (8 or more digits).",
                       "  dgq registry tag demo:latest demo:stable\n"
                       "  dgq registry tag 3f7a90c1 demo:latest     (back to an earlier version)\n");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments,
                     {{"source", "NAME[:TAG]", "the version, as the first argument or here"},
                      {"name", "NAME[:TAG]", "the name it gets, as the second argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(const ModelRef name, ModelRef::parse(options.get<std::string>("name")));
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_TRY(const Digest version, find_version(registry, options.get<std::string>("source")));
  DGQ_TRY(const std::string warning, registry.tag(version, name));
  print_warning(warning);
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"name", name.text()}, {"version", version.hex()}});
  else
    std::cout << name.text() << " is now version " << version.short_hex() << '\n';
  return 0;
}

Result<int> registry_remove(const Arguments& arguments) {
  Options options =
      registry_options("dgq registry remove NAME[:TAG] [options]",
                       "Removes a name. A version without a name is gone; `dgq registry gc` frees its "
                       "bytes. Until then `dgq registry tag DIGEST NAME` brings it back.",
                       "  dgq registry remove demo:old\n");
  DGQ_TRY(const bool go_on, parse_with(options, arguments,
                                       {{"model", "NAME[:TAG]", "the name, as the first argument or here"}}));
  return go_on ? remove_name(options, options.get<std::string>("model")) : 0;
}

Result<int> registry_untag(const Arguments& arguments) {
  Options options = registry_options("dgq registry untag NAME:TAG [options]",
                                     "Removes one tag, which has to be said: `remove`, without the default "
                                     "latest. `dgq registry tag DIGEST NAME:TAG` brings it back before gc.",
                                     "  dgq registry untag demo:old\n");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments,
                     {{"name", "NAME[:TAG]", "the name with its tag, as the first argument or here"}}));
  if (!go_on) return 0;
  const std::string& text = options.get<std::string>("name");
  if (text.find(':') == text.npos)
    return Error{Errc::invalid, "which tag of '" + text + "'? usage: " + options.usage};
  return remove_name(options, text);
}

Result<int> registry_copy(const Arguments& arguments) {
  return give_names(
      registry_options(
          "dgq registry copy NAME[:TAG] NEW[:TAG] [options]",
          "Gives a version a second name; its bytes stay where they are. A name that is there moves. "
          "NAME and NEW without a tag stand for all tags of the model.",
          "  dgq registry copy demo:latest demo:stable\n"
          "  dgq registry copy demo backup/demo        (every tag of demo)\n"),
      arguments, &Registry::copy, " is also ");
}

Result<int> registry_rename(const Arguments& arguments) {
  return give_names(
      registry_options("dgq registry rename NAME[:TAG] NEW[:TAG] [options]",
                       "Renames a model with all its tags, or one tag: all or nothing. A new name that "
                       "is there already is refused.",
                       "  dgq registry rename demo story\n"
                       "  dgq registry rename demo:next demo:stable\n"),
      arguments, &Registry::rename, " is now ");
}

}  // namespace dgq::tools

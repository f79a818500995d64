// tools/cmd_key.cpp - `dgq key`: makes keys, and says which of them a registry trusts.
#include "registry/trust.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

// For commands that use no registry.
Options file_options(std::string usage, std::string about, std::string examples) {
  Options options;
  options.usage = std::move(usage);
  options.about = std::move(about);
  options.examples = std::move(examples);
  options.named.add_options()("json", po::bool_switch(), "print one JSON object");
  return options;
}

Result<Json> public_json(const PublicKey& key) {
  DGQ_TRY(const std::string pem, key.pem());
  return Json{{"key", key.id()}, {"public_key", pem}};
}

Result<int> new_key(const Arguments& arguments) {
  Options options =
      file_options("dgq key new FILE [options]",
                   "Makes a pair of Ed25519 keys: the private one in FILE (mode 0600, keep it off devices), "
                   "the public one in FILE.pub, for `dgq key trust`. Files that are there are never written "
                   "over.",
                   "  dgq key new release.key\n  openssl pkey -in release.key -noout -text\n");
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"file", "FILE", "the file to make"}}));
  if (!go_on) return 0;
  const std::string& file = options.get<std::string>("file");
  DGQ_TRY(const PrivateKey key, PrivateKey::generate());
  DGQ_CHECK(key.write_new(file));
  if (options.get<bool>("json")) {
    DGQ_TRY(Json shown, public_json(key.public_key()));
    shown["private_file"] = file;
    shown["public_file"] = file + ".pub";
    print_json(shown);
  } else {
    std::cout << "key " << key.public_key().id() << ": private in " << file << ", public in " << file
              << ".pub\n";
  }
  return 0;
}

Result<int> show_key(const Arguments& arguments) {
  Options options = file_options("dgq key show FILE [options]",
                                 "Shows the id of a key, private or public, and its public part.",
                                 "  dgq key show release.key.pub\n  dgq key show release.key --json\n");
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"file", "FILE", "the key"}}));
  if (!go_on) return 0;
  const std::string& file = options.get<std::string>("file");
  DGQ_TRY(const bool is_private, is_private_key_file(file));
  PublicKey key;
  if (is_private) {
    DGQ_TRY(const PrivateKey whole, PrivateKey::read(file));
    key = whole.public_key();
  } else {
    DGQ_TRY(key, PublicKey::read(file));
  }
  if (options.get<bool>("json")) {
    DGQ_TRY(Json shown, public_json(key));
    shown["private"] = is_private;
    print_json(shown);
  } else {
    DGQ_TRY(const std::string pem, key.pem());
    std::cout << "key   " << key.id() << "\nfile  " << (is_private ? "private" : "public") << '\n' << pem;
  }
  return 0;
}

Result<int> trust(const Arguments& arguments) {
  Options options = registry_options(
      "dgq key trust FILE.pub [--name WHO] [options]",
      "Believes signatures of this public key in the registry from now on. What is not signed "
      "is refused only after `dgq registry policy enforce`.",
      "  dgq key trust release.key.pub --name release\n");
  options.named.add_options()("name", po::value<std::string>()->default_value("")->value_name("WHO"),
                              "whose key it is, for people");
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"file", "FILE.pub", "the public key"}}));
  if (!go_on) return 0;
  DGQ_TRY(const PublicKey key, PublicKey::read(options.get<std::string>("file")));
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_write));
  DGQ_TRY(const TrustedKey trusted, trust_key(registry, key, options.get<std::string>("name")));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"key", trusted.id}, {"name", trusted.name}});
  else
    std::cout << "key " << trusted.id << (trusted.name.empty() ? "" : " (" + trusted.name + ")")
              << " is trusted by " << registry.path().string() << '\n';
  return 0;
}

Result<int> list(const Arguments& arguments) {
  Options options = registry_options("dgq key list [options]", "Lists the keys that the registry knows.",
                                     "  dgq key list\n  dgq key list --json | jq -r '.keys[].key'\n");
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  DGQ_TRY(const Trust trust, read_trust(registry));
  if (options.get<bool>("json")) {
    Json keys = Json::array();
    for (const TrustedKey& key : trust.keys) {
      DGQ_TRY(Json shown, public_json(key.key));
      shown["name"] = key.name;
      shown["added"] = utc_time(key.added_unix_s);
      shown["revoked"] = key.revoked_unix_s ? Json(utc_time(*key.revoked_unix_s)) : Json();
      keys.push_back(std::move(shown));
    }
    print_json({{"registry", registry.path().string()}, {"policy", to_text(trust.policy)}, {"keys", keys}});
    return 0;
  }
  Table table({"KEY", "NAME", "ADDED", "REVOKED"});
  for (const TrustedKey& key : trust.keys)
    table.add({key.id, key.name.empty() ? "-" : one_line(key.name), utc_time(key.added_unix_s),
               key.revoked_unix_s ? utc_time(*key.revoked_unix_s) : "-"});
  if (!trust.keys.empty()) table.print();
  std::cout << counted(trust.keys.size(), "key") << "; policy " << to_text(trust.policy) << '\n';
  return 0;
}

Result<int> revoke(const Arguments& arguments) {
  Options options = registry_options("dgq key revoke ID [options]",
                                     "Believes no signature of this key any more, old ones included. That is "
                                     "for good: the registry never trusts it again.",
                                     "  dgq key revoke 90c1d2e3f4a5b6c7     (as dgq key list shows it)\n");
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {{"id", "ID", "the key's id"}}));
  if (!go_on) return 0;
  const std::string& id = options.get<std::string>("id");
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_write));
  DGQ_CHECK(revoke_key(registry, id));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"key", id}, {"revoked", true}});
  else
    std::cout << "key " << id << " is revoked in " << registry.path().string() << '\n';
  return 0;
}

constexpr Command kCommands[] = {
    {"new", "make a pair of keys", new_key},
    {"show", "show a key's id and its public part", show_key},
    {"trust", "believe the signatures of a public key", trust},
    {"list", "list the keys that the registry knows", list},
    {"revoke", "believe no signature of a key any more", revoke},
};

constexpr CommandGroup kKey = {
    "dgq key", "Keys that sign versions (dgq registry sign), and which of them a registry trusts.",
    "  dgq key new release.key\n  dgq key trust release.key.pub --name release\n"
    "  dgq registry sign demo --key release.key\n  dgq registry policy enforce\n",
    kCommands};

}  // namespace

Result<int> run_key(const Arguments& arguments) { return dispatch(kKey, arguments); }

}  // namespace dgq::tools

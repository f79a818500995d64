// tools/cmd_registry_sign.cpp - `dgq registry sign` and `policy`, and what other commands say of signatures.
#include <charconv>

#include "tools/signature_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

// "2027-01-01" (its first second, UTC) or "2027-01-01T12:00:00Z".
Result<std::int64_t> parse_time(const std::string& text, const char* option) {
  std::tm parts{};
  const bool whole_day = text.size() == 10;
  const char* end = ::strptime(text.c_str(), whole_day ? "%Y-%m-%d" : "%Y-%m-%dT%H:%M:%SZ", &parts);
  const std::int64_t time = end ? ::timegm(&parts) : 0;
  // There and back: strptime takes the 31st of February, and spaces.
  if (!end || utc_time(time) != text + (whole_day ? "T00:00:00Z" : ""))
    return Error{Errc::invalid,
                 std::string("--") + option +
                     " must be a day such as 2027-01-01 or a time such as 2027-01-01T12:00:00Z, not '" +
                     text + "'"};
  return time;
}

// "90d", "12h", "8w": seconds.
Result<std::int64_t> parse_duration(const std::string& text) {
  std::int64_t number = 0;
  const char *begin = text.c_str(), *last = begin + text.size();
  const auto [end, failed] = std::from_chars(begin, last, number);
  const std::string_view unit(end, static_cast<std::size_t>(last - end));
  const std::int64_t seconds = unit == "h" ? 3600 : unit == "d" ? 86400 : unit == "w" ? 7 * 86400 : 0;
  if (failed != std::errc() || seconds == 0 || number < 1 || number > 1'000'000)
    return Error{Errc::invalid, "--expires-in must be a time such as 12h, 90d or 8w, not '" + text + "'"};
  return number * seconds;
}

Result<SignOptions> sign_options(const Options& options) {
  SignOptions sign;
  if (options.has("counter")) sign.counter = options.get<std::int64_t>("counter");
  if (options.has("not-before")) {
    DGQ_TRY(sign.not_before_unix_s, parse_time(options.get<std::string>("not-before"), "not-before"));
  }
  if (options.has("expires") && options.has("expires-in"))
    return Error{Errc::invalid, "--expires and --expires-in both say when: leave one out"};
  if (options.has("expires")) {
    DGQ_TRY(sign.expires_unix_s, parse_time(options.get<std::string>("expires"), "expires"));
  }
  if (options.has("expires-in")) {
    DGQ_TRY(const std::int64_t seconds, parse_duration(options.get<std::string>("expires-in")));
    sign.expires_unix_s = sign.not_before_unix_s.value_or(std::time(nullptr)) + seconds;
  }
  return sign;
}

std::string expiry(const std::optional<std::int64_t>& expires_unix_s) {
  return expires_unix_s ? utc_time(*expires_unix_s) : "never";
}

Json expiry_json(const std::optional<std::int64_t>& expires_unix_s) {
  return expires_unix_s ? Json(utc_time(*expires_unix_s)) : Json();
}

}  // namespace

Result<int> registry_sign(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry sign NAME[:TAG] --key FILE [options]",
      "Signs a version for its model name: digest, name, counter and times, with an Ed25519 key. The version "
      "itself does not change, and can have several signatures. Devices refuse counters below the highest "
      "that they have run.",
      "  dgq registry sign demo --key release.key\n"
      "  dgq registry sign demo:stable --key release.key --expires-in 90d\n"
      "  dgq registry sign demo:old --key release.key --counter 12     (makes a rollback acceptable)\n");
  options.named.add_options()                                                   //
      ("key", po::value<std::string>()->value_name("FILE"), "the private key")  //
      ("counter", po::value<std::int64_t>()->value_name("N"),
       "number of this release (default: one above the highest known of the model)")  //
      ("not-before", po::value<std::string>()->value_name("DAY"),
       "when the signature begins (default: now)")  //
      ("expires", po::value<std::string>()->value_name("DAY"),
       "when it is over: 2027-01-01 or 2027-01-01T12:00:00Z (default: never)")  //
      ("expires-in", po::value<std::string>()->value_name("TIME"), "the same as 12h, 90d or 8w");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments,
                     {{"model", "NAME[:TAG]", "the version, as the first argument or here"}}));
  if (!go_on) return 0;
  if (!options.has("key")) return Error{Errc::invalid, "--key FILE is missing: make one with dgq key new"};
  DGQ_TRY(const SignOptions sign, sign_options(options));
  DGQ_TRY(const PrivateKey key, PrivateKey::read(options.get<std::string>("key")));
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_write));
  DGQ_TRY(const Claim claim, sign_version(registry, options.get<std::string>("model"), key, sign));
  DGQ_TRY(const Trust trust, read_trust(registry));
  const bool known = trust.find(claim.key) != nullptr;
  if (options.get<bool>("json")) {
    print_json({{"registry", registry.path().string()},
                {"version", claim.version.hex()},
                {"model", claim.model},
                {"counter", claim.counter},
                {"not_before", utc_time(claim.not_before_unix_s)},
                {"expires", expiry_json(claim.expires_unix_s)},
                {"key", claim.key},
                {"trusted", known}});
    return 0;
  }
  std::cout << "version " << claim.version.short_hex() << " is signed as " << claim.model << ", counter "
            << claim.counter << ", expires " << expiry(claim.expires_unix_s) << ", by key " << claim.key
            << (known ? "" : " (which this registry does not trust: dgq key trust)") << '\n';
  return 0;
}

Result<int> registry_policy(const Arguments& arguments) {
  Options options = registry_options(
      "dgq registry policy [off | warn | enforce] [options]",
      "Shows or sets what happens to versions without a trusted signature when they are run, imported or "
      "tagged: nothing (off), a warning (warn), an error (enforce).",
      "  dgq registry policy\n  dgq registry policy enforce\n");
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {},
                                       {{"policy", "POLICY", "the policy, as the first argument or here"}}));
  if (!go_on) return 0;
  const bool change = options.has("policy");
  DGQ_TRY(Registry registry, Registry::open(registry_path(options),
                                            change ? Registry::Mode::read_write : Registry::Mode::read_only));
  if (change) {
    DGQ_TRY(const Policy policy, parse_policy(options.get<std::string>("policy")));
    DGQ_CHECK(set_policy(registry, policy));
  }
  DGQ_TRY(const Trust trust, read_trust(registry));
  if (options.get<bool>("json"))
    print_json({{"registry", registry.path().string()}, {"policy", to_text(trust.policy)}});
  else
    std::cout << to_text(trust.policy) << '\n';
  return 0;
}

std::string signed_cell(const Verdict& verdict, bool any) {
  if (!verdict.trusted) return any ? "untrusted" : "-";
  const std::string until =
      verdict.expires_unix_s ? " until " + utc_time(*verdict.expires_unix_s).substr(0, 10) : "";
  return one_line(verdict.signer) + " #" + std::to_string(verdict.counter) + until;
}

Json signed_json(const Verdict& verdict, bool any) {
  if (!any) return nullptr;
  if (!verdict.trusted) return {{"trusted", false}, {"why_not", verdict.why_not}};
  return {{"trusted", true},
          {"signer", verdict.signer},
          {"counter", verdict.counter},
          {"expires", expiry_json(verdict.expires_unix_s)}};
}

void print_signatures(const std::vector<SignatureInfo>& signatures,
                      const std::map<std::string, Verdict>& verdicts) {
  if (signatures.empty()) return;
  std::cout << "\nSignatures\n";
  Table table({"KEY", "SIGNER", "MODEL", ">COUNTER", "NOT BEFORE", "EXPIRES", "STANDING"});
  for (const SignatureInfo& info : signatures) {
    const Claim& claim = info.signature.claim;
    table.add({claim.key, info.signer == claim.key ? "-" : one_line(info.signer), claim.model,
               std::to_string(claim.counter), utc_time(claim.not_before_unix_s), expiry(claim.expires_unix_s),
               to_text(info.standing)});
  }
  table.print();
  for (const auto& [model, verdict] : verdicts)
    std::cout << model << ": " << (verdict.trusted ? "trusted" : "not trusted: " + one_line(verdict.why_not))
              << '\n';
}

Json signatures_as_json(const std::vector<SignatureInfo>& signatures) {
  Json list = Json::array();
  for (const SignatureInfo& info : signatures) {
    const Claim& claim = info.signature.claim;
    list.push_back({{"key", claim.key},
                    {"signer", info.signer},
                    {"model", claim.model},
                    {"counter", claim.counter},
                    {"not_before", utc_time(claim.not_before_unix_s)},
                    {"expires", expiry_json(claim.expires_unix_s)},
                    {"standing", to_text(info.standing)}});
  }
  return list;
}

void add_policy_option(Options& options) {
  options.named.add_options()("policy", po::value<std::string>()->value_name("POLICY"),
                              "what to make of versions without a trusted signature: off, warn or enforce "
                              "(default: the registry's policy)");
}

Result<std::optional<Policy>> policy_option(const Options& options) {
  if (!options.has("policy")) return std::optional<Policy>();
  DGQ_TRY(const Policy policy, parse_policy(options.get<std::string>("policy")));
  return std::optional(policy);
}

Result<std::vector<std::string>> policy_faults(const std::optional<Policy>& policy, Registry& registry,
                                               const std::optional<std::string>& reference) {
  DGQ_TRY(Trust trust, read_trust(registry));
  trust.policy = policy.value_or(trust.policy);
  std::vector<std::string> faults;
  if (trust.policy == Policy::off) return faults;
  DGQ_TRY(const Signatures signatures, all_signatures(registry, trust));
  DGQ_TRY(const std::vector<TagInfo> tags, registry.list());
  std::optional<Digest> only;
  if (reference) {
    DGQ_TRY(const VersionInfo version, registry.resolve(*reference));
    only = version.digest;
  }
  for (const TagInfo& tag : tags) {
    if (only && tag.version != *only) continue;
    const auto found = signatures.find(tag.version);
    const Verdict verdict =
        trust.judge(found == signatures.end() ? std::span<const SignatureInfo>() : found->second, tag.model);
    if (!verdict.trusted)
      faults.push_back(tag.model + ":" + tag.tag + " (" + tag.version.short_hex() + "): " + verdict.why_not);
  }
  if (!trust.clock_note.empty()) print_warnings({trust.clock_note});
  if (trust.policy == Policy::enforce) return faults;
  print_warnings(faults);
  return std::vector<std::string>();
}

}  // namespace dgq::tools

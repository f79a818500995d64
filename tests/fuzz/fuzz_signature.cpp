// Bytes as a signed statement (changed_file.h) and as the JSON list that carries it: what parses has one spelling, and is
// of the version that was asked for.
#include <cstdlib>

#include "registry/signature.h"
#include "tests/fuzz/changed_file.h"

namespace {

const dgq::Claim kClaim{dgq::sha256("manifest"), "team/demo",   7,
                        1'800'000'000,           1'900'000'000, "0123456789abcdef"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string statement = kClaim.text(),
                           list = dgq::signatures_json({{kClaim, {}}, {kClaim, {}}}).dump();
  const std::string text = dgq::test::changed_file(statement, data, size);
  if (const auto claim = dgq::Claim::parse(text, "fuzz"); claim && claim->text() != text) std::abort();
  const auto json = dgq::parse_json(dgq::test::changed_file(list, data, size), "fuzz");
  if (!json) return 0;
  const auto parsed = dgq::parse_signatures(*json, kClaim.version, "fuzz");
  if (!parsed) return 0;
  for (const dgq::Signature& signature : *parsed)
    if (signature.claim.version != kClaim.version) std::abort();
  const auto again = dgq::parse_signatures(dgq::signatures_json(*parsed), kClaim.version, "again");
  if (!again || again->size() != parsed->size()) std::abort();
  return 0;
}

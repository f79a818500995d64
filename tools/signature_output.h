// tools/signature_output.h - what `dgq registry` says of signatures: in show, list and verify.
#pragma once

#include "registry/trust.h"
#include "tools/registry_output.h"

namespace dgq::tools {

Result<int> registry_sign(const Arguments& arguments);  // tools/cmd_registry_sign.cpp
Result<int> registry_policy(const Arguments& arguments);

// For `list`: one cell, and the same as JSON (null: no signature).
std::string signed_cell(const Verdict& verdict, bool any);
Json signed_json(const Verdict& verdict, bool any);

// For `show`, with the verdict for each model name.
void print_signatures(const std::vector<SignatureInfo>& signatures,
                      const std::map<std::string, Verdict>& verdicts);
Json signatures_as_json(const std::vector<SignatureInfo>& signatures);

// For `verify`: --policy, by default that of the registry, over every name, or over those of one version. Under enforce what is
// not trusted is a fault, under warn a line on stderr.
void add_policy_option(Options& options);
Result<std::optional<Policy>> policy_option(const Options& options);
Result<std::vector<std::string>> policy_faults(const std::optional<Policy>& policy, Registry& registry,
                                               const std::optional<std::string>& reference);

}  // namespace dgq::tools

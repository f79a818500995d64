// agent/private_file.h - files with secrets are their owner's only.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace dgq::agent {

// invalid: others than its owner may read or write it; credentials of systemd are private as they are.
// not_found, io: it cannot be looked at.
Result<void> check_private(const std::filesystem::path& file);

}  // namespace dgq::agent

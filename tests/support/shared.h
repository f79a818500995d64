// tests/support/shared.h - development models and data that are not in the repository (DGQ_SHARED), and those that are.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/support/not_covered.h"
#include "tests/support/paths.h"

namespace dgq::test {

// A file or folder under the repository's models/ (always there).
inline std::filesystem::path repository_file(const std::string& name) {
  return source_folder() / name;
}

// A file or folder under shared; empty when it is not there, and then says what stays untested.
inline std::filesystem::path shared_file(const std::string& name, const std::string& purpose) {
  const std::filesystem::path path = shared_folder() / name;
  if (std::filesystem::exists(path)) return path;
  not_covered(purpose + " (needs shared/" + name + ")");
  return {};
}

}  // namespace dgq::test

// tests/support/not_covered.h - what a test could not cover on this machine is said, never silent.
//
// Prints "not covered: ..." and appends it to the file named by DGQ_NOT_COVERED; tools/test lists that file at its end.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace dgq::test {

inline void not_covered(const std::string& what) {
  std::printf("not covered: %s\n", what.c_str());
  const char* path = std::getenv("DGQ_NOT_COVERED");
  if (!path) return;
  if (std::FILE* file = std::fopen(path, "a")) {
    std::fprintf(file, "%s\n", what.c_str());
    std::fclose(file);
  }
}

}  // namespace dgq::test

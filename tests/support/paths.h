// tests/support/paths.h - where this build's tests find things. Compiled once (paths.cpp), so that no other object depends on
// the folder that the sources lie in, and a compiler cache serves every clone.
#pragma once

#include <filesystem>
#include <string>

namespace dgq::test {

std::filesystem::path source_folder();  // the repository
std::filesystem::path shared_folder();  // DGQ_SHARED; may not be there
std::string dgq_command();              // how to start the built command (under qemu when cross-built)

}  // namespace dgq::test

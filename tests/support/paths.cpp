#include "tests/support/paths.h"

namespace dgq::test {

std::filesystem::path source_folder() { return DGQ_SOURCE_DIR; }
std::filesystem::path shared_folder() { return DGQ_SHARED_DIR; }
std::string dgq_command() { return DGQ_COMMAND; }

}  // namespace dgq::test

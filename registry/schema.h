// registry/schema.h - the SQLite file of a registry: made, recognised, migrated, opened. Internal to
// registry/.
#pragma once

#include <filesystem>
#include <memory>

#include "registry/sqlite.h"

namespace dgq {

inline constexpr std::int64_t kApplicationId = 0x64677172;  // "dgqr"; file(1) and we tell ours by it

// As Registry::open says. With `create`, also creates the folder.
Result<std::unique_ptr<sqlite::Db>> open_database(const std::filesystem::path& path, bool writable,
                                                  bool create);

}  // namespace dgq

// registry/audit.h - who changed what, when, with which tool. Internal to registry/.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "registry/sqlite.h"

namespace dgq {

std::int64_t unix_now_s();
std::string who_am_i();  // "user@host"

// Call inside the transaction that makes the change.
Result<void> write_audit(sqlite::Db& db, std::string_view action, std::string_view subject,
                         const std::optional<Digest>& from, const std::optional<Digest>& to);

}  // namespace dgq

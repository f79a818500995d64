// agent/unix_client.h - one question to an agent, over its Unix socket.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace dgq::agent {

// The JSON of a 2xx answer. body: empty for none. Errors: the agent's own message (invalid, not_found, busy by its status); io:
// nobody listens there, it does not answer in time, or with anything but HTTP and JSON.
Result<Json> ask_agent(const std::filesystem::path& socket, const std::string& method,
                       const std::string& path, const std::string& body, std::chrono::seconds patience);

}  // namespace dgq::agent

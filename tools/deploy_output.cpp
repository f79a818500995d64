#include "tools/deploy_output.h"

#include <unistd.h>

#include "agent/agent_lock.h"
#include "agent/deploy_api.h"
#include "agent/unix_client.h"

namespace dgq::tools {
namespace {

constexpr std::chrono::seconds kPatience{
    70};  // longer than the agent waits for a registry that others write to

std::string digest_cell(const Json& digest) {
  return digest.is_string() ? digest.get<std::string>().substr(0, 12) : "-";
}

std::string memory_cell(const Json& memory) {
  if (!memory.is_object()) return "-";
  std::uint64_t bytes = 0;
  for (const auto& [name, value] : memory.items()) bytes += value.get<std::uint64_t>();
  return size_text(bytes);
}

// Where an agent listens that looks after this registry and that may be talked to.
std::filesystem::path agent_socket(const std::filesystem::path& registry) {
  const auto agent = agent::find_agent(registry);
  const bool reachable = agent && ::access(agent->unix_socket.c_str(), W_OK) == 0;
  return reachable ? agent->unix_socket : std::filesystem::path();
}

}  // namespace

Result<Json> ask_status(const std::filesystem::path& registry) {
  if (const auto socket = agent_socket(registry); !socket.empty())
    if (auto answer = agent::ask_agent(socket, "GET", agent::DeployApi::kPath, "", kPatience);
        answer && answer->is_object() && answer->contains("deployments")) {
      (*answer)["agent"] = true;
      return answer;
    }
  DGQ_TRY(Registry opened, Registry::open(registry, Registry::Mode::read_only));
  DGQ_TRY(const auto all, agent::deployment_status(opened));
  Json status = to_json(all);
  const bool at_work = agent::find_agent(registry).has_value();
  status["agent"] = at_work;
  for (Json& deployment : status["deployments"])
    if (!at_work && deployment["state"] != "wanted") deployment["state"] = "stopped";
  return status;
}

Result<bool> ask_change(const Options& options, const std::string& method, const std::string& path,
                        const Json& body, const std::function<Result<void>(Registry&)>& otherwise) {
  if (const auto socket = agent_socket(registry_path(options)); !socket.empty()) {
    const auto answer =
        agent::ask_agent(socket, method, agent::DeployApi::kPath + ("/" + path), body.dump(), kPatience);
    if (answer) return true;
    if (answer.error().code != Errc::io) return answer.error();
  }
  DGQ_TRY(Registry registry, open_registry(options, Registry::Mode::read_write));
  DGQ_CHECK(otherwise(registry));
  return false;
}

Json find_status(const Json& all, const std::string& name) {
  for (const Json& deployment : all["deployments"])
    if (deployment.value("name", "") == name) return deployment;
  return nullptr;
}

void print_status(const Json& all) {
  const bool at_work = all["agent"].get<bool>();
  Table table({"NAME", "MODEL", "STATE", "SERVES", "WANTED", "BEFORE", ">MEMORY", "SINCE", "WHY"});
  for (const Json& d : all["deployments"])
    table.add({d["name"], d["model"], d["state"], at_work ? digest_cell(d["active_version"]) : "-",
               digest_cell(d["wanted_version"]), digest_cell(d["previous_version"]), memory_cell(d["memory"]),
               utc_time(d["since_unix_s"]), one_line(d["reason"])});
  table.print();
  if (!at_work) std::cout << "\nno agent is at work here: start one with dgq agent\n";
}

}  // namespace dgq::tools

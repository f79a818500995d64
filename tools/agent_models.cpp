#include "tools/agent_models.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "agent/agent_lock.h"
#include "agent/deploy_api.h"
#include "agent/deployer.h"
#include "base/machine_memory.h"
#include "tools/cmd_load.h"

namespace dgq::tools {
namespace po = boost::program_options;
using agent::Log;

namespace {

constexpr const char* kDeviceFile = "/etc/machine-id";
constexpr std::uint32_t kLongestIdle = 7 * 86'400;

class NamedModel : public AgentModels {
 public:
  NamedModel(std::shared_ptr<agent::ServedModel> model, agent::PrefixFiles prefixes)
      : models_(std::move(model)), prefixes_(std::move(prefixes)) {
    prefixes_.load(*models_.find(""));
  }
  agent::Models& models() override { return models_; }
  void save_prefixes() override { prefixes_.save(*models_.find("")); }

 private:
  agent::OneModel models_;
  const agent::PrefixFiles prefixes_;
};

Result<std::uint64_t> memory_budget(const Options& options) {
  const auto& text = options.get<std::string>("memory-budget");
  return text == "auto" ? agent::default_memory_budget(machine_memory()) : parse_bytes(text, "memory-budget");
}

// The registry is closed again when the model is there: nothing of it is needed to serve.
Result<std::unique_ptr<AgentModels>> load_named(const Options& options, const agent::LoadOptions& load,
                                                const Log& log) {
  const std::string& reference = options.get<std::string>("model");
  DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
  LayerCache cache(cache_folder(options));
  agent::LoadReport report;
  DGQ_TRY(const std::uint64_t budget, memory_budget(options));
  DGQ_TRY(auto model, agent::load_model(registry, cache, reference, load, budget, report));
  for (const std::string& warning : report.warnings)
    log.write(Log::Level::warning, "signature", {{"why", warning}});
  if (!report.no_chat.empty()) log.write(Log::Level::info, "no_chat", {{"why", report.no_chat}});
  log.write(Log::Level::info, "loaded",
            {{"model", reference},
             {"version", model->version},
             {"kernel", report.kernel},
             {"threads", load.threads},
             {"bytes_mapped", report.bytes_mapped},
             {"context", report.kv.context},
             {"slots", report.kv.slots},
             {"kv_bytes", report.kv.slots * report.kv.bytes_per_slot},
             {"prefix_cache_bytes", load.prefix_cache_bytes}});
  return std::unique_ptr<AgentModels>(
      new NamedModel(std::move(model),
                     {options.get<std::string>("prefix-cache-file"), agent::PrefixFiles::Naming::one, log}));
}

class DeployedByRegistry : public AgentModels {
 public:
  DeployedByRegistry(agent::AgentLock lock, agent::DeployerOptions options, const Log& log,
                     agent::DeployApi::Tcp tcp, agent::Checker check)
      : lock_(std::move(lock)),
        deployer_(options, models_, log, std::move(check)),
        api_(options.registry, deployer_, log, tcp) {}

  Result<void> begin() { return deployer_.begin(); }
  agent::Models& models() override { return models_; }
  void attach(agent::Api& api) override { api.serve(api_); }
  void start() override { deployer_.start(); }
  void stop() override { deployer_.stop(); }
  void save_prefixes() override { deployer_.save_prefixes(); }

 private:
  const agent::AgentLock lock_;
  agent::DeployedModels models_;
  agent::Deployer deployer_;
  agent::DeployApi api_;
};

// Empty where there is no such file: those devices are all at the same place of a rollout.
std::string device_id(const Options& options) {
  if (options.has("device-id")) return options.get<std::string>("device-id");
  const auto text = read_file(kDeviceFile, 4096);
  return text ? text->substr(0, text->find('\n')) : "";
}

// The words that start this program again. DGQ_TEST_COMMAND is for tests under an emulator, which cannot find itself.
std::vector<std::string> check_command(const Options& options, int threads) {
  std::vector<std::string> words;
  if (const char* command = std::getenv("DGQ_TEST_COMMAND")) {
    std::istringstream text(command);
    for (std::string word; text >> word;) words.push_back(word);
  } else {
    words.push_back("/proc/self/exe");
  }
  words.insert(words.end(), {"agent", "--registry", registry_path(options).string(), "--cache",
                             cache_folder(options).string(), "--threads", std::to_string(threads)});
  return words;
}

agent::DeployApi::Tcp who_over_tcp(const Options& options, const Log& log) {
  if (!options.get<bool>("admin")) return agent::DeployApi::Tcp::never;
  if (!options.get<std::string>("token-file").empty()) return agent::DeployApi::Tcp::with_token;
  log.write(Log::Level::warning, "open",
            {{"why", "whoever reaches the TCP address may change deployments: set --token-file"}});
  return agent::DeployApi::Tcp::any;
}

Result<std::unique_ptr<AgentModels>> open_deployments(const Options& options, const agent::LoadOptions& load,
                                                      const std::filesystem::path& unix_socket,
                                                      const Log& log) {
  agent::DeployerOptions wanted;
  wanted.registry = registry_path(options);
  wanted.cache = cache_folder(options);
  wanted.load = load;
  wanted.device_id = device_id(options);
  wanted.prefix_cache_file = options.get<std::string>("prefix-cache-file");
  DGQ_TRY(wanted.memory_budget_bytes, memory_budget(options));
  if (options.get<std::uint32_t>("idle-unload") > kLongestIdle)
    return Error{Errc::invalid, "--idle-unload must be from 0 to " + std::to_string(kLongestIdle)};
  wanted.idle_unload = std::chrono::seconds(options.get<std::uint32_t>("idle-unload"));
  wanted.drain_time = std::chrono::seconds(options.get<std::uint32_t>("drain-time"));
  // Looked at first, so that a registry that is not there is not answered with a lock file beside it.
  DGQ_CHECK(Registry::open(wanted.registry, Registry::Mode::read_write));
  DGQ_TRY(auto lock, agent::AgentLock::take(wanted.registry, unix_socket));
  log.write(Log::Level::info, "deployments",
            {{"registry", wanted.registry.string()}, {"memory_budget_bytes", wanted.memory_budget_bytes}});
  auto deployed = std::make_unique<DeployedByRegistry>(
      std::move(lock), std::move(wanted), log, who_over_tcp(options, log),
      agent::check_in_child(check_command(options, load.threads)));
  DGQ_CHECK(deployed->begin());
  return std::unique_ptr<AgentModels>(std::move(deployed));
}

// For tests only: DGQ_TEST_CHECK_FAULT=segv:DIGITS makes the check of a version whose digest begins so crash once it is loaded;
// abort and hang likewise.
void fault_for_tests(const std::string& digest) {
  const char* variable = std::getenv("DGQ_TEST_CHECK_FAULT");
  const std::string text = variable ? variable : "";
  const std::size_t colon = text.find(':');
  if (colon == text.npos || !digest.starts_with(text.substr(colon + 1))) return;
  const std::string fault = text.substr(0, colon);
  ::signal(SIGSEGV, SIG_DFL);
  if (fault == "segv") ::raise(SIGSEGV);
  if (fault == "abort") std::abort();
  while (fault == "hang") ::pause();
}

}  // namespace

void add_deployment_options(Options& options) {
  const auto text = [](const char* value) { return po::value<std::string>()->default_value(value); };
  options.named.add_options()  //
      ("memory-budget", text("auto")->value_name("BYTES"),
       "of all models together (auto: the cgroup's limit, else 70 % of the machine)")  //
      ("idle-unload", po::value<std::uint32_t>()->default_value(300)->value_name("SECONDS"),
       "a model without requests for so long makes room for another (0: never)")  //
      ("device-id", po::value<std::string>()->value_name("TEXT"),
       "decides about rollouts (default: what /etc/machine-id says)")              //
      ("admin", po::bool_switch(), "deployments may be changed over TCP as well")  //
      ("check", po::value<std::string>()->value_name("DIGEST"),
       "load this version, check it as the deployment NAME asks, print the result, and end");
}

bool AgentModels::drain(std::chrono::seconds patience, const std::function<bool()>& hurry) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (const auto& model : models().all())
    while (!model->engine->drain(std::chrono::milliseconds(50)))
      if (hurry() || std::chrono::steady_clock::now() >= deadline) return false;
  return true;
}

Result<std::unique_ptr<AgentModels>> AgentModels::open(const Options& options, const agent::LoadOptions& load,
                                                       const std::filesystem::path& unix_socket,
                                                       const Log& log) {
  return options.has("model") ? load_named(options, load, log)
                              : open_deployments(options, load, unix_socket, log);
}

Result<int> check_version_here(const Options& options, int threads) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // an agent that is gone wants to know nothing
  // When memory runs out this is what may go.
  if (std::FILE* score = std::fopen("/proc/self/oom_score_adj", "w")) {
    std::fputs("1000", score);
    std::fclose(score);
  }
  if (!options.has("model"))
    return Error{Errc::invalid, "--check DIGEST needs the deployment as well: dgq agent --check DIGEST NAME"};
  const auto& digits = options.get<std::string>("check");
  const auto health = [&]() -> Result<agent::Health> {
    DGQ_TRY(const Digest version, Digest::parse(digits));
    DGQ_TRY(Registry registry, Registry::open(registry_path(options), Registry::Mode::read_only));
    LayerCache cache(cache_folder(options));
    return agent::check_version(registry, cache, options.get<std::string>("model"), version, threads, [&] {
      std::puts("loaded");
      std::fflush(stdout);
      fault_for_tests(digits);
    });
  }();
  std::fputs(agent::check_result_line(health).c_str(), stdout);
  return health ? 0 : kExitFindings;
}

}  // namespace dgq::tools

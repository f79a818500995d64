// tools/cmd_agent.cpp - `dgq agent`: serves a model, or the deployments of a registry, over HTTP until it is told to stop.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "agent/heartbeat.h"
#include "base/file.h"
#include "runtime/parallel.h"
#include "tools/agent_listen.h"
#include "tools/agent_models.h"
#include "tools/agent_reload.h"
#include "tools/cmd_load.h"

namespace dgq::tools {
namespace po = boost::program_options;
using agent::Log;

namespace {

constexpr const char* kExamples =
    "  dgq agent demo\n"
    "  dgq agent --unix /run/dgq/agent.sock     (then: dgq deploy chat demo:stable)\n"
    "  dgq agent demo:stable --listen none --unix /run/dgq/agent.sock --token-file /etc/dgq/tokens\n"
    "  dgq agent demo --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem --token-file tokens\n"
    "  DGQ_AGENT_SLOTS=4 dgq agent --config agent.conf --print-config\n"
    "  curl -s localhost:8080/v1/completions -d '{\"prompt\": \"The old king\", \"max_tokens\": 20}'\n";
constexpr std::chrono::seconds kFlush{5};  // for clients to take their last bytes

void add_options(Options& options) {
  const auto text = [](const char* value) { return po::value<std::string>()->default_value(value); };
  const auto number = [](std::uint32_t value) {
    return po::value<std::uint32_t>()->default_value(value)->value_name("N");
  };
  const agent::LoadOptions load;
  options.named.add_options()(
      "model", po::value<std::string>()->value_name("NAME[:TAG]"),
      "the model (or the first argument); without it the deployments of the registry");
  add_registry_options(options);
  add_deployment_options(options);
  add_listen_options(options);
  options.named.add_options()                                                                           //
      ("threads", number(0), "threads of a step (0: one per physical core)")                            //
      ("kv", text("int8")->value_name("TYPE"), "KV cache: int8 or f32")                                 //
      ("context", number(0), "tokens of one sequence, prompt included (0: the model's, at most 4096)")  //
      ("slots", number(static_cast<std::uint32_t>(load.slots)),
       "sequences at once, as far as --kv-budget holds them")                          //
      ("kv-budget", text("1G")->value_name("BYTES"), "KV cache of all slots at most")  //
      ("queue", number(static_cast<std::uint32_t>(load.queue)),
       "requests that wait for a slot; more are answered 429")  //
      ("chat-template", text("")->value_name("FILE"),
       "a Jinja chat template in place of the one that the version has")  //
      ("prefill-rows", number(static_cast<std::uint32_t>(load.prefill_rows)),
       "tokens of a prompt in a step that running sequences wait for")  //
      ("prefix-cache", text("64M")->value_name("BYTES"),
       "memory for the beginnings of prompts that were there before, or none")  //
      ("prefix-cache-file", text("")->value_name("FILE"),
       "where they are kept over a restart (of deployments in FILE.NAME); prompts are in it (0600)")  //
      ("drain-time", number(30), "seconds for running requests to end after SIGTERM")                 //
      ("log-level", text("info")->value_name("LEVEL"), "debug, info, warning or error")               //
      ("log-json", po::bool_switch(), "log lines are JSON objects")                                   //
      ("config", po::value<std::string>()->value_name("FILE"),
       "name = value lines (default: /etc/dgq/agent.conf, if it is there)")  //
      ("print-config", po::bool_switch(), "show all settings and where they come from, and end");
  options.positional.add("model", 1);
}

std::uint32_t number(const Options& options, const char* name) { return options.get<std::uint32_t>(name); }

Result<void> check_numbers(const Options& options) {
  constexpr Range kRanges[] = {{"threads", 0, kMaxThreads}, {"context", 0, 1 << 24},
                               {"slots", 1, 256},           {"queue", 1, 100'000},
                               {"prefill-rows", 1, 4096},   {"drain-time", 0, 86'400}};
  DGQ_CHECK(check_ranges(options, kRanges));
  return check_listen_options(options);
}

Result<agent::LoadOptions> load_options(const Options& options) {
  agent::LoadOptions load;
  load.threads =
      number(options, "threads") == 0 ? physical_cores() : static_cast<int>(number(options, "threads"));
  DGQ_TRY(load.kv, parse_kv(options.get<std::string>("kv")));
  load.context = number(options, "context");
  load.slots = number(options, "slots");
  DGQ_TRY(load.kv_budget_bytes, parse_bytes(options.get<std::string>("kv-budget"), "kv-budget"));
  load.queue = number(options, "queue");
  load.prefill_rows = number(options, "prefill-rows");
  if (const auto& bytes = options.get<std::string>("prefix-cache"); bytes != "none") {
    DGQ_TRY(load.prefix_cache_bytes, parse_bytes(bytes, "prefix-cache"));
  }
  if (const auto& file = options.get<std::string>("chat-template"); !file.empty()) {
    DGQ_TRY(load.chat_template, read_file(file, kMaxTemplateBytes));
    if (load.chat_template.empty()) return Error{Errc::invalid, file + ": the chat template is empty"};
  }
  return load;
}

// SIGTERM, SIGINT and SIGHUP wait until they are asked for, from now on and in every thread that starts
// later.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&stop_);
    ::sigaddset(&stop_, SIGTERM);
    ::sigaddset(&stop_, SIGINT);
    all_ = stop_;
    ::sigaddset(&all_, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &all_, nullptr);
  }
  int wait() const {
    int signal;
    while (::sigwait(&all_, &signal) != 0) {
    }
    return signal;
  }
  bool stop_came() const {
    const timespec at_once{};
    return ::sigtimedwait(&stop_, nullptr, &at_once) > 0;
  }

 private:
  sigset_t stop_, all_;
};

// Where the agent is reached on this machine; empty: it is not.
std::filesystem::path unix_socket(const Options& options, std::span<const Fd> handed_over) {
  const std::string path =
      handed_over.empty() ? options.get<std::string>("unix") : agent::unix_socket_path(handed_over);
  return path.empty() ? std::filesystem::path() : std::filesystem::absolute(path);
}

Result<void> serve(const Options& options, const std::function<Result<Options>()>& read_again) {
  DGQ_TRY(const Log::Level level, Log::parse_level(options.get<std::string>("log-level")));
  Log log(level, options.get<bool>("log-json"), stderr, agent::is_journal(STDERR_FILENO));
  DGQ_TRY(std::vector<Fd> handed_over, agent::inherited_sockets());
  DGQ_TRY(const agent::ServiceManager manager, agent::ServiceManager::from_environment());
  DGQ_TRY(auto tokens, read_tokens(options));
  DGQ_TRY(auto tls, read_tls(options, log));
  const Signals signals;
  manager.status(options.has("model") ? "loading " + options.get<std::string>("model") : "loading");
  DGQ_TRY(const agent::LoadOptions load, load_options(options));
  DGQ_TRY(const auto models, AgentModels::open(options, load, unix_socket(options, handed_over), log));
  agent::Api api(models->models(), log, std::move(tokens));
  models->attach(api);
  agent::HttpServer server(http_limits(options), [&](const agent::HttpRequest& request,
                                                     const std::shared_ptr<agent::HttpReply>& reply) {
    api.handle(request, reply);
  });
  api.watch(server);
  server.use_tls(std::move(tls));
  DGQ_CHECK(listen(server, options, std::move(handed_over), log));
  models->start();
  manager.ready();

  AgentReload settings(read_again, options, log, api, server);
  agent::Heartbeat heartbeat(manager, server, models->models(), log);
  while (signals.wait() == SIGHUP) {
    manager.reloading();
    settings.reload();
    manager.ready();
  }
  manager.stopping();
  heartbeat.draining();
  std::size_t running = 0, waiting = 0;
  for (const auto& model : models->models().all()) {
    running += model->engine->stats().processing;
    waiting += model->engine->stats().waiting;
  }
  log.write(Log::Level::info, "draining", {{"running", running}, {"waiting", waiting}});
  server.drain();
  models->stop();
  // A second signal, and running requests do not end.
  const bool drained = models->drain(std::chrono::seconds(number(settings.current(), "drain-time")),
                                     [&] { return signals.stop_came(); });
  if (drained) server.wait_until_closed(kFlush);
  models->save_prefixes();
  log.write(Log::Level::info, "stopped", {{"drained", drained}});
  return {};
}

struct Settings {
  Options options;
  std::map<std::string, std::string> sources;
  bool go_on;  // no help was asked for
};
Result<Settings> read_settings(const Arguments& arguments) {
  Options options{
      "dgq agent [NAME[:TAG]]",
      "Serves over HTTP, as OpenAI's clients and llama-server's speak it, until SIGTERM: a model of "
      "the registry, or without NAME what `dgq deploy` asks for. SIGHUP: settings are read again.",
      kExamples,
      {},
      {},
      {}};
  add_options(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return Settings{std::move(options), {}, false};
  DGQ_TRY(auto sources, read_agent_config(options));
  return Settings{std::move(options), std::move(sources), true};
}

}  // namespace

Result<int> run_agent(const Arguments& arguments) {
  DGQ_TRY(const Settings settings, read_settings(arguments));
  if (!settings.go_on) return 0;
  const Options& options = settings.options;
  if (options.get<bool>("print-config")) {
    std::fputs(agent_config_text(options, settings.sources).c_str(), stdout);
    return 0;
  }
  DGQ_CHECK(check_numbers(options));
  if (options.has("check")) {
    DGQ_TRY(const agent::LoadOptions load, load_options(options));
    return check_version_here(options, load.threads);
  }
  const auto read_again = [&]() -> Result<Options> {
    DGQ_TRY(Settings again, read_settings(arguments));
    return std::move(again.options);
  };
  DGQ_CHECK(serve(options, read_again));
  return 0;
}

}  // namespace dgq::tools

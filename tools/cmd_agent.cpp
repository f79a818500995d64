// tools/cmd_agent.cpp - `dgq agent`: serves a model, or the deployments of a registry, over HTTP until it is told to stop.
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <thread>

#include "agent/api.h"
#include "runtime/parallel.h"
#include "tools/agent_config.h"
#include "tools/agent_models.h"
#include "tools/cmd_load.h"

namespace dgq::tools {
namespace po = boost::program_options;
using agent::Log;

namespace {

constexpr const char* kExamples =
    "  dgq agent demo\n"
    "  dgq agent --unix /run/dgq/agent.sock     (then: dgq deploy chat demo:stable)\n"
    "  dgq agent demo:stable --listen none --unix /run/dgq/agent.sock --token-file /etc/dgq/tokens\n"
    "  DGQ_AGENT_SLOTS=4 dgq agent --config agent.conf --print-config\n"
    "  curl -s localhost:8080/v1/completions -d '{\"prompt\": \"The old king\", \"max_tokens\": 20}'\n";
constexpr std::chrono::seconds kFlush{5};  // for clients to take their last bytes

void add_options(Options& options) {
  const auto text = [](const char* value) { return po::value<std::string>()->default_value(value); };
  const auto number = [](std::uint32_t value) {
    return po::value<std::uint32_t>()->default_value(value)->value_name("N");
  };
  const agent::HttpLimits limits;
  const agent::LoadOptions load;
  options.named.add_options()("model", po::value<std::string>()->value_name("NAME[:TAG]"),
                              "the model (or the first argument); without it the deployments of the registry");
  add_registry_options(options);
  add_deployment_options(options);
  options.named.add_options()  //
      ("listen", text("127.0.0.1:8080")->value_name("ADDRESS:PORT"),
       "TCP; numeric, [::1]:8080 for IPv6, port 0: one that is free; none: no TCP")                         //
      ("unix", text("")->value_name("PATH"), "a Unix socket as well")                                       //
      ("unix-mode", text("0600")->value_name("OCTAL"), "its permissions")                                   //
      ("token-file", text("")->value_name("FILE"), "bearer tokens, one per line; its owner's only (0600)")  //
      ("threads", number(0), "threads of a step (0: one per physical core)")                                //
      ("kv", text("int8")->value_name("TYPE"), "KV cache: int8 or f32")                                     //
      ("context", number(0), "tokens of one sequence, prompt included (0: the model's, at most 4096)")      //
      ("slots", number(static_cast<std::uint32_t>(load.slots)),
       "sequences at once, as far as --kv-budget holds them")                          //
      ("kv-budget", text("1G")->value_name("BYTES"), "KV cache of all slots at most")  //
      ("queue", number(static_cast<std::uint32_t>(load.queue)),
       "requests that wait for a slot; more are answered 429")  //
      ("prefill-rows", number(static_cast<std::uint32_t>(load.prefill_rows)),
       "tokens of a prompt in a step that running sequences wait for")                           //
      ("connections", number(static_cast<std::uint32_t>(limits.connections)), "at once")         //
      ("header-bytes", number(static_cast<std::uint32_t>(limits.header_bytes)), "of a request")  //
      ("body-bytes", number(static_cast<std::uint32_t>(limits.body_bytes)), "of a request")      //
      ("header-time", number(10), "seconds for a request's header")                              //
      ("body-time", number(30), "seconds for its body")                                          //
      ("idle-time", number(60), "seconds between requests of a connection")                      //
      ("write-time", number(30), "seconds for a client to take what was sent")                   //
      ("drain-time", number(30), "seconds for running requests to end after SIGTERM")            //
      ("log-level", text("info")->value_name("LEVEL"), "debug, info, warning or error")          //
      ("log-json", po::bool_switch(), "log lines are JSON objects")                              //
      ("config", po::value<std::string>()->value_name("FILE"),
       "name = value lines (default: /etc/dgq/agent.conf, if it is there)")  //
      ("print-config", po::bool_switch(), "show all settings and where they come from, and end");
  options.positional.add("model", 1);
}

std::uint32_t number(const Options& options, const char* name) { return options.get<std::uint32_t>(name); }

Result<void> check_numbers(const Options& options) {
  constexpr struct {
    const char* name;
    std::uint32_t low, high;
  } kRanges[] = {{"threads", 0, 256},
                 {"context", 0, 1 << 24},
                 {"slots", 1, 256},
                 {"queue", 1, 100'000},
                 {"prefill-rows", 1, 4096},
                 {"connections", 1, 100'000},
                 {"header-bytes", 256, 1 << 20},
                 {"body-bytes", 1, 1 << 30},
                 {"header-time", 1, 86'400},
                 {"body-time", 1, 86'400},
                 {"idle-time", 1, 86'400},
                 {"write-time", 1, 86'400},
                 {"drain-time", 0, 86'400}};
  for (const auto& range : kRanges)
    if (number(options, range.name) < range.low || number(options, range.name) > range.high)
      return Error{Errc::invalid, std::string("--") + range.name + " must be from " +
                                      std::to_string(range.low) + " to " + std::to_string(range.high)};
  return {};
}

agent::HttpLimits http_limits(const Options& options) {
  const auto seconds = [&](const char* name) { return std::chrono::seconds(number(options, name)); };
  agent::HttpLimits limits;
  limits.connections = number(options, "connections");
  limits.header_bytes = number(options, "header-bytes");
  limits.body_bytes = number(options, "body-bytes");
  limits.header_time = seconds("header-time");
  limits.body_time = seconds("body-time");
  limits.idle_time = seconds("idle-time");
  limits.write_time = seconds("write-time");
  return limits;
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
  return load;
}

struct TcpAddress {
  std::string host;
  std::uint16_t port;
};
Result<TcpAddress> parse_listen(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  TcpAddress address{text.substr(0, colon), 0};
  const char *first = text.data() + (colon == text.npos ? text.size() : colon + 1),
             *last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, address.port);
  if (colon == text.npos || error != std::errc() || end != last || first == last)
    return Error{Errc::invalid, "--listen must be ADDRESS:PORT such as 127.0.0.1:8080, or none, not '" +
                                    one_line(text) + "'"};
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  return address;
}

Result<unsigned> parse_mode(const std::string& text) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error == std::errc() && end == text.data() + text.size() && mode <= 0777) return mode;
  return Error{Errc::invalid, "--unix-mode must be permissions such as 0660, not '" + one_line(text) + "'"};
}

Result<void> listen(agent::HttpServer& server, const Options& options, const Log& log) {
  const auto &tcp = options.get<std::string>("listen"), &unix_path = options.get<std::string>("unix");
  if (tcp == "none" && unix_path.empty())
    return Error{Errc::invalid, "--listen none leaves nothing to listen on: give --unix"};
  if (!unix_path.empty()) {
    DGQ_TRY(const unsigned mode, parse_mode(options.get<std::string>("unix-mode")));
    DGQ_CHECK(server.listen_unix(unix_path, mode));
    log.write(Log::Level::info, "listening", {{"unix", unix_path}});
  }
  if (tcp == "none") return {};
  DGQ_TRY(const TcpAddress address, parse_listen(tcp));
  DGQ_TRY(const std::uint16_t port, server.listen_tcp(address.host, address.port));
  log.write(Log::Level::info, "listening", {{"address", address.host}, {"port", port}});
  const bool loopback = address.host.starts_with("127.") || address.host == "::1";
  if (!loopback && options.get<std::string>("token-file").empty())
    log.write(Log::Level::warning, "open",
              {{"why", "every machine that reaches this address may use the model: set --token-file"}});
  return {};
}

// SIGTERM and SIGINT wait until they are asked for, from now on and in every thread that starts later.
class StopSignals {
 public:
  StopSignals() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGTERM);
    ::sigaddset(&set_, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  void wait() const {
    int signal;
    while (::sigwait(&set_, &signal) != 0) {
    }
  }
  bool came() const {
    const timespec at_once{};
    return ::sigtimedwait(&set_, nullptr, &at_once) > 0;
  }

 private:
  sigset_t set_;
};

Result<void> serve(const Options& options) {
  DGQ_TRY(const Log::Level level, Log::parse_level(options.get<std::string>("log-level")));
  const Log log(level, options.get<bool>("log-json"));
  std::optional<agent::BearerTokens> tokens;
  if (const auto& file = options.get<std::string>("token-file"); !file.empty()) {
    DGQ_TRY(tokens, agent::BearerTokens::read(file));
  }
  const StopSignals signals;
  DGQ_TRY(const agent::LoadOptions load, load_options(options));
  DGQ_TRY(const auto models, AgentModels::open(options, load, log));
  agent::Api api(models->models(), log, std::move(tokens));
  models->attach(api);
  agent::HttpServer server(http_limits(options), [&](const agent::HttpRequest& request,
                                                     const std::shared_ptr<agent::HttpReply>& reply) {
    api.handle(request, reply);
  });
  api.watch(server);
  DGQ_CHECK(listen(server, options, log));
  models->start();

  signals.wait();
  std::size_t running = 0, waiting = 0;
  for (const auto& model : models->models().all()) {
    running += model->engine->stats().processing;
    waiting += model->engine->stats().waiting;
  }
  log.write(Log::Level::info, "draining", {{"running", running}, {"waiting", waiting}});
  server.drain();
  models->stop();
  // A second signal, and running requests do not end.
  const bool drained = models->drain(std::chrono::seconds(number(options, "drain-time")),
                                     [&] { return signals.came(); });
  if (drained) server.wait_until_closed(kFlush);
  log.write(Log::Level::info, "stopped", {{"drained", drained}});
  return {};
}

}  // namespace

Result<int> run_agent(const Arguments& arguments) {
  Options options{"dgq agent [NAME[:TAG]]",
                  "Serves over HTTP, as OpenAI's clients and llama-server's speak it, until SIGTERM: a model of "
                  "the registry, or without NAME what `dgq deploy` asks for.",
                  kExamples,
                  {},
                  {},
                  {}};
  add_options(options);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  DGQ_TRY(const auto sources, read_agent_config(options));
  if (options.get<bool>("print-config")) {
    std::fputs(agent_config_text(options, sources).c_str(), stdout);
    return 0;
  }
  DGQ_CHECK(check_numbers(options));
  if (options.has("check")) {
    DGQ_TRY(const agent::LoadOptions load, load_options(options));
    return check_version_here(options, load.threads);
  }
  DGQ_CHECK(serve(options));
  return 0;
}

}  // namespace dgq::tools

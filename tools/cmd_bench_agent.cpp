// tools/cmd_bench_agent.cpp - `dgq bench agent`: load on an agent, a running one or one that is started for it.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "base/file.h"
#include "bench/agent_bench.h"
#include "bench/child.h"
#include "bench/conditions.h"
#include "bench/make_run.h"
#include "runtime/parallel.h"
#include "tools/cmd_bench.h"
#include "tools/run_output.h"

namespace dgq::tools {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kMostStreams = 1024, kMostTokens = 1 << 20;

Result<bench::AgentBenchOptions> read_options(const Options& options) {
  bench::AgentBenchOptions chosen;
  DGQ_TRY(chosen.streams, number_list(options, "streams", kMostStreams));
  DGQ_TRY(chosen.repetitions, repetitions_option(options));
  chosen.prompt = options.get<std::size_t>("prompt");
  chosen.generate = options.get<std::size_t>("gen");
  if (chosen.prompt < 1 || chosen.prompt > kMostTokens || chosen.generate < 2 ||
      chosen.generate > kMostTokens)
    return Error{Errc::invalid, "--prompt must be at least 1 token, and --gen at least 2"};
  return chosen;
}

// An agent of our own, on a socket in a folder that goes with it.
class OwnAgent {
 public:
  static Result<OwnAgent> start(const Options& options, std::size_t streams) {
    std::string folder = (std::filesystem::temp_directory_path() / "dgq-bench-XXXXXX").string();
    if (!::mkdtemp(folder.data())) return errno_error("create", folder, errno);
    OwnAgent agent(folder);
    std::vector<std::string> words = {"/proc/self/exe",
                                      "agent",
                                      options.get<std::string>("model"),
                                      "--registry",
                                      registry_path(options).string(),
                                      "--listen",
                                      "none",
                                      "--unix",
                                      agent.socket(),
                                      "--slots",
                                      std::to_string(streams)};
    if (options.has("threads")) words.insert(words.end(), {"--threads", options.get<std::string>("threads")});
    DGQ_TRY(auto program, bench::RunningProgram::start(words, agent.log()));
    agent.program_.emplace(std::move(program));
    DGQ_CHECK(agent.wait());
    return agent;
  }
  OwnAgent(OwnAgent&& other) noexcept
      : folder_(std::exchange(other.folder_, {})), program_(std::move(other.program_)) {
    other.program_.reset();
  }
  ~OwnAgent() {
    program_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  std::string socket() const { return folder_ + "/agent.sock"; }
  Result<std::uint64_t> peak_memory_bytes() const { return bench::peak_memory_bytes(program_->id()); }

 private:
  explicit OwnAgent(std::string folder) : folder_(std::move(folder)) {}
  std::string log() const { return folder_ + "/log"; }

  // Until it serves.
  Result<void> wait() {
    constexpr int kTries = 1200;
    constexpr std::chrono::milliseconds kPause(100);
    for (int i = 0; i < kTries; ++i) {
      std::error_code ignored;
      if (program_->ended()) {
        constexpr std::size_t kMost = std::size_t{1} << 20;
        const auto text = read_file(log(), kMost);
        std::string line = text ? *text : "";
        line.erase(line.find_last_not_of('\n') + 1);
        return Error{Errc::unsupported, "the agent did not start: " + line.substr(line.rfind('\n') + 1)};
      }
      if (std::filesystem::exists(socket(), ignored)) return {};
      std::this_thread::sleep_for(kPause);
    }
    return Error{Errc::busy, "the agent does not serve after two minutes"};
  }

  std::string folder_;
  std::optional<bench::RunningProgram> program_;
};

// It has this environment's kernels.
Result<Json> settings_of_own(const Options& options, const Result<bench::EnergyMeter>& energy) {
  DGQ_TRY(const Kernels kernels, select_kernels_from_environment());
  Json settings = bench::kernel_settings(kernels);
  settings["agent"] = "started for the run";
  settings["n_threads"] =
      options.has("threads") ? options.get<std::string>("threads") : std::to_string(physical_cores());
  settings["energy"] = energy ? Json(energy->source()) : Json();
  settings["energy_unknown"] = energy ? Json() : Json(energy.error().what);
  return settings;
}

Result<Json> settings_of_other() {
  const char* const why = "the agent was not started for the run";
  return Json{{"agent", "was running"}, {"n_threads", nullptr},  {"isa", nullptr},
              {"energy", nullptr},      {"energy_unknown", why}, {"peak_memory_unknown", why}};
}

Result<std::string> read_token(const Options& options) {
  constexpr std::size_t kMost = 4096;
  if (!options.has("token-file")) return std::string();
  DGQ_TRY(std::string text, read_file(options.get<std::string>("token-file"), kMost));
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

Result<int> bench_agent(const Arguments& arguments) {
  Options options{
      "dgq bench agent --url URL | --model NAME[:TAG] [options]",
      "Loads an agent with streams that each have one request at a time: generated tokens per second of "
      "all\nstreams, time to the first token, time between tokens. An agent that runs, or one of our own "
      "that is\nstarted for a model of the registry.",
      "  dgq bench agent --url http://127.0.0.1:8080\n"
      "  dgq bench agent --url unix:/run/dgq.sock --token-file token --streams 1,8\n"
      "  dgq bench agent --model demo --streams 1,2,4,8 --output csv\n",
      {},
      {},
      {}};
  const bench::AgentBenchOptions base;
  options.named.add_options()                                                                             //
      ("url", po::value<std::string>()->value_name("URL"), "http://ADDRESS:PORT or unix:PATH")            //
      ("token-file", po::value<std::string>()->value_name("FILE"), "its first line is the bearer token")  //
      ("model", po::value<std::string>()->value_name("NAME[:TAG]"),
       "instead: an agent of our own for this model")                                                   //
      ("threads", po::value<std::string>()->value_name("N"), "with --model: threads of the agent")      //
      ("streams", po::value<std::string>()->default_value("1,2,4")->value_name("N[,N...]"), "at once")  //
      ("prompt", po::value<std::size_t>()->default_value(base.prompt)->value_name("N"),
       "tokens of a prompt")  //
      ("gen", po::value<std::size_t>()->default_value(base.generate)->value_name("N"),
       "tokens to generate")  //
      ("repetitions", po::value<int>()->default_value(base.repetitions)->value_name("N"),
       "requests of every stream, after one that does not count")  //
      ("watts", po::value<double>()->value_name("W"),
       "with --model: power of the whole machine under this load, where nothing can be read");
  add_output_options(options, true);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  if (options.has("url") == options.has("model"))
    return Error{Errc::invalid, "give --url of an agent that runs, or --model to start one"};
  DGQ_CHECK(output_format(options));
  for (const char* name : {"threads", "watts"})
    if (options.has("url") && options.has(name))
      return Error{Errc::invalid, std::string("--") + name + " goes with --model"};
  DGQ_TRY(bench::AgentBenchOptions chosen, read_options(options));
  DGQ_TRY(const std::optional<double> watts, watts_option(options));
  auto energy = bench::EnergyMeter::open(watts);
  std::optional<OwnAgent> own;
  if (options.has("url")) {
    DGQ_TRY(chosen.target, bench::HttpTarget::parse(options.get<std::string>("url")));
    DGQ_TRY(chosen.target.token, read_token(options));
  } else {
    DGQ_TRY(OwnAgent agent,
            OwnAgent::start(options, *std::max_element(chosen.streams.begin(), chosen.streams.end())));
    own.emplace(std::move(agent));
    chosen.target.unix_path = own->socket();
  }
  bench::RunRecorder recorder("agent");
  Progress progress;
  DGQ_TRY(bench::AgentBenchReport report,
          bench::bench_agent(chosen, own && energy ? &*energy : nullptr,
                             [&](const std::string& label, double done) { progress.update(label, done); }));
  progress.finish();
  DGQ_TRY(Json settings, own ? settings_of_own(options, energy) : settings_of_other());
  settings["version"] = report.version;
  bench::Run run = recorder.finish(std::move(settings), Json::object(), std::move(report.rows));
  run.conditions["peak_memory_bytes"] = nullptr;  // that of the agent, not of this process
  if (own)
    if (const auto peak = own->peak_memory_bytes()) run.conditions["peak_memory_bytes"] = *peak;
  DGQ_CHECK(deliver(options, run, [&] { print_rows(run); }));
  return 0;
}

}  // namespace dgq::tools

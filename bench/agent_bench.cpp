#include "bench/agent_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <random>
#include <thread>

#include "bench/statistics.h"

namespace dgq::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point a, Clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

struct Served {
  std::string name, version;
  std::int64_t vocabulary = 0, context = 0;
};

// What a server answered that is no success, in a line.
Error refused(int status, const std::string& body, const HttpTarget& target) {
  const auto json = parse_json(body, "answer");
  const Json error = json && json->is_object() ? json->value("error", Json()) : Json();
  const auto message =
      error.is_object() ? json_string(error, "message", "error") : Result<std::string>(Error{});
  return {Errc::unsupported, "the agent at " + target.text() + " answered " + std::to_string(status) +
                                 (message ? ": " + *message : "")};
}

Result<Served> ask_model(const HttpTarget& target) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  DGQ_TRY(HttpClient client, HttpClient::connect(target));
  std::string body;
  DGQ_TRY(const int status, client.request("GET", "/v1/models", "", [&](std::string_view piece) {
    if (body.size() < kMost) body += piece;
  }));
  if (status != 200) return refused(status, body, target);
  const std::string where = "what " + target.text() + " says of its models";
  DGQ_TRY(const Json json, parse_json(body, where));
  const Json data = json.is_object() ? json.value("data", Json()) : Json();
  if (!data.is_array() || data.empty() || !data[0].is_object() || !data[0].value("meta", Json()).is_object())
    return Error{Errc::corrupt, where + " is not a list of models"};
  Served served;
  DGQ_TRY(served.name, json_string(data[0], "id", where));
  const Json& meta = data[0]["meta"];
  DGQ_TRY(served.version, json_string_or(meta, "version", "", where));
  DGQ_TRY(served.vocabulary, json_int(meta, "n_vocab", 2, 1 << 24, where));
  DGQ_TRY(served.context, json_int(meta, "n_ctx", 2, 1 << 24, where));
  return served;
}

// One request: when its events came, and how many tokens they were.
struct Stream {
  Clock::time_point started, ended;
  std::vector<Clock::time_point> events;
  std::size_t tokens = 0;
  std::optional<Error> error;
};

// Lines of server-sent events, in whatever pieces they arrive.
class Events {
 public:
  explicit Events(Stream& stream) : stream_(stream) {}
  void take(std::string_view piece) {
    const Clock::time_point now = Clock::now();
    rest_ += piece;
    for (std::size_t end; (end = rest_.find('\n')) != rest_.npos; rest_.erase(0, end + 1))
      line(std::string_view(rest_).substr(0, end), now);
  }
  const std::string& rest() const { return rest_; }  // an answer that is no stream

 private:
  void line(std::string_view text, Clock::time_point now) {
    constexpr std::string_view kData = "data: ";
    if (!text.starts_with(kData)) return;
    text.remove_prefix(kData.size());
    if (text.starts_with("[DONE]")) return;
    const auto json = parse_json(text, "event");
    if (!json || !json->is_object()) return;
    if (const Json usage = json->value("usage", Json()); usage.is_object())
      if (const auto tokens = json_int(usage, "completion_tokens", 0, 1 << 24, "usage"))
        stream_.tokens = static_cast<std::size_t>(*tokens);
    const Json choices = json->value("choices", Json());
    if (choices.is_array() && !choices.empty() && choices[0].is_object() &&
        choices[0].value("text", Json()) != Json(""))  // the last one only says why it is the last
      stream_.events.push_back(now);
    if (const Json error = json->value("error", Json()); error.is_object())
      stream_.error =
          Error{Errc::unsupported,
                "the agent broke off: " + error.dump(-1, ' ', false, Json::error_handler_t::replace)};
  }
  Stream& stream_;
  std::string rest_;
};

void run_request(HttpClient& client, const HttpTarget& target, const std::string& body, Stream& stream) {
  Events events(stream);
  stream.started = Clock::now();
  const auto status =
      client.request("POST", "/v1/completions", body, [&](std::string_view piece) { events.take(piece); });
  stream.ended = Clock::now();
  if (!status)
    stream.error = status.error();
  else if (*status != 200)
    stream.error = refused(*status, events.rest(), target);
  else if (!stream.error && (stream.events.empty() || stream.tokens == 0))
    stream.error = Error{Errc::unsupported, "the agent at " + target.text() + " generated nothing"};
}

std::string request_body(const AgentBenchOptions& options, std::int64_t vocabulary, std::mt19937& random) {
  Json prompt = Json::array();
  for (std::size_t i = 0; i < options.prompt; ++i)
    prompt.push_back(random() % static_cast<std::uint32_t>(vocabulary));
  return Json{{"prompt", std::move(prompt)},
              {"max_tokens", options.generate},
              {"ignore_eos", true},
              {"seed", 1},
              {"stream", true},
              {"stream_options", {{"include_usage", true}}}}
      .dump();
}

double quantile(std::vector<double> samples, double share) {
  std::sort(samples.begin(), samples.end());
  const auto last = static_cast<double>(samples.size() - 1);
  return samples[static_cast<std::size_t>(std::ceil(share * last))];
}

RunRow row_of(const Json& of, const char* test, const char* unit, bool more, std::vector<double> samples) {
  RunRow row;
  row.of = of;
  row.of["test"] = test;
  row.unit = unit;
  row.more_is_better = more;
  row.figures = {{"p50", quantile(samples, 0.5)}, {"p99", quantile(samples, 0.99)}};
  row.samples = std::move(samples);
  return row;
}

// The samples of one number of streams.
struct Level {
  std::vector<double> throughput, ttft, gaps;
  std::size_t tokens = 0;  // of all repetitions
  void add(const std::vector<Stream>& streams) {
    Clock::time_point first = streams[0].started, last = streams[0].ended;
    std::size_t now = 0;
    for (const Stream& stream : streams) {
      first = std::min(first, stream.started), last = std::max(last, stream.ended);
      now += stream.tokens;
      ttft.push_back(seconds_between(stream.started, stream.events.front()));
      for (std::size_t i = 1; i < stream.events.size(); ++i)
        gaps.push_back(seconds_between(stream.events[i - 1], stream.events[i]));
    }
    throughput.push_back(static_cast<double>(now) / seconds_between(first, last));
    tokens += now;
  }
};

}  // namespace

Result<AgentBenchReport> bench_agent(const AgentBenchOptions& options, EnergyMeter* energy,
                                     const Progress& progress) {
  DGQ_TRY(const Served served, ask_model(options.target));
  if (static_cast<std::int64_t>(options.prompt + options.generate) > served.context)
    return Error{Errc::invalid, "--prompt and --gen are more than the agent's context of " +
                                    std::to_string(served.context) + " tokens"};
  AgentBenchReport report{served.name, served.version, {}};
  std::mt19937 random(1);
  std::size_t done = 0;
  const std::size_t all = options.streams.size() * static_cast<std::size_t>(options.repetitions + 1);
  for (const std::size_t count : options.streams) {
    std::vector<HttpClient> clients;
    for (std::size_t i = 0; i < count; ++i) {
      DGQ_TRY(HttpClient client, HttpClient::connect(options.target));
      clients.push_back(std::move(client));
    }
    Level level;
    double before = 0, joules = 0;
    for (int repetition = 0; repetition <= options.repetitions; ++repetition, ++done) {
      progress(std::to_string(count) + " stream(s)", static_cast<double>(done) / static_cast<double>(all));
      std::vector<Stream> streams(count);
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i < count; ++i)
        threads.emplace_back([&, i, body = request_body(options, served.vocabulary, random)] {
          run_request(clients[i], options.target, body, streams[i]);
        });
      for (std::thread& thread : threads) thread.join();
      for (const Stream& stream : streams)
        if (stream.error) return *stream.error;
      if (repetition > 0) level.add(streams);
      if (!energy) continue;
      const double now = energy->joules();
      if (repetition == 0) before = now;
      joules = now - before;
    }
    const Json of = {{"engine", "dgq"},
                     {"model", served.name},
                     {"streams", count},
                     {"n_prompt", options.prompt},
                     {"n_gen", options.generate}};
    report.rows.push_back(row_of(of, "throughput", "tokens/s", true, std::move(level.throughput)));
    report.rows.back().figures["joules_per_token"] =
        energy ? Json(joules / static_cast<double>(level.tokens)) : Json();
    report.rows.push_back(row_of(of, "ttft", "s", false, std::move(level.ttft)));
    if (!level.gaps.empty())
      report.rows.push_back(row_of(of, "inter_token", "s", false, std::move(level.gaps)));
  }
  return report;
}

}  // namespace dgq::bench

#include "bench/peer.h"

#include <algorithm>

#include "bench/child.h"

namespace dgq::bench {
namespace {

constexpr std::size_t kMostOutput = std::size_t{16} << 20;
constexpr std::int64_t kMostTokens = 1 << 24, kMostThreads = 65536, kMostBytes = std::int64_t{1} << 50;

Result<PeerResult> parse_result(const Json& json, std::string_view where) {
  if (!json.is_object()) return Error{Errc::corrupt, std::string(where) + " must be an object"};
  PeerResult result;
  DGQ_TRY(result.model_type, json_string_or(json, "model_type", "unknown model", where));
  DGQ_TRY(result.build, json_string_or(json, "build_commit", "", where));
  DGQ_TRY(result.threads, json_int(json, "n_threads", 1, kMostThreads, where));
  DGQ_TRY(result.prompt, json_int(json, "n_prompt", 0, kMostTokens, where));
  DGQ_TRY(result.generate, json_int(json, "n_gen", 0, kMostTokens, where));
  DGQ_TRY(const std::int64_t bytes, json_int_or(json, "model_size", 0, 0, kMostBytes, where));
  DGQ_TRY(const std::int64_t parameters, json_int_or(json, "model_n_params", 0, 0, kMostBytes, where));
  result.model_bytes = static_cast<std::uint64_t>(bytes);
  result.parameters = static_cast<std::uint64_t>(parameters);
  const auto samples = json.find("samples_ts");
  if (samples == json.end() || !samples->is_array() || samples->empty())
    return Error{Errc::corrupt, std::string(where) + ": \"samples_ts\" must be an array of numbers"};
  for (const Json& sample : *samples) {
    if (!sample.is_number() || !(sample.get<double>() > 0) || sample.get<double>() > 1e12)
      return Error{Errc::corrupt, std::string(where) + ": \"samples_ts\" must be numbers above 0"};
    result.tokens_per_s.push_back(sample.get<double>());
  }
  return result;
}

}  // namespace

Result<std::vector<PeerResult>> parse_llama_bench(std::string_view text, std::string_view where) {
  DGQ_TRY(const Json json, parse_json(text, where));
  if (!json.is_array() || json.empty())
    return Error{Errc::corrupt, std::string(where) + " must be an array of results (llama-bench -o json)"};
  std::vector<PeerResult> results;
  for (const Json& one : json) {
    DGQ_TRY(PeerResult result, parse_result(one, where));
    results.push_back(std::move(result));
  }
  return results;
}

Result<PeerResult> Peers::run(const Peer& peer, const ModelBenchRow& test) const {
  std::vector<std::string> words = {peer.program,
                                    "-m",
                                    peer.model,
                                    "-p",
                                    std::to_string(test.prompt),
                                    "-n",
                                    std::to_string(test.generate),
                                    "-t",
                                    std::to_string(test.threads),
                                    "-r",
                                    "1",
                                    "-o",
                                    "json"};
  words.insert(words.end(), peer.arguments.begin(), peer.arguments.end());
  DGQ_TRY(const std::string text, run_program(words, kMostOutput));
  DGQ_TRY(const std::vector<PeerResult> results, parse_llama_bench(text, "what " + peer.program + " prints"));
  for (const PeerResult& result : results)
    if (result.prompt == static_cast<std::int64_t>(test.prompt) &&
        result.generate == static_cast<std::int64_t>(test.generate) && result.threads == test.threads)
      return result;
  return Error{Errc::unsupported, peer.program + " did not measure " + test.test()};
}

void Peers::take_turn(const ModelBenchRow& test) {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (failed_[i]) continue;
    auto result = run(peers_[i], test);
    if (!result) {
      failed_[i] = true;
      faults_.push_back("peer " + peers_[i].name + ": " + result.error().what);
      continue;
    }
    const auto same = std::find_if(measured_.begin(), measured_.end(), [&](const Measured& known) {
      return known.peer == i && known.result.prompt == result->prompt &&
             known.result.generate == result->generate && known.result.threads == result->threads;
    });
    if (same == measured_.end())
      measured_.push_back({i, std::move(*result)});
    else
      same->result.tokens_per_s.insert(same->result.tokens_per_s.end(), result->tokens_per_s.begin(),
                                       result->tokens_per_s.end());
  }
}

std::vector<RunRow> Peers::rows(const std::string& beside) const {
  std::vector<RunRow> rows;
  for (const auto& [peer, result] : measured_) {
    RunRow row;
    const bool prompt = result.prompt > 0;
    std::string arguments;
    for (const std::string& word : peers_[peer].arguments) arguments += (arguments.empty() ? "" : " ") + word;
    row.of = {
        {"engine", peers_[peer].name},
        {"model", result.model_type},
        {"test", prompt ? "pp" + std::to_string(result.prompt) : "tg" + std::to_string(result.generate)},
        {"n_threads", result.threads},
        {"n_prompt", result.prompt},
        {"n_gen", result.generate}};
    row.unit = "tokens/s";
    row.samples = result.tokens_per_s;
    row.figures = {{"backend", peers_[peer].name + (result.build.empty() ? "" : " " + result.build)},
                   {"beside", beside},
                   {"model_type", result.model_type},
                   {"arguments", arguments},
                   {"model_size", result.model_bytes > 0 ? Json(result.model_bytes) : Json()},
                   {"model_n_params", result.parameters > 0 ? Json(result.parameters) : Json()},
                   {"bits_per_weight", result.model_bytes > 0 && result.parameters > 0
                                           ? Json(8 * static_cast<double>(result.model_bytes) /
                                                  static_cast<double>(result.parameters))
                                           : Json()}};
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace dgq::bench

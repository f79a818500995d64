// bench/agent_bench.h - an agent under load, from the outside: streams that each have one request at a time.
#pragma once

#include <string>
#include <vector>

#include "bench/energy.h"
#include "bench/http_client.h"
#include "bench/progress.h"
#include "bench/run.h"

namespace dgq::bench {

struct AgentBenchOptions {
  HttpTarget target;
  std::vector<std::size_t> streams = {1, 2, 4};  // at once; measured one after the other
  std::size_t prompt = 64, generate = 32;        // tokens of a request
  int repetitions = 5;                           // after one that does not count: a request of every stream
};

// Three rows for each number of streams: "throughput" (generated tokens/s of all streams, a sample per repetition), "ttft" (seconds from the
// request to the first event, a sample per request) and "inter_token" (seconds between events, p50 and p99 in the figures). energy: of the
// machine that the agent runs on, or null; "throughput" then has joules_per_token, of generated tokens.
// Errors name the agent and what it answered.
struct AgentBenchReport {
  std::string model, version;
  std::vector<RunRow> rows;
};
Result<AgentBenchReport> bench_agent(const AgentBenchOptions& options, EnergyMeter* energy,
                                     const Progress& progress);

}  // namespace dgq::bench

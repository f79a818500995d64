// bench/peer.h - other engines beside dgq: any build of llama.cpp's or ik_llama.cpp's llama-bench, whose JSON is read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/model_bench.h"
#include "bench/run.h"

namespace dgq::bench {

struct Peer {
  std::string name;                    // "llama-bench": what reports call it
  std::string program, model;          // paths; model: a .gguf
  std::vector<std::string> arguments;  // more of its own
};

// One object of `llama-bench -o json`.
struct PeerResult {
  std::string model_type, build;  // "llama 1B Q4_0"; its commit
  std::int64_t threads = 0, prompt = 0, generate = 0;
  std::uint64_t model_bytes = 0, parameters = 0;
  std::vector<double> tokens_per_s;  // above 0
};
// corrupt: not such JSON; begins with `where`.
Result<std::vector<PeerResult>> parse_llama_bench(std::string_view text, std::string_view where);

// Takes turns with dgq. A peer that fails is not asked again; what it said is in faults().
class Peers {
 public:
  explicit Peers(std::vector<Peer> peers) : peers_(std::move(peers)), failed_(peers_.size()) {}
  bool empty() const { return peers_.empty(); }
  // One repetition of the row's test, by each.
  void take_turn(const ModelBenchRow& test);
  // beside: the model of dgq that they were measured with.
  std::vector<RunRow> rows(const std::string& beside) const;
  const std::vector<std::string>& faults() const { return faults_; }

 private:
  Result<PeerResult> run(const Peer& peer, const ModelBenchRow& test) const;
  struct Measured {
    std::size_t peer;
    PeerResult result;
  };
  std::vector<Peer> peers_;
  std::vector<bool> failed_;
  std::vector<Measured> measured_;  // one for each peer and test
  std::vector<std::string> faults_;
};

}  // namespace dgq::bench

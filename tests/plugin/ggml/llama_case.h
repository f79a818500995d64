// tests/plugin/ggml/llama_case.h - runs an unmodified llama.cpp (llama_host.cpp) beside our own runtime.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "quantizer/checkpoint.h"
#include "runtime/compare.h"
#include "runtime/kv_cache.h"
#include "runtime/model.h"
#include "tests/support/command.h"

namespace dgq::test {

using Tokens = std::vector<std::int32_t>;
using Logits = std::vector<float>;  // [token][vocabulary]

template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().what, std::abort();
  return std::move(*result);
}

// Two threads wait for each other by spinning at every node of a graph, which gains nothing under an emulator: measured with qemu-aarch64
// on the demo model with 6 tokens, 1.0 s with one thread and 2.1 s with two where nothing else runs.
inline constexpr int kThreads = DGQ_EMULATED ? 1 : 2;

// How a host is started: what stands before it on the command line.
struct Start {
  std::string environment = {};  // "DGQ_REGISTRY=... "
  bool backend = true;           // with ours
  std::string emulator = DGQ_EMULATOR;
  int threads = kThreads;
};

inline Outcome run_host(const Start& start, const std::string& arguments,
                        const std::string& program = DGQ_LLAMA_HOST) {
  const std::string backend = start.backend ? "GGML_BACKEND_PATH=" DGQ_GGML_BACKEND " " : "";
  return run_shell("env -u DGQ_REGISTRY " + backend + start.environment + " " + start.emulator + program +
                   " " DGQ_LLAMA_FOLDER " " + arguments);
}

// Of every position of one sequence, by llama.cpp. Empty, and a failure, when it did not work.
inline Logits llama_logits(const Start& start, const std::string& gguf, const Tokens& tokens,
                           Outcome* said = nullptr) {
  const ScratchFolder scratch;
  const std::string ids = (scratch / "ids").string(), out = (scratch / "logits").string();
  std::ofstream(ids, std::ios::binary)
      .write(reinterpret_cast<const char*>(tokens.data()), static_cast<std::streamsize>(tokens.size() * 4));
  const Outcome outcome =
      run_host(start, gguf + " logits " + ids + " " + out + " " + std::to_string(start.threads));
  if (said) *said = outcome;
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::string bytes = file_text(out);
  Logits logits(bytes.size() / sizeof(float));
  std::memcpy(logits.data(), bytes.data(), logits.size() * sizeof(float));
  return logits;
}

// The same by our own runtime.
inline Logits own_logits(const ModelConfig& config, const ModelWeights& weights, std::size_t block, KvType kv,
                         const Tokens& tokens) {
  const Kernels kernels = must(select_kernels_from_environment());
  Decoder decoder(config, kernels, kThreads, block);
  KvCache cache(config, tokens.size(), kv);
  std::vector<Row> rows;
  std::vector<std::size_t> wanted;
  for (std::size_t i = 0; i < tokens.size(); ++i) rows.push_back({&cache, i}), wanted.push_back(i);
  Logits logits(tokens.size() * config.vocab);
  decoder.forward(weights, tokens, rows, wanted, logits.data());
  return logits;
}
inline Logits own_logits(const Model& model, KvType kv, const Tokens& tokens) {
  return own_logits(model.config(), model.weights(), model.activation_block(), kv, tokens);
}

inline Model open_model(const std::string& registry_path, const std::string& name) {
  Registry registry = must(Registry::open(registry_path, Registry::Mode::read_only));
  LayerCache cache(LayerCache::default_folder(registry_path));
  return must(Model::load(registry, cache, name));
}

// |a - b| over |b|, both as one vector. Infinity when they cannot be compared.
inline double relative_distance(const Logits& a, const Logits& b) {
  if (a.size() != b.size() || b.empty()) return INFINITY;
  double distance = 0, length = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    distance += std::pow(double{a[i]} - b[i], 2), length += std::pow(double{b[i]}, 2);
  return std::sqrt(distance / length);
}

// Mean over positions, in nats.
inline double mean_kld(const Logits& reference, const Logits& other, std::size_t vocabulary) {
  if (reference.size() != other.size()) return INFINITY;
  double sum = 0;
  for (std::size_t at = 0; at < reference.size(); at += vocabulary)
    sum +=
        distance_at(std::span(reference).subspan(at, vocabulary), std::span(other).subspan(at, vocabulary), 0)
            .kld;
  return sum / static_cast<double>(reference.size() / vocabulary);
}

}  // namespace dgq::test

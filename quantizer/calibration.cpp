#include "quantizer/calibration.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "quantizer/coarse_layer.h"
#include "quantizer/fine_linear.h"
#include "quantizer/gram.h"
#include "runtime/parallel.h"
#include "runtime/sampler.h"
#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

void report(const Fraction& progress, double done) {
  if (progress) progress(done);
}

ModelConfig one_layer(ModelConfig config) {
  config.layers = 1;
  return config;
}

// The coarse layers of a checkpoint for many passes: the first ones stay, as many as fit; the others are made each time.
class LayerSource {
 public:
  LayerSource(const Checkpoint& checkpoint, int threads, std::uint64_t memory)
      : checkpoint_(checkpoint), threads_(threads), memory_(memory), kept_(checkpoint.config().layers) {}

  Result<const LayerWeights*> get(std::size_t index) {
    if (kept_[index]) return &kept_[index]->weights();
    DGQ_TRY(const LayerF32 source, checkpoint_.layer(index));
    CoarseLayer layer(checkpoint_.config(), source.weights, threads_);
    std::optional<CoarseLayer>& slot = kept_bytes_ + layer.bytes() <= memory_ ? kept_[index] : passing_;
    if (&slot != &passing_) kept_bytes_ += layer.bytes();
    slot = std::move(layer);
    return &slot->weights();
  }

 private:
  const Checkpoint& checkpoint_;
  int threads_;
  std::uint64_t memory_;
  std::vector<std::optional<CoarseLayer>> kept_;
  std::optional<CoarseLayer> passing_;
  std::size_t kept_bytes_ = 0;
};

// One sequence that the model is writing.
struct Writer {
  Sequence tokens;
  KvCache cache;
  Sampler sampler;

  Result<void> write_next(std::span<const float> logits) {
    DGQ_TRY(const std::int32_t token, sampler.sample(logits, {}));
    tokens.push_back(token);
    return {};
  }
};

std::vector<Writer> make_writers(const ModelConfig& config, std::size_t count, SplitMix64& seeds) {
  SamplerOptions options;
  options.temperature = 1;
  std::vector<Writer> writers;
  for (std::size_t i = 0; i < count; ++i) {
    options.seed = seeds.next();
    writers.push_back({{std::max(0, start_token(config))},
                       KvCache(config, sequence_length(config), KvType::f32),
                       Sampler(options)});
  }
  return writers;
}

// Embedding, head and final norm of the checkpoint: with a LayerSource, all of it.
struct EndTensors {
  std::vector<float> embedding, head, norm;
  static Result<EndTensors> read(const Checkpoint& checkpoint) {
    EndTensors ends;
    DGQ_TRY(ends.embedding, checkpoint.embedding());
    DGQ_TRY(ends.head, checkpoint.head());
    DGQ_TRY(ends.norm, checkpoint.final_norm());
    return ends;
  }
};

// All writers, to their full length.
Result<void> write_text(const Checkpoint& checkpoint, const EndTensors& ends, LayerSource& layers,
                        Decoder& decoder, int threads, std::vector<Writer>& writers,
                        const Fraction& progress) {
  const ModelConfig& config = checkpoint.config();
  const std::size_t length = sequence_length(config), count = writers.size();
  const F32Matrix embedding{config.vocab, config.hidden, ends.embedding.data(), nullptr};
  F32Matrix head = embedding;
  if (!ends.head.empty()) head.w = ends.head.data();
  std::vector<Row> rows(count);
  Sequence last(count);
  std::vector<float> hidden(count * config.hidden), logits(count * config.vocab);
  for (std::size_t position = 0; position + 1 < length; ++position) {
    for (std::size_t i = 0; i < count; ++i) {
      rows[i] = {&writers[i].cache, position};
      last[i] = writers[i].tokens.back();
    }
    decoder.embed(embedding, last, hidden.data());
    for (std::size_t i = 0; i < config.layers; ++i) {
      DGQ_TRY(const LayerWeights* weights, layers.get(i));
      decoder.run_layer(i, *weights, rows, hidden.data());
    }
    decoder.run_head(ends.norm.data(), head, hidden.data(), count, logits.data());
    std::vector<Result<void>> written(count);
    parallel_ranges(threads, count, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i)
        written[i] = writers[i].write_next({logits.data() + i * config.vocab, config.vocab});
    });
    for (const Result<void>& result : written)
      if (!result) return Error{Errc::corrupt, "while sampling calibration text: " + result.error().what};
    report(progress, static_cast<double>(position + 1) / static_cast<double>(length));
  }
  return {};
}

// Cuts one document into sequences, the first of which starts with the model's BOS.
Result<void> cut_document(std::string_view text, const Tokenizer& tokenizer, const ModelConfig& config,
                          std::vector<Sequence>& sequences) {
  DGQ_TRY(Sequence ids, tokenizer.encode(text, true));
  if (ids.empty()) return {};
  if (config.bos >= 0 && ids.front() != config.bos) ids.insert(ids.begin(), config.bos);
  const std::size_t length = sequence_length(config);
  for (std::size_t begin = 0; begin < ids.size(); begin += length)
    sequences.emplace_back(ids.data() + begin, ids.data() + std::min(begin + length, ids.size()));
  return {};
}

}  // namespace

std::size_t sequence_length(const ModelConfig& config) {
  return std::min(kCalibrationLength, config.max_positions);
}

std::uint64_t sampling_bytes(const ModelConfig& config, std::size_t count) {
  const std::uint64_t cache = 2 * config.layers * config.kv_heads * config.head_dim * sequence_length(config);
  return count * (cache + config.hidden + config.vocab) * sizeof(float);
}

std::size_t sampled_at_once(const ModelConfig& config, std::size_t tokens, std::uint64_t memory) {
  const std::size_t length = sequence_length(config), count = (tokens + length - 1) / length;
  return std::clamp<std::uint64_t>(memory / 2 / sampling_bytes(config, 1), 1, count);
}

Result<std::vector<Sequence>> sample_calibration(const Checkpoint& checkpoint, const Kernels& kernels,
                                                 std::size_t tokens, std::uint64_t seed, int threads,
                                                 std::uint64_t memory, const Fraction& progress) {
  const ModelConfig& config = checkpoint.config();
  const std::size_t length = sequence_length(config), count = (tokens + length - 1) / length,
                    at_once = sampled_at_once(config, tokens, memory);
  DGQ_TRY(const EndTensors ends, EndTensors::read(checkpoint));
  LayerSource layers(checkpoint, threads, memory / 2);
  Decoder decoder(config, kernels, threads);
  SplitMix64 seeds(seed);
  std::vector<Sequence> sequences;
  while (sequences.size() < count) {
    const std::size_t first = sequences.size();
    std::vector<Writer> writers = make_writers(config, std::min(at_once, count - first), seeds);
    DGQ_CHECK(write_text(checkpoint, ends, layers, decoder, threads, writers, [&](double done) {
      report(progress, (static_cast<double>(first) + done * static_cast<double>(writers.size())) /
                           static_cast<double>(count));
    }));
    for (Writer& writer : writers) sequences.push_back(std::move(writer.tokens));
  }
  return sequences;
}

std::vector<Sequence> random_calibration(const ModelConfig& config, std::size_t tokens, std::uint64_t seed) {
  SplitMix64 random(seed);
  const std::size_t length = sequence_length(config);
  std::vector<Sequence> sequences((tokens + length - 1) / length, Sequence(length));
  for (Sequence& sequence : sequences)
    for (std::int32_t& token : sequence) token = static_cast<std::int32_t>(random.next() % config.vocab);
  return sequences;
}

Result<std::vector<Sequence>> text_calibration(std::string_view text, std::string_view where,
                                               const Tokenizer& tokenizer, const ModelConfig& config,
                                               std::size_t tokens) {
  constexpr std::string_view kSeparator = "<|endoftext|>";
  const std::size_t bad = find_invalid_utf8(text);
  if (bad != std::string_view::npos)
    return Error{Errc::invalid, std::string(where) + ": not UTF-8: byte " + std::to_string(bad) +
                                    " does not belong to a character; convert the file"};
  std::vector<Sequence> sequences;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(kSeparator), text.size());
    DGQ_CHECK(cut_document(text.substr(0, end), tokenizer, config, sequences));
    text.remove_prefix(std::min(end + kSeparator.size(), text.size()));
  }
  if (sequences.empty())
    return Error{Errc::invalid, std::string(where) + " holds no text; calibration needs some"};
  return thin_out(std::move(sequences), tokens);
}

std::vector<Sequence> thin_out(std::vector<Sequence> all, std::size_t tokens) {
  std::size_t total = 0;
  for (const Sequence& sequence : all) total += sequence.size();
  if (total <= tokens) return all;
  const std::size_t wanted = std::max<std::size_t>(1, all.size() * tokens / total);
  std::vector<Sequence> chosen;
  for (std::size_t i = 0; i < wanted; ++i) chosen.push_back(std::move(all[i * all.size() / wanted]));
  return chosen;
}

Digest sequences_digest(const std::vector<Sequence>& sequences) {
  Sha256 hash;
  for (const Sequence& sequence : sequences) {
    const auto size = static_cast<std::uint64_t>(sequence.size());
    hash.update(std::as_bytes(std::span(&size, 1)));
    hash.update(std::as_bytes(std::span(sequence)));
  }
  return hash.finish();
}

CalibrationRun::CalibrationRun(const ModelConfig& config, const Kernels& kernels, const Options& options,
                               HiddenRows hidden)
    : config_(one_layer(config)),
      kernels_(kernels),
      options_(options),
      decoder_(config_, kernels, options.threads, options.act_block),
      cache_(config_, sequence_length(config), KvType::f32),
      rounding_(options.act_block),
      hidden_(std::move(hidden)) {}

Result<CalibrationRun> CalibrationRun::start(const ModelConfig& config, const Kernels& kernels,
                                             const Options& options, const std::vector<Sequence>& sequences,
                                             const Linear& embedding) {
  std::vector<std::size_t> sizes;
  for (const Sequence& sequence : sequences) sizes.push_back(sequence.size() * config.hidden);
  DGQ_TRY(HiddenRows hidden, HiddenRows::make(std::move(sizes), options.spill));
  CalibrationRun run(config, kernels, options, std::move(hidden));
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    run.decoder_.embed(embedding, sequences[i], run.hidden_.fresh(i).data());
    DGQ_CHECK(run.hidden_.keep(i));
  }
  return run;
}

Result<void> CalibrationRun::run(const LayerWeights& layer, const Tap* tap, std::size_t& sequence,
                                 const Fraction& progress) {
  std::vector<Row> rows;
  for (sequence = 0; sequence < hidden_.count(); ++sequence) {
    DGQ_TRY(const std::span<float> hidden, hidden_.load(sequence));
    rows.clear();
    for (std::size_t t = 0; t < hidden.size() / config_.hidden; ++t) rows.push_back({&cache_, t});
    decoder_.run_layer(0, layer, rows, hidden.data(), tap);
    DGQ_CHECK(hidden_.keep(sequence));
    report(progress, static_cast<double>(sequence + 1) / static_cast<double>(hidden_.count()));
  }
  return {};
}

// What int8 activations say x was.
float CalibrationRun::round_rows(const float* x, std::size_t m, std::size_t k, float given, float* rounded) {
  const LinearInput input =
      quantize_input(x, m, k, *kernels_.quantize_rows, rounding_, options_.threads, given);
  parallel_ranges(options_.threads, m, [&](std::size_t begin, std::size_t end, int) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t first = 0; first < k; first += kActBlock) {
        const float scale = input.rows.scale_of(i, first / input.rows.block);
        const std::int8_t* q = input.rows.q_of(i, first / kActBlock);
        float* to = rounded + i * k + first;
        for (std::size_t c = 0; c < std::min(kActBlock, k - first); ++c)
          to[c] = scale * static_cast<float>(q[c]);
      }
  });
  // A scale is the largest of its block over 127.
  float scale = 0;
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t c = 0; c < k; c += kActBlock)
      scale = std::max(scale, input.rows.scale_of(i, c / input.rows.block));
  return kInt8Limit * scale;
}

Result<LayerInputs> CalibrationRun::collect(const LayerWeights& layer,
                                            const std::array<TokenWeights, 4>* weights,
                                            const Fraction& progress) {
  const std::size_t mixed = config_.heads * config_.head_dim;
  std::vector<Gram> grams;
  for (const std::size_t k : {config_.hidden, mixed, config_.hidden, config_.ffn})
    grams.emplace_back(kernels_, k, options_.threads);
  LayerInputs inputs;
  std::vector<float> rounded;
  std::size_t sequence = 0;
  const Tap see = [&](TapPoint point, const float* x, std::size_t m, std::size_t k) {
    const auto at = static_cast<std::size_t>(point);
    rounded.resize(m * k);
    inputs[at].largest =
        std::max(inputs[at].largest, round_rows(x, m, k, layer.input_scale[at], rounded.data()));
    inputs[at].tokens += m;
    if (weights)
      for (std::size_t i = 0; i < rounded.size(); ++i)
        rounded[i] *= std::sqrt((*weights)[at][sequence][i / k]);
    grams[at].add(rounded.data(), m);
    return true;
  };
  DGQ_CHECK(run(layer, &see, sequence, progress));
  for (std::size_t at = 0; at < inputs.size(); ++at) inputs[at].h = grams[at].finish();
  return inputs;
}

Result<void> CalibrationRun::pass(const LayerWeights& layer, const Fraction& progress) {
  std::size_t sequence = 0;
  return run(layer, nullptr, sequence, progress);
}

}  // namespace dgq

#include "runtime/logits_hash.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/session.h"

namespace dgq {

Result<Digest> hash_logits(const ModelConfig& config, const ModelWeights& weights, Decoder& decoder,
                           KvType kv, std::span<const std::int32_t> tokens) {
  static_assert(std::endian::native == std::endian::little);
  if (tokens.empty()) return Error{Errc::invalid, "the text is empty"};
  DGQ_CHECK(check_context(config, tokens.size()));
  DGQ_CHECK(check_tokens(config, tokens));
  KvCache cache(config, tokens.size(), kv);
  std::vector<Row> rows;
  std::vector<std::size_t> every;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    rows.push_back({&cache, i});
    every.push_back(i);
  }
  std::vector<float> at_once(tokens.size() * config.vocab), one(config.vocab);
  decoder.forward(weights, tokens, rows, every, at_once.data());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    decoder.forward(weights, tokens.subspan(i, 1), std::span(rows).subspan(i, 1), std::span(every).first(1),
                    one.data());
    if (std::memcmp(one.data(), &at_once[i * config.vocab], config.vocab * sizeof(float)) != 0)
      return Error{Errc::corrupt,
                   "prefill and decode give different logits at position " + std::to_string(i)};
    if (!std::all_of(one.begin(), one.end(), [](float logit) { return std::isfinite(logit); }))
      return Error{Errc::corrupt, "a logit is not finite at position " + std::to_string(i)};
  }
  return sha256(std::as_bytes(std::span(at_once)));
}

}  // namespace dgq

// Any bytes as a saved prefix cache, with the digest that belongs to them: it is taken, or refused with
// nothing changed, and what is taken can be saved and given back.
#include <cstdlib>

#include "agent/prefix_cache.h"
#include "tests/runtime/synthetic.h"

using dgq::agent::PrefixCache;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dgq::ModelConfig config = dgq::test::small_config();
  config.layers = config.kv_heads = 1;  // small blocks, of 512 bytes: inputs may hold several
  config.head_dim = 2;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  const dgq::Digest digest = dgq::sha256(bytes);
  bytes.append(reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size());
  PrefixCache cache(config, dgq::KvType::f32, 1'000'000);
  const auto loaded = cache.load(std::as_bytes(std::span(bytes)), dgq::Digest{}, "input");
  const auto stats = cache.stats();
  if (!loaded && (stats.blocks != 0 || loaded.error().what.empty())) std::abort();
  if (stats.bytes > stats.budget_bytes) std::abort();
  dgq::KvCache kv(config, 128, dgq::KvType::f32);
  const std::vector<std::int32_t> zeros(128);
  if (cache.restore(zeros, kv) % PrefixCache::kBlock != 0) std::abort();
  cache.store(zeros, kv);
  return 0;
}

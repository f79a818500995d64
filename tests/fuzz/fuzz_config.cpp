// Any bytes as config.json: parse_config must answer with a config inside its limits or with an Error.
#include <cstdlib>

#include "kernels/packed.h"
#include "runtime/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = dgq::parse_json(text, "config.json");
  if (!json) return 0;
  const auto config = dgq::parse_config(*json, "config.json");
  if (!config) return 0;
  const bool sane = config->hidden <= 65536 && config->ffn <= dgq::kMaxK && config->vocab <= (1u << 20) &&
                    config->kv_heads > 0 && config->heads % config->kv_heads == 0 &&
                    config->head_dim % 2 == 0 && config->heads * config->head_dim <= dgq::kMaxK &&
                    config->rope_scaling.factor >= 1;
  if (!sane) std::abort();
  const auto again = dgq::parse_config(dgq::config_to_json(*config), "canonical");
  if (!again || !(*again == *config)) std::abort();
  return 0;
}

#include "runtime/foreign.h"

#include <algorithm>
#include <charconv>

namespace dgq {
namespace {

constexpr std::string_view kWeight = ".weight", kBlock = "blk.", kLayers = "layers.";
constexpr std::string_view kSides[] = {"enc.", "dec."};
constexpr unsigned kMaxBlocks = 4000;  // a manifest holds 4096 blobs

// What llama.cpp reads with MUL_MAT alone: no views of them, no look-ups, no experts, no convolutions.
constexpr std::string_view kLinears[] = {"attn_q",
                                         "attn_k",
                                         "attn_v",
                                         "attn_qkv",
                                         "attn_output",
                                         "attn_o",
                                         "attn_gate",
                                         "attn_q_a",
                                         "attn_q_b",
                                         "attn_kv_a_mqa",
                                         "attn_kv_b",
                                         "cross_attn_q",
                                         "cross_attn_k",
                                         "cross_attn_v",
                                         "cross_attn_o",
                                         "ffn_gate",
                                         "ffn_up",
                                         "ffn_down",
                                         "ffn_gate_shexp",
                                         "ffn_up_shexp",
                                         "ffn_down_shexp",
                                         "ssm_in",
                                         "ssm_out",
                                         "shortconv.in_proj",
                                         "shortconv.out_proj",
                                         "time_mix_key",
                                         "time_mix_value",
                                         "time_mix_receptance",
                                         "time_mix_gate",
                                         "time_mix_output",
                                         "channel_mix_key",
                                         "channel_mix_value",
                                         "channel_mix_receptance"};

// "enc." of "enc.blk.3.attn_q", which it takes off.
std::string_view take_side(std::string_view& name) {
  for (const std::string_view side : kSides)
    if (name.starts_with(side)) {
      name.remove_prefix(side.size());
      return side;
    }
  return {};
}

}  // namespace

bool is_foreign(const Json& config) {
  const auto runtime = config.is_object() ? config.find("runtime") : config.end();
  return config.is_object() && runtime != config.end() && *runtime == kForeignRuntime;
}

std::optional<LinearPlace> place_of_linear(std::string_view gguf_name) {
  if (gguf_name == "token_embd.weight") return LinearPlace{"embedding", "token_embd"};
  if (gguf_name == "output.weight") return LinearPlace{"head", "output"};
  std::string_view rest = gguf_name;
  const std::string_view side = take_side(rest);
  if (!rest.starts_with(kBlock) || !rest.ends_with(kWeight)) return std::nullopt;
  rest = rest.substr(kBlock.size(), rest.size() - kBlock.size() - kWeight.size());
  unsigned block = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), block);
  if (error != std::errc() || block >= kMaxBlocks) return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  if (!rest.starts_with('.')) return std::nullopt;
  rest.remove_prefix(1);
  if (std::ranges::find(kLinears, rest) == std::end(kLinears)) return std::nullopt;
  LinearPlace place{std::string(kLayers) + std::to_string(block), std::string(side) + std::string(rest)};
  if (name_of_linear(place) != gguf_name) return std::nullopt;  // "blk.03."
  return place;
}

std::string name_of_linear(const LinearPlace& place) {
  if (!place.blob.starts_with(kLayers)) return place.tensor + std::string(kWeight);
  std::string_view tensor = place.tensor;
  const std::string_view side = take_side(tensor);
  return std::string(side) + std::string(kBlock) + place.blob.substr(kLayers.size()) + "." +
         std::string(tensor) + std::string(kWeight);
}

}  // namespace dgq

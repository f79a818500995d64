// quantizer/gguf_config.h - what a GGUF's metadata says about the model, as a ModelConfig.
#pragma once

#include <string>

#include "base/result.h"
#include "quantizer/gguf.h"
#include "runtime/config.h"

namespace dgq {

// The configuration, checked as parse_config checks. Read besides metadata: the rows of token_embd.weight, whether there
// are biases and an output.weight, and rope_freqs.weight, which must hold the factors of Llama 3's RoPE scaling.
// unsupported: architectures but llama, qwen2 and qwen3; any key of the architecture that is not known. `where` starts every
// message.
Result<ModelConfig> config_from_gguf(const Gguf& gguf, const std::string& where);

// Of any architecture, for people: the members of a config.json that the metadata have a plain number for, "architectures" with the
// GGUF's own name, and "runtime" (runtime/foreign.h). corrupt: no general.architecture.
Result<Json> foreign_config(const Gguf& gguf, const std::string& where);

// "llama" for LlamaForCausalLM. Precondition: the architecture of a ModelConfig.
std::string gguf_architecture(const ModelConfig& config);

// "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight". Precondition: a tensor of the graph.
std::string gguf_tensor_name(const std::string& hugging_face_name);

}  // namespace dgq

// tests/plugin/ggml/llama_model.h - a model in an unmodified llama.cpp, as any host has it.
#pragma once

#include <cstdlib>
#include <vector>

#include "ggml-backend.h"
#include "llama.h"

struct LlamaModel {
  llama_model* model = nullptr;
  llama_context* context = nullptr;

  ~LlamaModel() {
    llama_free(context);
    llama_model_free(model);
  }

  // exact: KV in float32 and no flash attention, so that what is left between llama.cpp and others are norms, rope and softmax. Else the
  // defaults, as users have it.
  bool open(const char* path, int threads, bool exact) {
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    if (std::getenv("HOST_NO_MMAP")) model_params.load_mode = LLAMA_LOAD_MODE_NONE;
    model = llama_model_load_from_file(path, model_params);
    if (!model) return false;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 0;
    params.n_threads = params.n_threads_batch = threads;
    if (exact) {
      params.type_k = params.type_v = GGML_TYPE_F32;
      params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    context = llama_init_from_model(model, params);
    return context != nullptr;
  }

  int vocabulary() const { return llama_vocab_n_tokens(llama_model_get_vocab(model)); }

  // Logits of all tokens, or of none but the last.
  bool evaluate(const std::vector<llama_token>& tokens, std::size_t first, std::size_t count, bool all) {
    llama_batch batch = llama_batch_init(static_cast<int>(count), 0, 1);
    for (std::size_t i = 0; i < count; ++i) {
      batch.token[i] = tokens[first + i];
      batch.pos[i] = static_cast<llama_pos>(first + i);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = all || i + 1 == count;
    }
    batch.n_tokens = static_cast<int>(count);
    const bool done = llama_decode(context, batch) == 0;
    llama_batch_free(batch);
    return done;
  }
};

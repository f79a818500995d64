/* tests/plugin/abi_1.c - what hosts that were built against DGQ_ABI_VERSION 1 count on: where the members of structs are, the values of
 * enums, the names and types of functions. Lines are added here when dgq.h grows; one that no longer holds means that the change breaks
 * hosts and needs another DGQ_ABI_VERSION. Made of 0.1.0, 64-bit. */
#include <dgq.h>

_Static_assert(offsetof(dgq_model_options, size) == 0 && sizeof(((dgq_model_options*)0)->size) == 8, "dgq_model_options.size");
_Static_assert(offsetof(dgq_model_options, threads) == 8 && sizeof(((dgq_model_options*)0)->threads) == 4, "dgq_model_options.threads");
_Static_assert(offsetof(dgq_model_options, layer_folder) == 16 && sizeof(((dgq_model_options*)0)->layer_folder) == 8, "dgq_model_options.layer_folder");
_Static_assert(offsetof(dgq_model_options, isa) == 24 && sizeof(((dgq_model_options*)0)->isa) == 8, "dgq_model_options.isa");
_Static_assert(offsetof(dgq_model_info, size) == 0 && sizeof(((dgq_model_info*)0)->size) == 8, "dgq_model_info.size");
_Static_assert(offsetof(dgq_model_info, version) == 8 && sizeof(((dgq_model_info*)0)->version) == 65, "dgq_model_info.version");
_Static_assert(offsetof(dgq_model_info, vocabulary) == 80 && sizeof(((dgq_model_info*)0)->vocabulary) == 8, "dgq_model_info.vocabulary");
_Static_assert(offsetof(dgq_model_info, hidden) == 88 && sizeof(((dgq_model_info*)0)->hidden) == 8, "dgq_model_info.hidden");
_Static_assert(offsetof(dgq_model_info, layers) == 96 && sizeof(((dgq_model_info*)0)->layers) == 8, "dgq_model_info.layers");
_Static_assert(offsetof(dgq_model_info, max_context) == 104 && sizeof(((dgq_model_info*)0)->max_context) == 8, "dgq_model_info.max_context");
_Static_assert(offsetof(dgq_model_info, bos) == 112 && sizeof(((dgq_model_info*)0)->bos) == 4, "dgq_model_info.bos");
_Static_assert(offsetof(dgq_model_info, eos) == 116 && sizeof(((dgq_model_info*)0)->eos) == 4, "dgq_model_info.eos");
_Static_assert(offsetof(dgq_model_info, mapped_bytes) == 120 && sizeof(((dgq_model_info*)0)->mapped_bytes) == 8, "dgq_model_info.mapped_bytes");
_Static_assert(offsetof(dgq_model_info, threads) == 128 && sizeof(((dgq_model_info*)0)->threads) == 4, "dgq_model_info.threads");
_Static_assert(offsetof(dgq_memory_plan, size) == 0 && sizeof(((dgq_memory_plan*)0)->size) == 8, "dgq_memory_plan.size");
_Static_assert(offsetof(dgq_memory_plan, mapped_bytes) == 8 && sizeof(((dgq_memory_plan*)0)->mapped_bytes) == 8, "dgq_memory_plan.mapped_bytes");
_Static_assert(offsetof(dgq_memory_plan, kv_bytes) == 16 && sizeof(((dgq_memory_plan*)0)->kv_bytes) == 8, "dgq_memory_plan.kv_bytes");
_Static_assert(offsetof(dgq_memory_plan, total_bytes) == 24 && sizeof(((dgq_memory_plan*)0)->total_bytes) == 8, "dgq_memory_plan.total_bytes");
_Static_assert(offsetof(dgq_linear_info, size) == 0 && sizeof(((dgq_linear_info*)0)->size) == 8, "dgq_linear_info.size");
_Static_assert(offsetof(dgq_linear_info, name) == 8 && sizeof(((dgq_linear_info*)0)->name) == 64, "dgq_linear_info.name");
_Static_assert(offsetof(dgq_linear_info, rows) == 72 && sizeof(((dgq_linear_info*)0)->rows) == 8, "dgq_linear_info.rows");
_Static_assert(offsetof(dgq_linear_info, columns) == 80 && sizeof(((dgq_linear_info*)0)->columns) == 8, "dgq_linear_info.columns");
_Static_assert(offsetof(dgq_linear_info, weights) == 88 && sizeof(((dgq_linear_info*)0)->weights) == 4, "dgq_linear_info.weights");
_Static_assert(offsetof(dgq_linear_info, group) == 92 && sizeof(((dgq_linear_info*)0)->group) == 4, "dgq_linear_info.group");
_Static_assert(offsetof(dgq_sampling, size) == 0 && sizeof(((dgq_sampling*)0)->size) == 8, "dgq_sampling.size");
_Static_assert(offsetof(dgq_sampling, temperature) == 8 && sizeof(((dgq_sampling*)0)->temperature) == 4, "dgq_sampling.temperature");
_Static_assert(offsetof(dgq_sampling, top_k) == 12 && sizeof(((dgq_sampling*)0)->top_k) == 4, "dgq_sampling.top_k");
_Static_assert(offsetof(dgq_sampling, top_p) == 16 && sizeof(((dgq_sampling*)0)->top_p) == 4, "dgq_sampling.top_p");
_Static_assert(offsetof(dgq_sampling, min_p) == 20 && sizeof(((dgq_sampling*)0)->min_p) == 4, "dgq_sampling.min_p");
_Static_assert(offsetof(dgq_sampling, repetition_penalty) == 24 && sizeof(((dgq_sampling*)0)->repetition_penalty) == 4, "dgq_sampling.repetition_penalty");
_Static_assert(offsetof(dgq_sampling, repetition_window) == 28 && sizeof(((dgq_sampling*)0)->repetition_window) == 4, "dgq_sampling.repetition_window");
_Static_assert(offsetof(dgq_sampling, seed) == 32 && sizeof(((dgq_sampling*)0)->seed) == 8, "dgq_sampling.seed");
_Static_assert(offsetof(dgq_generation, size) == 0 && sizeof(((dgq_generation*)0)->size) == 8, "dgq_generation.size");
_Static_assert(offsetof(dgq_generation, max_tokens) == 8 && sizeof(((dgq_generation*)0)->max_tokens) == 8, "dgq_generation.max_tokens");
_Static_assert(offsetof(dgq_generation, add_special) == 16 && sizeof(((dgq_generation*)0)->add_special) == 4, "dgq_generation.add_special");
_Static_assert(offsetof(dgq_generation, stop_at_eos) == 20 && sizeof(((dgq_generation*)0)->stop_at_eos) == 4, "dgq_generation.stop_at_eos");
_Static_assert(offsetof(dgq_generation, sampling) == 24 && sizeof(((dgq_generation*)0)->sampling) == 40, "dgq_generation.sampling");

_Static_assert(DGQ_OK == 0 && DGQ_NOT_FOUND == 1 && DGQ_CORRUPT == 2 && DGQ_UNSUPPORTED == 3 && DGQ_INVALID == 4 && DGQ_IO == 5 &&
                   DGQ_BUSY == 6 && DGQ_NO_MEMORY == 7 && DGQ_INTERNAL == 8 && DGQ_BAD_HANDLE == 9 && DGQ_TOO_SMALL == 10 &&
                   DGQ_UNTRUSTED == 11,
               "dgq_status");
_Static_assert(DGQ_F32 == 0 && DGQ_W4 == 1 && DGQ_W6 == 2 && DGQ_W8 == 3, "dgq_weights");

int main(void) {
  uint32_t (*abi_version)(void) = dgq_abi_version;
  const char* (*version)(void) = dgq_version;
  const char* (*last_error)(void) = dgq_last_error;
  const char* (*status_name)(dgq_status) = dgq_status_name;
  dgq_status (*kernel_report)(char*, size_t, size_t*) = dgq_kernel_report;
  dgq_status (*registry_open)(const char*, dgq_registry**) = dgq_registry_open;
  dgq_status (*registry_close)(dgq_registry*) = dgq_registry_close;
  dgq_status (*model_open)(dgq_registry*, const char*, const dgq_model_options*, dgq_model**) = dgq_model_open;
  dgq_status (*model_close)(dgq_model*) = dgq_model_close;
  dgq_status (*model_get_info)(dgq_model*, dgq_model_info*) = dgq_model_get_info;
  dgq_status (*plan_memory)(dgq_registry*, const char*, size_t, size_t, dgq_memory_plan*) = dgq_plan_memory;
  dgq_status (*linear_count)(dgq_model*, size_t*) = dgq_linear_count;
  dgq_status (*linear_get_info)(dgq_model*, size_t, dgq_linear_info*) = dgq_linear_get_info;
  dgq_status (*linear_find)(dgq_model*, const char*, size_t*) = dgq_linear_find;
  dgq_status (*linear_matmul)(dgq_model*, size_t, const float*, size_t, float*) = dgq_linear_matmul;
  dgq_status (*tokenize)(dgq_model*, const char*, size_t, int, int32_t*, size_t, size_t*) = dgq_tokenize;
  dgq_status (*detokenize)(dgq_model*, const int32_t*, size_t, char*, size_t, size_t*) = dgq_detokenize;
  dgq_status (*session_open)(dgq_model*, size_t, dgq_session**) = dgq_session_open;
  dgq_status (*session_close)(dgq_session*) = dgq_session_close;
  dgq_status (*session_prefill)(dgq_session*, const int32_t*, size_t) = dgq_session_prefill;
  dgq_status (*session_decode)(dgq_session*, int32_t) = dgq_session_decode;
  dgq_status (*session_logits)(dgq_session*, float*, size_t, size_t*) = dgq_session_logits;
  dgq_status (*session_position)(dgq_session*, size_t*) = dgq_session_position;
  dgq_status (*session_reset)(dgq_session*) = dgq_session_reset;
  dgq_status (*session_save)(dgq_session*, const char*) = dgq_session_save;
  dgq_status (*session_load)(dgq_session*, const char*) = dgq_session_load;
  void (*sampling_defaults)(dgq_sampling*) = dgq_sampling_defaults;
  dgq_status (*session_sample)(dgq_session*, const dgq_sampling*, int32_t*) = dgq_session_sample;
  void (*generation_defaults)(dgq_generation*) = dgq_generation_defaults;
  dgq_status (*generate)(dgq_session*, const char*, const dgq_generation*, dgq_token_callback, void*, size_t*) = dgq_generate;
  return !(abi_version && version && last_error && status_name && kernel_report && registry_open && registry_close && model_open &&
           model_close && model_get_info && plan_memory && linear_count && linear_get_info && linear_find && linear_matmul &&
           tokenize && detokenize && session_open && session_close && session_prefill && session_decode && session_logits &&
           session_position && session_reset && session_save && session_load && sampling_defaults && session_sample &&
           generation_defaults && generate);
}

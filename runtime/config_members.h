// runtime/config_members.h - the members of a config.json that are known. Internal to config.cpp.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace dgq {

// Read by parse_config.
inline constexpr std::string_view kRead[] = {"architectures",
                                             "hidden_size",
                                             "intermediate_size",
                                             "num_hidden_layers",
                                             "num_attention_heads",
                                             "num_key_value_heads",
                                             "head_dim",
                                             "vocab_size",
                                             "rms_norm_eps",
                                             "rope_theta",
                                             "max_position_embeddings",
                                             "rope_scaling",
                                             "rope_parameters",
                                             "tie_word_embeddings",
                                             "attention_bias",
                                             "mlp_bias",
                                             "bos_token_id",
                                             "eos_token_id",
                                             "hidden_act",
                                             "pretraining_tp",
                                             "sliding_window",
                                             "use_sliding_window",
                                             "layer_types",
                                             "partial_rotary_factor"};

// Names, formats, training and generation settings: nothing that the graph computes depends on them.
// max_window_layers says which layers have the window, and a window is refused.
inline constexpr std::string_view kHarmless[] = {"model_type",
                                                 "torch_dtype",
                                                 "dtype",
                                                 "transformers_version",
                                                 "transformers.js_config",
                                                 "auto_map",
                                                 "name_or_path",
                                                 "is_llama_config",
                                                 "unsloth_fixed",
                                                 "unsloth_version",
                                                 "max_window_layers",
                                                 "initializer_range",
                                                 "initializer_factor",
                                                 "attention_dropout",
                                                 "hidden_dropout",
                                                 "resid_pdrop",
                                                 "embd_pdrop",
                                                 "use_cache",
                                                 "pad_token_id",
                                                 "unk_token_id",
                                                 "sep_token_id",
                                                 "cls_token_id",
                                                 "decoder_start_token_id",
                                                 "is_decoder",
                                                 "return_dict",
                                                 "output_attentions",
                                                 "output_hidden_states",
                                                 "torchscript",
                                                 "use_bfloat16",
                                                 "gradient_checkpointing",
                                                 "task_specific_params",
                                                 "problem_type",
                                                 "id2label",
                                                 "label2id",
                                                 "finetuning_task",
                                                 "tokenizer_class",
                                                 "prefix",
                                                 "chunk_size_feed_forward",
                                                 "max_length",
                                                 "min_length",
                                                 "do_sample",
                                                 "early_stopping",
                                                 "num_beams",
                                                 "num_beam_groups",
                                                 "diversity_penalty",
                                                 "temperature",
                                                 "top_k",
                                                 "top_p",
                                                 "typical_p",
                                                 "repetition_penalty",
                                                 "length_penalty",
                                                 "no_repeat_ngram_size",
                                                 "encoder_no_repeat_ngram_size",
                                                 "bad_words_ids",
                                                 "num_return_sequences",
                                                 "output_scores",
                                                 "return_dict_in_generate",
                                                 "forced_bos_token_id",
                                                 "forced_eos_token_id",
                                                 "remove_invalid_values",
                                                 "exponential_decay_length_penalty",
                                                 "suppress_tokens",
                                                 "begin_suppress_tokens"};

// Known, and harmless as long as they are false.
inline constexpr std::string_view kMustBeFalse[] = {"use_qk_norm",
                                                    "qk_norm",
                                                    "alibi",
                                                    "is_encoder_decoder",
                                                    "scale_embeddings",
                                                    "rope_interleaved",
                                                    "add_cross_attention",
                                                    "tie_encoder_decoder"};

// Of rope_scaling and rope_parameters.
inline constexpr std::string_view kRopeMembers[] = {"type",
                                                    "rope_type",
                                                    "factor",
                                                    "low_freq_factor",
                                                    "high_freq_factor",
                                                    "original_max_position_embeddings",
                                                    "rope_theta",
                                                    "partial_rotary_factor"};

template <std::size_t N>
constexpr bool contains(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace dgq

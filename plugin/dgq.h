/* plugin/dgq.h - libdgq: 4-bit language models straight out of a registry, for any host that speaks C.
 *
 *   dgq_registry* registry;  dgq_model* model;  dgq_session* session;
 *   dgq_registry_open(NULL, &registry);                        NULL: the default registry
 *   dgq_model_open(registry, "demo", NULL, &model);            layer files are mapped, nothing is copied
 *   dgq_session_open(model, 0, &session);                      0: the model's own context
 *   dgq_generate(session, "Once", NULL, print, NULL, NULL);
 *
 * Every call that can fail returns a dgq_status; dgq_last_error() then has one line for a person. Nothing is thrown or
 * exits across this interface. An out parameter is written when the call returns DGQ_OK, else left alone, counts of
 * DGQ_TOO_SMALL apart.
 *
 * Handles. What open gives, close takes. NULL, a closed handle or one of another kind is DGQ_BAD_HANDLE in every call, never a
 * crash. A model stays alive while a session of it is open, whatever was closed first; the same holds for a call that another
 * thread is in.
 *
 * Threads. Every function may be called from every thread. Calls on one session exclude each other (the second waits), and so do
 * calls on one registry; calls on different sessions, and everything on a model, run side by side. Each uses as many threads as
 * the model was opened with.
 *
 * Text is UTF-8. Strings go in with a length in bytes or, where there is none, end with a zero byte; they come out ended with one.
 *
 * Versions. Structs start with `size`: set it to sizeof. Fields are only ever added at the end, functions only ever added,
 * within one DGQ_ABI_VERSION.
 */
#ifndef DGQ_H
#define DGQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DGQ_API __attribute__((visibility("default")))
#else
#define DGQ_API
#endif

#define DGQ_ABI_VERSION 1

typedef enum dgq_status {
  DGQ_OK = 0,
  DGQ_NOT_FOUND = 1,   /* the named thing does not exist */
  DGQ_CORRUPT = 2,     /* bytes that contradict themselves or their digest */
  DGQ_UNSUPPORTED = 3, /* well-formed, but not something this build or CPU handles */
  DGQ_INVALID = 4,     /* an argument out of range, or NULL where something is needed */
  DGQ_IO = 5,          /* the operating system or the database refused */
  DGQ_BUSY = 6,        /* another process holds it; try again later */
  DGQ_NO_MEMORY = 7,
  DGQ_INTERNAL = 8,   /* a defect of libdgq */
  DGQ_BAD_HANDLE = 9, /* NULL, closed, or of another kind */
  DGQ_TOO_SMALL = 10, /* a buffer; the length that is needed was written */
  DGQ_UNTRUSTED = 11  /* the registry's policy on signatures refuses the version */
} dgq_status;

typedef struct dgq_registry dgq_registry;
typedef struct dgq_model dgq_model;
typedef struct dgq_session dgq_session;

/* ---- this library ---- */

/* DGQ_ABI_VERSION of the library; a host compares it with that of the header it was built with. */
DGQ_API uint32_t dgq_abi_version(void);
DGQ_API const char* dgq_version(void); /* "0.1.0"; static */
/* Of the last call in this thread that returned something else than DGQ_OK; "" before the first. Valid until the next call in
 * this thread. */
DGQ_API const char* dgq_last_error(void);
DGQ_API const char* dgq_status_name(dgq_status status); /* "DGQ_OK"; static, never NULL */
/* Which kernel runs each operation on this CPU and why, as `dgq kernels --json` says it. Copies at most `capacity` bytes,
 * the zero byte included; *length gets the length without it. DGQ_TOO_SMALL: not all of it (text may be NULL with capacity 0). */
DGQ_API dgq_status dgq_kernel_report(char* text, size_t capacity, size_t* length);

/* ---- registries ---- */

/* For reading. path: NULL takes $DGQ_REGISTRY, else the user's own. */
DGQ_API dgq_status dgq_registry_open(const char* path, dgq_registry** registry);
DGQ_API dgq_status dgq_registry_close(dgq_registry* registry);

/* ---- models ---- */

typedef struct dgq_model_options {
  size_t size;
  int32_t threads;           /* 0: one per physical core */
  const char* layer_folder;  /* where layer files are; NULL: beside the registry */
  const char* isa;           /* a kernel name, "avx2"; NULL: $DGQ_ISA, else the best of this CPU */
} dgq_model_options;

/* reference: "name", "name:tag" or 8 or more digits of a version's digest. options: NULL for the defaults. What is not in the
 * layer folder yet is decoded into it (seconds); else this takes milliseconds. */
DGQ_API dgq_status dgq_model_open(dgq_registry* registry, const char* reference, const dgq_model_options* options,
                                  dgq_model** model);
DGQ_API dgq_status dgq_model_close(dgq_model* model);

typedef struct dgq_model_info {
  size_t size;
  char version[65]; /* digest: 64 hex digits */
  uint64_t vocabulary, hidden, layers, max_context;
  int32_t bos, eos;      /* -1: none; of several ends of text the first */
  uint64_t mapped_bytes; /* of layer files: shared with every process that has them mapped */
  int32_t threads;
} dgq_model_info;
DGQ_API dgq_status dgq_model_get_info(dgq_model* model, dgq_model_info* info);

/* What a model with some sessions takes, before anything is loaded. */
typedef struct dgq_memory_plan {
  size_t size;
  uint64_t mapped_bytes;       /* layer files, in the page cache, shared */
  uint64_t kv_bytes;           /* of one session when its context is full */
  uint64_t total_bytes;        /* mapped_bytes + sessions * kv_bytes */
} dgq_memory_plan;
/* context: positions of each session, 0 for the model's own. */
DGQ_API dgq_status dgq_plan_memory(dgq_registry* registry, const char* reference, size_t context, size_t sessions,
                                   dgq_memory_plan* plan);

/* ---- linears: y = x w^T + bias ---- */

typedef enum dgq_weights { DGQ_F32 = 0, DGQ_W4 = 1, DGQ_W6 = 2, DGQ_W8 = 3 } dgq_weights;

typedef struct dgq_linear_info {
  size_t size;
  char name[64];         /* "layers.0.q_proj", "lm_head", "embed_tokens" */
  uint64_t rows, columns; /* outputs and inputs */
  dgq_weights weights;
  uint32_t group;        /* columns that share an integer scale; 0: none */
} dgq_linear_info;

DGQ_API dgq_status dgq_linear_count(dgq_model* model, size_t* count);
/* index < count. */
DGQ_API dgq_status dgq_linear_get_info(dgq_model* model, size_t index, dgq_linear_info* info);
DGQ_API dgq_status dgq_linear_find(dgq_model* model, const char* name, size_t* index);
/* x: [m][columns], y: [m][rows], both dense and apart from each other; m > 0. Activations are quantized to int8 as in the model.
 * Each row of y has the same bits for every m, thread count and CPU. */
DGQ_API dgq_status dgq_linear_matmul(dgq_model* model, size_t index, const float* x, size_t m, float* y);

/* ---- text ---- */

/* add_special: with what the model wants around a text (a BOS token, say). *count: tokens of the text; DGQ_TOO_SMALL when that is
 * more than capacity (tokens may be NULL with capacity 0). */
DGQ_API dgq_status dgq_tokenize(dgq_model* model, const char* text, size_t length, int add_special, int32_t* tokens,
                                size_t capacity, size_t* count);
/* Well-formed UTF-8, without special tokens. capacity, length: as dgq_kernel_report. */
DGQ_API dgq_status dgq_detokenize(dgq_model* model, const int32_t* tokens, size_t count, char* text, size_t capacity,
                                  size_t* length);

/* ---- sessions: one running sequence each ---- */

/* context: positions of its KV cache; 0: the model's own. Memory becomes real as positions are filled. */
DGQ_API dgq_status dgq_session_open(dgq_model* model, size_t context, dgq_session** session);
DGQ_API dgq_status dgq_session_close(dgq_session* session);
/* Appends tokens, many at a time. DGQ_INVALID, with nothing changed: an id outside the vocabulary, or a full context. */
DGQ_API dgq_status dgq_session_prefill(dgq_session* session, const int32_t* tokens, size_t count);
/* Appends one token. */
DGQ_API dgq_status dgq_session_decode(dgq_session* session, int32_t token);
/* Of the last token: [vocabulary]. DGQ_INVALID before the first. capacity, count: as dgq_tokenize. */
DGQ_API dgq_status dgq_session_logits(dgq_session* session, float* logits, size_t capacity, size_t* count);
DGQ_API dgq_status dgq_session_position(dgq_session* session, size_t* position);
/* An empty sequence again. */
DGQ_API dgq_status dgq_session_reset(dgq_session* session);
/* The sequence so far with its KV cache, as one file, for this version of the model. It appears whole or not at all. Load puts it in
 * place of what the session has; the context may be another, if it is long enough. */
DGQ_API dgq_status dgq_session_save(dgq_session* session, const char* path);
DGQ_API dgq_status dgq_session_load(dgq_session* session, const char* path);

typedef struct dgq_sampling {
  size_t size;
  float temperature; /* 0: always the likeliest token */
  int32_t top_k;     /* 0: off */
  float top_p;       /* 1: off */
  float min_p;       /* 0: off */
  float repetition_penalty; /* 1: off */
  int32_t repetition_window; /* tokens that the penalty looks back; 0: all */
  uint64_t seed;
} dgq_sampling;
/* The defaults of `dgq run`: temperature 0.8, top_k 40, top_p 0.95, repetition_penalty 1.1 over 64, seed 1. */
DGQ_API void dgq_sampling_defaults(dgq_sampling* sampling);
/* The next token from the logits; it is not appended. sampling: NULL is greedy. Draws go on from call to call as long as the
 * settings stay the same. */
DGQ_API dgq_status dgq_session_sample(dgq_session* session, const dgq_sampling* sampling, int32_t* token);

typedef struct dgq_generation {
  size_t size;
  size_t max_tokens;      /* 0: until the end of the text or of the context */
  int32_t add_special;    /* around the prompt; 0 or 1 */
  int32_t stop_at_eos;    /* 0 or 1 */
  dgq_sampling sampling;  /* its size as well */
} dgq_generation;
/* 128 tokens, add_special 1, stop_at_eos 1, dgq_sampling_defaults. */
DGQ_API void dgq_generation_defaults(dgq_generation* generation);
/* Gets each token and the text that it completes (often ""); a call more at the end, with token -1, when text was held back. Whatever
 * it returns but 0 ends the generation, which is no error. It must not call into the same session. */
typedef int (*dgq_token_callback)(int32_t token, const char* text, void* user);
/* Appends the prompt and what the model makes of it. made: tokens, may be NULL. generation: NULL for the defaults. */
DGQ_API dgq_status dgq_generate(dgq_session* session, const char* prompt, const dgq_generation* generation,
                                dgq_token_callback callback, void* user, size_t* made);

#ifdef __cplusplus
}
#endif
#endif

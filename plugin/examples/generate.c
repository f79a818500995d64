/* generate.c - text from a prompt:  generate MODEL[:TAG] PROMPT
 *
 *   cc -std=c11 generate.c $(pkg-config --cflags --libs dgq) -o generate
 */
#include <dgq.h>
#include <stdio.h>

static int print(int32_t token, const char* text, void* user) {
  (void)token, (void)user;
  return fputs(text, stdout) < 0 || fflush(stdout) != 0; /* not 0: stop */
}

int main(int argc, char** argv) {
  dgq_registry* registry = NULL;
  dgq_model* model = NULL;
  dgq_session* session = NULL;
  dgq_generation generation;
  dgq_status status;
  if (argc != 3) {
    fprintf(stderr, "usage: generate MODEL[:TAG] PROMPT\n");
    return 2;
  }
  dgq_generation_defaults(&generation);
  generation.max_tokens = 64;
  status = dgq_registry_open(NULL, &registry); /* $DGQ_REGISTRY, or the user's own */
  if (status == DGQ_OK) status = dgq_model_open(registry, argv[1], NULL, &model);
  if (status == DGQ_OK) status = dgq_session_open(model, 0, &session);
  if (status == DGQ_OK) status = dgq_generate(session, argv[2], &generation, print, NULL, NULL);
  if (status != DGQ_OK) fprintf(stderr, "generate: %s\n", dgq_last_error());
  printf("\n");
  dgq_session_close(session);
  dgq_model_close(model);
  dgq_registry_close(registry);
  return status == DGQ_OK ? 0 : 1;
}

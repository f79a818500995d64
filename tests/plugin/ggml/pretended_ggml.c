/* tests/plugin/ggml/pretended_ggml.c - loaded before a host's libraries: a ggml of another version, or of another commit. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

typedef const char* Answer(void);

static const char* answer(const char* variable, const char* function) {
  const char* pretended = getenv(variable);
  return pretended ? pretended : ((Answer*)dlsym(RTLD_NEXT, function))();
}
const char* ggml_version(void);
const char* ggml_commit(void);
const char* ggml_version(void) { return answer("PRETEND_VERSION", "ggml_version"); }
const char* ggml_commit(void) { return answer("PRETEND_COMMIT", "ggml_commit"); }

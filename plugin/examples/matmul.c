/* matmul.c - one linear of a model by itself:  matmul MODEL[:TAG] LINEAR   (layers.0.q_proj, say) */
#include <dgq.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  dgq_registry* registry = NULL;
  dgq_model* model = NULL;
  dgq_linear_info linear = {.size = sizeof linear};
  size_t index = 0;
  dgq_status status = argc == 3 ? dgq_registry_open(NULL, &registry) : DGQ_INVALID;
  if (status == DGQ_OK) status = dgq_model_open(registry, argv[1], NULL, &model);
  if (status == DGQ_OK) status = dgq_linear_find(model, argv[2], &index);
  if (status == DGQ_OK) status = dgq_linear_get_info(model, index, &linear);
  if (status == DGQ_OK) {
    float *x = calloc(linear.columns, sizeof *x), *y = calloc(linear.rows, sizeof *y);
    if (x && y) {
      x[0] = 1; /* so y is the first column of the weights */
      status = dgq_linear_matmul(model, index, x, 1, y);
      printf("%s: %llu x %llu, first column %g %g ...\n", linear.name, (unsigned long long)linear.rows,
             (unsigned long long)linear.columns, y[0], y[1]);
    }
    free(x), free(y);
  }
  if (status != DGQ_OK) fprintf(stderr, "matmul: %s\n", argc == 3 ? dgq_last_error() : "usage: matmul MODEL[:TAG] LINEAR");
  dgq_model_close(model);
  dgq_registry_close(registry);
  return status == DGQ_OK ? 0 : 1;
}

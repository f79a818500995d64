#include "plugin/ggml/compute.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "runtime/parallel.h"

namespace dgq::ggml {
namespace {

std::atomic<std::uint64_t> products_so_far{0};

std::size_t columns(const ggml_tensor* x) { return static_cast<std::size_t>(x->ne[0]); }
std::size_t row_count(const ggml_tensor* x) { return static_cast<std::size_t>(ggml_nrows(x)); }

// Rows of a tensor, one after the other over all its other dimensions.
const char* row_of(const ggml_tensor* x, std::size_t row) {
  const auto ne1 = static_cast<std::size_t>(x->ne[1]), ne2 = static_cast<std::size_t>(x->ne[2]);
  return static_cast<const char*>(x->data) + row % ne1 * x->nb[1] + row / ne1 % ne2 * x->nb[2] +
         row / ne1 / ne2 * x->nb[3];
}

// Rows in halves (i, i + d / 2) of each head become pairs (2i, 2i + 1), as llama.cpp's graph wants them of architecture llama.
void pair_halves(float* y, std::size_t n, std::size_t head_dim, std::vector<float>& head) {
  head.resize(head_dim);
  const std::size_t half = head_dim / 2;
  for (float* at = y; at < y + n; at += head_dim) {
    std::copy_n(at, head_dim, head.data());
    for (std::size_t i = 0; i < half; ++i) at[2 * i] = head[i], at[2 * i + 1] = head[half + i];
  }
}

}  // namespace

bool handles(const ggml_tensor* node) {
  const ggml_tensor *weight = node->src[0], *x = node->src[1];
  if (!weight || !x || !in_weight_buffer(weight) || weight->view_src) return false;
  if (weight->ne[2] != 1 || weight->ne[3] != 1) return false;
  if (node->op == GGML_OP_MUL_MAT)
    return x->type == GGML_TYPE_F32 && node->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float);
  return node->op == GGML_OP_GET_ROWS && x->type == GGML_TYPE_I32 && node->type == GGML_TYPE_F32;
}

std::uint64_t Computer::products() { return products_so_far.load(std::memory_order_relaxed); }

const LinearInput& Computer::prepare(const Weight& weight, const ggml_tensor* x) {
  const bool quantized = is_quantized(weight.linear);
  if (x == last_x_ && weight.input_scale == last_scale_ && (last_quantized_ || !quantized)) return input_;
  const std::size_t m = row_count(x), k = columns(x);
  const float* data = static_cast<const float*>(x->data);
  if (!ggml_is_contiguous(x)) {
    float* dense = dense_.at_least(m * k);
    for (std::size_t row = 0; row < m; ++row) std::memcpy(dense + row * k, row_of(x, row), k * sizeof(float));
    data = dense;
  }
  QuantizedBuffer& buffer = weight.version->activation_block() == kActBlock ? blocks_ : rows_;
  input_ = quantized
               ? quantize_input(data, m, k, *kernels_.quantize_rows, buffer, threads_, weight.input_scale)
               : LinearInput{data, m, k, {}};
  last_x_ = x, last_scale_ = weight.input_scale, last_quantized_ = quantized;
  return input_;
}

void Computer::multiply(const Weight& weight, const ggml_tensor* x, ggml_tensor* y) {
  const LinearInput& input = prepare(weight, x);
  float* out = static_cast<float*>(y->data);
  const std::size_t n = output_rows(weight.linear);
  parallel_ranges(threads_, output_blocks(weight.linear), [&](std::size_t begin, std::size_t end, int) {
    run_blocks(weight.linear, input, kernels_, begin, end, out + begin * kRowBlock, n);
  });
  if (weight.rotary != 0)
    parallel_ranges(threads_, input.m, [&](std::size_t begin, std::size_t end, int) {
      thread_local std::vector<float> head;
      for (std::size_t row = begin; row < end; ++row) pair_halves(out + row * n, n, weight.rotary, head);
    });
  products_so_far.fetch_add(1, std::memory_order_relaxed);
}

bool Computer::look_up(const Weight& weight, const ggml_tensor* rows, ggml_tensor* y) const {
  const std::size_t n = output_rows(weight.linear), k = columns(y);
  float* out = static_cast<float*>(y->data);
  for (std::size_t i = 0; i < row_count(rows); ++i)
    for (std::size_t j = 0; j < columns(rows); ++j, out += k) {
      std::int32_t id;
      std::memcpy(&id, row_of(rows, i) + j * rows->nb[0], sizeof id);
      if (id < 0 || static_cast<std::size_t>(id) >= n) return false;
      std::visit([&](const auto& w) { copy_row(w, static_cast<std::size_t>(id), out); }, weight.linear);
    }
  return true;
}

ggml_status Computer::run(ggml_cgraph* graph) {
  last_x_ = nullptr;  // its numbers are others by now
  for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
    ggml_tensor* node = ggml_graph_node(graph, i);
    if (node->op != GGML_OP_MUL_MAT && node->op != GGML_OP_GET_ROWS) continue;
    if (ggml_is_empty(node)) continue;
    const Weight* weight = weight_of(node->src[0]);
    const bool done = weight && (node->op == GGML_OP_MUL_MAT ? (multiply(*weight, node->src[1], node), true)
                                                             : look_up(*weight, node->src[1], node));
    if (done) continue;
    log_line(GGML_LOG_LEVEL_ERROR,
             "tensor " + std::string(node->src[0]->name) + (weight ? ": no such row" : ": was never loaded"));
    return GGML_STATUS_FAILED;
  }
  return GGML_STATUS_SUCCESS;
}

}  // namespace dgq::ggml

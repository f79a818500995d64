#include "plugin/ggml/compute.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "plugin/ggml/float_nodes.h"
#include "runtime/parallel.h"

namespace dgq::ggml {
namespace {

std::atomic<std::uint64_t> products_so_far{0};

// Computers that have not run a graph yet. A new context of llama.cpp asks where flash attention would run, and does without if that
// is another backend than the layer's, the CPU; its cache of values is laid out for flash attention all the same, and attention
// takes twice as long. So while a context starts, flash attention is the CPU's.
std::atomic<int> starting{0};

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

bool is_ours(const ggml_tensor* node) { return is_float_node(node) || handles(node); }

// Whether it reads what nobody can read.
bool reads_our_weight(const ggml_tensor* node) {
  return std::any_of(std::begin(node->src), std::end(node->src),
                     [](const ggml_tensor* x) { return x && in_weight_buffer(x); });
}

}  // namespace

bool is_view(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_RESHAPE:
    case GGML_OP_VIEW:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE:
      return true;
    default:
      return false;
  }
}

bool handles(const ggml_tensor* node) {
  const ggml_tensor *weight = node->src[0], *x = node->src[1];
  if (!weight || !x || !in_weight_buffer(weight) || weight->view_src) return false;
  if (weight->ne[2] != 1 || weight->ne[3] != 1) return false;
  if (node->op == GGML_OP_MUL_MAT)
    return x->type == GGML_TYPE_F32 && node->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float);
  return node->op == GGML_OP_GET_ROWS && x->type == GGML_TYPE_I32 && node->type == GGML_TYPE_F32;
}

bool runs_beside_ours(const ggml_tensor* node) {
  if (node->op == GGML_OP_FLASH_ATTN_EXT && starting.load(std::memory_order_relaxed) > 0) return false;
  return any_weights() && !reads_our_weight(node) && (is_float_node(node) || cpu_supports(node));
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

Computer::Computer(Kernels kernels) : kernels_(std::move(kernels)) {
  starting.fetch_add(1, std::memory_order_relaxed);
}
Computer::~Computer() { has_started(); }

void Computer::has_started() {
  if (std::exchange(starts_, false)) starting.fetch_sub(1, std::memory_order_relaxed);
}

bool Computer::run_ours(ggml_tensor* node) {
  if (is_float_node(node)) {
    run_float_node(node, *kernels_.float_ops->run, threads_);
    return true;
  }
  const Weight* weight = weight_of(node->src[0]);
  if (weight && node->op == GGML_OP_MUL_MAT) {
    multiply(*weight, node->src[1], node);
    return true;
  }
  if (weight && look_up(*weight, node->src[1], node)) return true;
  log_line(GGML_LOG_LEVEL_ERROR,
           "tensor " + std::string(node->src[0]->name) + (weight ? ": no such row" : ": was never loaded"));
  return false;
}

ggml_status Computer::run(ggml_cgraph* graph) {
  has_started();
  last_x_ = nullptr;  // its numbers are others by now
  const int nodes = ggml_graph_n_nodes(graph);
  for (int i = 0; i < nodes;) {
    ggml_tensor* node = ggml_graph_node(graph, i);
    if (ggml_is_empty(node) || is_view(node)) {
      ++i;
    } else if (is_ours(node)) {
      if (!run_ours(node)) return GGML_STATUS_FAILED;
      ++i;
    } else {
      int end = i + 1;
      while (end < nodes && !is_ours(ggml_graph_node(graph, end))) ++end;
      const ggml_status status = others_.run(graph, i, end, threads_);
      if (status != GGML_STATUS_SUCCESS) return status;
      i = end;
    }
  }
  return GGML_STATUS_SUCCESS;
}

}  // namespace dgq::ggml

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

std::atomic<std::uint64_t> products_so_far{0}, attentions_so_far{0};

thread_local std::shared_ptr<FirstQuestion> asked_here;  // of the context that this thread has made last

bool is_first_question(const ggml_tensor* attention) {
  if (!asked_here || asked_here->is_over.load(std::memory_order_relaxed)) return false;
  const std::int64_t tokens = attention->src[0]->ne[1] * attention->src[0]->ne[3];
  if (asked_here->tokens == 0) asked_here->tokens = tokens;
  asked_here->is_over.store(tokens != asked_here->tokens, std::memory_order_relaxed);
  return tokens == asked_here->tokens;
}

std::size_t columns(const ggml_tensor* x) { return static_cast<std::size_t>(x->ne[0]); }
std::size_t row_count(const ggml_tensor* x) { return static_cast<std::size_t>(ggml_nrows(x)); }

// Rows of a tensor, one after the other over all its other dimensions.
const char* row_of(const ggml_tensor* x, std::size_t row) {
  const auto ne1 = static_cast<std::size_t>(x->ne[1]), ne2 = static_cast<std::size_t>(x->ne[2]);
  return static_cast<const char*>(x->data) + row % ne1 * x->nb[1] + row / ne1 % ne2 * x->nb[2] +
         row / ne1 / ne2 * x->nb[3];
}

// Rows [begin, end) of n numbers: halves of each head (i, i + d / 2) become pairs (2i, 2i + 1), as llama.cpp's graph wants them of
// architecture llama. head_dim 0: there are no heads.
void pair_heads(const FloatOps& ops, float* y, std::size_t n, std::size_t head_dim, std::size_t begin,
                std::size_t end) {
  if (head_dim == 0) return;
  thread_local std::vector<float> head;
  head.resize(head_dim);
  for (float* at = y + begin * n; at < y + end * n; at += head_dim) {
    std::copy_n(at, head_dim, head.data());
    ops.pair_halves(head.data(), head_dim, at);
  }
}

// Whether it reads what nobody can read.
bool reads_our_weight(const ggml_tensor* node) {
  return std::any_of(std::begin(node->src), std::end(node->src),
                     [](const ggml_tensor* x) { return x && in_weight_buffer(x); });
}

// False: there is no such row, or no such weight.
bool look_up(const ggml_tensor* node) {
  const Weight* weight = weight_of(node->src[0]);
  if (!weight) return false;
  const ggml_tensor* rows = node->src[1];
  const std::size_t n = output_rows(weight->linear), k = columns(node);
  float* out = static_cast<float*>(node->data);
  for (std::size_t i = 0; i < row_count(rows); ++i)
    for (std::size_t j = 0; j < columns(rows); ++j, out += k) {
      std::int32_t id;
      std::memcpy(&id, row_of(rows, i) + j * rows->nb[0], sizeof id);
      if (id < 0 || static_cast<std::size_t>(id) >= n) return false;
      std::visit([&](const auto& w) { copy_row(w, static_cast<std::size_t>(id), out); }, weight->linear);
    }
  return true;
}

}  // namespace

bool runs_beside_ours(const ggml_tensor* node) {
  if (node->op == GGML_OP_FLASH_ATTN_EXT && is_first_question(node)) return false;
  return any_weights() && !reads_our_weight(node) && (work_of(node) != Work::others || cpu_supports(node));
}

std::uint64_t Computer::products() { return products_so_far.load(std::memory_order_relaxed); }
std::uint64_t Computer::attentions() { return attentions_so_far.load(std::memory_order_relaxed); }

LinearInput Computer::prepare(const Weight& weight, const ggml_tensor* x) {
  const std::size_t m = row_count(x), k = columns(x);
  const float* data = static_cast<const float*>(x->data);
  if (!ggml_is_contiguous(x)) {
    float* dense = dense_.at_least(m * k);
    for (std::size_t row = 0; row < m; ++row) std::memcpy(dense + row * k, row_of(x, row), k * sizeof(float));
    data = dense;
  }
  if (!is_quantized(weight.linear)) return {data, m, k, {}};
  QuantizedBuffer& buffer = weight.version->activation_block() == kActBlock ? blocks_ : rows_;
  return quantize_input(data, m, k, *kernels_.quantize_rows, buffer, threads_, weight.input_scale);
}

// Onto nothing if `sum` is null.
void Computer::multiply_onto(const Product& product, const LinearInput& input, const ggml_tensor* sum) {
  const LinearJob job{&product.weight->linear, static_cast<float*>(product.node->data)};
  if (!sum) return run_linears(input, std::span(&job, 1), kernels_, threads_);
  const ggml_tensor* other = sum->src[sum->src[0] == product.node ? 1 : 0];
  run_linear_onto(job, input, static_cast<const float*>(other->data), static_cast<float*>(sum->data),
                  kernels_, threads_);
}

void Computer::feed_forward(const Step& step) {
  const std::span<const Product> products = plan_.products(step);
  const Product &gate = products[0], &up = products[1], &down = products[2];
  const LinearInput input = prepare(*gate.weight, gate.node->src[1]);
  multiply_onto(down, activated_.run(gate.weight->linear, up.weight->linear, input, kernels_, threads_),
                step.sum);
}

void Computer::multiply(const Step& step) {
  const std::span<const Product> products = plan_.products(step);
  const LinearInput input = prepare(*products[0].weight, products[0].node->src[1]);
  if (step.sum) return multiply_onto(products[0], input, step.sum);
  jobs_.clear();
  aside_.resize(std::max(aside_.size(), products.size()));
  for (std::size_t i = 0; i < products.size(); ++i) {
    const auto& [weight, node, aside] = products[i];
    jobs_.push_back({&weight->linear,
                     aside ? aside_[i].at_least(input.m * columns(node)) : static_cast<float*>(node->data)});
  }
  run_linears(input, jobs_, kernels_, threads_);
  if (std::any_of(products.begin(), products.end(), [](const Product& p) { return p.weight->rotary != 0; }))
    parallel_ranges(threads_, input.m, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = 0; i < products.size(); ++i)
        pair_heads(*kernels_.float_ops->run, jobs_[i].y, columns(products[i].node),
                   products[i].weight->rotary, begin, end);
    });
}

Computer::Computer(Kernels kernels) : kernels_(std::move(kernels)) { asked_here = question_; }

bool Computer::run_ours(const Step& step) {
  const FloatOps& ops = *kernels_.float_ops->run;
  bool rows_are_there = true;
  switch (step.work) {
    case Work::products:
      multiply(step);
      products_so_far.fetch_add(plan_.products(step).size(), std::memory_order_relaxed);
      break;
    case Work::feed_forward:
      feed_forward(step);
      products_so_far.fetch_add(plan_.products(step).size(), std::memory_order_relaxed);
      break;
    case Work::put_back:
      std::memcpy(step.node->data, aside_[static_cast<std::size_t>(step.first)].data(),
                  ggml_nbytes(step.node));
      break;
    case Work::look_up:
      rows_are_there = look_up(step.node);
      break;
    case Work::row_copy:
      rows_are_there = run_row_copy(step.node);
      break;
    case Work::norm:
      run_norm(step.norm, step.node, ops, threads_);
      break;
    case Work::float_node:
      run_float_node(step.node, ops, threads_);
      break;
    case Work::rope:
      rope_.run(step.node, ops, threads_);
      break;
    case Work::attention:
      attention_.run(step.node, kernels_, threads_);
      attentions_so_far.fetch_add(1, std::memory_order_relaxed);
      break;
    case Work::cache_store:
      rows_are_there = run_cache_store(step.node, *kernels_.attention_f16->run, threads_);
      break;
    case Work::nothing:
    case Work::others:
      break;
  }
  if (!rows_are_there)
    log_line(GGML_LOG_LEVEL_ERROR,
             "tensor " + std::string(step.node->name) + ": a row outside of the tensor, or one never loaded");
  return rows_are_there;
}

ggml_status Computer::run(ggml_cgraph* graph) {
  question_->is_over.store(true, std::memory_order_relaxed);
  if (!plan_.make(graph)) return GGML_STATUS_FAILED;
  rope_.begin_graph();
  for (const Step& step : plan_.steps()) {
    if (step.work == Work::others) {
      const ggml_status status = others_.run(graph, step.first, step.last, threads_);
      if (status != GGML_STATUS_SUCCESS) return status;
    } else if (!run_ours(step)) {
      return GGML_STATUS_FAILED;
    }
  }
  return GGML_STATUS_SUCCESS;
}

}  // namespace dgq::ggml

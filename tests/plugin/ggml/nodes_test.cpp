// Single nodes of ours against those of llama.cpp's CPU backend.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <random>

#include "ggml-impl.h"
#include "plugin/ggml/attention_nodes.h"
#include "plugin/ggml/float_nodes.h"
#include "plugin/ggml/plan.h"
#include "plugin/ggml/rope_nodes.h"

namespace dgq::ggml {
namespace {

const Kernels& kernels() {
  static const Kernels chosen = *select_kernels_from_environment();
  return chosen;
}

ggml_backend_t cpu() {
  static const ggml_backend_t backend = [] {
    ggml_backend_load_all_from_path(DGQ_LLAMA_FOLDER);
    return ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
  }();
  return backend;
}

// Tensors in memory of their own.
struct Graph {
  Graph() : context(ggml_init({64 << 20, nullptr, false}), ggml_free) {}
  ggml_tensor* tensor(ggml_type type, std::int64_t n0, std::int64_t n1 = 1, std::int64_t n2 = 1,
                      std::int64_t n3 = 1) {
    return ggml_new_tensor_4d(context.get(), type, n0, n1, n2, n3);
  }
  ggml_tensor* random(ggml_type type, std::int64_t n0, std::int64_t n1 = 1, std::int64_t n2 = 1,
                      std::int64_t n3 = 1) {
    ggml_tensor* x = tensor(type, n0, n1, n2, n3);
    for (std::int64_t i = 0; i < ggml_nelements(x); ++i)
      set(x, i, static_cast<float>(numbers() % 2001) / 1000 - 1);
    return x;
  }
  static void set(ggml_tensor* x, std::int64_t i, float value) {
    if (x->type == GGML_TYPE_F16)
      static_cast<ggml_fp16_t*>(x->data)[i] = ggml_fp32_to_fp16(value);
    else
      static_cast<float*>(x->data)[i] = value;
  }
  template <class T>
  ggml_tensor* integers(ggml_type type, const std::vector<T>& values) {
    ggml_tensor* x = tensor(type, static_cast<std::int64_t>(values.size()));
    std::copy(values.begin(), values.end(), static_cast<T*>(x->data));
    return x;
  }
  // What the CPU backend makes of the node.
  std::vector<float> by_cpu(ggml_tensor* node) {
    ggml_cgraph* graph = ggml_new_graph(context.get());
    ggml_build_forward_expand(graph, node);
    EXPECT_EQ(ggml_backend_graph_compute(cpu(), graph), GGML_STATUS_SUCCESS);
    return take(node);
  }
  // What it holds, which is overwritten then.
  static std::vector<float> take(ggml_tensor* x) {
    auto* data = static_cast<float*>(x->data);
    const std::vector<float> values(data, data + ggml_nelements(x));
    std::fill_n(data, values.size(), NAN);
    return values;
  }

  std::unique_ptr<ggml_context, void (*)(ggml_context*)> context;
  std::mt19937 numbers{1};
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double apart = 0, length = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    apart += std::pow(double{a[i]} - b[i], 2), length += std::pow(double{b[i]}, 2);
  return std::sqrt(apart / length);
}

// Of the CPU's sums of a single token, which are in float16, 11 bits: some roundings of 2^-11 each.
constexpr double kFloat16Sums = 0.005;

struct AttentionCase {
  std::int64_t tokens, heads, kv_heads, key_dim, value_dim, positions, streams;
  std::int64_t window;  // positions that a token sees; 0: no mask
};

// As llama.cpp lays them out: heads of a position side by side, the queries permuted; tokens at the end of what is cached.
ggml_tensor* attention_node(Graph& graph, const AttentionCase& c) {
  ggml_context* context = graph.context.get();
  const auto permuted = [&](ggml_tensor* x) { return ggml_permute(context, x, 0, 2, 1, 3); };
  ggml_tensor* q = permuted(graph.random(GGML_TYPE_F32, c.key_dim, c.heads, c.tokens, c.streams));
  ggml_tensor* k = permuted(graph.random(GGML_TYPE_F16, c.key_dim, c.kv_heads, c.positions, c.streams));
  ggml_tensor* v = permuted(graph.random(GGML_TYPE_F16, c.value_dim, c.kv_heads, c.positions, c.streams));
  ggml_tensor* mask = c.window ? graph.tensor(GGML_TYPE_F16, c.positions, c.tokens, 1, c.streams) : nullptr;
  for (std::int64_t i = 0; mask && i < ggml_nelements(mask); ++i) {
    const std::int64_t position = i % c.positions, token = i / c.positions % c.tokens,
                       stream = i / c.positions / c.tokens;
    const std::int64_t last =
        c.positions - c.tokens - 9 * stream - 3 + token;  // the end of the cache is empty
    Graph::set(mask, i, position <= last && position > last - c.window ? 0 : -INFINITY);
  }
  ggml_tensor* node =
      ggml_flash_attn_ext(context, q, k, v, mask, 1 / std::sqrt(static_cast<float>(c.key_dim)), 0, 0);
  ggml_prec_set_acc(node, GGML_PREC_F32);
  return node;
}

TEST(Nodes, AttentionIsThatOfTheCpu) {
  const AttentionCase cases[] = {
      {1, 4, 4, 64, 64, 256, 1, 1000},   // one token
      {1, 9, 3, 64, 64, 320, 1, 1000},   // in groups of query heads
      {1, 40, 1, 16, 32, 100, 1, 1000},  // more heads of a kv head than one call takes
      // One tile of several tokens; llama.cpp is wrong about 48 dimensions with SVE of 2048 bits.
      {7, 6, 2, 32, 32, 90, 1, 1000},
      {70, 6, 3, 64, 80, 300, 1, 1000},  // a prompt
      {70, 6, 3, 128, 128, 300, 1, 50},  // that sees a window only
      {33, 4, 2, 64, 64, 33, 1, 0},      // everything
      {1, 4, 2, 64, 64, 256, 3, 1000},   // streams of their own
      {20, 4, 1, 32, 32, 128, 2, 1000},
  };
  for (const AttentionCase& c : cases) {
    Graph graph;
    ggml_tensor* node = attention_node(graph, c);
    ASSERT_EQ(work_of(node), Work::attention);
    const std::vector<float> expected = graph.by_cpu(node);
    AttentionNodes ours;
    ours.run(node, kernels(), 1);
    const std::vector<float> alone = Graph::take(node);
    EXPECT_LT(distance(alone, expected), kFloat16Sums)
        << c.tokens << " tokens, " << c.heads << " heads, window " << c.window;
    for (const int threads : {2, 3}) {
      ours.run(node, kernels(), threads);
      EXPECT_EQ(Graph::take(node), alone) << threads << " threads, " << c.tokens << " tokens";
    }
  }
}

TEST(Nodes, RowsThatSeeNothingAreZero) {
  for (const std::int64_t tokens : {1, 70}) {
    Graph graph;
    ggml_tensor* node = attention_node(graph, {tokens, 4, 2, 32, 32, 128, 1, 1000});
    ggml_tensor* mask = node->src[3];
    for (std::int64_t i = 0; i < ggml_nelements(mask); ++i) Graph::set(mask, i, -INFINITY);
    AttentionNodes().run(node, kernels(), 2);
    EXPECT_EQ(Graph::take(node), std::vector<float>(static_cast<std::size_t>(ggml_nelements(node))));
  }
}

TEST(Nodes, OtherAttentionIsLeftToTheCpu) {
  Graph graph;
  ggml_context* context = graph.context.get();
  const auto work = [&](ggml_type type, std::int64_t dim, float bias, float cap) {
    ggml_tensor* q = graph.random(GGML_TYPE_F32, dim, 1, 2);
    ggml_tensor *k = graph.tensor(type, dim, 64, 2), *v = graph.tensor(type, dim, 64, 2);
    return work_of(ggml_flash_attn_ext(context, q, k, v, graph.tensor(GGML_TYPE_F16, 64, 1), 1, bias, cap));
  };
  EXPECT_EQ(work(GGML_TYPE_F16, 32, 0, 0), Work::attention);
  EXPECT_EQ(work(GGML_TYPE_F16, 40, 0, 0), Work::others);
  EXPECT_EQ(work(GGML_TYPE_F16, 32, 8, 0), Work::others);
  EXPECT_EQ(work(GGML_TYPE_F16, 32, 0, 30), Work::others);
  EXPECT_EQ(work(GGML_TYPE_F32, 32, 0, 0), Work::others);
  EXPECT_EQ(work(GGML_TYPE_Q8_0, 32, 0, 0), Work::others);
}

TEST(Nodes, RowsAreStoredAsByTheCpu) {
  for (const bool wide : {true, false}) {
    Graph graph;
    ggml_tensor *cache = graph.random(GGML_TYPE_F16, 40, 9), *rows = graph.random(GGML_TYPE_F32, 40, 3);
    ggml_tensor* ids = wide ? graph.integers<std::int64_t>(GGML_TYPE_I64, {7, 0, 3})
                            : graph.integers<std::int32_t>(GGML_TYPE_I32, {7, 0, 3});
    ggml_tensor* node = ggml_set_rows(graph.context.get(), cache, rows, ids);
    ASSERT_EQ(work_of(node), Work::cache_store);
    const auto* data = static_cast<const ggml_fp16_t*>(cache->data);
    const std::vector<ggml_fp16_t> before(data, data + 9 * 40);
    ggml_cgraph* all = ggml_new_graph(graph.context.get());
    ggml_build_forward_expand(all, node);
    ASSERT_EQ(ggml_backend_graph_compute(cpu(), all), GGML_STATUS_SUCCESS);
    const std::vector<ggml_fp16_t> expected(data, data + 9 * 40);
    std::copy(before.begin(), before.end(), static_cast<ggml_fp16_t*>(cache->data));
    EXPECT_TRUE(run_cache_store(node, *kernels().attention_f16->run, 2));
    EXPECT_EQ(std::vector<ggml_fp16_t>(data, data + 9 * 40), expected);
    if (wide)
      static_cast<std::int64_t*>(ids->data)[1] = 9;
    else
      static_cast<std::int32_t*>(ids->data)[1] = -1;
    EXPECT_FALSE(run_cache_store(node, *kernels().attention_f16->run, 2));
  }
}

TEST(Nodes, RotationIsThatOfTheCpu) {
  RopeNodes ours;
  for (const int mode : {GGML_ROPE_TYPE_NORMAL, GGML_ROPE_TYPE_NEOX})
    for (const int dims : {64, 48, 20}) {  // all of a head, and less
      for (const bool with_factors : {false, true}) {
        Graph graph;
        ggml_tensor *x = graph.random(GGML_TYPE_F32, 64, 3, 5),
                    *positions = graph.integers<std::int32_t>(GGML_TYPE_I32, {0, 1, 77, 1000, 4095});
        ggml_tensor* factors = with_factors ? graph.random(GGML_TYPE_F32, 32) : nullptr;
        for (std::int64_t i = 0; factors && i < 32; ++i)
          Graph::set(factors, i, 1 + static_cast<float>(i) / 4);
        ggml_tensor* node = ggml_rope_ext(graph.context.get(), x, positions, factors, dims, mode, 4096, 10000,
                                          0.5f, 0, 1.25f, 32, 1);
        ASSERT_EQ(work_of(node), Work::rope);
        const std::vector<float> expected = graph.by_cpu(node);
        ours.begin_graph();
        ours.run(node, *kernels().float_ops->run, 2);
        EXPECT_LT(distance(Graph::take(node), expected), 1e-6) << "mode " << mode << " dims " << dims;
      }
    }
  Graph graph;
  ggml_tensor* x = graph.random(GGML_TYPE_F32, 64, 3, 1);
  ggml_tensor* yarn = ggml_rope_ext(graph.context.get(), x, graph.integers<std::int32_t>(GGML_TYPE_I32, {5}),
                                    nullptr, 64, 0, 4096, 10000, 0.5f, 1, 1, 32, 1);
  EXPECT_EQ(work_of(yarn), Work::others);
}

TEST(Nodes, RowsAreCopied) {
  Graph graph;
  ggml_tensor* from = graph.random(GGML_TYPE_F32, 24, 6);
  ggml_tensor* ids = graph.integers<std::int32_t>(GGML_TYPE_I32, {5, 0, 5});
  ggml_tensor* node = ggml_get_rows(graph.context.get(), from, ids);
  ASSERT_EQ(work_of(node), Work::row_copy);
  const std::vector<float> expected = graph.by_cpu(node);
  EXPECT_TRUE(run_row_copy(node));
  EXPECT_EQ(Graph::take(node), expected);
  static_cast<std::int32_t*>(ids->data)[1] = 6;
  EXPECT_FALSE(run_row_copy(node));
}

// A norm and its weights are one step, but not where the norm has another reader.
TEST(Nodes, NormTakesItsWeightsAlong) {
  for (const bool read_twice : {false, true}) {
    Graph graph;
    ggml_context* context = graph.context.get();
    ggml_tensor *x = graph.random(GGML_TYPE_F32, 48, 5), *weights = graph.random(GGML_TYPE_F32, 48);
    ggml_tensor* norm = ggml_rms_norm(context, x, 1e-5f);
    ggml_tensor* node = ggml_mul(context, norm, weights);
    ggml_cgraph* all = ggml_new_graph(context);
    ggml_build_forward_expand(all, node);
    if (read_twice) ggml_build_forward_expand(all, ggml_add(context, norm, x));
    Plan plan;
    ASSERT_TRUE(plan.make(all));
    ASSERT_EQ(plan.steps().size(), read_twice ? 3u : 1u);
    EXPECT_EQ(plan.steps()[0].node, read_twice ? norm : node);
    const std::vector<float> expected = graph.by_cpu(node);
    run_norm(norm, plan.steps()[0].node, *kernels().float_ops->run, 2);
    if (read_twice) run_float_node(node, *kernels().float_ops->run, 2);
    EXPECT_LT(distance(Graph::take(node), expected), 1e-6);
  }
}

}  // namespace
}  // namespace dgq::ggml

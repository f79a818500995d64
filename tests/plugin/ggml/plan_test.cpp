// Nodes that become one step give the numbers that they give one by one. Weights are those of the demo model's first layer.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include "ggml-backend-impl.h"
#include "ggml-impl.h"
#include "plugin/ggml/compute.h"
#include "registry/registry.h"

namespace dgq::ggml {
namespace {

constexpr std::int64_t kHidden = 384, kKv = 128, kFfn = 1024, kTokens = 3;

const VersionInfo& demo() {
  static const VersionInfo version = [] {
    ::setenv("DGQ_REGISTRY", DGQ_DEMO_REGISTRY, 1);
    auto registry = Registry::open(DGQ_DEMO_REGISTRY, Registry::Mode::read_only);
    return *registry->resolve("demo");
  }();
  return version;
}

struct PlanTest : testing::Test {
  PlanTest()
      : context(ggml_init({16 << 20, nullptr, false}), ggml_free),
        buffer(ggml_backend_buft_alloc_buffer(weight_buffer_type(nullptr), 1 << 24),
               ggml_backend_buffer_free) {}

  ggml_tensor* random(std::int64_t width, std::int64_t rows = kTokens) {
    ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, width, rows);
    for (std::int64_t i = 0; i < ggml_nelements(x); ++i)
      static_cast<float*>(x->data)[i] = static_cast<float>(numbers() % 2001) / 1000 - 1;
    return x;
  }

  // As a loader makes it; a weight that is not filled is never loaded.
  ggml_tensor* weight(LinearRole role, std::int64_t k, std::int64_t n, bool filled = true) {
    ggml_tensor* w = ggml_new_tensor_2d(context.get(), GGML_TYPE_I8, k, n);
    w->buffer = buffer.get();
    w->data = static_cast<char*>(ggml_backend_buffer_get_base(buffer.get())) + used;
    used += ggml_nbytes(w);
    std::vector<std::byte> bytes(ggml_nbytes(w));
    const CarrierBytes carrier =
        encode_carrier({role, 0, demo().digest, demo().manifest.find("layers.0")->digest});
    std::memcpy(bytes.data(), carrier.data(), carrier.size());
    if (filled) buffer->iface.set_tensor(buffer.get(), w, bytes.data(), 0, bytes.size());
    return w;
  }
  ggml_tensor* product(LinearRole role, std::int64_t n, ggml_tensor* x) {
    return ggml_mul_mat(context.get(), weight(role, x->ne[0], n), x);
  }
  ggml_cgraph* graph_of(std::initializer_list<ggml_tensor*> nodes) {
    ggml_cgraph* graph = ggml_new_graph(context.get());
    for (ggml_tensor* node : nodes) ggml_build_forward_expand(graph, node);
    return graph;
  }

  static std::vector<Work> steps_of(ggml_cgraph* graph) {
    Plan plan;
    EXPECT_TRUE(plan.make(graph));
    std::vector<Work> steps;
    for (const Step& step : plan.steps()) steps.push_back(step.work);
    return steps;
  }
  static std::vector<float> values(const ggml_tensor* x) {
    const auto* data = static_cast<const float*>(x->data);
    return {data, data + ggml_nelements(x)};
  }
  // Of the node, when each node is a graph of its own.
  std::vector<float> one_by_one(ggml_cgraph* graph, const ggml_tensor* node) {
    for (int i = 0; i < graph->n_nodes; ++i) {
      ggml_cgraph part = ggml_graph_view(graph, i, i + 1);
      EXPECT_EQ(computer.run(&part), GGML_STATUS_SUCCESS);
    }
    return values(node);
  }
  std::vector<float> together(ggml_cgraph* graph, const ggml_tensor* node, int threads = 2) {
    computer.set_threads(threads);
    EXPECT_EQ(computer.run(graph), GGML_STATUS_SUCCESS);
    return values(node);
  }

  std::unique_ptr<ggml_context, void (*)(ggml_context*)> context;
  std::unique_ptr<ggml_backend_buffer, void (*)(ggml_backend_buffer_t)> buffer;
  std::size_t used = 0;
  std::mt19937 numbers{1};
  Computer computer{*select_kernels_from_environment()};
};

using Steps = std::vector<Work>;

TEST_F(PlanTest, ProductsOfOneInputAreOneStep) {
  ggml_tensor* x = random(kHidden);
  ggml_tensor *q = product(LinearRole::q, kHidden, x), *k = product(LinearRole::k, kKv, x),
              *v = product(LinearRole::v, kKv, x);
  ggml_tensor* other = product(LinearRole::o, kHidden, random(kHidden));
  ggml_cgraph* graph = graph_of({q, k, other, v});
  EXPECT_EQ(steps_of(graph), (Steps{Work::products, Work::products}));
  Plan plan;
  ASSERT_TRUE(plan.make(graph));
  EXPECT_EQ(plan.products(plan.steps()[0]).size(), 3u);
  const std::vector<float> expected = one_by_one(graph, v);
  std::fill_n(static_cast<float*>(v->data), ggml_nelements(v), NAN);
  EXPECT_EQ(together(graph, v), expected);
}

// The host gives a node the memory of one that nobody reads any more, which it still has when the step comes.
TEST_F(PlanTest, ProductWhoseMemoryIsInUseWaitsAside) {
  ggml_tensor* x = random(kHidden);
  ggml_tensor* q = product(LinearRole::q, kHidden, x);
  ggml_tensor* norm = ggml_rms_norm(context.get(), q, 1e-5f);
  ggml_tensor* k = product(LinearRole::k, kKv, x);
  ggml_cgraph* graph = graph_of({norm, k});
  const std::vector<float> expected = one_by_one(graph, k), expected_norm = values(norm);
  k->data = q->data;
  EXPECT_EQ(steps_of(graph), (Steps{Work::products, Work::norm, Work::put_back}));
  EXPECT_EQ(together(graph, k), expected);
  EXPECT_EQ(values(norm), expected_norm);
}

TEST_F(PlanTest, SumIsComputedWithItsProduct) {
  for (const int place : {0, 1, 2}) {  // of the sum: its own, that of the product, that of the other
    for (const bool product_first : {true, false}) {
      ggml_tensor *x = random(kHidden), *other = random(kHidden);
      const std::vector<float> before = values(other);
      ggml_tensor* o = product(LinearRole::o, kHidden, x);
      ggml_tensor* sum =
          product_first ? ggml_add(context.get(), o, other) : ggml_add(context.get(), other, o);
      ggml_cgraph* graph = graph_of({sum});
      const std::vector<float> expected = one_by_one(graph, sum);
      if (place == 1) sum->data = o->data;
      if (place == 2) sum->data = other->data;
      EXPECT_EQ(steps_of(graph), Steps{Work::products});
      for (const int threads : {1, 2, 3}) {
        std::copy(before.begin(), before.end(), static_cast<float*>(other->data));
        EXPECT_EQ(together(graph, sum, threads), expected)
            << "place " << place << ", " << threads << " threads";
      }
    }
  }
}

TEST_F(PlanTest, SumIsAStepOfItsOwn) {
  ggml_tensor *x = random(kHidden), *other = random(kHidden);
  const auto sum_of = [&](ggml_tensor* o) { return ggml_add(context.get(), o, other); };
  // Where somebody else reads the product as well,
  ggml_tensor* read_twice = product(LinearRole::o, kHidden, x);
  EXPECT_EQ(steps_of(graph_of({sum_of(read_twice), ggml_rms_norm(context.get(), read_twice, 1e-5f)})),
            (Steps{Work::products, Work::float_node, Work::norm}));
  // where the host wants to see it,
  ggml_tensor* shown = product(LinearRole::o, kHidden, x);
  ggml_set_output(shown);
  EXPECT_EQ(steps_of(graph_of({sum_of(shown)})), (Steps{Work::products, Work::float_node}));
  // where one row is added to all, as a bias is,
  ggml_tensor* bias = ggml_add(context.get(), product(LinearRole::o, kHidden, x), random(kHidden, 1));
  EXPECT_EQ(steps_of(graph_of({bias})), (Steps{Work::products, Work::float_node}));
  // and where its rows would overwrite others of the other's.
  ggml_tensor* shifted = sum_of(product(LinearRole::o, kHidden, x));
  shifted->data = static_cast<float*>(other->data) + kHidden;
  EXPECT_EQ(steps_of(graph_of({shifted})), (Steps{Work::products, Work::float_node}));
}

struct FeedForward {
  ggml_tensor *glu, *sum;
};
FeedForward feed_forward(PlanTest& test, ggml_tensor* x, bool gate_first) {
  ggml_context* context = test.context.get();
  ggml_tensor *gate = nullptr, *up = nullptr;
  if (gate_first) gate = test.product(LinearRole::gate, kFfn, x);
  up = test.product(LinearRole::up, kFfn, x);
  if (!gate) gate = test.product(LinearRole::gate, kFfn, x);
  ggml_tensor* glu = ggml_swiglu_split(context, gate, up);
  ggml_tensor* down = test.product(LinearRole::down, kHidden, glu);
  return {glu, ggml_add(context, down, x)};
}

TEST_F(PlanTest, FeedForwardIsOneStep) {
  for (const bool gate_first : {true, false}) {
    const FeedForward ffn = feed_forward(*this, random(kHidden), gate_first);
    ggml_cgraph* graph = ggml_new_graph(context.get());
    if (!gate_first) ggml_build_forward_expand(graph, ffn.glu->src[1]);
    ggml_build_forward_expand(graph, ffn.sum);
    EXPECT_EQ(steps_of(graph), Steps{Work::feed_forward});
    const std::vector<float> expected = one_by_one(graph, ffn.sum);
    for (const int threads : {1, 2, 3}) EXPECT_EQ(together(graph, ffn.sum, threads), expected);
  }
}

TEST_F(PlanTest, FeedForwardThatIsReadElsewhereIsNotOne) {
  const FeedForward ffn = feed_forward(*this, random(kHidden), true);
  ggml_cgraph* graph = graph_of({ffn.sum, ggml_rms_norm(context.get(), ffn.glu, 1e-5f)});
  EXPECT_EQ(steps_of(graph), (Steps{Work::products, Work::float_node, Work::products, Work::norm}));
  const FeedForward shown = feed_forward(*this, random(kHidden), true);
  ggml_set_output(shown.glu->src[0]);
  EXPECT_EQ(steps_of(graph_of({shown.sum})), (Steps{Work::products, Work::float_node, Work::products}));
}

TEST_F(PlanTest, WeightThatWasNeverLoadedIsRefused) {
  ggml_tensor* x = random(kHidden);
  ggml_tensor* product = ggml_mul_mat(context.get(), weight(LinearRole::q, kHidden, kHidden, false), x);
  EXPECT_FALSE(Plan().make(graph_of({product})));
  const FeedForward ffn = feed_forward(*this, x, true);
  ffn.sum->src[0]->src[0] = weight(LinearRole::down, kFfn, kHidden, false);
  EXPECT_FALSE(Plan().make(graph_of({ffn.sum})));
}

}  // namespace
}  // namespace dgq::ggml

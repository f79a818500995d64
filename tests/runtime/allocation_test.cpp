// Scratch is made once and kept: what grows with the longest sequence so far (RoPE's table, attention's scratch) grows now and then, and
// a token of a sequence no longer than an earlier one allocates nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "runtime/sampler.h"
#include "runtime/session.h"
#include "tests/runtime/synthetic.h"

namespace {

std::atomic<std::size_t> allocations{0};

void* counted(std::size_t bytes, std::size_t align) {
  ++allocations;
  void* memory = std::aligned_alloc(align, (std::max<std::size_t>(bytes, 1) + align - 1) / align * align);
  if (!memory) throw std::bad_alloc();
  return memory;
}
// Not inlined: GCC would see malloc's memory freed, or new's, and not both.
[[gnu::noinline]] void release(void* memory) noexcept { std::free(memory); }

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t align) {
  return counted(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace dgq {
namespace {

void expect_none_per_token(bool quantized, KvType kv, int threads) {
  const test::SyntheticModel model(test::small_config(), quantized);
  Decoder decoder(model.config, *select_kernels(""), threads);
  Session session(model.config, model.weights, decoder, 128, kv);
  Sampler sampler({.temperature = 1, .top_k = 40, .top_p = 0.9f, .repetition_penalty = 1.1f});
  std::vector<std::int32_t> tokens(20, 3);
  tokens.reserve(128);
  ASSERT_TRUE(session.append(tokens));
  bool good = true;
  const auto generate = [&](int count) {
    const std::size_t before = allocations;
    for (int i = 0; i < count; ++i) {
      const auto token = sampler.sample(session.logits(), tokens);
      good = good && token && session.append(*token);
      tokens.push_back(token ? *token : 0);
    }
    return allocations - before;
  };
  EXPECT_LT(generate(100), 50u);
  tokens.resize(20);
  session.reset();
  ASSERT_TRUE(session.append(tokens));
  EXPECT_EQ(generate(100), 0u) << (quantized ? "quantized" : "fp32") << ", " << threads << " threads";
  EXPECT_TRUE(good);
}

TEST(Allocation, NoneForATokenOfARunningSequence) {
  for (const int threads : {1, 2}) {
    expect_none_per_token(true, KvType::int8, threads);
    expect_none_per_token(true, KvType::f32, threads);
    expect_none_per_token(false, KvType::f32, threads);
  }
}

}  // namespace
}  // namespace dgq

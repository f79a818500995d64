// kernels/float_ops_loops.h - float_ops.h for vectors of any width up to 16 floats: Vectors<Types>::kOps are its
// functions. A kernel file brings the types that suit its flags:
//
//   Types::F, I         a vector of floats, and as many std::int32_t (GCC's vector extension)
//
// Everything is in an unnamed namespace: each kernel file has its own copy, compiled with its own flags.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/exp_f32.h"
#include "kernels/float_ops.h"
#include "kernels/packed.h"

namespace dgq {
namespace {

constexpr std::size_t kLanes = 16;

template <class Types>
struct Vectors {
  using F = typename Types::F;
  using I = typename Types::I;
  static constexpr std::size_t kWidth = sizeof(F) / sizeof(float), kParts = kLanes / kWidth;

  DGQ_INLINE static F load(const float* p) {
    F v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  DGQ_INLINE static void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }
  DGQ_INLINE static F all(float x) { return F{} + x; }

  // What `join` makes of all lanes: halves are joined until one lane is left.
  template <class Join>
  DGQ_INLINE static float joined(F v, const Join& join) {
    return joined_from<kWidth / 2>(v, join, std::make_index_sequence<kWidth>());
  }
  template <std::size_t kHalf, class Join, std::size_t... kLane>
  DGQ_INLINE static float joined_from(F v, const Join& join, std::index_sequence<kLane...> each) {
    if constexpr (kHalf > 0) {
      const F upper = __builtin_shufflevector(v, v, static_cast<int>((kLane + kHalf) % kWidth)...);
      return joined_from<kHalf / 2>(join(v, upper), join, each);
    } else {
      return v[0];
    }
  }

  // body(at, load, store) for vectors that make up [0, n); the last one through a buffer that ends in zeros.
  template <class Body>
  DGQ_INLINE static void for_each(std::size_t n, const Body& body) {
    std::size_t i = 0;
    for (; i + kWidth <= n; i += kWidth)
      body([&](const float* x) { return load(x + i); }, [&](float* x, F v) { store(x + i, v); });
    if (i == n) return;
    const std::size_t bytes = (n - i) * sizeof(float);
    body(
        [&](const float* x) {
          F v = {};
          __builtin_memcpy(&v, x + i, bytes);
          return v;
        },
        [&](float* x, F v) { __builtin_memcpy(x + i, &v, bytes); });
  }

  // The first steps of the tree of 16 lanes.
  DGQ_INLINE static F in_one(const F (&part)[kParts]) {
    F sum[kParts];
    for (std::size_t i = 0; i < kParts; ++i) sum[i] = part[i];
    for (std::size_t width = kParts / 2; width > 0; width /= 2)
      for (std::size_t i = 0; i < width; ++i) sum[i] += sum[i + width];
    return sum[0];
  }

  // The 16 lanes of a sum. Zeros after the last element change no lane: it is never -0, since it starts at +0.
  struct Sum {
    F part[kParts] = {};

    // x: 16 floats; map(F) is what is added of them
    template <class Map>
    DGQ_INLINE void add(const float* x, const Map& map) {
      for (std::size_t i = 0; i < kParts; ++i) part[i] += map(load(x + kWidth * i));
    }
    DGQ_INLINE float tree() const {
      return joined(in_one(part), [](F a, F b) { return a + b; });
    }
  };

  // Sum of map(x[i]); map(0) is 0.
  template <class Map>
  DGQ_INLINE static float sum(const float* x, std::size_t n, const Map& map) {
    Sum total;
    const std::size_t whole = n / kLanes * kLanes;
    for (std::size_t i = 0; i < whole; i += kLanes) total.add(x + i, map);
    if (whole < n) {
      float tail[kLanes] = {};
      __builtin_memcpy(tail, x + whole, (n - whole) * sizeof(float));
      total.add(tail, map);
    }
    return total.tree();
  }

  DGQ_INLINE static F larger(F a, F b) { return a < b ? b : a; }

  DGQ_INLINE static float maximum(const float* x, std::size_t n) {  // its order does not matter
    F best = all(x[0]);
    std::size_t i = 0;
    for (; i + kWidth <= n; i += kWidth) best = larger(best, load(x + i));
    float highest = joined(best, larger);
    for (; i < n; ++i) highest = highest < x[i] ? x[i] : highest;
    return highest;
  }

  static void rms_norm(const float* x, const float* weight, std::size_t n, float eps, float* out) noexcept {
    const float squares = sum(x, n, [](F v) { return v * v; });
    const float inverse = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps);  // IEEE, all of it
    for_each(n, [&](const auto& get, const auto& put) { put(out, get(x) * inverse * get(weight)); });
  }

  static void swiglu(float* gate, const float* up, std::size_t n) noexcept {
    for_each(n, [&](const auto& get, const auto& put) {
      const F g = get(gate);
      put(gate, g / (all(1) + exp_f32_of<F, I>(-g)) * get(up));
    });
  }

  static float softmax(float* x, std::size_t n, float unit) noexcept {
    const float highest = maximum(x, n);
    for_each(n,
             [&](const auto& get, const auto& put) { put(x, exp_f32_of<F, I>((get(x) - highest) * unit)); });
    return sum(x, n, [](F v) { return v; });
  }

  static void rotate(float* x, const float* cosine, const float* sine, std::size_t head_dim) noexcept {
    float *first = x, *second = x + head_dim / 2;
    for_each(head_dim / 2, [&](const auto& get, const auto& put) {
      const F low = get(first), high = get(second), c = get(cosine), s = get(sine);
      put(first, low * c - high * s);
      put(second, high * c + low * s);
    });
  }

  // Every second element of two vectors from element kFirst on; half of the elements of two vectors, in turns, from element kFirst on.
  template <std::size_t kFirst, std::size_t... kLane>
  DGQ_INLINE static F every_second(F a, F b, std::index_sequence<kLane...>) {
    return __builtin_shufflevector(a, b, static_cast<int>(kFirst + 2 * kLane)...);
  }
  template <std::size_t kFirst, std::size_t... kLane>
  DGQ_INLINE static F in_turns(F a, F b, std::index_sequence<kLane...>) {
    return __builtin_shufflevector(a, b, static_cast<int>(kFirst + kLane / 2 + kLane % 2 * kWidth)...);
  }

  static void rotate_pairs(float* x, const float* cosine, const float* sine, std::size_t head_dim) noexcept {
    constexpr auto kEach = std::make_index_sequence<kWidth>();
    std::size_t i = 0;
    for (; i + kWidth <= head_dim / 2; i += kWidth, x += 2 * kWidth) {
      const F a = load(x), b = load(x + kWidth), c = load(cosine + i), s = load(sine + i);
      const F low = every_second<0>(a, b, kEach), high = every_second<1>(a, b, kEach);
      const F first = low * c - high * s, second = high * c + low * s;
      store(x, in_turns<0>(first, second, kEach));
      store(x + kWidth, in_turns<kWidth / 2>(first, second, kEach));
    }
    for (; i < head_dim / 2; ++i, x += 2) {
      const float low = x[0], high = x[1];
      x[0] = low * cosine[i] - high * sine[i];
      x[1] = high * cosine[i] + low * sine[i];
    }
  }

  static void pair_halves(const float* x, std::size_t head_dim, float* out) noexcept {
    constexpr auto kEach = std::make_index_sequence<kWidth>();
    const float *first = x, *second = x + head_dim / 2;
    std::size_t i = 0;
    for (; i + kWidth <= head_dim / 2; i += kWidth) {
      const F a = load(first + i), b = load(second + i);
      store(out + 2 * i, in_turns<0>(a, b, kEach));
      store(out + 2 * i + kWidth, in_turns<kWidth / 2>(a, b, kEach));
    }
    for (; i < head_dim / 2; ++i) out[2 * i] = first[i], out[2 * i + 1] = second[i];
  }

  static void add(float* y, const float* x, std::size_t n) noexcept {
    for_each(n, [&](const auto& get, const auto& put) { put(y, get(y) + get(x)); });
  }
  static void multiply(float* y, const float* x, std::size_t n) noexcept {
    for_each(n, [&](const auto& get, const auto& put) { put(y, get(y) * get(x)); });
  }
  static void scale(const float* x, float factor, std::size_t n, float* out) noexcept {
    for_each(n, [&](const auto& get, const auto& put) { put(out, get(x) * factor); });
  }

  static constexpr FloatOps kOps = {rms_norm,    swiglu, softmax,  rotate, rotate_pairs,
                                    pair_halves, add,    multiply, scale};
};

}  // namespace
}  // namespace dgq

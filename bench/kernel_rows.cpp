#include "bench/kernel_rows.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <string>

#include "bench/memory.h"
#include "bench/synthetic_model.h"
#include "runtime/linear.h"

namespace dgq::bench {
namespace {

template <class Row>
std::vector<Row> runnable(std::span<const Row> table) {
  std::vector<Row> rows;
  for (const Row& row : table)
    if ((row.needs & cpu_features()) == row.needs) rows.push_back(row);
  return rows;
}

template <class Row>
std::vector<Row> named(const std::vector<Row>& rows, std::string_view isa) {
  std::vector<Row> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found),
               [&](const Row& row) { return row.isa == isa; });
  return found;
}

template <class Row>
std::vector<Row> in_use(const std::vector<Row>& rows) {
  std::vector<Row> found;
  for (const Row& row : rows) {
    const bool first = std::none_of(found.begin(), found.end(),
                                    [&](const Row& other) { return std::string_view(other.isa) == row.isa; });
    if (first && made_for_this_cpu(row)) found.push_back(row);
  }
  return found;
}

struct Size {
  std::size_t m, n, k, group, act_block;
};

std::string text(const char* operation, const char* isa, const Size& size) {
  return std::string(operation) + ", row " + isa + ", m " + std::to_string(size.m) + ", n " +
         std::to_string(size.n) + ", k " + std::to_string(size.k) + ", group " + std::to_string(size.group);
}

// Normal numbers of very different size, and a row of zeros.
std::vector<float> activations(std::size_t m, std::size_t k) {
  std::mt19937 random(static_cast<unsigned>(m * 131 + k));
  std::vector<float> x(m * k);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = i / k == 1 ? 0.0f
                      : (static_cast<float>(random() % 65537) / 32768.0f - 1) *
                            static_cast<float>(1 + i % 97 * (i % 89));
  return x;
}

// What all float operations make of x (of two halves, where an operation takes two vectors).
std::vector<float> float_results(const FloatOps& ops, const std::vector<float>& x) {
  std::vector<float> all;
  const std::size_t half = x.size() / 2;
  const auto add = [&](const auto& operation) {
    std::vector<float> y = x;
    operation(y.data(), y.data() + half);
    all.insert(all.end(), y.begin(), y.end());
  };
  add([&](float* y, float* z) { ops.rms_norm(y, z, half, 1e-5f, y); });
  add([&](float* y, float* z) { ops.swiglu(y, z, half); });
  add([&](float* y, float*) { y[x.size() - 1] = ops.softmax(y, x.size() - 1, 0.125f); });
  add([&](float* y, float* z) { ops.rotate(y, z, z, half / 2 * 2); });
  add([&](float* y, float* z) { ops.rotate_pairs(y, z, z, half / 2 * 2); });
  add([&](float* y, float* z) { ops.add(y, z, half); });
  add([&](float* y, float* z) { ops.multiply(y, z, half); });
  add([&](float* y, float*) { ops.scale(y, 0.3f, x.size(), y); });
  return all;
}

class Comparison {
 public:
  explicit Comparison(const KernelRows& rows) : rows_(rows) {}

  Result<std::size_t> run() {
    for (const std::size_t m : {1, 3, 8, 9, 65})
      for (const std::size_t n : {1, 16, 50})
        for (const std::size_t k : {32, 129, 392})
          for (const std::size_t group : {32, 64, 128})
            for (const std::size_t act_block : {kActBlock, std::size_t{0}})
              DGQ_CHECK(compare({m, n, k, group, act_block}));
    for (const std::size_t k : {2, 16, 130, 393}) DGQ_CHECK(compare_float_ops({1, 1, k, 0, 0}));
    return compared_;
  }

 private:
  Result<void> compare(const Size& size) {
    const std::vector<float> x = activations(size.m, size.k);
    QuantizedBuffer buffer(size.act_block);
    const QuantizedRows input =
        quantize_input(x.data(), size.m, size.k, rows_.quantize_rows.back(), buffer, 1).rows;
    const bool bias = size.n % 2 == 0;
    AlignedBuffer<std::byte> section;
    const auto fine = [&]<int kBits>() {
      return random_fine<kBits>(section.at_least(packed_fine_bytes<kBits>(size.n, size.k, size.group, bias)),
                                size.n, size.k, size.group, bias, 1);
    };
    DGQ_CHECK(compare_gemm("gemm_w4a8", rows_.gemm_w4a8, fine.operator()<4>(), input, size));
    DGQ_CHECK(compare_gemm("gemm_w6a8", rows_.gemm_w6a8, fine.operator()<6>(), input, size));
    if (size.group != 32) return {};  // the rest knows no groups
    DGQ_CHECK(compare_gemm(
        "gemm_w8a8", rows_.gemm_w8a8,
        random_w8(section.at_least(packed_w8_bytes(size.n, size.k, bias)), size.n, size.k, bias, 1), input,
        size));
    DGQ_CHECK(compare_f32(x, size));
    return compare_quantized(x, input, size);
  }

  template <class Row, class Matrix>
  Result<void> compare_gemm(const char* operation, const std::vector<Row>& rows, const Matrix& w,
                            const QuantizedRows& x, const Size& size) {
    std::vector<float> expected(size.m * size.n), y(size.m * size.n);
    rows.back().decode(w, x, 0, w.blocks(), expected.data(), size.n);
    for (const Row& row : rows)
      for (auto* run : {row.decode, row.prefill}) {
        run(w, x, 0, w.blocks(), y.data(), size.n);
        DGQ_CHECK(expect_same(y.data(), expected.data(), y.size(), text(operation, row.isa, size)));
      }
    return {};
  }

  Result<void> compare_f32(const std::vector<float>& x, const Size& size) {
    const std::vector<float> weights = activations(size.n, size.k);
    const F32Matrix w{size.n, size.k, weights.data(), nullptr};
    std::vector<float> expected(size.m * size.n), y(size.m * size.n);
    rows_.gemm_f32.back().run(w, x.data(), size.k, size.m, 0, size.n, expected.data(), size.n);
    for (const GemmF32Kernel& row : rows_.gemm_f32) {
      row.run(w, x.data(), size.k, size.m, 0, size.n, y.data(), size.n);
      DGQ_CHECK(expect_same(y.data(), expected.data(), y.size(), text("gemm_f32", row.isa, size)));
    }
    return {};
  }

  Result<void> compare_quantized(const std::vector<float>& x, const QuantizedRows& expected,
                                 const Size& size) {
    for (const QuantizeRowsKernel& row : rows_.quantize_rows) {
      QuantizedBuffer buffer(size.act_block);
      const QuantizedRows got = quantize_input(x.data(), size.m, size.k, row, buffer, 1).rows;
      DGQ_CHECK(expect_same_rows(got, expected, text("quantize_rows", row.isa, size)));
    }
    return size.act_block == kActBlock ? compare_twice(x, size) : Result<void>{};
  }

  Result<void> compare_twice(const std::vector<float>& x, const Size& size) {
    const auto run = [&](const QuantizeRowsKernel& row, QuantizedBuffer& buffer) {
      const QuantizedRowsOut out = buffer.reserve(2 * size.m, size.k);
      row.twice(x.data(), size.k, size.k, out, 0, size.m, size.m);
      return view(out);
    };
    QuantizedBuffer expected_buffer(kActBlock);
    const QuantizedRows expected = run(rows_.quantize_rows.back(), expected_buffer);
    for (const QuantizeRowsKernel& row : rows_.quantize_rows) {
      QuantizedBuffer buffer(kActBlock);
      DGQ_CHECK(expect_same_rows(run(row, buffer), expected, text("quantize_rows twice", row.isa, size)));
    }
    return {};
  }

  Result<void> compare_float_ops(const Size& size) {
    const std::vector<float> x = activations(1, size.k);
    const std::vector<float> expected = float_results(*rows_.float_ops.back().run, x);
    for (const FloatOpsKernel& row : rows_.float_ops)
      DGQ_CHECK(expect_same(float_results(*row.run, x).data(), expected.data(), expected.size(),
                            text("float_ops", row.isa, size)));
    return {};
  }

  Result<void> expect_same_rows(const QuantizedRows& got, const QuantizedRows& expected,
                                const std::string& what) {
    const std::size_t columns = expected.m * expected.stride;
    DGQ_CHECK(expect_same(got.q, expected.q, columns, what));
    DGQ_CHECK(expect_same(got.scale, expected.scale, columns / expected.block, what));
    return expect_same(got.sums, expected.sums, columns / kActBlock, what);
  }

  template <class T>
  Result<void> expect_same(const T* got, const T* expected, std::size_t count, const std::string& what) {
    ++compared_;
    if (std::memcmp(got, expected, count * sizeof(T)) == 0) return {};
    return Error{Errc::corrupt, what + ": other bits than ref; results on this CPU cannot be trusted"};
  }

  const KernelRows& rows_;
  std::size_t compared_ = 0;
};

}  // namespace

KernelRows runnable_rows() {
  return {runnable(gemm_w4a8_kernels()),     runnable(gemm_w6a8_kernels()), runnable(gemm_w8a8_kernels()),
          runnable(quantize_rows_kernels()), runnable(gemm_f32_kernels()),  runnable(float_ops_kernels())};
}

KernelRows rows_in_use(const KernelRows& rows) {
  return {in_use(rows.gemm_w4a8),     in_use(rows.gemm_w6a8), in_use(rows.gemm_w8a8),
          in_use(rows.quantize_rows), in_use(rows.gemm_f32),  in_use(rows.float_ops)};
}

KernelRows rows_named(const KernelRows& rows, std::string_view isa) {
  return {named(rows.gemm_w4a8, isa),     named(rows.gemm_w6a8, isa), named(rows.gemm_w8a8, isa),
          named(rows.quantize_rows, isa), named(rows.gemm_f32, isa),  named(rows.float_ops, isa)};
}

Result<std::size_t> check_against_ref(const KernelRows& rows) { return Comparison(rows).run(); }

}  // namespace dgq::bench

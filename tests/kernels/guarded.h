// tests/kernels/guarded.h - arrays that end at an unreadable page, so that a kernel reading too far dies on
// the spot.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/cpu.h"
#include "tests/support/not_covered.h"

namespace dgq::test {

template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t count, T value = T{}) : count_(count) {
    const std::size_t page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), bytes = count * sizeof(T);
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char* guard = static_cast<char*>(base_) + mapped_ - page;
    if (base_ == MAP_FAILED || ::mprotect(guard, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(guard - bytes);
    std::fill_n(data_, count, value);
  }
  explicit Guarded(std::span<const T> values) : Guarded(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() { ::munmap(base_, mapped_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return count_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  std::span<const T> span() const { return {data_, count_}; }

 private:
  std::size_t count_, mapped_;
  void* base_;
  T* data_;
};

// The rows of a table that this CPU can run; the others are reported, once.
template <class Row>
std::vector<const Row*> runnable(std::span<const Row> rows, const char* operation) {
  static std::set<std::string> reported;
  std::vector<const Row*> found;
  for (const Row& row : rows) {
    if ((row.needs & cpu_features()) == row.needs) {
      found.push_back(&row);
    } else if (const std::string name = std::string(operation) + " " + row.isa;
               reported.insert(name).second) {
      not_covered(name + " (needs " + feature_names(row.needs & ~cpu_features()) + ")");
    }
  }
  return found;
}

}  // namespace dgq::test

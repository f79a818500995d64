// runtime/buffer.h - scratch memory that is allocated once and kept.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace dgq {

// Uninitialised array of T on a 64-byte boundary that keeps its memory when asked for less.
template <class T>
class AlignedBuffer {
 public:
  T* at_least(std::size_t count) {
    if (count > count_) {
      data_.reset(static_cast<T*>(::operator new(count * sizeof(T), kAlign)));
      count_ = count;
    }
    return data_.get();
  }
  T* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(T* p) const { ::operator delete(p, kAlign); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

}  // namespace dgq

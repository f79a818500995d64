#include "runtime/kv_cache.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace dgq {
namespace {

constexpr std::size_t kStepBytes = 64, kStepColumns = 4;  // n16k4

// One row of n floats as int8; returns its scale. q: room for round_up(n, kActBlock).
float quantize_row(const float* x, std::size_t n, QuantizeRows& quantize, std::int8_t* q, ChunkSums* sums) {
  const std::size_t stride = round_up(n, kActBlock);
  float scale;
  quantize(x, n, n, {1, stride, stride, q, &scale, sums}, 0, 1);
  return scale;
}

}  // namespace

void KvCache::Unmap::operator()(std::byte* p) const { ::munmap(p, bytes); }

KvCache::KvCache(const ModelConfig& config, std::size_t capacity, KvType type)
    : type_(type),
      capacity_(capacity),
      stride_(round_up(capacity, kColumnPad)),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim) {
  const std::size_t heads = config.layers * kv_heads_;
  if (type == KvType::int8) {
    key_bytes_ = stride_ * round_up(head_dim_, kColumnPad);
    value_bytes_ = stride_ * round_up(head_dim_, kRowBlock);
    scale_bytes_ = stride_ * sizeof(float);
    ones_.assign(round_up(head_dim_, kRowBlock), 1.0f);
  }
  bytes_ = heads * head_bytes();
  void* memory =
      ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = {static_cast<std::byte*>(memory), Unmap{bytes_}};
}

W8Matrix KvCache::keys(std::size_t layer, std::size_t kv_head, std::size_t length) const {
  const std::byte* p = packed(layer, kv_head);
  return {length,
          head_dim_,
          round_up(head_dim_, kColumnPad),
          reinterpret_cast<const std::int8_t*>(p),
          reinterpret_cast<const float*>(p + key_bytes_ + value_bytes_),
          nullptr};
}

W8Matrix KvCache::values(std::size_t layer, std::size_t kv_head, std::size_t length) const {
  return {head_dim_,    length,
          stride_,      reinterpret_cast<const std::int8_t*>(packed(layer, kv_head) + key_bytes_),
          ones_.data(), nullptr};
}

const float* KvCache::value_scales(std::size_t layer, std::size_t kv_head) const {
  return reinterpret_cast<const float*>(packed(layer, kv_head) + key_bytes_ + value_bytes_ + scale_bytes_);
}

std::vector<std::span<std::byte>> KvCache::parts(std::size_t first, std::size_t length) {
  std::vector<std::span<std::byte>> parts;
  if (length == 0) return parts;
  for (std::byte* p = memory_.get(); p < memory_.get() + bytes_; p += head_bytes()) {
    if (type_ == KvType::f32) {
      const std::size_t row = head_dim_ * sizeof(float);
      parts.push_back({p + first * row, length * row});
      parts.push_back({p + (capacity_ + first) * row, length * row});
      continue;
    }
    const std::size_t rows = round_up(length, kRowBlock);  // first + rows <= stride_
    const std::size_t columns = round_up(head_dim_, kColumnPad);
    parts.push_back({p + first * columns, rows * columns});
    for (std::size_t at = first * kRowBlock; at < value_bytes_; at += stride_ * kRowBlock)
      parts.push_back({p + key_bytes_ + at, rows * kRowBlock});
    for (const std::size_t scales : {std::size_t{0}, scale_bytes_})
      parts.push_back(
          {p + key_bytes_ + value_bytes_ + scales + first * sizeof(float), length * sizeof(float)});
  }
  return parts;
}

void KvCache::store(std::size_t layer, std::size_t kv_head, std::size_t position, const float* key,
                    const float* value, QuantizeRows& quantize) {
  if (type_ == KvType::f32) {
    std::memcpy(key_rows(layer, kv_head) + position * head_dim_, key, head_dim_ * sizeof(float));
    std::memcpy(value_rows(layer, kv_head) + position * head_dim_, value, head_dim_ * sizeof(float));
    return;
  }
  alignas(64) std::int8_t q[kMaxHeadDim];
  ChunkSums sums[kMaxHeadDim / kActBlock];
  std::byte* p = packed(layer, kv_head);
  auto* scales = reinterpret_cast<float*>(p + key_bytes_ + value_bytes_) + position;

  scales[0] = quantize_row(key, head_dim_, quantize, q, sums);
  const std::size_t columns = round_up(head_dim_, kColumnPad);
  std::byte* row = p + position / kRowBlock * columns * kRowBlock + position % kRowBlock * kStepColumns;
  for (std::size_t d = 0; d < columns; d += kStepColumns)
    std::memcpy(row + d / kStepColumns * kStepBytes, q + d, kStepColumns);

  scales[scale_bytes_ / sizeof(float)] = quantize_row(value, head_dim_, quantize, q, sums);
  std::byte* column = p + key_bytes_ + position / kStepColumns * kStepBytes + position % kStepColumns;
  for (std::size_t d = 0; d < head_dim_; ++d)
    column[d / kRowBlock * stride_ * kRowBlock + d % kRowBlock * kStepColumns] = static_cast<std::byte>(q[d]);
}

}  // namespace dgq

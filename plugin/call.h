// plugin/call.h - the border of dgq.h: a status and a line come out, nothing is thrown across. Inside, what refuses a call throws
// Refusal, so that a function reads as what it does.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"
#include "plugin/dgq.h"

namespace dgq::plugin {

struct Refusal {
  dgq_status status;
  std::string what;
};

[[noreturn]] void refuse(dgq_status status, std::string what);
[[noreturn]] void refuse(const Error& error);

template <class T>
T value_of(Result<T> result) {
  if (!result) refuse(result.error());
  return std::move(*result);
}
inline void must(const Result<void>& result) {
  if (!result) refuse(result.error());
}

// `name`: of the argument.
template <class T>
T* not_null(T* pointer, const char* name) {
  if (!pointer) refuse(DGQ_INVALID, std::string(name) + " is NULL");
  return pointer;
}

template <class T>
std::span<const T> input(const T* data, std::size_t count, const char* name) {
  if (count > 0) not_null(data, name);
  return {data, count};
}

// A struct of the host, whose size must be that of this version or of a later one.
template <class T>
T* sized(T* object, const char* name) {
  not_null(object, name);
  if (object->size < sizeof(T))
    refuse(DGQ_INVALID, std::string(name) + "->size is " + std::to_string(object->size) + ", not sizeof(" +
                            name + "), " + std::to_string(sizeof(T)));
  return object;
}

// All values, or how many there are and DGQ_TOO_SMALL.
template <class T>
void give(std::span<const T> values, T* to, std::size_t capacity, std::size_t* count) {
  *not_null(count, "count") = values.size();
  if (values.size() > capacity)
    refuse(DGQ_TOO_SMALL,
           "room for " + std::to_string(capacity) + ", there are " + std::to_string(values.size()));
  if (!values.empty()) std::memcpy(not_null(to, "the buffer"), values.data(), values.size_bytes());
}
// The same for text, with a zero byte at its end that `length` does not count.
void give_text(const std::string& text, char* to, std::size_t capacity, std::size_t* length);

// Ends the call: the line for dgq_last_error() and the status of the exception that is being handled.
dgq_status status_of_exception() noexcept;

template <class Body>
dgq_status call(const Body& body) noexcept {
  try {
    body();
    return DGQ_OK;
  } catch (...) {
    return status_of_exception();
  }
}

}  // namespace dgq::plugin

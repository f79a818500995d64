// base/result.h - how functions that can fail say so: Result<T> holds a T or an Error.
// Names follow std::expected (C++23), so that it can take over later.
#pragma once

#include <cassert>
#include <string>
#include <utility>
#include <variant>

namespace dgq {

enum class Errc {
  not_found = 1,  // the named thing does not exist
  corrupt,        // bytes that contradict themselves or their digest
  unsupported,    // well-formed, but not something this build handles
  invalid,        // an argument, flag or value out of range
  io,             // the operating system or the database refused
  busy,           // someone else holds it; trying again may work
  untrusted,      // the registry's policy refuses it: no trusted key signed it, or not for now, or it is an older one
};

// `what` is one line for a person: what went wrong, where, and what to do, naming file, layer or flag.
struct Error {
  Errc code;
  std::string what;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Precondition for these: has_value().
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() & { return *check(std::get_if<0>(&state_)); }
  const T& value() const& { return *check(std::get_if<0>(&state_)); }

  // Precondition: !has_value().
  Error& error() & { return *check(std::get_if<1>(&state_)); }
  const Error& error() const& { return *check(std::get_if<1>(&state_)); }

 private:
  template <class P>
  static P* check(P* pointer) {
    assert(pointer && "Result: the other alternative is held");
    return pointer;
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}
  bool has_value() const noexcept { return !failed_; }
  explicit operator bool() const noexcept { return has_value(); }
  Error& error() { assert(failed_); return error_; }
  const Error& error() const { assert(failed_); return error_; }

 private:
  bool failed_ = false;
  Error error_{Errc::invalid, {}};
};

}  // namespace dgq

#define DGQ_CONCAT_(a, b) a##b
#define DGQ_CONCAT(a, b) DGQ_CONCAT_(a, b)
#define DGQ_TRY_(result, declaration, ...)          \
  auto result = (__VA_ARGS__);                      \
  if (!result) return std::move(result.error());    \
  declaration = std::move(*result)

// DGQ_TRY(auto file, open(path)): the value, or return its Error from this function.
#define DGQ_TRY(declaration, ...) DGQ_TRY_(DGQ_CONCAT(dgq_result_, __LINE__), declaration, __VA_ARGS__)

// DGQ_CHECK(write(x)): go on, or return the Error of a Result<void> from this function.
#define DGQ_CHECK(...)                                                          \
  do {                                                                          \
    if (auto dgq_check_ = (__VA_ARGS__); !dgq_check_) return std::move(dgq_check_.error()); \
  } while (false)

#include "plugin/call.h"

#include <array>
#include <exception>
#include <new>

namespace dgq::plugin {
namespace {

// Of a fixed length: saying that memory is out must not need any.
thread_local std::array<char, 1024> last_error{};

dgq_status remember(dgq_status status, const char* what) noexcept {
  std::strncpy(last_error.data(), what, last_error.size() - 1);
  return status;
}

dgq_status status_of(Errc code) {
  switch (code) {
    case Errc::not_found:
      return DGQ_NOT_FOUND;
    case Errc::corrupt:
      return DGQ_CORRUPT;
    case Errc::unsupported:
      return DGQ_UNSUPPORTED;
    case Errc::invalid:
      return DGQ_INVALID;
    case Errc::io:
      return DGQ_IO;
    case Errc::busy:
      return DGQ_BUSY;
    case Errc::untrusted:
      return DGQ_UNTRUSTED;
  }
  return DGQ_INTERNAL;
}

}  // namespace

void refuse(dgq_status status, std::string what) { throw Refusal{status, std::move(what)}; }
void refuse(const Error& error) { refuse(status_of(error.code), error.what); }

void give_text(const std::string& text, char* to, std::size_t capacity, std::size_t* length) {
  *not_null(length, "length") = text.size();
  if (text.size() >= capacity)
    refuse(DGQ_TOO_SMALL, "room for " + std::to_string(capacity) + " bytes, " +
                              std::to_string(text.size() + 1) + " are needed");
  std::memcpy(not_null(to, "text"), text.c_str(), text.size() + 1);
}

dgq_status status_of_exception() noexcept {
  try {
    throw;
  } catch (const Refusal& refusal) {
    return remember(refusal.status, refusal.what.c_str());
  } catch (const std::bad_alloc&) {
    return remember(DGQ_NO_MEMORY, "out of memory");
  } catch (const std::exception& error) {
    return remember(DGQ_INTERNAL, error.what());
  } catch (...) {
    return remember(DGQ_INTERNAL, "unknown exception");
  }
}

}  // namespace dgq::plugin

extern "C" const char* dgq_last_error(void) { return dgq::plugin::last_error.data(); }

extern "C" const char* dgq_status_name(dgq_status status) {
  static constexpr const char* kNames[] = {
      "DGQ_OK",   "DGQ_NOT_FOUND", "DGQ_CORRUPT",  "DGQ_UNSUPPORTED", "DGQ_INVALID",   "DGQ_IO",
      "DGQ_BUSY", "DGQ_NO_MEMORY", "DGQ_INTERNAL", "DGQ_BAD_HANDLE",  "DGQ_TOO_SMALL", "DGQ_UNTRUSTED"};
  const auto index = static_cast<std::size_t>(status);
  return index < std::size(kNames) ? kNames[index] : "unknown status";
}

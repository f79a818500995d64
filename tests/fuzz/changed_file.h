// tests/fuzz/changed_file.h - a fuzzer's bytes as a file whose good form is known.
#pragma once

#include <cstdint>
#include <string>

namespace dgq::test {

// The first byte chooses: 0 the others are the file; else they change bytes of `good`, three of them each time, offset and value,
// so that what comes after the header is reached as well.
inline std::string changed_file(const std::string& good, const std::uint8_t* data, std::size_t size) {
  if (size == 0 || data[0] == 0) return {reinterpret_cast<const char*>(data) + (size > 0), size - (size > 0)};
  std::string file = good;
  for (std::size_t at = 1; at + 3 <= size; at += 3)
    file[(data[at] + 256u * data[at + 1]) % file.size()] = static_cast<char>(data[at + 2]);
  return file;
}

}  // namespace dgq::test

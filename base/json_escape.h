// base/json_escape.h - how JSON text holds the bytes of a string.
#pragma once

#include <string>

namespace dgq {

// The shortest escape of the byte; empty: it stands for itself. What Json's dump() writes.
inline std::string json_escape(unsigned char byte) {
  switch (byte) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\t':
      return "\\t";
    case '\n':
      return "\\n";
    case '\f':
      return "\\f";
    case '\r':
      return "\\r";
    default:
      if (byte >= 0x20) return {};
      return {'\\', 'u', '0', '0', byte < 0x10 ? '0' : '1', "0123456789abcdef"[byte % 16]};
  }
}

}  // namespace dgq

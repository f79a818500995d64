#include "agent/log.h"

#include <algorithm>
#include <ctime>

#include "base/time.h"

namespace dgq::agent {
namespace {

constexpr const char* kLevels[] = {"debug", "info", "warning", "error"};
constexpr const char* kPriorities[] = {"<7>", "<6>", "<4>", "<3>"};  // syslog's numbers

// As it is where that is one word, else as JSON: a line stays a line, and a field a field.
std::string text_of(const OrderedJson& value) {
  const auto* text = value.get_ptr<const std::string*>();
  const auto plain = [](char c) { return c > ' ' && c < 127 && c != '"' && c != '=' && c != '\\'; };
  const bool word = text && !text->empty() && std::all_of(text->begin(), text->end(), plain);
  return word ? *text : value.dump(-1, ' ', true, OrderedJson::error_handler_t::replace);
}

}  // namespace

Result<Log::Level> Log::parse_level(std::string_view text) {
  for (int i = 0; i < 4; ++i)
    if (text == kLevels[i]) return static_cast<Level>(i);
  return Error{Errc::invalid,
               "the log level is debug, info, warning or error, not '" + std::string(text) + "'"};
}

void Log::write(Level level, std::string_view event, const OrderedJson& fields) const {
  if (level < least_) return;
  const std::string time = utc_time(std::time(nullptr)), name = kLevels[static_cast<int>(level)];
  std::string line = journal_ ? kPriorities[static_cast<int>(level)] : "";
  if (json_) {
    OrderedJson all = {{"time", time}, {"level", name}, {"event", event}};
    all.update(fields);
    line += all.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  } else {
    line += journal_ ? std::string(event) : time + " " + name + " " + std::string(event);
    for (const auto& [key, value] : fields.items()) line += " " + key + "=" + text_of(value);
  }
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), to_);  // locks the stream: lines stay whole
  std::fflush(to_);
}

}  // namespace dgq::agent

#include "agent/tool_calls.h"

#include <algorithm>
#include <utility>

#include "agent/api_error.h"
#include "base/ordered_json.h"

namespace dgq::agent {
namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>", kSpace = " \t\r\n";

// Bytes at the end of the text that may be the beginning of a mark, and the space before it, which goes with it.
std::size_t possible_mark(std::string_view text) {
  std::size_t count = std::min(kOpen.size() - 1, text.size());
  while (!text.ends_with(kOpen.substr(0, count))) --count;
  const std::size_t last = text.substr(0, text.size() - count).find_last_not_of(kSpace);
  return text.size() - (last == text.npos ? 0 : last + 1);
}

}  // namespace

ToolCallReader::Pieces ToolCallReader::push(std::string_view text) {
  if (form_ == CallForm::none) return {std::string(text), {}};
  held_ += text;
  return form_ == CallForm::whole ? push_whole() : push_marked();
}

ToolCallReader::Pieces ToolCallReader::finish() {
  std::string held = std::exchange(held_, {});
  if (form_ == CallForm::whole) return {};  // the call's own '}'
  const bool after_call = calls_ > 0 && held.find_first_not_of(kSpace) == held.npos;
  return {after_call ? "" : std::move(held), {}};
}

// {"name":"...","arguments":{...}}: the second '{' begins the arguments, since names have none, and the last '}' ends the call.
ToolCallReader::Pieces ToolCallReader::push_whole() {
  Pieces out;
  std::string name;
  if (calls_ == 0) {
    const std::size_t arguments = held_.find('{', 1);
    if (arguments == held_.npos) return out;
    const std::size_t quote = held_.find('"', held_.find(':')) + 1;
    name = held_.substr(quote, held_.find('"', quote) - quote);
    held_.erase(0, arguments);
    calls_ = 1;
  }
  std::string ready = held_.substr(0, held_.size() - (held_.ends_with('}') ? 1 : 0));
  held_.erase(0, ready.size());
  if (!name.empty() || !ready.empty()) out.calls.push_back({0, std::move(name), std::move(ready)});
  return out;
}

ToolCallReader::Pieces ToolCallReader::push_marked() {
  Pieces out;
  while (true) {
    const std::size_t open = held_.find(kOpen);
    if (open == held_.npos) {
      const std::size_t ready = held_.size() - possible_mark(held_);
      out.text += held_.substr(0, ready);
      held_.erase(0, ready);
      return out;
    }
    const std::size_t close = held_.find(kClose, open);
    if (close == held_.npos) return out;
    const std::size_t end = close + kClose.size();
    const std::string_view inside =
        std::string_view(held_).substr(open + kOpen.size(), close - open - kOpen.size());
    const std::string_view before = std::string_view(held_).substr(0, open);
    const bool is_call = read_call(inside, out);
    const std::size_t kept = before.find_last_not_of(kSpace) + 1;  // 0: nothing but space
    out.text += is_call ? before.substr(0, kept) : std::string_view(held_).substr(0, end);
    held_.erase(0, end);
  }
}

bool ToolCallReader::read_call(std::string_view text, Pieces& out) {
  const auto call = parse_ordered_json(text, "the call");
  if (!call || !call->is_object()) return false;
  const auto name = call->find("name"), arguments = call->find("arguments");
  if (name == call->end() || !name->is_string() || arguments == call->end() || !arguments->is_object() ||
      std::find(functions_.begin(), functions_.end(), name->get<std::string>()) == functions_.end())
    return false;
  out.calls.push_back({calls_++, name->get<std::string>(), arguments->dump()});
  return true;
}

}  // namespace dgq::agent

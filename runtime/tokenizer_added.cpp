#include "runtime/tokenizer_added.h"

#include <algorithm>

#include "runtime/tokenizer_utf8.h"

namespace dgq {
namespace {

// Unicode White_Space (PropList.txt).
bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

std::size_t skip_white_space(std::string_view text, std::size_t at) {
  while (at < text.size() && is_white_space(utf8_code_point(text.substr(at))))
    at += utf8_length(text.substr(at));
  return at;
}

// Where the white space that ends at `at` begins, not before `floor`.
std::size_t skip_white_space_back(std::string_view text, std::size_t at, std::size_t floor) {
  while (at > floor) {
    std::size_t begin = at - 1;
    while (begin > floor && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    if (!is_white_space(utf8_code_point(text.substr(begin)))) break;
    at = begin;
  }
  return at;
}

}  // namespace

AddedMatcher::AddedMatcher(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::erase_if(entries_, [](const Entry& entry) { return entry.content.empty(); });
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.content < b.content; });
  for (const Entry& entry : entries_) starts_[static_cast<unsigned char>(entry.content[0])] = true;
}

// Narrows the range of entries that agree with the text by one byte after the other.
const AddedMatcher::Entry* AddedMatcher::longest_at(std::string_view text) const {
  const Entry* longest = nullptr;
  auto begin = entries_.begin(), end = entries_.end();
  for (std::size_t depth = 0; depth < text.size(); ++depth) {
    const auto byte = static_cast<unsigned char>(text[depth]);
    // Of entries that agree so far, one that ends here comes first.
    const auto key = [depth](const Entry& entry) {
      return depth < entry.content.size() ? static_cast<unsigned char>(entry.content[depth]) : -1;
    };
    begin = std::partition_point(begin, end, [&](const Entry& entry) { return key(entry) < byte; });
    end = std::partition_point(begin, end, [&](const Entry& entry) { return key(entry) == byte; });
    if (begin == end) break;
    if (begin->content.size() == depth + 1) longest = &*begin;
  }
  return longest;
}

std::vector<AddedPart> AddedMatcher::split(std::string_view text, std::string_view marks) const {
  std::vector<AddedPart> parts;
  const auto add = [&](std::size_t begin, std::size_t end, std::int32_t id) {
    if (begin < end) parts.push_back({text.substr(begin, end - begin), id});
  };
  std::size_t done = 0, own_end = 0;  // own_end: of the unmarked bytes around `at`
  for (std::size_t at = 0; at < text.size();) {
    if (at >= own_end) own_end = std::min(marks.find_first_not_of('\0', at), text.size());
    const Entry* entry = starts_[static_cast<unsigned char>(text[at])] && at < own_end
                             ? longest_at(text.substr(at, own_end - at))
                             : nullptr;
    if (!entry) {
      ++at;
      continue;
    }
    std::size_t end = at + entry->content.size();
    if (entry->lstrip) at = skip_white_space_back(text, at, done);
    if (entry->rstrip) end = skip_white_space(text, end);
    add(done, at, -1);
    add(at, end, entry->id);
    at = done = end;
  }
  add(done, text.size(), -1);
  return parts;
}

}  // namespace dgq

// One byte further: JsonAutomaton::step, by kind of value.
#include <algorithm>
#include <bit>
#include <string_view>

#include "runtime/json_automaton.h"
#include "runtime/json_frames.h"

namespace dgq {
namespace {

using Kind = GrammarNode::Kind;

constexpr int kIntegerDigits = 15, kFractionDigits = 17, kExponentDigits = 2;

bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }
bool is_hex(unsigned char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

bool may_go_on(const GrammarNode& node, const Digits& digits, bool negative) {
  return bytes_to_end(digits, node, negative) >= 0;
}

}  // namespace

using namespace json_frames;

void JsonAutomaton::start(GrammarNodeId id, FrameId parent, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[id];
  if (!can_start(id, parent)) return;
  const auto begin = [&](Phase phase, std::int64_t value) { out.push_back(add({parent, id, phase, value})); };
  switch (node.kind) {
    case Kind::any_of:
      for (const GrammarNodeId part : node.parts) start(part, parent, byte, out);
      return;
    case Kind::literal:
      if (static_cast<unsigned char>(node.text[0]) != byte) return;
      if (node.text.size() == 1) return out.push_back(after(parent));
      return begin(Phase::literal, 1);
    case Kind::string:
      if (byte != '"') return;
      if (node.pattern) return begin(Phase::matching, StringPattern::kStart);
      return begin(Phase::chars, text_value(0, 0));
    case Kind::integer:
    case Kind::number:
      if (node.limited) {
        if (byte == '-' && shortest_magnitude(node, true) >= 0) begin(Phase::negative_minus, 0);
        if (is_digit(byte) && may_go_on(node, {byte - '0'}, false)) begin(Phase::positive, byte - '0');
        return;
      }
      if (byte == '-') begin(Phase::minus, 0);
      if (byte == '0') begin(Phase::zero, 0);
      if (byte > '0' && byte <= '9') begin(Phase::whole, 1);
      return;
    case Kind::object:
      if (byte == '{') begin(Phase::object_open, 0);
      return;
    case Kind::map:
      if (byte == '{') begin(Phase::map_open, 0);
      return;
    case Kind::array:
    case Kind::set:
      if (byte == '[') begin(Phase::array_open, 0);
      return;
  }
}

void JsonAutomaton::step(FrameId id, unsigned char byte, Frames& out) {
  if (id == kDone) return;
  const Frame frame = frames_[id];
  const GrammarNode& node = (*grammar_)[frame.node];
  if (frame.phase == Phase::root) return start(frame.node, kDone, byte, out);
  switch (node.kind) {
    case Kind::any_of:
      return;  // is never begun itself
    case Kind::literal: {
      const auto at = static_cast<std::size_t>(frame.value);
      if (static_cast<unsigned char>(node.text[at]) != byte) return;
      return out.push_back(at + 1 == node.text.size() ? after(frame.parent)
                                                      : in(frame, Phase::literal, frame.value + 1));
    }
    case Kind::string:
      return step_string(frame, byte, out);
    case Kind::number:
    case Kind::integer:
      step_number(frame, byte, out);
      // A number has no end of its own: what may follow it ends it.
      if (own_bytes(frame) == 0) step(after(frame.parent), byte, out);
      return;
    case Kind::object:
      return step_object(frame, byte, out);
    case Kind::map:
      return step_map(frame, byte, out);
    case Kind::array:
      return step_array(frame, byte, out);
    case Kind::set:
      return step_set(frame, byte, out);
  }
}

void JsonAutomaton::step_string(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::int64_t count = count_of(frame.value), left = left_of(frame.value);
  const auto go = [&](Phase phase, std::int64_t missing) {
    out.push_back(in(frame, phase, text_value(count, missing)));
  };
  const auto character = [&] { out.push_back(in(frame, Phase::chars, text_value(counted(node, count), 0))); };
  const auto continuation = [&](unsigned char low, unsigned char high) {
    if (byte < low || byte > high) return;
    return left == 1 ? character() : go(Phase::character, left - 1);
  };
  switch (frame.phase) {
    case Phase::matching: {
      const auto state = static_cast<StringPattern::State>(frame.value);
      if (byte == '"' && node.pattern->least(state) == 0) return out.push_back(after(frame.parent));
      const StringPattern::State next = node.pattern->next(state, byte);
      if (next != StringPattern::kDead) out.push_back(in(frame, Phase::matching, next));
      return;
    }
    case Phase::chars:
      if (byte == '"' && count >= node.low) out.push_back(after(frame.parent));
      if (byte == '"' || byte < 0x20 || count >= node.high) return;
      if (byte == '\\') return go(Phase::escape, 0);
      if (byte < 0x80) return character();
      if (byte == 0xE0) return go(Phase::character_e0, 2);
      if (byte == 0xED) return go(Phase::character_ed, 2);
      if (byte == 0xF0) return go(Phase::character_f0, 3);
      if (byte == 0xF4) return go(Phase::character_f4, 3);
      if (byte >= 0xC2 && byte < 0xE0) return go(Phase::character, 1);
      if (byte > 0xE0 && byte < 0xF0) return go(Phase::character, 2);
      if (byte > 0xF0 && byte < 0xF4) return go(Phase::character, 3);
      return;
    case Phase::escape:
      if (byte == 'u') return go(Phase::hex, 4);
      if (std::string_view("\"\\/bfnrt").find(static_cast<char>(byte)) != std::string_view::npos) character();
      return;
    case Phase::hex:
      if (!is_hex(byte)) return;
      if (left == 4 && (byte | 0x20) == 'd') return go(Phase::hex_d, 3);
      return left == 1 ? character() : go(Phase::hex, left - 1);
    case Phase::hex_d:
      if (byte >= '0' && byte <= '7') go(Phase::hex, 2);
      return;
    case Phase::character_e0:
      return continuation(0xA0, 0xBF);
    case Phase::character_ed:
      return continuation(0x80, 0x9F);
    case Phase::character_f0:
      return continuation(0x90, 0xBF);
    case Phase::character_f4:
      return continuation(0x80, 0x8F);
    default:
      return continuation(0x80, 0xBF);
  }
}

void JsonAutomaton::step_number(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const bool real = node.kind == Kind::number;
  const auto go = [&](Phase phase, std::int64_t value) { out.push_back(in(frame, phase, value)); };
  const auto digits = [&](Phase phase, std::int64_t most) {
    if (is_digit(byte) && frame.value < most) go(phase, frame.value + 1);
  };
  const auto go_on = [&] {  // after the whole part
    if (real && byte == '.') go(Phase::point, 0);
    if (real && (byte | 0x20) == 'e') go(Phase::exponent, 0);
  };
  const auto limited = [&](const Digits& digits, bool negative) {
    if (!may_go_on(node, digits, negative)) return;
    if (digits.places == Digits::kWhole)
      return go(negative ? Phase::negative : Phase::positive, digits.value);
    go(negative ? Phase::negative_fraction : Phase::positive_fraction, fraction_value(digits));
  };
  const auto limited_whole = [&](bool negative) {
    if (real && byte == '.') limited({frame.value, 0}, negative);
    if (is_digit(byte) && frame.value != 0) limited({frame.value * 10 + (byte - '0')}, negative);
  };
  const auto limited_fraction = [&](bool negative) {
    const Digits digits = fraction_of(frame.value);
    if (is_digit(byte) && digits.places < kLimitedPlaces)
      limited({digits.value * 10 + (byte - '0'), digits.places + 1}, negative);
  };
  switch (frame.phase) {
    case Phase::minus:
      if (byte == '0') go(Phase::zero, 0);
      if (byte > '0' && byte <= '9') go(Phase::whole, 1);
      return;
    case Phase::zero:
      return go_on();
    case Phase::whole:
      return digits(Phase::whole, kIntegerDigits), go_on();
    case Phase::point:
      return digits(Phase::fraction, 1);
    case Phase::fraction:
      digits(Phase::fraction, kFractionDigits);
      if ((byte | 0x20) == 'e') go(Phase::exponent, 0);
      return;
    case Phase::exponent:
      if (byte == '+' || byte == '-') go(Phase::exponent_sign, 0);
      [[fallthrough]];
    case Phase::exponent_sign:
      return digits(Phase::exponent_digits, 1);
    case Phase::exponent_digits:
      return digits(Phase::exponent_digits, kExponentDigits);
    case Phase::positive:
      return limited_whole(false);
    case Phase::negative:
      return limited_whole(true);
    case Phase::negative_minus:
      if (is_digit(byte)) limited({byte - '0'}, true);
      return;
    case Phase::positive_fraction:
      return limited_fraction(false);
    default:
      return limited_fraction(true);
  }
}

// Properties come in order. Those that may be the next: up to the first that is required, and with room for all that are.
void JsonAutomaton::start_keys(const Frame& frame, std::size_t first, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const FrameId self = in(frame, Phase::in_value, 0);
  const std::int64_t count = counted(node, members_of(frame.value));
  for (std::size_t i = first; i < node.properties.size(); ++i) {
    if (has_room(node, members_of(frame.value), i) && can_start(node.properties[i].value, self))
      out.push_back(in(frame, Phase::key, key_value(i, 1, count)));
    if (node.properties[i].required) return;
  }
}

bool JsonAutomaton::has_key(const Frame& frame, std::size_t first) {
  Frames keys;
  start_keys(frame, first, keys);
  return !keys.empty();
}

std::uint32_t JsonAutomaton::bytes_of_next_key(const Frame& frame, std::size_t first) const {
  const GrammarNode& node = (*grammar_)[frame.node];
  if (node.rest[first] > 1) return node.rest[first] - 1;  // straight to those that are required
  std::uint32_t least = GrammarNode::kEndless - 1;
  for (std::size_t i = first; i < node.properties.size(); ++i) {
    const GrammarNode& value = (*grammar_)[node.properties[i].value];
    if (depth_[frame.parent] + 1 + value.height > kMaxJsonDepth ||
        !has_room(node, members_of(frame.value), i))
      continue;
    least =
        std::min(least, static_cast<std::uint32_t>(node.properties[i].key.size()) + value.least_bytes + 1);
  }
  return least;
}

std::uint32_t JsonAutomaton::bytes_of_next_member(const Frame& frame) const {
  const GrammarNode& node = (*grammar_)[frame.node];
  std::uint32_t least = GrammarNode::kEndless - 1;
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const GrammarNode& value = (*grammar_)[node.parts[i]];
    if (depth_[frame.parent] + 1 + value.height > kMaxJsonDepth) continue;
    least = std::min(least, (*grammar_)[node.keys[i]].least_bytes + 1 + value.least_bytes + 1);
  }
  return least;
}

void JsonAutomaton::step_object(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::size_t index = index_of(frame.value), at = at_of(frame.value);
  const std::int64_t count = members_of(frame.value);
  switch (frame.phase) {
    case Phase::object_open:
      if (byte == '}' && node.rest[0] == 1 && node.low == 0) out.push_back(after(frame.parent));
      if (byte == '"') start_keys(frame, 0, out);
      return;
    case Phase::key: {
      const std::string& key = node.properties[index].key;
      if (static_cast<unsigned char>(key[at]) != byte) return;
      const bool whole = at + 1 == key.size();
      return out.push_back(whole ? in(frame, Phase::before_value, key_value(index, 0, count))
                                 : in(frame, Phase::key, key_value(index, at + 1, count)));
    }
    case Phase::before_value:
      if (byte == ' ') return out.push_back(in(frame, Phase::at_value, frame.value));
      [[fallthrough]];
    case Phase::at_value:
      return start(node.properties[index].value, in(frame, Phase::in_value, frame.value), byte, out);
    case Phase::after_value:
      if (byte == '}' && node.rest[index + 1] == 1) out.push_back(after(frame.parent));
      if (byte == ',' && has_key(frame, index + 1)) out.push_back(in(frame, Phase::comma, frame.value));
      return;
    case Phase::comma:
      if (byte == ' ') return out.push_back(in(frame, Phase::comma_space, frame.value));
      [[fallthrough]];
    default:  // comma_space
      if (byte == '"') start_keys(frame, index + 1, out);
  }
}

void JsonAutomaton::step_map(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::size_t entry = index_of(frame.value);
  const std::int64_t count = members_of(frame.value);
  const auto go = [&](Phase phase) { out.push_back(in(frame, phase, frame.value)); };
  const auto value_of = [&](std::size_t i) {
    return in(frame, Phase::in_map_value, key_value(i, 0, counted(node, count)));
  };
  const auto keys = [&] {
    for (std::size_t i = 0; i < node.keys.size(); ++i)
      if (can_start(node.parts[i], value_of(i)))
        start(node.keys[i], in(frame, Phase::in_key, key_value(i, 0, counted(node, count))), byte, out);
  };
  switch (frame.phase) {
    case Phase::map_open:
      if (byte == '}' && node.low == 0) return out.push_back(after(frame.parent));
      if (node.high > 0) keys();
      return;
    case Phase::after_key:
      if (byte == ':') go(Phase::map_before_value);
      return;
    case Phase::map_before_value:
      if (byte == ' ') return go(Phase::map_at_value);
      [[fallthrough]];
    case Phase::map_at_value:
      return start(node.parts[entry], in(frame, Phase::in_map_value, frame.value), byte, out);
    case Phase::map_after_value: {
      if (byte == '}') return out.push_back(after(frame.parent));
      bool more = false;
      for (std::size_t i = 0; i < node.keys.size(); ++i) more = more || can_start(node.parts[i], value_of(i));
      if (byte == ',' && count < node.high && more) go(Phase::map_comma);
      return;
    }
    case Phase::map_comma:
      if (byte == ' ') return go(Phase::map_comma_space);
      [[fallthrough]];
    default:
      return keys();  // map_comma_space
  }
}

void JsonAutomaton::step_array(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::int64_t count = frame.value;
  const FrameId item = in(frame, Phase::in_item, counted(node, count));
  switch (frame.phase) {
    case Phase::array_open:
      if (byte == ']' && node.low == 0) out.push_back(after(frame.parent));
      if (node.high > 0) start(node.parts[0], item, byte, out);
      return;
    case Phase::after_item:
      if (byte == ']' && count >= node.low) out.push_back(after(frame.parent));
      if (byte == ',' && count < node.high && can_start(node.parts[0], item))
        out.push_back(in(frame, Phase::array_comma, count));
      return;
    case Phase::array_comma:
      if (byte == ' ') return out.push_back(in(frame, Phase::array_comma_space, count));
      [[fallthrough]];
    default:
      return start(node.parts[0], item, byte, out);  // array_comma_space
  }
}

void JsonAutomaton::step_set(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const auto count = std::popcount(static_cast<std::uint64_t>(frame.value));
  const auto items = [&] {
    for (std::size_t i = 0; i < node.parts.size(); ++i)
      if (!has_item(frame.value, i))
        start(node.parts[i], in(frame, Phase::in_item, frame.value | item_value(i)), byte, out);
  };
  switch (frame.phase) {
    case Phase::array_open:
      if (byte == ']' && node.low == 0) out.push_back(after(frame.parent));
      if (node.high > 0) items();
      return;
    case Phase::after_item:
      if (byte == ']' && count >= node.low) out.push_back(after(frame.parent));
      if (byte == ',' && count < node.high) out.push_back(in(frame, Phase::array_comma, frame.value));
      return;
    case Phase::array_comma:
      if (byte == ' ') return out.push_back(in(frame, Phase::array_comma_space, frame.value));
      [[fallthrough]];
    default:
      return items();  // array_comma_space
  }
}

}  // namespace dgq

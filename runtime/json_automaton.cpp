#include "runtime/json_automaton.h"

#include <algorithm>
#include <utility>

namespace dgq {
namespace {

using Kind = GrammarNode::Kind;

// Of a state. Choices within choices multiply; beyond these numbers the last are dropped, and what is left is a smaller
// part of what the schema allows. No schema can take the memory that all of them would need.
constexpr std::size_t kMostFrames = 32'768, kMostOpen = 512;  // kMostOpen: of those that are no constants

constexpr int kIntegerDigits = 15, kFractionDigits = 17, kExponentDigits = 2;

bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }
bool is_hex(unsigned char byte) {
  return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

// How many digits after `prefix` are needed at least for a number within [low, high], all >= 0; -1: none leads there.
int digits_to(std::int64_t prefix, std::int64_t low, std::int64_t high) {
  std::int64_t least = prefix, most = prefix;
  for (int count = 0; least <= high; ++count) {
    if (most >= low) return count;
    if (prefix == 0) break;  // no digit follows a leading zero
    least *= 10, most = most * 10 + 9;
  }
  return -1;
}

// The magnitudes of a node's integers with this sign; low > high: none.
std::pair<std::int64_t, std::int64_t> magnitudes(const GrammarNode& node, bool negative) {
  if (negative) return {std::max<std::int64_t>(1, -node.high), -node.low};
  return {std::max<std::int64_t>(0, node.low), node.high};
}

bool is_free(const GrammarNode& node) {
  return node.low == -GrammarNode::kLargest && node.high == GrammarNode::kLargest;
}

// Strings: code points so far, and what is left of an escape or a character.
std::int64_t text_value(std::int64_t count, std::int64_t left) { return count << 8 | left; }
std::int64_t count_of(std::int64_t value) { return value >> 8; }
std::int64_t left_of(std::int64_t value) { return value & 255; }

// Keys: the property, and bytes of its key so far.
std::int64_t key_value(std::size_t index, std::size_t at) {
  return static_cast<std::int64_t>(index << 32 | at);
}
std::size_t index_of(std::int64_t value) { return static_cast<std::size_t>(value) >> 32; }
std::size_t at_of(std::int64_t value) { return static_cast<std::size_t>(value) & 0xFFFFFFFF; }

}  // namespace

enum class JsonAutomaton::Phase : std::uint8_t {
  root,     // nothing is there yet
  literal,  // value: bytes so far
  // string: text_value
  chars,
  escape,        // after the backslash
  hex,           // left: digits that are missing; of surrogates there are none
  hex_d,         // after \ud, which may only go on with 0..7
  character,     // left: continuation bytes that are missing
  character_e0,  // after byte E0, ED, F0, F4: the second byte has limits of its own (Unicode, table 3-7)
  character_ed,
  character_f0,
  character_f4,
  // number, and integer without limits. value: digits of this part
  minus,
  zero,
  whole,
  point,
  fraction,
  exponent,
  exponent_sign,
  exponent_digits,
  // integer with limits. value: the magnitude so far
  positive,
  negative_minus,
  negative,
  // object. value: index of the property, with key_value
  object_open,
  key,
  before_value,  // after the ':'; the space may follow
  at_value,      // after the space
  in_value,      // waits for its part
  after_value,
  comma,
  comma_space,
  // map
  map_open,
  in_key,
  after_key,
  map_before_value,
  map_at_value,
  in_map_value,
  map_after_value,
  map_comma,
  map_comma_space,
  // array. value: items that are there or begun, up to where more make no difference
  array_open,
  in_item,
  after_item,
  array_comma,
  array_comma_space,
};

std::size_t JsonAutomaton::HashFrame::operator()(const Frame& frame) const {
  std::uint64_t hash = frame.parent;
  for (const std::uint64_t part : {std::uint64_t{frame.node}, static_cast<std::uint64_t>(frame.phase),
                                   static_cast<std::uint64_t>(frame.value)})
    hash = (hash ^ part) * 0x9E3779B97F4A7C15, hash ^= hash >> 32;
  return hash;
}

JsonAutomaton::JsonAutomaton(const JsonGrammar& grammar) : grammar_(&grammar) {
  frames_.push_back({});
  bytes_.push_back(0), depth_.push_back(0);
  add_state({add({kDone, grammar.root, Phase::root, 0})});
}

JsonAutomaton::State JsonAutomaton::add_state(Frames frames) {
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  if (frames.empty()) return kDead;
  // The one that is nearest to its end stays, so that least() holds what it promised.
  const FrameId nearest = *std::min_element(frames.begin(), frames.end(),
                                            [&](FrameId a, FrameId b) { return bytes_[a] < bytes_[b]; });
  std::size_t open = 0;
  std::erase_if(frames, [&](FrameId id) {
    const Phase phase = frames_[id].phase;
    return phase != Phase::literal && phase != Phase::key && ++open > kMostOpen && id != nearest;
  });
  if (frames.size() > kMostFrames) {
    const bool beyond = frames[kMostFrames - 1] < nearest;
    frames.resize(kMostFrames);
    if (beyond) frames.back() = nearest;
  }
  const auto [entry, is_new] = state_ids_.emplace(frames, static_cast<State>(states_.size()));
  if (!is_new) return entry->second;
  std::uint32_t least = GrammarNode::kEndless;
  for (const FrameId frame : frames) least = std::min(least, bytes_[frame]);
  states_.push_back(std::move(frames));
  least_.push_back(least);
  rows_.emplace_back().fill(kUnknown);
  return entry->second;
}

JsonAutomaton::State JsonAutomaton::find_next(State state, unsigned char byte) {
  Frames out;
  const Frames frames = states_[static_cast<std::size_t>(state)];  // adding frames may move them
  for (const FrameId frame : frames) step(frame, byte, out);
  const State next = add_state(std::move(out));
  return rows_[static_cast<std::size_t>(state)][byte] = next;
}

void JsonAutomaton::forget_others(State state) {
  JsonAutomaton fresh(*grammar_);
  fresh.states_.clear(), fresh.least_.clear(), fresh.rows_.clear(), fresh.state_ids_.clear();
  Frames kept;
  for (const FrameId id : states_[static_cast<std::size_t>(state)]) {
    std::vector<Frame> chain;  // from the inside
    for (FrameId frame = id; frame != kDone; frame = frames_[frame].parent) chain.push_back(frames_[frame]);
    FrameId parent = kDone;
    for (auto frame = chain.rbegin(); frame != chain.rend(); ++frame) {
      frame->parent = parent;
      parent = fresh.add(*frame);
    }
    kept.push_back(parent);
  }
  fresh.add_state(std::move(kept));
  *this = std::move(fresh);
}

JsonAutomaton::FrameId JsonAutomaton::add(const Frame& frame) {
  const auto [entry, is_new] = frame_ids_.emplace(frame, static_cast<FrameId>(frames_.size()));
  if (!is_new) return entry->second;
  const FrameId id = entry->second;
  frames_.push_back(frame);
  depth_.push_back(frame.phase == Phase::root ? 0 : depth_[frame.parent] + 1);
  bytes_.push_back(0);
  const std::uint64_t bytes = std::uint64_t{own_bytes(frame)} + bytes_[after(frame.parent)];
  bytes_[id] = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, GrammarNode::kEndless - 1));
  return id;
}

JsonAutomaton::FrameId JsonAutomaton::after(FrameId parent) {
  if (parent == kDone) return kDone;
  const Frame frame = frames_[parent];
  switch (frame.phase) {
    case Phase::in_value:
      return in(frame, Phase::after_value, frame.value);
    case Phase::in_key:
      return in(frame, Phase::after_key, 0);
    case Phase::in_map_value:
      return in(frame, Phase::map_after_value, 0);
    case Phase::in_item:
      return in(frame, Phase::after_item, frame.value);
    default:
      return kDone;  // Phase::root
  }
}

// The shortest way to the end of this value.
std::uint32_t JsonAutomaton::own_bytes(const Frame& frame) const {
  const GrammarNode& node = (*grammar_)[frame.node];
  const auto bytes_of = [&](GrammarNodeId id) { return (*grammar_)[id].least_bytes; };
  const auto string = [&](std::int64_t count, std::int64_t before) {
    return static_cast<std::uint32_t>(std::max<std::int64_t>(node.low - count, 0) + 1 + before);
  };
  const auto items = [&](std::int64_t count) -> std::uint32_t {  // each with its ',', and ']'
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max<std::int64_t>(node.low - count, 0)) *
                                        (1 + std::uint64_t{node.low > count ? bytes_of(node.parts[0]) : 0}) +
                                    1,
                                GrammarNode::kEndless - 1));
  };
  const std::size_t index = index_of(frame.value);
  switch (frame.phase) {
    case Phase::root:
      return node.least_bytes;
    case Phase::literal:
      return static_cast<std::uint32_t>(node.text.size()) - static_cast<std::uint32_t>(frame.value);
    case Phase::chars:
      return string(count_of(frame.value), 0);
    case Phase::escape:
      return string(count_of(frame.value) + 1, 1);
    case Phase::hex:
    case Phase::hex_d:
    case Phase::character:
    case Phase::character_e0:
    case Phase::character_ed:
    case Phase::character_f0:
    case Phase::character_f4:
      return string(count_of(frame.value) + 1, left_of(frame.value));
    case Phase::minus:
    case Phase::point:
    case Phase::exponent:
    case Phase::exponent_sign:
      return 1;
    case Phase::positive:
    case Phase::negative: {
      const auto [low, high] = magnitudes(node, frame.phase == Phase::negative);
      return static_cast<std::uint32_t>(digits_to(frame.value, low, high));
    }
    case Phase::negative_minus: {
      std::uint32_t digits = 1;  // of the smallest magnitude
      for (std::int64_t left = magnitudes(node, true).first; left >= 10; left /= 10) ++digits;
      return digits;
    }
    case Phase::object_open:
      return node.rest[0] > 1 ? node.rest[0] - 1 : 1;
    case Phase::key:
      return static_cast<std::uint32_t>(node.properties[index].key.size() - at_of(frame.value)) +
             bytes_of(node.properties[index].value) + node.rest[index + 1];
    case Phase::before_value:
    case Phase::at_value:
      return bytes_of(node.properties[index].value) + node.rest[index + 1];
    case Phase::after_value:
      return node.rest[index + 1];
    case Phase::comma:
    case Phase::comma_space:
      return bytes_of_next_key(frame, index + 1);
    case Phase::after_key:
      return 2 + bytes_of(node.parts[0]);
    case Phase::map_before_value:
    case Phase::map_at_value:
      return 1 + bytes_of(node.parts[0]);
    case Phase::map_open:
    case Phase::map_after_value:
      return 1;
    case Phase::map_comma:
    case Phase::map_comma_space:
      return 4 + bytes_of(node.parts[0]);
    case Phase::array_open:
      return node.low > 0 ? items(0) - 1 : 1;
    case Phase::after_item:
      return items(frame.value);
    case Phase::array_comma:
    case Phase::array_comma_space:
      return bytes_of(node.parts[0]) + items(frame.value + 1);
    default:
      return 0;  // numbers that may end here; frames that wait for their part
  }
}

bool JsonAutomaton::can_start(GrammarNodeId node, FrameId parent) const {
  return depth_[parent] + (*grammar_)[node].height <= kMaxJsonDepth;
}

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
      if (byte == '"') begin(Phase::chars, text_value(0, 0));
      return;
    case Kind::integer:
      if (!is_free(node)) {
        const auto [low, high] = magnitudes(node, true);
        if (byte == '-' && low <= high) begin(Phase::negative_minus, 0);
        const auto [least, most] = magnitudes(node, false);
        if (is_digit(byte) && digits_to(byte - '0', least, most) >= 0) begin(Phase::positive, byte - '0');
        return;
      }
      [[fallthrough]];
    case Kind::number:
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
  }
}

void JsonAutomaton::step_string(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::int64_t count = count_of(frame.value), left = left_of(frame.value);
  const auto go = [&](Phase phase, std::int64_t missing) {
    out.push_back(in(frame, phase, text_value(count, missing)));
  };
  // Counts beyond what limits ask make no difference.
  const auto character = [&] {
    const bool counts = node.high != GrammarNode::kMany || count < node.low;
    out.push_back(in(frame, Phase::chars, text_value(count + (counts ? 1 : 0), 0)));
  };
  const auto continuation = [&](unsigned char low, unsigned char high) {
    if (byte < low || byte > high) return;
    return left == 1 ? character() : go(Phase::character, left - 1);
  };
  switch (frame.phase) {
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
  const auto limited = [&](Phase phase, bool negative) {
    const auto [low, high] = magnitudes(node, negative);
    if (!is_digit(byte) || (frame.value == 0 && (frame.phase == Phase::positive || byte == '0'))) return;
    const std::int64_t value = frame.value * 10 + (byte - '0');
    if (digits_to(value, low, high) >= 0) go(phase, value);
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
      return limited(Phase::positive, false);
    default:
      return limited(Phase::negative, true);
  }
}

// Properties come in order. Those that may be the next: up to the first that is required.
void JsonAutomaton::start_keys(const Frame& frame, std::size_t first, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const FrameId self = in(frame, Phase::in_value, 0);
  for (std::size_t i = first; i < node.properties.size(); ++i) {
    if (can_start(node.properties[i].value, self)) out.push_back(in(frame, Phase::key, key_value(i, 1)));
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
    if (depth_[frame.parent] + 1 + value.height > kMaxJsonDepth) continue;
    least =
        std::min(least, static_cast<std::uint32_t>(node.properties[i].key.size()) + value.least_bytes + 1);
  }
  return least;
}

void JsonAutomaton::step_object(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::size_t index = index_of(frame.value), at = at_of(frame.value);
  switch (frame.phase) {
    case Phase::object_open:
      if (byte == '}' && node.rest[0] == 1) out.push_back(after(frame.parent));
      if (byte == '"') start_keys(frame, 0, out);
      return;
    case Phase::key: {
      const std::string& key = node.properties[index].key;
      if (static_cast<unsigned char>(key[at]) != byte) return;
      const bool whole = at + 1 == key.size();
      return out.push_back(whole ? in(frame, Phase::before_value, key_value(index, 0))
                                 : in(frame, Phase::key, key_value(index, at + 1)));
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
  const GrammarNodeId value = (*grammar_)[frame.node].parts[0];
  const auto go = [&](Phase phase) { out.push_back(in(frame, phase, 0)); };
  // Keys are strings of any length: those of a node of their own would say no more.
  const auto key = [&] {
    if (can_start(value, in(frame, Phase::in_map_value, 0)))
      start(grammar_->any_string, in(frame, Phase::in_key, 0), byte, out);
  };
  switch (frame.phase) {
    case Phase::map_open:
      if (byte == '}') return out.push_back(after(frame.parent));
      return key();
    case Phase::after_key:
      if (byte == ':') go(Phase::map_before_value);
      return;
    case Phase::map_before_value:
      if (byte == ' ') return go(Phase::map_at_value);
      [[fallthrough]];
    case Phase::map_at_value:
      return start(value, in(frame, Phase::in_map_value, 0), byte, out);
    case Phase::map_after_value:
      if (byte == '}') return out.push_back(after(frame.parent));
      if (byte == ',' && can_start(value, in(frame, Phase::in_map_value, 0))) go(Phase::map_comma);
      return;
    case Phase::map_comma:
      if (byte == ' ') return go(Phase::map_comma_space);
      [[fallthrough]];
    default:
      return key();  // map_comma_space
  }
}

void JsonAutomaton::step_array(const Frame& frame, unsigned char byte, Frames& out) {
  const GrammarNode& node = (*grammar_)[frame.node];
  const std::int64_t count = frame.value;
  // Counts beyond what limits ask make no difference.
  const bool counts = node.high != GrammarNode::kMany || count < node.low;
  const FrameId item = in(frame, Phase::in_item, count + (counts ? 1 : 0));
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

}  // namespace dgq

#include "runtime/json_automaton.h"

#include <algorithm>
#include <bit>

#include "runtime/json_frames.h"

namespace dgq {
namespace {

// Of a state. Choices within choices multiply; beyond these numbers the last are dropped, and what is left is a smaller
// part of what the schema allows. No schema can take the memory that all of them would need.
constexpr std::size_t kMostFrames = 32'768, kMostOpen = 512;  // kMostOpen: of those that are no constants

}  // namespace

using namespace json_frames;

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
      return in(frame, Phase::after_key, frame.value);
    case Phase::in_map_value:
      return in(frame, Phase::map_after_value, frame.value);
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
  const auto to_end = [&](const Digits& digits, bool negative) {
    return static_cast<std::uint32_t>(bytes_to_end(digits, node, negative));
  };
  const auto bits = static_cast<std::uint64_t>(frame.value);
  const auto others = [&](std::int64_t wanted) {  // of a set: to so many items, each after its ',', and ']'
    std::uint32_t bytes = 1;
    std::int64_t count = std::popcount(bits);
    for (std::size_t i = 0; i < node.parts.size() && count < wanted; ++i)
      if (!has_item(frame.value, i)) bytes += 1 + bytes_of(node.parts[i]), ++count;
    return bytes;
  };
  const std::size_t index = index_of(frame.value);
  switch (frame.phase) {
    case Phase::root:
      return node.least_bytes;
    case Phase::literal:
      return static_cast<std::uint32_t>(node.text.size()) - static_cast<std::uint32_t>(frame.value);
    case Phase::matching:
      return 1 + node.pattern->least(static_cast<StringPattern::State>(frame.value));
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
    case Phase::negative:
      return to_end({frame.value}, frame.phase == Phase::negative);
    case Phase::positive_fraction:
    case Phase::negative_fraction:
      return to_end(fraction_of(frame.value), frame.phase == Phase::negative_fraction);
    case Phase::negative_minus:
      return static_cast<std::uint32_t>(shortest_magnitude(node, true));
    case Phase::object_open:
      return node.rest[0] > 1 || node.low > 0 ? bytes_of_next_key(frame, 0) : 1;
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
      return 2 + bytes_of(node.parts[index]);
    case Phase::map_before_value:
    case Phase::map_at_value:
      return 1 + bytes_of(node.parts[index]);
    case Phase::map_open:
      return node.low > 0 ? bytes_of_next_member(frame) : 1;
    case Phase::map_after_value:
      return 1;
    case Phase::map_comma:
    case Phase::map_comma_space:
      return bytes_of_next_member(frame);
    case Phase::array_open:
      return node.low == 0 ? 1 : node.kind == GrammarNode::Kind::set ? others(node.low) - 1 : items(0) - 1;
    case Phase::after_item:
      return node.kind == GrammarNode::Kind::set ? others(node.low) : items(frame.value);
    case Phase::array_comma:
    case Phase::array_comma_space:
      return node.kind == GrammarNode::Kind::set
                 ? others(std::max<std::int64_t>(node.low, std::popcount(bits) + 1)) - 1
                 : bytes_of(node.parts[0]) + items(frame.value + 1);
    default:
      return 0;  // numbers that may end here; frames that wait for their part
  }
}

bool JsonAutomaton::can_start(GrammarNodeId node, FrameId parent) const {
  return depth_[parent] + (*grammar_)[node].height <= kMaxJsonDepth;
}

}  // namespace dgq

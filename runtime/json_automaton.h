// runtime/json_automaton.h - walks the texts of a grammar byte by byte.
//
// A frame is one value that has begun: its node, how far it is, and the frame of the value that it is part of. A state is a
// set of frames, since choices that begin alike go on side by side. Frames and states are made when they are first needed
// and then known by number, so that a byte that was seen before in a state costs one look into a table.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "runtime/json_grammar.h"

namespace dgq {

class JsonAutomaton {
 public:
  using State = std::int32_t;
  static constexpr State kDead = -1;  // no text of the grammar begins so

  // Borrows the grammar, whose root has height <= kMaxJsonDepth.
  explicit JsonAutomaton(const JsonGrammar& grammar);

  State start() const { return 0; }
  State next(State state, unsigned char byte) {  // state: not kDead
    const State known = rows_[static_cast<std::size_t>(state)][byte];
    return known != kUnknown ? known : find_next(state, byte);
  }
  // Bytes of the shortest way to the end of a text; 0: it can end here. Never kEndless: no state leads nowhere.
  std::uint32_t least(State state) const { return least_[static_cast<std::size_t>(state)]; }
  bool is_over(State state) const {
    return states_[static_cast<std::size_t>(state)] == Frames{kDone};
  }  // no byte may follow

  std::size_t states() const { return states_.size(); }
  std::size_t frames() const { return frames_.size(); }
  // Forgets all states but this one, which becomes the start.
  void forget_others(State state);

 private:
  static constexpr State kUnknown = -2;
  using FrameId = std::uint32_t;
  using Frames = std::vector<FrameId>;  // ascending
  static constexpr FrameId kDone = 0;   // the text is over
  enum class Phase : std::uint8_t;
  struct Frame {
    FrameId parent = kDone;
    GrammarNodeId node = 0;
    Phase phase{};
    std::int64_t value = 0;  // how far within the phase
    bool operator==(const Frame&) const = default;
  };
  struct HashFrame {
    std::size_t operator()(const Frame& frame) const;
  };

  State find_next(State state, unsigned char byte);
  State add_state(Frames frames);
  FrameId add(const Frame& frame);
  FrameId in(const Frame& frame, Phase phase, std::int64_t value) {
    return add({frame.parent, frame.node, phase, value});
  }
  FrameId after(FrameId parent);  // the frame that goes on when its part has ended
  std::uint32_t own_bytes(const Frame& frame) const;
  bool can_start(GrammarNodeId node, FrameId parent) const;

  void start(GrammarNodeId node, FrameId parent, unsigned char byte, Frames& out);
  void step(FrameId id, unsigned char byte, Frames& out);
  void step_string(const Frame& frame, unsigned char byte, Frames& out);
  void step_number(const Frame& frame, unsigned char byte, Frames& out);
  void step_object(const Frame& frame, unsigned char byte, Frames& out);
  void step_map(const Frame& frame, unsigned char byte, Frames& out);
  void step_array(const Frame& frame, unsigned char byte, Frames& out);
  void step_set(const Frame& frame, unsigned char byte, Frames& out);
  void start_keys(const Frame& frame, std::size_t first, Frames& out);
  bool has_key(const Frame& frame, std::size_t first);
  std::uint32_t bytes_of_next_key(const Frame& frame, std::size_t first) const;
  std::uint32_t bytes_of_next_member(const Frame& frame) const;  // of a map

  const JsonGrammar* grammar_;
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> bytes_,
      depth_;  // by frame: to the end of the text; values that it is inside of, and itself
  std::unordered_map<Frame, FrameId, HashFrame> frame_ids_;
  std::vector<Frames> states_;
  std::vector<std::uint32_t> least_;
  std::vector<std::array<State, 256>> rows_;
  std::map<Frames, State> state_ids_;
};

}  // namespace dgq

// The patterns become one nondeterministic automaton, side by side; its sets of states become the states of the table. A set
// must have a state of every pattern, and may end where all of them may.
#include "runtime/string_pattern.h"

#include <algorithm>
#include <map>
#include <optional>

#include "runtime/string_bytes.h"

namespace dgq {

class StringPatternBuilder {
 public:
  explicit StringPatternBuilder(StringPattern::Budget& budget) : budget_(budget) {}

  Result<StringPattern> build(std::span<const PatternNode> patterns) {
    std::vector<Id> starts;
    for (const PatternNode& pattern : patterns) {
      ends_.push_back(add());
      starts.push_back(before(pattern, ends_.back()));
    }
    if (budget_.parts == 0) return too_large();
    if (!determinise(starts)) return too_large();
    measure();
    if (made_.least_[StringPattern::kStart] == kEndless) return Error{Errc::invalid, "no string matches"};
    find_needed();
    return std::move(made_);
  }

 private:
  using Kind = PatternNode::Kind;
  using State = StringPattern::State;
  using Id = std::uint32_t;
  using Set = std::vector<Id>;  // ascending
  static constexpr std::uint32_t kEndless = UINT32_MAX;

  struct Edge {
    ByteRange bytes;
    Id to;
  };
  struct Part {
    std::vector<Edge> edges;
    std::vector<Id> free;  // without a byte
    bool inside = false;   // a character is not complete here
  };

  static Error too_large() {
    return {Errc::unsupported, "the patterns, formats and lengths of strings need too large an automaton"};
  }

  static bool spend(std::size_t& budget, std::size_t amount = 1) {
    budget -= std::min(budget, amount);
    return budget > 0;
  }

  Id add() {
    parts_.emplace_back();
    return static_cast<Id>(parts_.size() - 1);
  }

  // Where a string begins that is one of the node's and then one that begins at `to`. Each call counts, so that repetitions
  // of nothing end as well.
  Id before(const PatternNode& node, Id to) {
    if (!spend(budget_.parts)) return to;
    switch (node.kind) {
      case Kind::set:
        return before_set(node, to);
      case Kind::sequence:
        for (auto part = node.parts.rbegin(); part != node.parts.rend(); ++part) to = before(*part, to);
        return to;
      case Kind::choice: {
        const Id choice = add();
        for (const PatternNode& part : node.parts) {
          const Id begin = before(part, to);
          parts_[choice].free.push_back(begin);
        }
        return choice;
      }
      case Kind::repeat:
        break;
    }
    const PatternNode& part = node.parts[0];
    Id begin = to;
    if (node.high == PatternNode::kMany) {
      begin = add();
      const Id again = before(part, begin);
      parts_[begin].free = {again, to};
    } else {
      for (std::uint32_t i = node.low; i < node.high && budget_.parts > 0; ++i) {
        const Id once = before(part, begin);
        begin = add();
        parts_[begin].free = {once, to};
      }
    }
    for (std::uint32_t i = 0; i < node.low && budget_.parts > 0; ++i) begin = before(part, begin);
    return begin;
  }

  Id before_set(const PatternNode& node, Id to) {
    const auto [entry, is_new] = written_.try_emplace(&node);
    if (is_new) entry->second = bytes_of(node.set);
    const Id begin = add();
    std::map<ByteSequence, Id> rests;  // sequences that end alike share that end
    for (const ByteSequence& sequence : entry->second) {
      Id next = to;
      for (std::size_t i = sequence.size() - 1; i > 0; --i) {
        const auto [rest, fresh] =
            rests.try_emplace({sequence.begin() + static_cast<std::ptrdiff_t>(i), sequence.end()});
        if (fresh) {
          if (!spend(budget_.parts)) return begin;
          rest->second = add();
          parts_[rest->second].edges = {Edge{sequence[i], next}};
          parts_[rest->second].inside = true;
        }
        next = rest->second;
      }
      parts_[begin].edges.push_back({sequence[0], next});
    }
    return begin;
  }

  // With what is reached without a byte; empty: one of the patterns has nothing left. nullopt: over the budget.
  std::optional<Set> closed(Set todo) {
    Set set;
    seen_.resize(parts_.size());
    std::sort(todo.begin(), todo.end());
    todo.erase(std::unique(todo.begin(), todo.end()), todo.end());
    for (const Id id : todo) seen_[id] = true;
    while (!todo.empty()) {
      const Id id = todo.back();
      todo.pop_back();
      set.push_back(id);
      for (const Id next : parts_[id].free)
        if (!seen_[next]) seen_[next] = true, todo.push_back(next);
    }
    for (const Id id : set) seen_[id] = false;
    if (!spend(budget_.steps, set.size())) return std::nullopt;
    std::erase_if(set, [&](Id id) { return parts_[id].edges.empty() && !is_end(id); });
    std::sort(set.begin(), set.end());
    for (std::size_t i = 0; i < ends_.size(); ++i) {  // the parts of a pattern begin with its end
      const auto first = std::lower_bound(set.begin(), set.end(), ends_[i]);
      if (first == set.end() || (i + 1 < ends_.size() && *first >= ends_[i + 1])) return Set();
    }
    return set;
  }
  bool is_end(Id id) const { return std::binary_search(ends_.begin(), ends_.end(), id); }

  struct Move {
    ByteRange bytes;
    Set to;
  };
  // The bytes of the set's edges, ascending, cut so that all of a piece lead to the same states. nullopt: over the budget.
  std::optional<std::vector<Move>> moves_of(const Set& set) {
    std::vector<Edge> edges, open;
    std::vector<unsigned> cuts;
    for (const Id id : set) edges.insert(edges.end(), parts_[id].edges.begin(), parts_[id].edges.end());
    for (const Edge& edge : edges) cuts.push_back(edge.bytes.low), cuts.push_back(edge.bytes.high + 1u);
    std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.bytes < b.bytes; });
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::vector<Move> moves;
    auto next = edges.begin();
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      std::erase_if(open, [&](const Edge& edge) { return edge.bytes.high < cuts[i]; });
      for (; next != edges.end() && next->bytes.low == cuts[i]; ++next) open.push_back(*next);
      if (!spend(budget_.steps, 1 + open.size())) return std::nullopt;
      if (open.empty()) continue;
      Set to;
      for (const Edge& edge : open) to.push_back(edge.to);
      auto all = closed(std::move(to));
      if (!all) return std::nullopt;
      if (!all->empty())
        moves.push_back({{static_cast<unsigned char>(cuts[i]), static_cast<unsigned char>(cuts[i + 1] - 1)},
                         std::move(*all)});
    }
    return moves;
  }

  // False: over the budget.
  bool determinise(Set starts) {
    std::map<Set, State> known;
    std::vector<const Set*> sets;  // by state; the map does not move them
    const auto state_of = [&](Set set) {
      const auto [entry, is_new] = known.emplace(std::move(set), static_cast<State>(sets.size()));
      if (is_new) sets.push_back(&entry->first);
      return entry->second;
    };
    auto start = closed(std::move(starts));
    if (!start) return false;
    state_of(std::move(*start));
    for (std::size_t state = 0; state < sets.size(); ++state) {
      const Set& set = *sets[state];
      may_end_.push_back(std::all_of(ends_.begin(), ends_.end(), [&](Id end) {
        return std::binary_search(set.begin(), set.end(), end);
      }));
      inside_.push_back(std::any_of(set.begin(), set.end(), [&](Id id) { return parts_[id].inside; }));
      made_.first_edge_.push_back(made_.edges_.size());
      auto moves = moves_of(set);
      if (!moves) return false;
      for (Move& move : *moves) {
        const State to = state_of(std::move(move.to));
        auto& edges = made_.edges_;
        const bool goes_on = edges.size() > made_.first_edge_.back() && edges.back().to == to &&
                             edges.back().high + 1 == move.bytes.low;
        if (goes_on)
          edges.back().high = move.bytes.high;
        else if (spend(budget_.edges))
          edges.push_back({move.bytes.low, move.bytes.high, to});
        else
          return false;
      }
    }
    made_.first_edge_.push_back(made_.edges_.size());
    return true;
  }

  std::span<StringPattern::Edge> edges_of(std::size_t state) {
    return std::span(made_.edges_)
        .subspan(made_.first_edge_[state], made_.first_edge_[state + 1] - made_.first_edge_[state]);
  }

  // From the ends backwards; what leads to none is dead.
  void measure() {
    const std::size_t states = may_end_.size();
    std::vector<std::vector<State>> from(states);
    for (std::size_t state = 0; state < states; ++state)
      for (const auto& edge : edges_of(state)) from[edge.to].push_back(static_cast<State>(state));
    made_.least_.assign(states, kEndless);
    std::vector<State> queue;
    for (std::size_t state = 0; state < states; ++state)
      if (may_end_[state]) made_.least_[state] = 0, queue.push_back(static_cast<State>(state));
    for (std::size_t i = 0; i < queue.size(); ++i)
      for (const State before : from[queue[i]])
        if (made_.least_[before] == kEndless)
          made_.least_[before] = made_.least_[queue[i]] + 1, queue.push_back(before);
    for (auto& edge : made_.edges_)
      if (made_.least_[edge.to] == kEndless) edge.to = StringPattern::kDead;
  }

  void find_needed() {
    for (std::size_t from = 0; from < may_end_.size(); ++from) {
      if (inside_[from] || made_.least_[from] == kEndless) continue;
      auto state = static_cast<State>(from);
      while (made_.least_[state] > 0) {
        const auto edges = edges_of(state);
        const auto nearer = std::find_if(edges.begin(), edges.end(), [&](const auto& edge) {
          return edge.to != StringPattern::kDead && made_.least_[edge.to] < made_.least_[state];
        });
        made_.needed_.set(nearer->low);
        state = nearer->to;
        if (!inside_[state]) break;  // has its own turn
      }
    }
  }

  StringPattern::Budget& budget_;
  StringPattern made_;
  std::vector<Part> parts_;
  std::vector<Id> ends_;  // by pattern
  std::map<const PatternNode*, std::vector<ByteSequence>> written_;
  std::vector<bool> seen_, may_end_, inside_;  // seen_: of closed()
};

Result<StringPattern> StringPattern::make(std::span<const PatternNode> patterns, Budget& budget) {
  return StringPatternBuilder(budget).build(patterns);
}

}  // namespace dgq

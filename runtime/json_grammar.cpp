#include "runtime/json_grammar.h"

#include <algorithm>
#include <utility>

#include "runtime/json_numbers.h"

namespace dgq {
namespace {

using Kind = GrammarNode::Kind;
constexpr std::uint32_t kEndless = GrammarNode::kEndless;

struct Measure {
  std::uint64_t bytes;
  std::uint32_t height;
  auto operator<=>(const Measure&) const = default;
};

Measure measure_of(const JsonGrammar& grammar, const GrammarNode& node) {
  const auto of = [&](GrammarNodeId id) { return Measure{grammar[id].least_bytes, grammar[id].height}; };
  const auto one_member = [](std::uint64_t key, const Measure& value) {
    return Measure{2 + key + value.bytes, 1 + value.height};
  };
  switch (node.kind) {
    case Kind::any_of: {
      Measure least{kEndless, kEndless};
      for (const GrammarNodeId part : node.parts) least = std::min(least, of(part));
      return least;
    }
    case Kind::literal:
      return {node.text.size(), 1};
    case Kind::string:
      return {2 + (node.pattern ? node.pattern->least(StringPattern::kStart)
                                : static_cast<std::uint64_t>(node.low)),
              1};
    case Kind::number:
    case Kind::integer:
      return {static_cast<std::uint64_t>(node.limited ? shortest_number(node) : 1), 1};
    case Kind::map: {
      if (node.low == 0) return {2, 1};
      Measure least{kEndless, kEndless};
      for (std::size_t i = 0; i < node.keys.size(); ++i)
        least = std::min(least, one_member(of(node.keys[i]).bytes + 1, of(node.parts[i])));
      return least;
    }
    case Kind::set: {  // the first are the shortest
      Measure all{2, node.low > 0 ? 2u : 1u};
      for (std::size_t i = 0; i < static_cast<std::size_t>(node.low); ++i)
        all.bytes += of(node.parts[i]).bytes + (i > 0 ? 1 : 0);
      return all;
    }
    case Kind::array: {
      if (node.low == 0) return {2, 1};
      const auto count = static_cast<std::uint64_t>(node.low);
      const Measure item = of(node.parts.front());
      return {2 + count * item.bytes + count - 1, 1 + item.height};
    }
    case Kind::object: {
      if (node.low > 0) {  // none is required
        Measure least{kEndless, kEndless};
        for (const GrammarProperty& property : node.properties)
          least = std::min(least, one_member(property.key.size(), of(property.value)));
        return least;
      }
      Measure all{2, 1};
      bool first = true;
      for (const GrammarProperty& property : node.properties) {
        if (!property.required) continue;
        const Measure value = of(property.value);
        all.bytes += property.key.size() + value.bytes + (first ? 0 : 1);
        all.height = std::max(all.height, 1 + value.height);
        first = false;
      }
      return all;
    }
  }
  return {kEndless, kEndless};
}

void measure_rest(const JsonGrammar& grammar, GrammarNode& node) {
  node.rest.assign(node.properties.size() + 1, 1);
  node.required_from.assign(node.properties.size() + 1, 0);
  for (std::size_t i = node.properties.size(); i-- > 0;) {
    const GrammarProperty& property = node.properties[i];
    const std::uint64_t bytes =
        property.required ? 1 + property.key.size() + grammar[property.value].least_bytes : 0;
    node.required_from[i] = node.required_from[i + 1] + (property.required ? 1 : 0);
    node.rest[i] = static_cast<std::uint32_t>(std::min<std::uint64_t>(node.rest[i + 1] + bytes, kEndless));
  }
}

}  // namespace

// Bytes only get fewer from round to round, and every composite is longer than its parts: it ends.
void measure(JsonGrammar& grammar) {
  for (bool changed = true; std::exchange(changed, false);)
    for (auto at = grammar.nodes.rbegin(); at != grammar.nodes.rend();
         ++at) {  // parts mostly stand after the whole
      GrammarNode& node = *at;
      Measure now = measure_of(grammar, node);
      if (now.bytes >= kEndless || now.height >= kEndless) now = {kEndless, kEndless};
      const auto bytes = static_cast<std::uint32_t>(now.bytes);
      if (bytes == node.least_bytes && now.height == node.height) continue;
      node.least_bytes = bytes, node.height = now.height;
      changed = true;
    }
  for (GrammarNode& node : grammar.nodes)
    if (node.kind == Kind::object) measure_rest(grammar, node);
}

}  // namespace dgq

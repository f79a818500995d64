#include "tools/command_tree.h"

#include <algorithm>

namespace dgq::tools {
namespace {

void describe(CommandTree& node, const std::function<Result<int>(const Arguments&)>& run);

// Writes what a command says about itself into a node.
class Describer : public CommandListener {
 public:
  explicit Describer(CommandTree& node) : node_(node) {}

  void group(const CommandGroup& group) override {
    for (const Command& command : group.commands) {
      CommandTree child;
      child.name = command.name;
      child.summary = command.summary;
      describe(child, command.run);
      node_.children.push_back(std::move(child));
    }
  }

  void options(const Options& options) override {
    const auto value_of = [&](const std::string& name) {
      const auto& semantic = *options.named.find(name, false).semantic();
      return semantic.max_tokens() == 0 ? std::string() : semantic.name();
    };
    for (const auto& option : options.named.options())
      node_.options.push_back({option->long_name(), option->description(), value_of(option->long_name())});
    constexpr unsigned kMost = 8;
    node_.repeats = options.positional.max_total_count() > kMost;
    const unsigned count = std::min(options.positional.max_total_count(), kMost);
    for (unsigned i = 0; i < count; ++i)
      node_.positional.push_back(value_of(options.positional.name_for_position(i)));
    if (node_.repeats) node_.positional.resize(1);
  }

 private:
  CommandTree& node_;
};

void describe(CommandTree& node, const std::function<Result<int>(const Arguments&)>& run) {
  Describer describer(node);
  const ListeningCommands listening(describer);
  static_cast<void>(run({}));
}

const CommandOption* find(const CommandTree& node, const std::string& name) {
  const auto found = std::find_if(node.options.begin(), node.options.end(),
                                  [&](const CommandOption& option) { return option.name == name; });
  return found == node.options.end() ? nullptr : &*found;
}

// Where the words before the last one lead.
struct Place {
  const CommandTree* node;
  const CommandOption* wants_value = nullptr;  // the word before is an option whose value comes now
  std::size_t arguments = 0;                   // without a flag, so far
  std::string registry;                        // of --registry
};

Place walk(const CommandTree& root, std::span<const std::string> words) {
  Place place{&root, nullptr, 0, {}};
  for (const std::string& word : words) {
    if (const CommandOption* option = std::exchange(place.wants_value, nullptr)) {
      if (option->name == "registry") place.registry = word;
      continue;
    }
    const std::size_t equals = word.find('=');
    if (word.starts_with("--")) {
      const CommandOption* option =
          find(*place.node, word.substr(2, equals == word.npos ? equals : equals - 2));
      if (option && !option->value.empty() && equals == word.npos) place.wants_value = option;
      if (option && option->name == "registry" && equals != word.npos)
        place.registry = word.substr(equals + 1);
      continue;
    }
    if (word.starts_with("-") && word.size() > 1) continue;
    const auto& children = place.node->children;
    const auto child = std::find_if(children.begin(), children.end(),
                                    [&](const CommandTree& tree) { return tree.name == word; });
    if (child != children.end())
      place.node = &*child;
    else
      ++place.arguments;
  }
  return place;
}

// What models of the registry are called everywhere.
bool is_model(const std::string& value) { return value == "NAME[:TAG]"; }

}  // namespace

CommandTree command_tree(const CommandGroup& root) {
  CommandTree tree;
  tree.name = root.name;
  describe(tree, [&](const Arguments& arguments) { return dispatch(root, arguments); });
  return tree;
}

std::vector<Candidate> candidates(
    const CommandTree& root, std::span<const std::string> words,
    const std::function<std::vector<std::string>(const std::string& registry)>& names) {
  const std::string typed = words.empty() ? "" : words.back();
  const Place place = walk(root, words.empty() ? words : words.first(words.size() - 1));
  std::vector<Candidate> all;
  const auto add_value = [&](const std::string& value) {
    if (!is_model(value)) return;
    for (const std::string& name : names(place.registry)) all.push_back({name, {}});
  };
  const std::vector<std::string>& positional = place.node->positional;
  if (place.wants_value) {
    add_value(place.wants_value->value);
  } else if (typed.starts_with("-")) {
    for (const CommandOption& option : place.node->options) all.push_back({"--" + option.name, option.help});
  } else if (!place.node->children.empty()) {
    for (const CommandTree& child : place.node->children) all.push_back({child.name, child.summary});
  } else if (place.arguments < positional.size() || place.node->repeats) {
    add_value(positional[std::min(place.arguments, positional.size() - 1)]);
  }
  std::erase_if(all, [&](const Candidate& candidate) { return !candidate.text.starts_with(typed); });
  return all;
}

}  // namespace dgq::tools

// tools/command_tree.h - what there is to type after `dgq`: found by asking the commands themselves, so that it cannot fall
// behind their options.
#pragma once

#include "tools/command.h"

namespace dgq::tools {

struct CommandOption {
  std::string name;  // "registry"
  std::string help;
  std::string value;  // what its value is called, "FILE"; empty: it takes none
};

struct CommandTree {
  std::string name, summary;
  std::vector<CommandTree> children;   // of a group
  std::vector<CommandOption> options;  // of a command
  std::vector<std::string>
      positional;  // what arguments without a flag are called, in order; the last may be repeated
  bool repeats = false;
};

CommandTree command_tree(const CommandGroup& root);

struct Candidate {
  std::string text, help;
};
// What the last of `words` (after "dgq"; empty: nothing typed yet) can become. names: the models of the registry that the words
// mean, asked for when a model is due. Nothing where a file is due: shells know those.
std::vector<Candidate> candidates(
    const CommandTree& root, std::span<const std::string> words,
    const std::function<std::vector<std::string>(const std::string& registry)>& names);

}  // namespace dgq::tools

// tools/cmd_completion.cpp - `dgq completion`: what a shell needs to complete `dgq` commands. The scripts know nothing but how to
// ask `dgq completion candidates`.
#include "registry/registry.h"
#include "tools/command_tree.h"
#include "tools/registry_output.h"

namespace dgq::tools {
namespace {

// Readline takes what follows the last ':' or '=' for the word, so what is before must go from the candidates as well. An empty
// answer leaves the word to readline's file names.
constexpr const char* kBash = R"sh(# bash completion for dgq:  eval "$(dgq completion bash)"
_dgq() {
  local line="${COMP_LINE:0:COMP_POINT}" word candidate
  local -a words
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  word="${words[-1]}"
  local before="${word%"${word##*[:=]}"}"
  COMPREPLY=()
  while IFS=$'\t' read -r candidate _; do
    COMPREPLY+=("${candidate#"$before"}")
  done < <("${words[0]}" completion candidates -- "${words[@]:1}" 2>/dev/null)
}
complete -o default -F _dgq dgq
)sh";

constexpr const char* kZsh = R"sh(#compdef dgq
# zsh completion for dgq:  eval "$(dgq completion zsh)", after compinit
_dgq() {
  local candidate help
  local -a values descriptions
  while IFS=$'\t' read -r candidate help; do
    values+=("$candidate")
    descriptions+=("$candidate${help:+  -- $help}")
  done < <("${words[1]}" completion candidates -- "${(@)words[2,CURRENT]}" 2>/dev/null)
  if (( $#values )); then
    compadd -l -d descriptions -a values
  else
    _files
  fi
}
compdef _dgq dgq
)sh";

constexpr const char* kFish = R"sh(# fish completion for dgq:  dgq completion fish | source
function __dgq_candidates
    set -l words (commandline -opc) (commandline -ct)
    $words[1] completion candidates -- $words[2..-1] 2>/dev/null
end
complete -c dgq -a '(__dgq_candidates)'
)sh";

Result<int> print(const Arguments& arguments, const std::string& shell, const std::string& install,
                  const char* script) {
  Options options;
  options.usage = "dgq completion " + shell;
  options.about =
      "Prints a script that makes " + shell +
      " complete commands, options, and the names in the registry (of --registry where it is typed).";
  options.examples = install;
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (go_on) std::cout << script;
  return 0;
}

Result<int> bash(const Arguments& arguments) {
  return print(arguments, "bash", "  eval \"$(dgq completion bash)\"      (in ~/.bashrc)\n", kBash);
}
Result<int> zsh(const Arguments& arguments) {
  return print(arguments, "zsh", "  eval \"$(dgq completion zsh)\"       (in ~/.zshrc, after compinit)\n",
               kZsh);
}
Result<int> fish(const Arguments& arguments) {
  return print(arguments, "fish", "  dgq completion fish > ~/.config/fish/completions/dgq.fish\n", kFish);
}

// A registry that is not there, or not readable, has no names; nothing is said into somebody's prompt.
std::vector<std::string> names_of(const std::string& path) {
  std::vector<std::string> names;
  auto registry = Registry::open(path.empty() ? default_registry_path() : std::filesystem::path(path),
                                 Registry::Mode::read_only);
  if (!registry) return names;
  const auto tags = registry->list();
  if (!tags) return names;
  for (const TagInfo& tag : *tags) names.push_back(tag.model + ":" + tag.tag);
  return names;
}

Result<int> print_candidates(const Arguments& arguments) {
  Options options;
  options.usage = "dgq completion candidates -- WORD...";
  options.about =
      "What the scripts ask: prints what the last of the words after `dgq` can become, one a line, with a "
      "tab and a "
      "description.";
  options.examples = "  dgq completion candidates -- registry sh\n";
  options.named.add_options()("word",
                              boost::program_options::value<std::vector<std::string>>()->value_name("WORD"),
                              "the words, after --");
  options.positional.add("word", -1);
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return 0;
  const auto words = options.has("word") ? options.get<std::vector<std::string>>("word") : Arguments{""};
  for (const Candidate& candidate : candidates(command_tree(dgq_commands()), words, names_of))
    std::cout << candidate.text << (candidate.help.empty() ? "" : "\t") << one_line(candidate.help) << '\n';
  return 0;
}

constexpr Command kCommands[] = {
    {"bash", "print a script for bash", bash},
    {"zsh", "print a script for zsh", zsh},
    {"fish", "print a script for fish", fish},
    {"candidates", "what the scripts ask", print_candidates},
};

constexpr CommandGroup kCompletion = {
    "dgq completion", "Completes dgq commands in a shell: commands, options, names of the registry.",
    "  eval \"$(dgq completion bash)\"\n", kCommands};

}  // namespace

Result<int> run_completion(const Arguments& arguments) { return dispatch(kCompletion, arguments); }

}  // namespace dgq::tools

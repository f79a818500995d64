// tools/command.h - what the subcommands of `dgq` share: options, errors, output.
#pragma once

#include <boost/program_options.hpp>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tools/exit_codes.h"

namespace dgq::tools {

using Arguments = std::vector<std::string>;  // after the subcommand's name

struct Command {
  const char* name;
  const char* summary;                   // one line of `dgq --help`
  Result<int> (*run)(const Arguments&);  // the exit code, or an Error that main prints as one line
};

// A command made of subcommands, as `dgq` itself is.
struct CommandGroup {
  const char* name;      // "dgq registry"
  const char* about;     // a sentence
  const char* examples;  // indented lines
  std::span<const Command> commands;
};

// Runs the subcommand that the first argument names. --help lists them, `help COMMAND` is `COMMAND --help`; no or an unknown name
// says so on stderr and gives kExitUsage.
Result<int> dispatch(const CommandGroup& group, const Arguments& arguments);

double now_s();  // seconds of a steady clock

// Text from files and flags in a message of one line: control characters become '?'.
std::string one_line(std::string text);

// Each a line on stderr: "warning: ...".
void print_warnings(const std::vector<std::string>& warnings);

const CommandGroup& dgq_commands();  // `dgq` itself (tools/main.cpp)

// One subcommand's options. parse() handles --help (prints usage, options and `examples`) and returns true when the
// command should go on, false when help was printed. Errors: Errc::invalid, pointing to --help.
struct Options {
  std::string usage;     // "dgq run NAME[:TAG] [PROMPT]"
  std::string about;     // a sentence or two
  std::string examples;  // indented lines
  boost::program_options::options_description named{"Options"};
  boost::program_options::positional_options_description positional;
  boost::program_options::variables_map values;

  Result<bool> parse(const Arguments& arguments);
  bool has(const char* name) const { return values.count(name) != 0 && !values[name].defaulted(); }
  template <class T>
  const T& get(const char* name) const {
    return values[name].as<T>();
  }
};

// An argument without a flag, which can be given as --name as well. Shells complete what is called NAME[:TAG].
struct Positional {
  const char* name;
  const char* value;
  const char* help;
};
// parse() of a command with such arguments, which it adds in this order. invalid: one that it cannot do without is missing.
Result<bool> parse_with(Options& options, const Arguments& arguments,
                        std::initializer_list<Positional> required,
                        std::initializer_list<Positional> optional = {});

// Asks commands what they are instead of running them: while a ListeningCommands lives, dispatch() and Options::parse() of this
// thread tell the listener, and the command ends there.
class CommandListener {
 public:
  virtual ~CommandListener() = default;
  virtual void group(const CommandGroup& group) = 0;
  virtual void options(const Options& options) = 0;
};
class ListeningCommands {
 public:
  explicit ListeningCommands(CommandListener& listener);
  ListeningCommands(const ListeningCommands&) = delete;
  ~ListeningCommands();

 private:
  CommandListener* before_;
};

// --registry, and with it --cache where layer files are used: the same everywhere.
void add_registry_option(Options& options);
void add_registry_options(Options& options);
std::filesystem::path registry_path(const Options& options);  // --registry, else default_registry_path()
std::filesystem::path cache_folder(const Options& options);   // --cache, else beside the registry

// A progress bar with ETA on stderr when it is a terminal, else a line now and then. `label` is what is being done.
class Progress {
 public:
  explicit Progress(bool quiet = false);
  ~Progress();
  void update(const std::string& label, double fraction);
  void finish();

 private:
  bool terminal_, quiet_, shown_ = false;
  double started_, last_;
};

// "600000000", "600M", "4G" (powers of 1000), "4GiB" or "4Gi" (of 1024). invalid, naming the option.
Result<std::uint64_t> parse_bytes(const std::string& text, const char* option);

std::string human_bytes(double bytes);  // "12.3 MB" (decimal units)

}  // namespace dgq::tools

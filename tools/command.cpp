#include "tools/command.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <sstream>

#include "registry/layer_cache.h"
#include "registry/registry.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

// "dgq run" of "dgq run NAME[:TAG] PROMPT": the words before the first that stands for something.
std::string command_words(const std::string& usage) {
  std::size_t end = 0;
  while (end < usage.size() && (usage[end] == ' ' || (usage[end] >= 'a' && usage[end] <= 'z'))) ++end;
  return usage.substr(0, usage.find_last_not_of(' ', end - 1) + 1);
}

// Boost reads "-1" for an unsigned number as the largest there is.
void refuse_negative(const po::parsed_options& parsed) {
  for (const po::option& option : parsed.options) {
    const po::option_description* known = parsed.description->find_nothrow(option.string_key, false);
    if (!known || option.value.empty() || !option.value.front().starts_with('-')) continue;
    const po::value_semantic* takes = known->semantic().get();
    if (dynamic_cast<const po::typed_value<std::uint32_t>*>(takes) ||
        dynamic_cast<const po::typed_value<std::uint64_t>*>(takes))
      throw po::error("--" + option.string_key + " takes a number from 0, not " + option.value.front());
  }
}

// Its words in lines of what Boost gives the options below it.
std::string in_lines(const std::string& text) {
  std::istringstream words(text);
  std::string lines, word;
  std::size_t column = 0;
  while (words >> word) {
    if (column > 0 && column + 1 + word.size() > po::options_description::m_default_line_length)
      lines += '\n', column = 0;
    if (column > 0) lines += ' ', ++column;
    lines += word;
    column += word.size();
  }
  return lines;
}

thread_local CommandListener* listener = nullptr;

}  // namespace

ListeningCommands::ListeningCommands(CommandListener& to) : before_(std::exchange(listener, &to)) {}
ListeningCommands::~ListeningCommands() { listener = before_; }

Result<bool> Options::parse(const Arguments& arguments) {
  named.add_options()("help,h", "show this help");
  if (listener) return listener->options(*this), false;
  try {
    const po::parsed_options parsed =
        po::command_line_parser(arguments)
            .options(named)
            .positional(positional)
            .style(po::command_line_style::default_style & ~po::command_line_style::allow_guessing)
            .run();
    refuse_negative(parsed);
    po::store(parsed, values);
    if (values.count("help")) {
      std::cout << "Usage: " << usage << "\n\n" << in_lines(about) << "\n\n" << named;
      if (!examples.empty()) std::cout << "\nExamples:\n" << examples;
      return false;
    }
    po::notify(values);
  } catch (const po::error& error) {
    return Error{Errc::invalid, std::string(error.what()) + " (see " + command_words(usage) + " --help)"};
  }
  return true;
}

Result<bool> parse_with(Options& options, const Arguments& arguments,
                        std::initializer_list<Positional> required,
                        std::initializer_list<Positional> optional) {
  for (const auto& list : {required, optional})
    for (const auto& [name, value, help] : list) {
      options.named.add_options()(name, po::value<std::string>()->value_name(value), help);
      options.positional.add(name, 1);
    }
  DGQ_TRY(const bool go_on, options.parse(arguments));
  if (!go_on) return false;
  for (const Positional& argument : required)
    if (!options.has(argument.name))
      return Error{Errc::invalid, std::string("missing ") + argument.name + "; usage: " + options.usage};
  return true;
}

Result<int> dispatch(const CommandGroup& group, const Arguments& arguments) {
  if (listener) return listener->group(group), 0;
  const std::string name = arguments.empty() ? "" : arguments.front();
  for (const Command& command : group.commands)
    if (name == command.name) return command.run(Arguments(arguments.begin() + 1, arguments.end()));
  if (name == "help" && arguments.size() > 1) {
    Arguments asked(arguments.begin() + 1, arguments.end());
    asked.push_back("--help");
    return dispatch(group, asked);
  }
  const bool help = name == "--help" || name == "-h" || name == "help";
  if (!help && !name.empty()) {
    std::cerr << group.name << ": no command '" << one_line(name) << "' (see " << group.name << " --help)\n";
    return kExitUsage;
  }
  std::ostream& out = help ? std::cout : std::cerr;
  out << "Usage: " << group.name << " COMMAND [options]\n\n" << in_lines(group.about) << "\n\nCommands:\n";
  for (const Command& command : group.commands)
    out << "  " << std::left << std::setw(11) << command.name << command.summary << "\n";
  out << "\n`" << group.name << " COMMAND --help` shows options and examples.\n\nExamples:\n"
      << group.examples;
  return help ? 0 : kExitUsage;
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
  return text;
}

void print_warnings(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) std::cerr << "warning: " << one_line(warning) << '\n';
}

void add_registry_option(Options& options) {
  options.named.add_options()("registry", po::value<std::string>()->value_name("FILE"),
                              "the registry (default: $DGQ_REGISTRY, else $XDG_DATA_HOME/dgq/registry.db)");
}

void add_registry_options(Options& options) {
  add_registry_option(options);
  options.named.add_options()("cache", po::value<std::string>()->value_name("DIR"),
                              "folder of the layer files (default: beside the registry)");
}

std::filesystem::path registry_path(const Options& options) {
  return options.has("registry") ? std::filesystem::path(options.get<std::string>("registry"))
                                 : default_registry_path();
}

std::filesystem::path cache_folder(const Options& options) {
  return options.has("cache") ? std::filesystem::path(options.get<std::string>("cache"))
                              : LayerCache::default_folder(registry_path(options));
}

Progress::Progress(bool quiet)
    : terminal_(::isatty(STDERR_FILENO) == 1),
      quiet_(quiet),
      started_(now_s()),
      last_(terminal_ ? 0 : started_) {}
Progress::~Progress() { finish(); }

void Progress::update(const std::string& label, double fraction) {
  const double now = now_s();
  if (quiet_ || now - last_ < (terminal_ ? 0.1 : 5.0)) return;
  last_ = now;
  const double elapsed = now - started_;
  char eta[32] = "";
  if (fraction > 0.01) std::snprintf(eta, sizeof eta, ", %.0f s left", elapsed * (1 - fraction) / fraction);
  if (terminal_) {
    constexpr int kWidth = 30;
    const int filled = static_cast<int>(fraction * kWidth);
    std::fprintf(stderr, "\r[%s%s] %3.0f%% %s%s\033[K", std::string(filled, '#').c_str(),
                 std::string(kWidth - filled, ' ').c_str(), 100 * fraction, label.c_str(), eta);
    shown_ = true;
  } else {
    std::fprintf(stderr, "%3.0f%% %s%s\n", 100 * fraction, label.c_str(), eta);
  }
}

void Progress::finish() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
  shown_ = false;
}

Result<std::uint64_t> parse_bytes(const std::string& text, const char* option) {
  const Error error{
      Errc::invalid,
      std::string("--") + option + " must be a size such as 600000000, 600M, 4G or 4GiB, not '" + text + "'"};
  std::size_t end = 0;
  double number = 0;
  try {
    number = std::stod(text, &end);
  } catch (const std::exception&) {
    return error;
  }
  std::string unit = text.substr(end);
  if (unit.ends_with('B')) unit.pop_back();
  const bool binary = unit.ends_with('i');
  if (binary) unit.pop_back();
  const std::size_t power = unit.empty() ? 0 : std::string_view("KMGT").find(unit == "k" ? "K" : unit) + 1;
  if (unit.size() > 1 || (unit.empty() ? binary : power == 0)) return error;
  const double bytes = number * std::pow(binary ? 1024 : 1000, static_cast<double>(power));
  if (!(bytes >= 1) || bytes > 1e18) return error;
  return static_cast<std::uint64_t>(bytes);
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) bytes /= 1000, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
  return text;
}

}  // namespace dgq::tools

#include "tools/agent_config.h"

#include <algorithm>
#include <sstream>

#include "base/file.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr const char* kUsualFile = "/etc/dgq/agent.conf";
constexpr std::size_t kLargestFile = 1 << 20;

// What is of the call, not of the agent.
bool is_setting(const std::string& name) {
  return name != "help" && name != "config" && name != "print-config" && name != "check";
}

using Sources = std::map<std::string, std::string>;

void note(const Options& options, const std::string& source, Sources& sources) {
  for (const auto& [name, value] : options.values)
    if (!value.defaulted() && is_setting(name)) sources.emplace(name, source);  // the first stays
}

// DGQ_AGENT_KV_BUDGET -> kv-budget; empty for variables of others.
std::string setting_of(const std::string& variable) {
  constexpr std::string_view kPrefix = "DGQ_AGENT_";
  if (!variable.starts_with(kPrefix)) return {};
  std::string name = variable.substr(kPrefix.size());
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

Result<void> store(Options& options, const po::parsed_options& parsed, const std::string& where) {
  for (const auto& option : parsed.options) {
    const std::string& name = option.string_key;
    if (!options.named.find_nothrow(name, false))
      return Error{Errc::invalid,
                   where + ": there is no setting '" + one_line(name) + "' (see dgq agent --help)"};
    if (!is_setting(name))
      return Error{Errc::invalid, where + ": '" + name + "' can only stand on the command line"};
  }
  po::store(parsed, options.values);
  return {};
}

std::string text_of(const po::variable_value& value) {
  const boost::any& any = value.value();
  std::ostringstream text;
  if (const auto* string = boost::any_cast<std::string>(&any)) text << *string;
  if (const auto* flag = boost::any_cast<bool>(&any)) text << (*flag ? "true" : "false");
  if (const auto* number = boost::any_cast<std::uint32_t>(&any)) text << *number;
  return text.str();
}

}  // namespace

Result<Sources> read_agent_config(Options& options) {
  Sources sources;
  note(options, "command line", sources);
  std::string where = "the environment";
  try {
    DGQ_CHECK(store(options, po::parse_environment(options.named, setting_of), where));
    note(options, "environment", sources);
    std::error_code ignored;
    if (options.has("config") || std::filesystem::exists(kUsualFile, ignored)) {
      where = options.has("config") ? options.get<std::string>("config") : kUsualFile;
      DGQ_TRY(const std::string text, read_file(where, kLargestFile));
      std::istringstream stream(text);
      DGQ_CHECK(store(options, po::parse_config_file(stream, options.named, true), where));
      note(options, where, sources);
    }
    po::notify(options.values);
  } catch (const po::error& error) {
    return Error{Errc::invalid, where + ": " + error.what()};
  }
  return sources;
}

std::string agent_config_text(const Options& options, const Sources& sources) {
  std::ostringstream text;
  for (const auto& option : options.named.options()) {
    const std::string& name = option->long_name();
    if (!is_setting(name) || !options.values.count(name)) continue;
    const auto source = sources.find(name);
    text << name << " = " << text_of(options.values[name]) << "  # "
         << (source == sources.end() ? "default" : source->second) << '\n';
  }
  return text.str();
}

std::vector<std::string> changed_settings(const Options& before, const Options& after) {
  std::vector<std::string> names;
  const auto text = [](const Options& options, const std::string& name) {
    return options.values.count(name) ? text_of(options.values[name]) : std::string();
  };
  for (const auto& option : after.named.options())
    if (const std::string& name = option->long_name();
        is_setting(name) && text(before, name) != text(after, name))
      names.push_back(name);
  return names;
}

}  // namespace dgq::tools

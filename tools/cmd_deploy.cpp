// tools/cmd_deploy.cpp - `dgq deploy`, `rollback`, `undeploy`: what people want of the agent.
#include <thread>

#include "agent/deploy_api.h"
#include "agent/deploy_policy.h"
#include "tools/deploy_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr std::size_t kLargestCheck = 1 << 20;
constexpr std::uint32_t kUsualWait = 600;
constexpr std::chrono::milliseconds kAskAgain{200};

// Members of the policy with the option that sets them.
constexpr struct {
  const char *option, *member, *help;
} kSwitches[] = {
    {"replace", "replace", "what does not fit beside the running version: stop that one first"},
    {"pin", "pin", "never unload it to make room for another"},
    {"require-signature", "require_signature", "serve only what a trusted key has signed"},
};
constexpr struct {
  const char *option, *member, *help;
} kNumbers[] = {
    {"max-crashes", "max_crashes", "deaths of the agent within the fault window; then back (3)"},
    {"max-failures", "max_failures", "failed requests within the fault window; then back (10)"},
    {"fault-window", "fault_window_s", "seconds (600)"},
    {"check-time", "check_time_s", "seconds to load and check a version (300)"},
};

void add_policy_options(Options& options) {
  for (const auto& [option, member, help] : kSwitches)
    options.named.add_options()(option, po::value<bool>()->implicit_value(true, "yes")->value_name("yes|no"),
                                help);
  options.named.add_options()  //
      ("window", po::value<std::string>()->value_name("HH:MM-HH:MM"),
       "change versions only then, UTC, every day; none: at any time")  //
      ("rollout", po::value<std::string>()->value_name("PERCENT"),
       "of the devices; each decides by its id (dgq agent --device-id)")  //
      ("check", po::value<std::string>()->value_name("FILE"),
       "what versions must do before they serve (JSON, docs/AGENT.md); none");
  for (const auto& [option, member, help] : kNumbers)
    options.named.add_options()(option, po::value<std::uint32_t>()->value_name("N"), help);
}

Result<double> parse_percent(std::string text) {
  if (text.ends_with('%')) text.pop_back();
  char* end = nullptr;
  const double percent = std::strtod(text.c_str(), &end);
  if (!text.empty() && *end == '\0' && percent >= 0 && percent <= 100) return percent;
  return Error{Errc::invalid, "--rollout must be a percentage such as 10%, not '" + one_line(text) + "'"};
}

// Only what was said; null for "none".
Result<Json> policy_change(const Options& options) {
  Json change = Json::object();
  for (const auto& [option, member, help] : kSwitches)
    if (options.has(option)) change[member] = options.get<bool>(option);
  for (const auto& [option, member, help] : kNumbers)
    if (options.has(option)) change[member] = options.get<std::uint32_t>(option);
  if (options.has("rollout")) {
    DGQ_TRY(change["rollout"], parse_percent(options.get<std::string>("rollout")));
  }
  if (options.has("window")) {
    const auto& window = options.get<std::string>("window");
    change["window"] = window == "none" ? Json() : Json(window);
  }
  if (options.has("check")) {
    const auto& file = options.get<std::string>("check");
    if (file == "none") {
      change["check"] = nullptr;
    } else {
      DGQ_TRY(const std::string text, read_file(file, kLargestCheck));
      DGQ_TRY(change["check"], parse_json(text, file));
      DGQ_CHECK(agent::read_health_check(change["check"]));
    }
  }
  return change;
}

std::string version_text(const Json& version) {
  return version.is_string() ? "version " + version.get<std::string>().substr(0, 12) : "no version";
}

// Until the name's version serves, without a but, or is refused.
Result<int> wait_until_served(const Options& options, const std::string& name, std::uint32_t patience_s) {
  const double deadline = now_s() + patience_s;
  while (true) {
    DGQ_TRY(const Json all, ask_status(registry_path(options)));
    const Json status = find_status(all, name);
    if (status.is_null()) return Error{Errc::not_found, "deployment " + name + " was taken away meanwhile"};
    const std::string state = status["state"], reason = status["reason"];
    const bool serves =
        !status["active_version"].is_null() && status["active_version"] == status["wanted_version"];
    const bool rests = state == "active" || state == "failed" || state == "waiting";
    const bool over = now_s() >= deadline;
    const bool nobody = !all["agent"].get<bool>();
    if (!rests && !over && !nobody) {
      std::this_thread::sleep_for(kAskAgain);
      continue;
    }
    if (options.get<bool>("json")) print_json(status);
    if (state == "active" && serves && reason.empty() && !nobody) {
      if (!options.get<bool>("json"))
        std::cout << name << " serves " << version_text(status["active_version"]) << '\n';
      return 0;
    }
    if (!options.get<bool>("json"))
      std::cout << name << " is " << state << " with " << version_text(status["active_version"])
                << (reason.empty() ? "" : ": " + one_line(reason))
                << (nobody ? " (no agent is at work here)"
                    : over ? " (still under way)"
                           : "")
                << '\n';
    return kExitFindings;
  }
}

// What was asked, in one line or as JSON.
Result<int> tell(const Options& options, const std::string& name, bool agent, const std::string& text) {
  if (options.get<bool>("json")) {
    DGQ_TRY(const Json all, ask_status(registry_path(options)));
    Json status = find_status(all, name);
    if (status.is_null()) status = {{"name", name}};
    print_json(status);
    return 0;
  }
  std::cout << text << (agent ? "" : "; no agent is at work here: it comes with the next `dgq agent`")
            << '\n';
  return 0;
}

// The agent gets names in paths, so they are looked at first.
Result<std::string> name_of(const Options& options) {
  const auto& text = options.get<std::string>("name");
  const auto name = ModelRef::parse(text);
  if (name && text.find_first_of(":/") == text.npos) return text;
  return Error{Errc::invalid,
               "the name of a deployment is 1 to 128 of A-Z a-z 0-9 . _ -, not '" + one_line(text) + "'"};
}

}  // namespace

Result<int> run_deploy(const Arguments& arguments) {
  Options options =
      registry_options("dgq deploy NAME [MODEL[:TAG]] [options]",
                       "Says which model a deployment serves, and under which conditions it moves to another "
                       "version. The agent "
                       "loads and checks a new version beside the old one, and goes on with the old one if "
                       "anything is wrong. When "
                       "the tag moves, it begins again. Options that are not given stay as they were.",
                       "  dgq deploy chat demo:stable\n"
                       "  dgq deploy chat demo:stable --check health.json --wait\n"
                       "  dgq deploy chat --window 02:00-04:00 --rollout 10% --pin\n"
                       "  dgq deploy chat --pin=no --window none        (takes two conditions back)\n");
  add_policy_options(options);
  options.named.add_options()("wait",
                              po::value<std::uint32_t>()->implicit_value(kUsualWait)->value_name("SECONDS"),
                              "until it serves (exit code 0) or was refused (1); 600 unless said");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments, {{"name", "NAME", "the deployment, as the first argument or here"}},
                     {{"model", "NAME[:TAG]", "the model, as the second argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(const std::string name, name_of(options));
  DGQ_TRY(Json body, policy_change(options));
  DGQ_CHECK(agent::changed_policy("{}", body));
  if (options.has("model")) {
    DGQ_TRY(const ModelRef model, ModelRef::parse(options.get<std::string>("model")));
    body["model"] = model.text();
  }
  DGQ_TRY(const bool agent, ask_change(options, "POST", name, body, [&](Registry& registry) {
            return agent::order_deployment(registry, name, body);
          }));
  if (options.has("wait")) return wait_until_served(options, name, options.get<std::uint32_t>("wait"));
  DGQ_TRY(const Json all, ask_status(registry_path(options)));
  const Json status = find_status(all, name);
  const std::string model = status.is_object() ? status.value("model", "") : "";
  const std::string version = status.is_object() ? version_text(status["wanted_version"]) : "no version";
  return tell(options, name, agent, name + " wants " + model + ", now " + version);
}

Result<int> run_rollback(const Arguments& arguments) {
  Options options = registry_options("dgq rollback NAME [options]",
                                     "Goes back to the version that served before, as safely as it went "
                                     "forward. While another version is on "
                                     "its way, that one is dropped and the one that serves stays. What the "
                                     "tag says now is not tried again until "
                                     "it moves, or `dgq deploy` asks.",
                                     "  dgq rollback chat\n");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments, {{"name", "NAME", "the deployment, as an argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(const std::string name, name_of(options));
  DGQ_TRY(const bool agent, ask_change(options, "POST", name + "/rollback", Json::object(),
                                       [&](Registry& registry) -> Result<void> {
                                         DGQ_CHECK(ask_rollback(registry, name));
                                         return {};
                                       }));
  return tell(options, name, agent, name + " goes back");
}

Result<int> run_undeploy(const Arguments& arguments) {
  Options options =
      registry_options("dgq undeploy NAME [options]",
                       "Ends a deployment: requests that run end, then its model is unloaded. The "
                       "model and its versions stay in the registry.",
                       "  dgq undeploy chat\n");
  DGQ_TRY(const bool go_on,
          parse_with(options, arguments, {{"name", "NAME", "the deployment, as an argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(const std::string name, name_of(options));
  DGQ_TRY(const bool agent,
          ask_change(options, "DELETE", name, Json::object(), [&](Registry& registry) -> Result<void> {
            DGQ_CHECK(end_deployment(registry, name));
            return {};
          }));
  return tell(options, name, agent, name + " is no deployment any more");
}

}  // namespace dgq::tools

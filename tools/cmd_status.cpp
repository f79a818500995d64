// tools/cmd_status.cpp - `dgq status`: the deployments, once or again and again.
#include <unistd.h>

#include <thread>

#include "tools/deploy_output.h"

namespace dgq::tools {
namespace po = boost::program_options;

namespace {

constexpr std::chrono::seconds kWatch{1};

Result<Json> status_of(const Options& options) {
  DGQ_TRY(Json all, ask_status(registry_path(options)));
  if (!options.has("name")) return all;
  const auto& name = options.get<std::string>("name");
  const Json one = find_status(all, name);
  if (one.is_null()) return Error{Errc::not_found, "there is no deployment '" + one_line(name) + "'"};
  all["deployments"] = Json::array({one});
  return all;
}

void show(const Options& options, const Json& all) {
  if (options.get<bool>("json")) return print_json(all);
  print_status(all);
}

}  // namespace

Result<int> run_status(const Arguments& arguments) {
  Options options = registry_options(
      "dgq status [NAME] [options]",
      "Shows the deployments: what is wanted, which version serves, which one came before, and why it is so. "
      "Asks the agent over its Unix socket, and the registry where no agent can be reached. With --watch "
      "again "
      "whenever something has changed, until it is interrupted.",
      "  dgq status\n  dgq status chat --watch\n"
      "  dgq status --json | jq -r '.deployments[] | select(.state != \"active\") | .name'\n");
  options.named.add_options()("watch", po::bool_switch(), "go on and show what changes");
  DGQ_TRY(const bool go_on, parse_with(options, arguments, {},
                                       {{"name", "NAME", "only this deployment, as an argument or here"}}));
  if (!go_on) return 0;
  DGQ_TRY(Json shown, status_of(options));
  show(options, shown);
  while (options.get<bool>("watch") && std::cout.flush()) {
    std::this_thread::sleep_for(kWatch);
    DGQ_TRY(Json now, status_of(options));
    if (now == shown) continue;
    shown = std::move(now);
    if (::isatty(STDOUT_FILENO) == 1 && !options.get<bool>("json")) std::cout << "\033[H\033[2J";
    show(options, shown);
  }
  return 0;
}

}  // namespace dgq::tools

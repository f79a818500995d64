#include "agent/deploy_api.h"

#include <arpa/inet.h>

#include <algorithm>

namespace dgq::agent {
namespace {

constexpr std::size_t kMostOrders = 16;  // that wait
constexpr std::string_view kRollback = "/rollback";

bool is_json(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ')) content_type.remove_suffix(1);
  constexpr std::string_view kJson = "application/json";
  return std::equal(content_type.begin(), content_type.end(), kJson.begin(), kJson.end(),
                    [](unsigned char a, char b) { return std::tolower(a) == b; });
}

// "127.0.0.1:8080", "[::1]", "localhost:8080"
bool is_numeric_or_localhost(std::string host) {
  if (host.starts_with('['))
    host = host.substr(1, host.find(']') - 1);
  else
    host.resize(std::min(host.size(), host.find(':')));
  in6_addr address;
  return host == "localhost" || ::inet_pton(AF_INET, host.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

std::optional<ApiError> may_change(const HttpRequest& request, DeployApi::Tcp tcp) {
  if (!request.local && tcp == DeployApi::Tcp::never)
    return ApiError{403, "deployments are changed over the agent's Unix socket, or over TCP with --admin",
                    "permission_error"};
  if (!is_json(request.content_type))
    return ApiError{415, "what changes deployments has Content-Type: application/json"};
  if (!request.local && tcp == DeployApi::Tcp::any && !is_numeric_or_localhost(request.host))
    return ApiError{403, "without tokens deployments are changed by numeric address only",
                    "permission_error"};
  return std::nullopt;
}

ApiError api_error_of(const Error& error) {
  switch (error.code) {
    case Errc::not_found:
      return {404, error.what, "not_found_error"};
    case Errc::busy:
      return {503, error.what, "unavailable_error"};
    case Errc::io:
    case Errc::corrupt:
    case Errc::unsupported:
      return {500, error.what, "server_error"};
    default:
      return {400, error.what};
  }
}

}  // namespace

Result<void> order_deployment(Registry& registry, const std::string& name, Json body) {
  ModelRef model;
  const auto said = body.find("model");
  if (said == body.end() || said->is_null()) {
    DGQ_TRY(const Deployment before, find_deployment(registry, name));
    model = before.model;
  } else if (said->is_string()) {
    DGQ_TRY(model, ModelRef::parse(said->get<std::string>()));
  } else {
    return Error{Errc::invalid, "\"model\" must be a string such as demo:stable"};
  }
  body.erase("model");
  DGQ_CHECK(ask_deployment(registry, name, model,
                           [&](const std::string& before) { return changed_policy(before, body); }));
  return {};
}

bool DeployApi::serves(std::string_view path) {
  const std::string_view own = kPath;
  return path.starts_with(own) && (path.size() == own.size() || path[own.size()] == '/');
}

DeployApi::DeployApi(std::filesystem::path registry, Deployer& deployer, const Log& log, Tcp tcp)
    : registry_(std::move(registry)), deployer_(deployer), log_(log), tcp_(tcp), thread_([this] {
        work();
      }) {}

DeployApi::~DeployApi() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void DeployApi::handle(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply,
                       const Refuse& refuse) {
  std::string_view name = request.path;
  name.remove_prefix(std::min(name.size(), std::string_view(kPath).size() + 1));
  if (name.empty()) {
    if (request.method != "GET" && request.method != "HEAD")
      return refuse({405, std::string(kPath) + " takes GET; name a deployment to change it"});
    return reply->send(200, "application/json", to_json(status()).dump());
  }
  if (const auto error = may_change(request, tcp_)) return refuse(*error);
  const bool rollback = name.ends_with(kRollback);
  if (rollback) name.remove_suffix(kRollback.size());
  const bool deletes = request.method == "DELETE" && !rollback;
  if (request.method != "POST" && !deletes)
    return refuse({405, "a deployment takes POST and DELETE, its rollback POST"});

  Order order{std::string(name), {}, reply, refuse};
  const char* what = "undeploy";
  if (deletes) {
    order.run = [name = order.name](Registry& registry) -> Result<void> {
      DGQ_CHECK(end_deployment(registry, name));
      return {};
    };
  } else {
    auto body = parse_json(request.body.empty() ? "{}" : request.body, "the body");
    if (!body || !body->is_object())
      return refuse(
          {.message = body ? "the body is no JSON object" : body.error().what, .code = "invalid_json"});
    what = rollback ? "rollback" : "deploy";
    order.run = [name = order.name, rollback, body = std::move(*body)](Registry& registry) -> Result<void> {
      if (!rollback) return order_deployment(registry, name, body);
      DGQ_CHECK(ask_rollback(registry, name));
      return {};
    };
  }
  log_.write(Log::Level::info, "asked", {{"what", what}, {"over", request.local ? "unix" : "tcp"}});
  {
    const std::lock_guard lock(mutex_);
    if (orders_.size() < kMostOrders) {
      orders_.push_back(std::move(order));
      wake_.notify_all();
      return;
    }
  }
  refuse({503, "too many changes of deployments wait", "unavailable_error"});
}

// As the registry has it at this moment: who has just changed something wants to see that. Without it, as the deployer saw it last.
std::vector<DeploymentStatus> DeployApi::status() const {
  std::vector<DeploymentStatus> seen = deployer_.status();
  auto now = [&]() -> Result<std::vector<DeploymentStatus>> {
    DGQ_TRY(Registry registry, Registry::open(registry_, Registry::Mode::read_only));
    return deployment_status(registry);
  }();
  if (!now) return seen;
  for (DeploymentStatus& status : *now)
    for (const DeploymentStatus& other : seen)
      if (other.row.name == status.row.name) status.memory = other.memory;
  return std::move(*now);
}

void DeployApi::work() {
  while (true) {
    Order order;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stopping_ || !orders_.empty(); });
      if (stopping_) break;
      order = std::move(orders_.front());
      orders_.pop_front();
    }
    carry_out(order);
  }
  for (const Order& order : orders_) order.refuse({503, "the server shuts down", "unavailable_error"});
}

void DeployApi::carry_out(const Order& order) {
  const auto done = [&]() -> Result<OrderedJson> {
    DGQ_TRY(Registry registry, Registry::open(registry_, Registry::Mode::read_write));
    DGQ_CHECK(order.run(registry));
    DGQ_TRY(const auto all, deployment_status(registry));
    for (const DeploymentStatus& status : all)
      if (status.row.name == order.name) return to_json(status);
    return OrderedJson{{"name", order.name}};
  };
  auto answer = Result<OrderedJson>(Error{Errc::io, "out of memory"});
  try {
    answer = done();
  } catch (const std::exception& error) {
    answer = Error{Errc::io, error.what()};
  }
  deployer_.poke();
  if (answer) return order.reply->send(200, "application/json", answer->dump());
  order.refuse(api_error_of(answer.error()));
}

}  // namespace dgq::agent

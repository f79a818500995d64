// agent/deploy_api.h - deployments over HTTP: who may ask for them, and what is answered (docs/AGENT.md has the table).
//
//   GET    /v1/deployments                  {"deployments": [...]}, deploy_status.h
//   POST   /v1/deployments/NAME             {"model": "demo:stable", policy members}; a member that is not there stays as it was
//   POST   /v1/deployments/NAME/rollback    {}
//   DELETE /v1/deployments/NAME
//
// The last three change what runs. They are for the Unix socket, and for TCP when the agent is told so (--admin); and no web
// page that somebody looks at on this machine can make its browser send them: the content type must be application/json, which
// browsers ask permission for, Api lets no Origin but our own pass, and where no token is needed over TCP, the Host is numeric or
// localhost (a name could be one that a page had made to mean this machine).
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "agent/api_error.h"
#include "agent/deployer.h"
#include "agent/http.h"

namespace dgq::agent {

// What POST /v1/deployments/NAME with this body asks, and `dgq deploy` where no agent is there to take it. invalid: names the
// member.
Result<void> order_deployment(Registry& registry, const std::string& name, Json body);

class DeployApi {
 public:
  static constexpr const char* kPath = "/v1/deployments";
  static bool serves(std::string_view path);  // it is ours, be there something or not

  enum class Tcp { never, any, with_token };  // from whom changes over TCP are taken
  // Borrows the deployer, which learns of each change, and the log. Changes are made by one thread, in order.
  DeployApi(std::filesystem::path registry, Deployer& deployer, const Log& log, Tcp tcp);
  ~DeployApi();

  using Refuse = std::function<void(const ApiError&)>;
  // Answers now or later, or calls `refuse`, once, from any thread. Thread-safe. The caller has looked at tokens.
  void handle(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply, const Refuse& refuse);

 private:
  std::vector<DeploymentStatus> status() const;
  struct Order {
    std::string name;
    std::function<Result<void>(Registry&)> run;
    std::shared_ptr<HttpReply> reply;
    Refuse refuse;
  };
  void work();
  void carry_out(const Order& order);

  const std::filesystem::path registry_;
  Deployer& deployer_;
  const Log& log_;
  const Tcp tcp_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::deque<Order> orders_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace dgq::agent

// agent/api.h - what is served at which path (docs/AGENT.md has the table).
#pragma once

#include <functional>
#include <mutex>
#include <optional>

#include "agent/api_error.h"
#include "agent/completion_request.h"
#include "agent/deploy_api.h"
#include "agent/http_server.h"
#include "agent/log.h"
#include "agent/models.h"
#include "agent/token_file.h"

namespace dgq::agent {

class Api {
 public:
  // Borrows models and log. tokens: what clients must come with, everywhere but at /health.
  Api(Models& models, const Log& log, std::optional<BearerTokens> tokens) : models_(models), log_(log) {
    use_tokens(std::move(tokens));
  }

  // Thread-safe. What clients must come with from now on.
  void use_tokens(std::optional<BearerTokens> tokens);

  // Whose counts /metrics shows; borrowed. Before the server listens.
  void watch(const HttpServer& server) { server_ = &server; }

  // Who answers at /v1/deployments; borrowed. Before the server listens. Without it there are no deployments.
  void serve(DeployApi& deployments) { deployments_ = &deployments; }

  // An HttpHandler. Thread-safe. What a browser sends on behalf of another site's page is refused: no token
  // keeps such a page from the models of this machine.
  void handle(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);

 private:
  std::shared_ptr<const BearerTokens> tokens();

  struct Route;
  static const Route kRoutes[];

  void deployments(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);

  void status(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void health(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void metrics(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void list_models(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void complete(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void chat(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  // The common part of both: read_request is read_completion or read_chat.
  using ReadRequest = std::optional<ApiError> (*)(const Json&, std::string_view, const ServedModel&,
                                                  CompletionRequest&);
  void generate(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply,
                ReadRequest read_request);
  void tokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void detokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);

  // The body as an object and the model that it names; else the reply has its error.
  struct Asked {
    Json body;
    std::shared_ptr<ServedModel> model;
  };
  std::optional<Asked> read(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void refuse(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply, const ApiError& error,
              std::string_view headers = {});

  Models& models_;
  const Log& log_;
  std::mutex mutex_;  // guards tokens_
  std::shared_ptr<const BearerTokens> tokens_;
  const HttpServer* server_ = nullptr;
  DeployApi* deployments_ = nullptr;
};

}  // namespace dgq::agent

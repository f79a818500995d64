#include "agent/api.h"

#include <chrono>

#include "agent/completion_reply.h"
#include "agent/metrics.h"
#include "agent/status_page.h"

namespace dgq::agent {
namespace {

constexpr const char* kJson = "application/json";

// Browsers say where a page is from when it sends something, and no page can change that.
bool is_of_this_site(const HttpRequest& request) {
  const std::string_view origin = request.origin;
  return origin.empty() || origin == "http://" + request.host || origin == "https://" + request.host;
}

void send_json(HttpReply& reply, const Json& json) { reply.send(200, kJson, dump(json)); }

}  // namespace

struct Api::Route {
  const char *method, *path;
  void (Api::*run)(const HttpRequest&, const std::shared_ptr<HttpReply>&);
  bool open = false;  // without a token
};

constexpr Api::Route Api::kRoutes[] = {
    {"GET", "/health", &Api::health, true},      {"GET", "/status", &Api::status, true},
    {"GET", "/metrics", &Api::metrics},          {"GET", "/v1/models", &Api::list_models},
    {"POST", "/v1/completions", &Api::complete}, {"POST", "/v1/chat/completions", &Api::chat},
    {"POST", "/tokenize", &Api::tokenize},       {"POST", "/detokenize", &Api::detokenize},
};

void Api::use_tokens(std::optional<BearerTokens> tokens) {
  auto shared = tokens ? std::make_shared<const BearerTokens>(std::move(*tokens)) : nullptr;
  const std::lock_guard lock(mutex_);
  tokens_ = std::move(shared);
}

std::shared_ptr<const BearerTokens> Api::tokens() {
  const std::lock_guard lock(mutex_);
  return tokens_;
}

void Api::handle(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const Route* route = nullptr;
  for (const Route& candidate : kRoutes)
    if (request.path == candidate.path) route = &candidate;
  const bool is_deployments = DeployApi::serves(request.path);
  // Who may open the Unix socket may deploy: its permissions say who that is.
  const bool open = (route && route->open) || (is_deployments && request.local);
  if (!is_of_this_site(request))
    return refuse(
        request, reply,
        {403, "pages of other sites may not use this server", "permission_error", {}, "cross_origin"});
  if (const auto needed = tokens(); needed && !open && !needed->accept(request.authorization))
    return refuse(request, reply,
                  {401,
                   "a valid bearer token is needed: Authorization: Bearer TOKEN",
                   "authentication_error",
                   {},
                   "invalid_api_key"},
                  "WWW-Authenticate: Bearer\r\n");
  if (is_deployments) return deployments(request, reply);
  if (!route) return refuse(request, reply, {404, "there is nothing at this path", "not_found_error"});
  const bool same = request.method == route->method ||
                    (request.method == "HEAD" && route->method == std::string_view("GET"));
  if (!same)
    return refuse(request, reply,
                  {405, std::string(route->path) + " takes " + route->method, "invalid_request_error"},
                  std::string("Allow: ") + route->method + "\r\n");
  (this->*route->run)(request, reply);
}

void Api::refuse(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply, const ApiError& error,
                 std::string_view headers) {
  // Paths and members that are none of ours may hold anything, and so may messages: of those goes no word to
  // the log.
  const auto known = [&] {
    for (const Route& route : kRoutes)
      if (request.path == route.path) return route.path;
    return DeployApi::serves(request.path) ? DeployApi::kPath : "other";
  };
  OrderedJson fields = {{"path", known()}, {"status", error.status}};
  if (!error.param.empty() && error.code != kUnknownParameter) fields["param"] = error.param;
  if (!error.code.empty()) fields["code"] = error.code;
  log_.write(Log::Level::info, "refused", fields);
  reply->send(error.status, kJson, dump(to_json(error)), headers);
}

void Api::health(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  for (const auto& model : models_.all())
    if (model->engine->draining())
      return reply->send(503, kJson, dump(to_json({503, "the server shuts down", "unavailable_error"})));
  send_json(*reply, {{"status", "ok"}});
}

void Api::status(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  const StatusPage& page = status_page();
  reply->send(200, "text/html; charset=utf-8", page.html, page.headers);
}

void Api::metrics(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  const auto models = models_.all();
  std::vector<const Engine*> engines;
  for (const auto& model : models) engines.push_back(model->engine.get());
  reply->send(200, "text/plain; version=0.0.4; charset=utf-8",
              render_metrics(engines, server_ ? server_->stats() : HttpStats{}));
}

void Api::deployments(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const auto refused = [this, request, reply](const ApiError& error) { refuse(request, reply, error); };
  if (deployments_) return deployments_->handle(request, reply, refused);
  refused(
      {404, "this agent serves one model; `dgq agent` without a name serves deployments", "not_found_error"});
}

void Api::list_models(const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
  Json data = Json::array();
  for (const auto& model : models_.all())
    data.push_back({{"id", model->name},
                    {"object", "model"},
                    {"created", model->created_unix_s},
                    {"owned_by", "dgq"},
                    {"meta",
                     {{"version", model->version},
                      {"n_vocab", model->config->vocab},
                      {"n_ctx", model->engine->options().kv.context},
                      {"n_ctx_train", model->config->max_positions}}}});
  send_json(*reply, {{"object", "list"}, {"data", data}});
}

std::optional<Api::Asked> Api::read(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  auto body = parse_json(request.body, "the body");
  if (!body || !body->is_object()) {
    refuse(request, reply,
           {.message = body ? "the body is no JSON object" : body.error().what, .code = "invalid_json"});
    return std::nullopt;
  }
  std::string name;
  if (const auto named = body->find("model"); named != body->end() && !named->is_null()) {
    if (!named->is_string()) {
      refuse(request, reply, {.message = "\"model\" must be a string", .param = "model"});
      return std::nullopt;
    }
    name = named->get<std::string>();
  }
  auto model = models_.find(name);
  if (model) return Asked{std::move(*body), std::move(model)};
  constexpr std::size_t kShown = 128;
  if (models_.coming(name)) {
    refuse(request, reply, {503, "the model is being loaded: try again soon", "unavailable_error", "model"},
           "Retry-After: 1\r\n");
    return std::nullopt;
  }
  refuse(request, reply,
         {404, "there is no model '" + name.substr(0, kShown) + "': GET /v1/models lists them",
          "invalid_request_error", "model", "model_not_found"});
  return std::nullopt;
}

void Api::complete(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  generate(request, reply, read_completion);
}
void Api::chat(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  generate(request, reply, read_chat);
}

void Api::generate(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply,
                   ReadRequest read_request) {
  auto asked = read(request, reply);
  if (!asked) return;
  CompletionRequest completion;
  if (const auto error = read_request(asked->body, request.body, *asked->model, completion))
    return refuse(request, reply, *error);

  const auto began = std::chrono::steady_clock::now();
  const char* path = completion.chat ? "/v1/chat/completions" : "/v1/completions";
  const auto ended = [&log = log_, began, path](const CompletionSummary& summary) {
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    OrderedJson fields = {{"path", path},
                          {"status", summary.status},
                          {"finish", to_text(summary.finish)},
                          {"prompt_tokens", summary.prompt_tokens},
                          {"tokens", summary.tokens},
                          {"ms", static_cast<std::int64_t>(took.count())}};
    if (!summary.why.empty()) fields["why"] = summary.why;
    log.write(summary.status == 500 ? Log::Level::error : Log::Level::info, "request", fields);
  };
  const auto sink = std::make_shared<CompletionReply>(*asked->model, completion, reply, ended);
  const auto id = asked->model->engine->submit(std::move(completion.generation), sink);
  if (!id) {
    ApiError error = api_error(id.error());
    const bool later = error.status == 429;
    if (later && asked->model->engine->draining()) error = {503, error.message, "unavailable_error"};
    return refuse(request, reply, error, later ? "Retry-After: 1\r\n" : "");
  }
  reply->on_gone([model = std::weak_ptr(asked->model), id = *id] {
    if (const auto still = model.lock()) still->engine->cancel(id);
  });
}

void Api::tokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const auto asked = read(request, reply);
  if (!asked) return;
  Members members(asked->body);
  members.ignore({"model"});
  const auto content = members.text("content");
  if (!content) members.fail("content", "is missing");
  const bool add_special = members.flag("add_special").value_or(false);
  members.only("parse_special", {true}, "tokens that the text spells are always found");
  members.only("with_pieces", {false}, "POST /detokenize shows what tokens are");
  if (const auto error = members.error()) return refuse(request, reply, *error);
  const auto tokens = asked->model->tokenizer.encode(*content, add_special);
  if (!tokens) return refuse(request, reply, {.message = tokens.error().what, .param = "content"});
  send_json(*reply, {{"tokens", *tokens}});
}

void Api::detokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  const auto asked = read(request, reply);
  if (!asked) return;
  Members members(asked->body);
  members.ignore({"model"});
  const auto tokens = members.tokens("tokens");
  if (!tokens) members.fail("tokens", "is missing");
  if (const auto error = members.error()) return refuse(request, reply, *error);
  const auto text = asked->model->tokenizer.decode(*tokens, false);
  if (!text) return refuse(request, reply, {.message = text.error().what, .param = "tokens"});
  send_json(*reply, {{"content", *text}});
}

}  // namespace dgq::agent

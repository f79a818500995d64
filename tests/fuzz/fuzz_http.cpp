// Any bytes from a client: the server answers, or ends the connection, and serves the next one.
#include <cstdlib>
#include <filesystem>

#include "agent/http_server.h"
#include "tests/agent/raw_client.h"

namespace {

struct Fixture {
  static dgq::agent::HttpLimits limits() {
    dgq::agent::HttpLimits limits;
    limits.header_bytes = 1024;
    limits.body_bytes = 1024;
    return limits;
  }
  Fixture()
      : server(
            limits(),
            [](const dgq::agent::HttpRequest& request, const std::shared_ptr<dgq::agent::HttpReply>& reply) {
              if (request.body.size() > 1024 || request.path.find('?') != request.path.npos) std::abort();
              if (request.method == "GET") {
                reply->begin_events();
                reply->event(request.path);
                return reply->end_events();
              }
              reply->send(200, "text/plain", request.body);
            },
            1) {
    std::string pattern = (std::filesystem::temp_directory_path() / "dgq-fuzz-XXXXXX").string();
    socket = std::filesystem::path(::mkdtemp(pattern.data())) / "s";
    if (!server.listen_unix(socket, 0600)) std::abort();
  }
  ~Fixture() {
    std::error_code ignored;
    std::filesystem::remove_all(socket.parent_path(), ignored);
  }
  std::filesystem::path socket;
  dgq::agent::HttpServer server;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Fixture fixture;
  dgq::agent::test::RawClient client(fixture.socket);
  if (!client.connected()) std::abort();
  client.send({reinterpret_cast<const char*>(data), size});
  client.half_close();
  client.read_all();
  return 0;
}

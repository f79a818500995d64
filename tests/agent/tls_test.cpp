// HTTP over TLS: clients that are good, slow, old, unknown or gone, and files that are no certificates.
#include "agent/tls.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "agent/http_server.h"
#include "tests/agent/tls_client.h"
#include "tests/support/command.h"

namespace dgq::agent {
namespace {

using namespace std::chrono_literals;
using test::Identity;
using test::RawClient;
using test::TlsClient;

constexpr auto kLong = 10min;  // on any machine

class TlsTest : public testing::Test {
 protected:
  // A client that is gone is a failed write to it, not the end of the process.
  static void SetUpTestSuite() { ::signal(SIGPIPE, SIG_IGN); }

  void start(const HttpLimits& limits = {}, const std::filesystem::path& client_ca = {}) {
    identity.write(cert, key);
    const auto tls = TlsContext::load({cert, key, client_ca});
    ASSERT_TRUE(tls) << tls.error().what;
    server = std::make_unique<HttpServer>(
        limits, [this](const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
          if (request.path == "/hold") {
            reply->on_gone([this] {
              const std::lock_guard lock(mutex);
              ++gone;
              changed.notify_all();
            });
            const std::lock_guard lock(mutex);
            held.push_back(reply);
            changed.notify_all();
          } else {
            reply->send(200, "text/plain", request.path + " " + std::to_string(request.body.size()));
          }
        });
    server->use_tls(*tls);
    const auto listening = server->listen_tcp("127.0.0.1", 0);
    ASSERT_TRUE(listening) << listening.error().what;
    port = *listening;
  }
  std::shared_ptr<HttpReply> wait_for_held(std::size_t count = 1) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return held.size() >= count; });
    return held.back();
  }
  void wait_for_gone(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return gone >= count; });
  }
  void expect_alive() {
    TlsClient client(port, identity);
    ASSERT_TRUE(client.connected());
    EXPECT_NE(client.get("/alive").find("/alive 0"), std::string::npos);
    EXPECT_TRUE(client.ended_well());
  }

  dgq::test::ScratchFolder folder;
  const std::filesystem::path cert = folder / "cert.pem", key = folder / "key.pem";
  const Identity identity{"localhost"};
  std::uint16_t port = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<HttpReply>> held;
  int gone = 0;
  std::unique_ptr<HttpServer> server;  // ends first
};

TEST_F(TlsTest, AnswersAndStreamsInBothVersions) {
  start();
  for (const int newest : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient client(port, identity, nullptr, newest);
    ASSERT_TRUE(client.connected());
    EXPECT_STREQ(client.version(), newest == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
    const std::string body(300'000, 'a');
    for (int i = 0; i < 3; ++i) {  // on one connection
      client.send("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + body);
      EXPECT_TRUE(client.read_until("/big 300000"));
    }
    client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto reply = wait_for_held(newest == TLS1_2_VERSION ? 1 : 2);
    reply->begin_events();
    reply->event("one");
    EXPECT_TRUE(client.read_until("data: one\n\n"));
    reply->event("two");
    reply->end_events();
    EXPECT_TRUE(client.read_until("0\r\n\r\n"));
    EXPECT_NE(client.get("/last").find("/last 0"), std::string::npos);
    EXPECT_TRUE(client.ended_well());
  }
  EXPECT_EQ(server->stats().handshakes_failed, 0u);
  EXPECT_EQ(gone, 0);
}

TEST_F(TlsTest, UnixSocketsStayPlain) {
  start();
  ASSERT_TRUE(server->listen_unix(folder / "s", 0600));
  EXPECT_EQ(RawClient(folder / "s").get("/plain").body, "/plain 0");
  EXPECT_TRUE(server->answers(kLong));
}

TEST_F(TlsTest, WhatIsNoTlsOrTooOldIsCutOff) {
  start();
  RawClient plain(port);
  plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(plain.read_all().find("HTTP/1.1 200"), std::string::npos);
  EXPECT_FALSE(TlsClient(port, identity, nullptr, TLS1_1_VERSION).connected());
  const Identity other("localhost");
  EXPECT_FALSE(TlsClient(port, other).connected());
  expect_alive();
  EXPECT_TRUE(server->wait_until_closed(kLong));
  EXPECT_EQ(server->stats().handshakes_failed, 3u);
}

// Who says nothing in a handshake holds up nobody, has half of the connections at most, and not for long.
TEST_F(TlsTest, SlowHandshakesAreLimited) {
  HttpLimits limits;
  limits.connections = 8;
  limits.handshake_time = kLong;
  start(limits);
  std::vector<RawClient> slow;
  for (int i = 0; i < 4; ++i) {
    slow.emplace_back(port);
    slow.back().send(std::string("\x16\x03\x01\x02", 4));  // how a greeting begins
  }
  while (server->stats().connections < 4) std::this_thread::sleep_for(1ms);
  EXPECT_FALSE(TlsClient(port, identity).connected());  // the fifth handshake at once
  EXPECT_EQ(server->stats().refused, 1u);
  slow.pop_back();
  while (server->stats().connections > 3) std::this_thread::sleep_for(1ms);
  expect_alive();

  limits.handshake_time = 50ms;
  server->set_limits(limits);
  RawClient impatient(port);
  impatient.send(std::string("\x16\x03\x01\x02", 4));
  EXPECT_EQ(impatient.read_all(), "");
  slow.clear();
  EXPECT_TRUE(server->wait_until_closed(kLong));
  EXPECT_EQ(server->stats().handshakes_failed, 5u);
}

TEST_F(TlsTest, AClientThatLeavesIsNoticed) {
  start();
  {
    TlsClient abrupt(port, identity);
    abrupt.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_held(1);
  }
  wait_for_gone(1);
  TlsClient polite(port, identity);
  polite.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_held(2)->begin_events();
  EXPECT_TRUE(polite.read_until("\r\n\r\n"));
  polite.say_goodbye();  // the connection is still open
  wait_for_gone(2);
  expect_alive();
}

// The answer to a request that is refused can be read, although its sender is still sending.
TEST_F(TlsTest, RefusalsReachTheClient) {
  HttpLimits limits;
  limits.body_bytes = 100;
  start(limits);
  TlsClient client(port, identity);
  client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + std::string(50'000, 'a'));
  EXPECT_EQ(client.read_all().substr(0, 12), "HTTP/1.1 413");
}

TEST_F(TlsTest, ClientsNeedACertificateWhereOneIsAskedFor) {
  const Identity known("device 7"), unknown("device 8");
  dgq::test::write_text(folder / "ca.pem", known.certificate_pem());
  start({}, folder / "ca.pem");
  TlsClient good(port, identity, &known);
  EXPECT_NE(good.get("/in").find("/in 0"), std::string::npos);
  // TLS 1.3 clients are done before the server has looked at them.
  EXPECT_EQ(TlsClient(port, identity, &unknown).get("/in"), "");
  EXPECT_EQ(TlsClient(port, identity).get("/in"), "");
}

TEST_F(TlsTest, ANewCertificateIsShownFromThenOn) {
  start();
  TlsClient before(port, identity);
  const Identity renewed("localhost");
  renewed.write(cert, key);
  const auto tls = TlsContext::load({cert, key, {}});
  ASSERT_TRUE(tls);
  server->use_tls(*tls);
  EXPECT_TRUE(TlsClient(port, renewed).connected());
  EXPECT_FALSE(TlsClient(port, identity).connected());
  EXPECT_NE(before.get("/still").find("/still 0"), std::string::npos);
  EXPECT_EQ(server->stats().certificate_expires_unix_s, (*tls)->expires_unix_s());
}

TEST_F(TlsTest, RandomBytes) {
  start();
  std::srand(7);
  for (int i = 0; i < 1000; ++i) {
    RawClient client(port);
    std::string bytes = i % 2 ? std::string("\x16\x03\x01", 3) : "";
    for (int n = std::rand() % 600; n > 0; --n) bytes += static_cast<char>(std::rand());
    client.send(bytes);
    client.half_close();
    if (i % 8 == 0) client.read_all();
  }
  EXPECT_TRUE(server->wait_until_closed(kLong));
  expect_alive();
}

TEST(TlsContext, FilesThatCannotBeUsedAreNamed) {
  const dgq::test::ScratchFolder folder;
  const auto cert = folder / "cert.pem", key = folder / "key.pem", other = folder / "other.pem";
  const Identity identity("a"), another("b");
  const auto refused = [&](const TlsFiles& files, const std::string& expected) {
    const auto tls = TlsContext::load(files);
    ASSERT_FALSE(tls) << expected;
    EXPECT_NE(tls.error().what.find(expected), std::string::npos) << tls.error().what;
  };
  refused({cert, key, {}}, "cert.pem: No such file");
  identity.write(cert, key);
  refused({folder / "none", key, {}}, "none: No such file");
  refused({cert, folder / "none", {}}, "none: No such file");
  refused({key, key, {}}, "key.pem holds no PEM certificate");
  ::chmod(cert.c_str(), 0600);
  refused({cert, cert, {}}, "cert.pem holds no PEM private key");
  ::chmod(key.c_str(), 0640);
  refused({cert, key, {}}, "chmod 600");
  ::setenv("CREDENTIALS_DIRECTORY", folder.path().c_str(), 1);  // systemd's files look like this
  EXPECT_TRUE(TlsContext::load({cert, key, {}}));
  ::unsetenv("CREDENTIALS_DIRECTORY");
  ::chmod(key.c_str(), 0600);
  refused({cert, key, folder / "none"}, "none: No such file");
  refused({cert, key, key}, "key.pem holds no PEM certificate");
  EXPECT_TRUE(TlsContext::load({cert, key, cert}));

  another.write(cert, other);
  refused({cert, key, {}}, "is not the key of the first certificate");
  dgq::test::write_text(other, another.key_pem("secret"));
  refused({cert, other, {}}, "has a password");
  std::string damaged = another.certificate_pem();
  damaged[100] = damaged[100] == 'A' ? 'B' : 'A';
  damaged.insert(200, "****");
  dgq::test::write_text(cert, damaged);
  refused({cert, key, {}}, "damaged certificate (number 1)");
  dgq::test::write_text(cert, std::string(2 << 20, 'a'));
  refused({cert, key, {}}, "cert.pem");
}

TEST(TlsContext, DatesAreWarnedOf) {
  const dgq::test::ScratchFolder folder;
  const auto warning = [&](long from_s, long to_s) {
    Identity("a", from_s, to_s).write(folder / "c", folder / "k");
    const auto tls = TlsContext::load({folder / "c", folder / "k", {}});
    EXPECT_TRUE(tls) << tls.error().what;
    return tls ? (*tls)->date_warning(std::time(nullptr)) : "";
  };
  EXPECT_EQ(warning(-100, 100 * 86'400), "");
  EXPECT_NE(warning(-100, 86'400).find("expires at 20"), std::string::npos);
  EXPECT_NE(warning(-100, -10).find("has expired at 20"), std::string::npos);
  EXPECT_NE(warning(3600, 100 * 86'400).find("is valid from 20"), std::string::npos);
}

}  // namespace
}  // namespace dgq::agent

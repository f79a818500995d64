// The server against clients that are slow, broken, hostile or gone.
#include "agent/http_server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "tests/agent/raw_client.h"
#include "tests/support/command.h"

namespace dgq::agent {
namespace {

using namespace std::chrono_literals;
using test::RawClient;

constexpr auto kLong = 10min;  // on any machine

HttpLimits patient() {
  HttpLimits limits;
  limits.header_time = limits.body_time = limits.idle_time = limits.write_time = kLong;
  return limits;
}

// Echoes POST /echo, keeps the replies to /hold, streams on /events, drops /drop.
class HttpServerTest : public testing::Test {
 protected:
  void start(const HttpLimits& limits = patient()) {
    server =
        std::make_unique<HttpServer>(limits, [this](HttpRequest request, std::shared_ptr<HttpReply> reply) {
          handle(std::move(request), std::move(reply));
        });
    const auto listening = server->listen_unix(socket, 0600);
    ASSERT_TRUE(listening) << listening.error().what;
  }

  void handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
    if (request.path == "/hold") {
      reply->on_gone([this] {
        const std::lock_guard lock(mutex);
        ++gone;
        changed.notify_all();
      });
      const std::lock_guard lock(mutex);
      held.push_back(std::move(reply));
      changed.notify_all();
    } else if (request.path == "/events") {
      reply->begin_events();
      for (const char* data : {"one", "two", "three"}) reply->event(data);
      reply->end_events();
    } else if (request.path == "/throw") {
      throw std::bad_alloc();
    } else if (request.path != "/drop") {
      reply->send(200, "text/plain", request.method + " " + request.path + " " + request.body,
                  "X-Extra: yes\r\n");
    }
  }

  std::shared_ptr<HttpReply> wait_for_held(std::size_t count = 1) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return held.size() >= count; });
    return held.back();
  }
  void wait_for_gone(int count = 1) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return gone >= count; });
  }
  RawClient client() { return RawClient(socket); }
  void expect_alive() { EXPECT_EQ(client().get("/alive").body, "GET /alive "); }

  dgq::test::ScratchFolder folder;
  const std::filesystem::path socket = folder / "s";
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::shared_ptr<HttpReply>> held;
  int gone = 0;
  std::unique_ptr<HttpServer> server;  // ends first
};

TEST_F(HttpServerTest, AnswersOnOneConnectionInTurn) {
  start();
  RawClient c = client();
  const auto first = c.get("/a?token=1");
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, "GET /a ");
  EXPECT_NE(first.head.find("Content-Type: text/plain\r\n"), first.head.npos);
  EXPECT_NE(first.head.find("X-Extra: yes\r\n"), first.head.npos);
  EXPECT_EQ(first.head.find("Connection: close"), first.head.npos);
  EXPECT_EQ(c.post("/echo", "hello").body, "POST /echo hello");
  c.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(c.read_answer().body, "POST /echo abcde");
  // Two at once: answered in their order.
  c.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(c.read_answer().body, "GET /1 ");
  EXPECT_EQ(c.read_answer().body, "GET /2 ");
  c.send("HEAD /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string all = c.read_all();
  EXPECT_NE(all.find("Content-Length: 8\r\n"), all.npos) << all;
  EXPECT_TRUE(all.ends_with("\r\n\r\n")) << all;
  EXPECT_EQ(server->stats().requests, 6u);
  EXPECT_EQ(server->stats().accepted, 1u);
}

TEST_F(HttpServerTest, TcpOnAFreePort) {
  start();
  const auto port = server->listen_tcp("127.0.0.1", 0);
  ASSERT_TRUE(port) << port.error().what;
  ASSERT_NE(*port, 0);
  EXPECT_EQ(RawClient(*port).get("/tcp").body, "GET /tcp ");
  const auto taken = server->listen_tcp("127.0.0.1", *port);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::io);
  EXPECT_FALSE(server->listen_tcp("localhost", 0));
}

TEST_F(HttpServerTest, EventsComeInChunksAndToOldClientsUntilTheEnd) {
  start();
  RawClient c = client();
  const auto answer = c.get("/events");
  EXPECT_NE(answer.head.find("Content-Type: text/event-stream\r\n"), answer.head.npos) << answer.head;
  EXPECT_EQ(answer.body, "data: one\n\ndata: two\n\ndata: three\n\n");
  EXPECT_EQ(c.get("/next").status, 200);
  RawClient old = client();
  old.send("GET /events HTTP/1.0\r\n\r\n");
  const std::string all = old.read_all();
  EXPECT_TRUE(all.ends_with("\r\n\r\ndata: one\n\ndata: two\n\ndata: three\n\n")) << all;
  EXPECT_NE(all.find("Connection: close"), all.npos);
  RawClient head = client();
  head.send("HEAD /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(head.read_all().ends_with("\r\n\r\n"));
}

TEST_F(HttpServerTest, EventsKeepTheirOrderHoweverFastTheyCome) {
  start();
  RawClient c = client();
  for (std::size_t turn = 1; turn <= 3; ++turn) {  // on one connection
    c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto reply = wait_for_held(turn);
    std::string expected;
    reply->begin_events();
    for (int i = 0; i < 5000; ++i) {
      const std::string data = std::to_string(i) + std::string(static_cast<std::size_t>(i % 7), 'x');
      reply->event(data);
      expected += "data: " + data + "\n\n";
    }
    reply->end_events();
    EXPECT_EQ(c.read_answer().body, expected);
  }
  EXPECT_EQ(gone, 0);
}

TEST_F(HttpServerTest, ClientsThatWaitForContinueGetIt) {
  start();
  RawClient c = client();
  c.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(c.read_until("100 Continue\r\n\r\n"));
  c.send("abc");
  EXPECT_TRUE(c.read_until("POST /echo abc")) << c.received();
}

TEST_F(HttpServerTest, LimitsAreAnswered) {
  HttpLimits limits = patient();
  limits.header_bytes = 4096;
  limits.body_bytes = 1000;
  start(limits);
  EXPECT_EQ(client().get("/" + std::string(5000, 'a')).status, 431);
  EXPECT_EQ(client().get("/", "X: " + std::string(100'000, 'a') + "\r\n").status, 431);
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "a:b\r\n";  // 100 kB of headers
  EXPECT_EQ(client().get("/", many).status, 431);
  EXPECT_EQ(client().post("/echo", std::string(1001, 'a')).status, 413);
  EXPECT_EQ(client().post("/echo", std::string(1'000'000, 'a')).status,
            413);  // read to its end, or the answer would be lost
  EXPECT_EQ(client().post("/echo", std::string(1000, 'a')).status, 200);
  RawClient chunked = client();
  chunked.send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; ++i) chunked.send("64\r\n" + std::string(100, 'a') + "\r\n");
  EXPECT_EQ(chunked.read_answer().status, 413);
  EXPECT_EQ(server->stats().malformed, 6u);
  expect_alive();
}

TEST_F(HttpServerTest, WhatIsNoHttpIsABadRequest) {
  start();
  for (const char* bytes :
       {"\r\n\r\n\r\n", "hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "\x16\x03\x01\x02\x00\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET / HTTP/1.1\r\nA\x01: b\r\n\r\n"}) {
    RawClient c = client();
    c.send(bytes);
    const std::string answer = c.read_all();
    EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 400") << bytes;
  }
  expect_alive();
}

TEST_F(HttpServerTest, SlowClientsAreDisconnected) {
  HttpLimits limits = patient();
  limits.header_time = limits.body_time = limits.idle_time = 50ms;
  start(limits);
  RawClient idle = client(), header = client(), body = client();
  header.send("GET / HTTP/1.1\r\nHost:");
  body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc");
  for (RawClient* c : {&idle, &header, &body}) EXPECT_EQ(c->read_all(), "");
  // One byte now and then does not help: the time is for the whole header.
  RawClient drop = client();
  drop.send("GET / HTTP/1.1\r\n");
  while (drop.send("a")) std::this_thread::sleep_for(5ms);
  EXPECT_TRUE(server->wait_until_closed(kLong));
}

TEST_F(HttpServerTest, AClientThatDoesNotReadIsDisconnected) {
  HttpLimits limits = patient();
  limits.unsent_bytes = 1 << 20;
  start(limits);
  RawClient c = client();
  c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto reply = wait_for_held();
  reply->begin_events();
  const std::string data(10'000, 'a');
  for (int i = 0; i < 10'000; ++i) {  // 100 MB, should nobody stop it
    reply->event(data);
    const std::lock_guard lock(mutex);
    if (gone > 0) break;
    std::this_thread::sleep_for(100us);
  }
  wait_for_gone();
  EXPECT_TRUE(server->wait_until_closed(kLong));

  HttpLimits impatient = patient();
  impatient.write_time = 50ms;
  server.reset();
  start(impatient);
  RawClient stalled = client();
  stalled.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_held(2)->send(200, "text/plain", std::string(50'000'000, 'a'));
  EXPECT_TRUE(server->wait_until_closed(kLong));
}

TEST_F(HttpServerTest, AClientThatLeavesIsNoticedAtEveryStage) {
  start();
  { client(); }
  { client().send("GET / HT"); }
  { client().send("GET / HTTP/1.1\r\nHost: x\r\n"); }
  { client().send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"); }
  {
    RawClient c = client();
    c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_held(1);
  }
  wait_for_gone(1);
  RawClient half = client();
  half.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_held(2);
  half.half_close();
  wait_for_gone(2);
  {
    RawClient c = client();
    c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto reply = wait_for_held(3);
    reply->begin_events();
    reply->event("first");
    EXPECT_TRUE(c.read_until("first"));
  }
  wait_for_gone(3);
  bool at_once = false;
  held[2]->on_gone([&] { at_once = true; });
  EXPECT_TRUE(at_once);
  for (const auto& reply : held) reply->send(200, "text/plain", "to nobody");
  EXPECT_TRUE(server->wait_until_closed(kLong));
  expect_alive();
}

// Its next request stands behind the one in work: leaving shows when something is written.
TEST_F(HttpServerTest, AClientThatLeavesAfterMoreRequestsIsNoticedByWriting) {
  start();
  {
    RawClient c = client();
    c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_held()->begin_events();
  }
  const auto reply = wait_for_held();
  for (bool left = false; !left;) {
    reply->event("more");
    const std::lock_guard lock(mutex);
    left = gone > 0;
  }
  EXPECT_TRUE(server->wait_until_closed(kLong));
}

TEST_F(HttpServerTest, ACompleteAnswerIsNotGoneLater) {
  start();
  {
    RawClient c = client();
    c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    wait_for_held()->send(200, "text/plain", "done");
    EXPECT_EQ(c.read_answer().body, "done");
  }
  EXPECT_TRUE(server->wait_until_closed(kLong));
  EXPECT_EQ(gone, 0);
}

TEST_F(HttpServerTest, ARequestThatIsDroppedOrThrowsIsA500) {
  start();
  EXPECT_EQ(client().get("/drop").status, 500);
  EXPECT_EQ(client().get("/throw").status, 500);
  RawClient c = client();
  c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  wait_for_held()->begin_events();
  held[0]->event("begun");
  held.clear();
  const std::string half = c.read_all();
  EXPECT_TRUE(half.ends_with("data: begun\n\n\r\n")) << half;
  expect_alive();
}

TEST_F(HttpServerTest, OneConnectionTooManyIsRefused) {
  HttpLimits limits = patient();
  limits.connections = 3;
  start(limits);
  std::vector<RawClient> clients;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(clients.emplace_back(socket).get("/").status, 200);
  const std::string refused = client().read_all();
  EXPECT_EQ(refused.substr(0, 12), "HTTP/1.1 503");
  EXPECT_NE(refused.find("Retry-After: 1\r\n"), refused.npos);
  EXPECT_EQ(server->stats().connections, 3u);
  EXPECT_EQ(server->stats().refused, 1u);
  clients.clear();
  EXPECT_TRUE(server->wait_until_closed(kLong));
  expect_alive();
}

TEST_F(HttpServerTest, DrainingAnswersWhatIsThereAndClosesTheRest) {
  start();
  RawClient idle = client(), busy = client();
  EXPECT_EQ(idle.get("/").status, 200);
  busy.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto reply = wait_for_held();
  server->drain();
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_FALSE(server->wait_until_closed(1ms));
  reply->send(200, "text/plain", "the last");
  const std::string answer = busy.read_all();
  EXPECT_NE(answer.find("Connection: close"), answer.npos);
  EXPECT_TRUE(answer.ends_with("the last")) << answer;
  busy.close();
  EXPECT_TRUE(server->wait_until_closed(kLong));
  EXPECT_EQ(client().get("/").status, 0);  // nobody listens: refused, or closed unread
}

TEST_F(HttpServerTest, RepliesMayOutliveTheServer) {
  start();
  RawClient c = client();
  c.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto reply = wait_for_held();
  server.reset();
  wait_for_gone();
  reply->begin_events();
  reply->event("nobody hears it");
  reply->end_events();
  EXPECT_EQ(c.read_all(), "");
}

TEST_F(HttpServerTest, UnixSocketsAreTheirOwnersAndOneServers) {
  start();
  struct stat info;
  ASSERT_EQ(::stat(socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  HttpServer second(patient(), [](HttpRequest, std::shared_ptr<HttpReply>) {});
  const auto taken = second.listen_unix(socket, 0600);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::busy);
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(socket));
  {  // what a dead process leaves
    const Fd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, socket.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_TRUE(std::filesystem::exists(socket));
  start();
  expect_alive();
  const auto file = folder / "file";
  ASSERT_TRUE(write_file_atomic(file, {}));
  EXPECT_FALSE(second.listen_unix(file, 0600));
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_FALSE(second.listen_unix(std::string(200, 'a'), 0600));
}

// Nothing is asserted of the answers: the server must live, and lose no connection.
TEST_F(HttpServerTest, RandomBytes) {
  HttpLimits limits = patient();
  limits.header_bytes = 512;
  limits.body_bytes = 512;
  start(limits);
  const std::string good =
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: "
      "keep-alive\r\n\r\n"
      "helloGET /events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  std::mt19937 random(11);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  for (int i = 0; i < 10'000; ++i) {
    std::string bytes;
    if (i % 4 == 0) {
      for (std::size_t n = below(300); n > 0; --n) bytes += static_cast<char>(random());
    } else {  // a good one with some bytes changed, left out or doubled
      bytes = good.substr(0, 1 + below(good.size()));
      for (std::size_t n = below(4); n > 0 && !bytes.empty(); --n) {
        const std::size_t at = below(bytes.size());
        if (n == 1)
          bytes[at] = static_cast<char>(random());
        else if (n == 2)
          bytes.erase(at, below(10));
        else
          bytes.insert(at, bytes.substr(below(bytes.size()), below(50)));
      }
    }
    RawClient c = client();
    if (!c.connected()) continue;  // over the limit of what waits to be accepted
    c.send(bytes);
    if (i % 2 == 0) {
      c.half_close();
      c.read_all();
    }
  }
  EXPECT_TRUE(server->wait_until_closed(kLong));
  expect_alive();
}

TEST_F(HttpServerTest, ManyClientsAtOnce) {
  start();
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      RawClient c = client();
      for (int i = 0; i < 50; ++i) {
        const std::string body = std::to_string(t) + "." + std::to_string(i);
        if (i % 10 == 9) c = client();
        if (c.post("/echo", body).body == "POST /echo " + body && c.get("/events").status == 200) ++answered;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, 400);
}

}  // namespace
}  // namespace dgq::agent

// What the agent and its service manager say to each other.
#include "agent/systemd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "agent/heartbeat.h"
#include "tests/agent/api_fixture.h"
#include "tests/agent/notify_socket.h"

namespace dgq::agent {
namespace {

using namespace std::chrono_literals;
using test::NotifySocket;

void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
std::string own_pid() { return std::to_string(::getpid()); }

TEST(ServiceManager, IsToldByDatagram) {
  for (const bool abstract : {false, true}) {
    const dgq::test::ScratchFolder folder;
    NotifySocket manager(abstract ? "@dgq-test-" + own_pid() : (folder / "notify").string());
    set("NOTIFY_SOCKET", manager.name());
    set("WATCHDOG_USEC", "3000000");
    set("WATCHDOG_PID", own_pid());
    const auto service = ServiceManager::from_environment();
    ASSERT_TRUE(service) << service.error().what;
    EXPECT_EQ(std::getenv("NOTIFY_SOCKET"), nullptr);
    EXPECT_EQ(service->watchdog(), 3s);
    service->ready();
    service->status("a line");
    service->alive();
    service->reloading();
    service->stopping();
    EXPECT_EQ(manager.next(), "READY=1");
    EXPECT_EQ(manager.next(), "STATUS=a line");
    EXPECT_EQ(manager.next(), "WATCHDOG=1");
    EXPECT_EQ(manager.next().substr(0, 27), "RELOADING=1\nMONOTONIC_USEC=");
    EXPECT_EQ(manager.next(), "STOPPING=1");
  }
}

TEST(ServiceManager, WithoutOneNothingHappens) {
  const auto none = ServiceManager::from_environment();
  ASSERT_TRUE(none);
  EXPECT_FALSE(none->watchdog());
  none->ready();
  set("NOTIFY_SOCKET", "/nobody/listens");
  const auto deaf = ServiceManager::from_environment();
  ASSERT_TRUE(deaf);
  deaf->ready();
  set("WATCHDOG_USEC", "3000000");
  set("WATCHDOG_PID", "1");  // another's
  EXPECT_FALSE(ServiceManager::from_environment()->watchdog());
}

TEST(ServiceManager, BrokenVariablesAreRefused) {
  for (const auto& [name, value] :
       {std::pair("NOTIFY_SOCKET", std::string("relative")), std::pair("NOTIFY_SOCKET", std::string("@")),
        std::pair("NOTIFY_SOCKET", "/" + std::string(200, 'a')),
        std::pair("WATCHDOG_USEC", std::string("soon")), std::pair("WATCHDOG_USEC", std::string("-1"))}) {
    set(name, value);
    const auto manager = ServiceManager::from_environment();
    ASSERT_FALSE(manager) << name << "=" << value;
    EXPECT_NE(manager.error().what.find(name), std::string::npos) << manager.error().what;
  }
}

TEST(Journal, IsTheFileThatTheEnvironmentNames) {
  std::FILE* file = std::tmpfile();
  struct stat status {};
  ASSERT_EQ(::fstat(::fileno(file), &status), 0);
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_FALSE(is_journal(::fileno(file)));
  set("JOURNAL_STREAM", std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino));
  EXPECT_TRUE(is_journal(::fileno(file)));
  EXPECT_FALSE(is_journal(STDERR_FILENO));
  set("JOURNAL_STREAM", "x");
  EXPECT_FALSE(is_journal(::fileno(file)));
  std::fclose(file);
}

TEST(InheritedSockets, AreThoseOfThisProcessOnly) {
  EXPECT_TRUE(inherited_sockets()->empty());
  set("LISTEN_PID", "1");
  set("LISTEN_FDS", "1");
  EXPECT_TRUE(inherited_sockets()->empty());
  EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
  for (const std::string count : {"100000", "99999999999999999999", "x", ""}) {
    set("LISTEN_PID", own_pid());
    set("LISTEN_FDS", count);
    const auto sockets = inherited_sockets();
    ASSERT_FALSE(sockets) << count;
    EXPECT_NE(sockets.error().what.find("LISTEN_FDS"), std::string::npos) << sockets.error().what;
  }
}

TEST(InheritedSockets, OnlyThoseThatListenAreServed) {
  HttpServer server(HttpLimits{}, [](const HttpRequest&, const std::shared_ptr<HttpReply>& reply) {
    reply->send(200, "text/plain", "here");
  });
  EXPECT_EQ(server.listen_inherited(Fd(::open("/dev/null", O_RDONLY))).error().code, Errc::invalid);
  EXPECT_EQ(server.listen_inherited(Fd(::socket(AF_INET, SOCK_STREAM, 0))).error().code, Errc::invalid);
  EXPECT_EQ(server.listen_inherited(Fd(::socket(AF_INET, SOCK_DGRAM, 0))).error().code, Errc::invalid);
  EXPECT_EQ(server.listen_inherited(Fd()).error().code, Errc::invalid);
  const dgq::test::ScratchFolder folder;
  Fd local(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder / "s").c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(local.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(local.get(), 5), 0);
  std::vector<Fd> sockets;
  sockets.emplace_back(::socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(unix_socket_path(sockets), "");
  sockets.push_back(std::move(local));
  EXPECT_EQ(unix_socket_path(sockets), (folder / "s").string());
  const auto taken = server.listen_inherited(std::move(sockets[1]));
  ASSERT_TRUE(taken) << taken.error().what;
  EXPECT_EQ(*taken, (folder / "s").string());
  EXPECT_EQ(test::RawClient(folder / "s").get("/").body, "here");
}

// Alive as long as engine and server answer; an engine that is stuck is not, and nobody is told that it is.
TEST(Heartbeat, StopsWhenTheEngineIsStuck) {
  const dgq::test::ScratchFolder folder;
  NotifySocket manager((folder / "notify").string());
  set("NOTIFY_SOCKET", manager.name());
  set("WATCHDOG_USEC", "30000");
  const auto service = ServiceManager::from_environment();
  ASSERT_TRUE(service);
  test::ServedApi served;
  const auto sink = std::make_shared<test::Recorder>();
  sink->pause_at(1);
  Heartbeat heartbeat(*service, served.server, served.models, served.log);
  const auto wait_for = [&](const std::string& text) {
    while (manager.next() != text) {
    }
  };
  wait_for("WATCHDOG=1");
  ASSERT_TRUE(served.engine().submit(test::request_of(2, 3), sink));
  sink->wait_for_tokens(1);
  while (!manager.quiet_for(500ms)) {
  }
  EXPECT_FALSE(served.engine().answers(1ms));
  sink->resume();
  wait_for("STATUS=0 requests run, 0 wait");
  wait_for("WATCHDOG=1");
  EXPECT_EQ(sink->wait(), Finish::length);
  heartbeat.draining();
  served.server.drain();
  wait_for("WATCHDOG=1");
  wait_for("WATCHDOG=1");
}

}  // namespace
}  // namespace dgq::agent

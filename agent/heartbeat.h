// agent/heartbeat.h - tells the service manager that the agent is alive, as long as it is: every engine comes
// round, and the server answers a request of ours that takes the way of all requests.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "agent/http_server.h"
#include "agent/log.h"
#include "agent/models.h"
#include "agent/systemd.h"

namespace dgq::agent {

// A thread of its own until it is destroyed. Three times within the manager's watchdog time (every 10 s
// without one: then only the status line is told) it asks all parts; what does not answer is logged, and the
// manager hears nothing. When that lasts, the manager starts the agent anew.
class Heartbeat {
 public:
  // Borrows all of them.
  Heartbeat(const ServiceManager& manager, HttpServer& server, Models& models, const Log& log);
  ~Heartbeat();

  // From now on the server takes no connections: only the engines are asked.
  void draining() { draining_ = true; }

 private:
  void run();
  void beat();
  bool engines_answer(std::chrono::milliseconds patience);

  const ServiceManager& manager_;
  HttpServer& server_;
  Models& models_;
  const Log& log_;
  const std::chrono::milliseconds period_;
  std::atomic<bool> draining_ = false;
  std::mutex mutex_;  // guards stopping_
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;  // the last, so that everything is there when it starts
};

}  // namespace dgq::agent

#include "agent/heartbeat.h"

#include <algorithm>

namespace dgq::agent {
namespace {

using std::chrono::milliseconds;

milliseconds period_of(const ServiceManager& manager) {
  if (!manager.watchdog()) return milliseconds(10'000);
  return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(*manager.watchdog() / 3));
}

}  // namespace

Heartbeat::Heartbeat(const ServiceManager& manager, HttpServer& server, Models& models, const Log& log)
    : manager_(manager), server_(server), models_(models), log_(log), period_(period_of(manager)) {
  thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_one();
  thread_.join();
}

void Heartbeat::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    beat();
    lock.lock();
    stop_.wait_for(lock, period_, [this] { return stopping_; });
  }
}

bool Heartbeat::engines_answer(milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::size_t running = 0, waiting = 0;
  for (const auto& model : models_.all()) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (!model->engine->answers(std::max(left, milliseconds(0)))) {
      log_.write(Log::Level::warning, "unresponsive", {{"part", "engine"}, {"model", model->name}});
      return false;
    }
    const EngineStats stats = model->engine->stats();
    running += stats.processing;
    waiting += stats.waiting;
  }
  manager_.status(std::to_string(running) + " requests run, " + std::to_string(waiting) + " wait");
  return true;
}

void Heartbeat::beat() {
  if (!engines_answer(period_ / 2)) return;
  if (draining_ || server_.answers(period_ / 2) || draining_) return manager_.alive();
  log_.write(Log::Level::warning, "unresponsive", {{"part", "http"}});
}

}  // namespace dgq::agent

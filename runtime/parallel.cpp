#include "runtime/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/together.h"

namespace dgq {
namespace {

// How often a waiting thread looks before it sleeps. The next step of a token is there within microseconds, and sleeping and waking
// costs more than the step; between tokens, while one is sampled, a thread may sleep. (Looking only briefly after a sleep, to leave the CPU to
// others, cost an agent 8 % of its speed and won nothing that runtime/together.h does not win.)
constexpr int kLooks = 10000;

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// Returns when `value` is no longer `old`; whether it slept. What the writer of the value did before is visible.
bool wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int i = 0; i < kLooks; ++i) {
    if (value.load(std::memory_order_acquire) != old) return false;
    relax();
  }
  value.wait(old, std::memory_order_acquire);
  return true;
}

// Threads that wake each other may land on one CPU, and the kernel leaves them there, since they rarely want it at the same time: in a
// virtual machine even beside an idle CPU, which looks taken while it is halted. Decoding 1B with 2 threads was at 32
// tokens/s then, and at 70 otherwise. So a thread moves that finds itself beside the other, but seldom: where all CPUs are
// taken the kernel knows better (the demo model beside a web server's load: 1900 tokens/s, and 850 when it moved each time).
class Apartness {
 public:
  void keep_from(int cpu) {
    if (cpu != sched_getcpu()) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - moved_ < std::chrono::seconds(1)) return;
    moved_ = now;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    cpu_set_t others = allowed;
    CPU_CLR(static_cast<std::size_t>(cpu), &others);
    if (CPU_COUNT(&others) == 0) return;
    sched_setaffinity(0, sizeof others, &others);  // moves it at once
    sched_setaffinity(0, sizeof allowed, &allowed);
  }

 private:
  std::chrono::steady_clock::time_point moved_{};
};

// Half of a long loop is shared out beforehand, the rest goes in pieces to whoever is ready: cores differ (big.LITTLE), and
// one that another process interrupts would keep all others waiting. Decoding 1B with 2 threads on a busy machine 47 -> 49.5
// tokens/s. In short loops the pieces cost more than that (135M 500 -> 460).
constexpr std::size_t kLongShare = 64, kPieces = 4;

// One loop and what has begun of it.
struct Loop {
  RangeBody body;
  const void* context;
  std::size_t count, threads;
  std::atomic<std::size_t>* taken;  // of what a long loop does not share out beforehand

  void call(std::size_t thread, std::size_t begin, std::size_t end) const {
    if (begin < end) body(context, begin, end, static_cast<int>(thread));
  }

  void run_share(std::size_t thread) const {
    const std::size_t share = count / threads, half = share / 2;
    if (threads == 1 || share < kLongShare)
      return call(thread, count * thread / threads, count * (thread + 1) / threads);
    call(thread, half * thread, half * (thread + 1));
    const std::size_t rest = half * threads, piece = half / kPieces;
    while (true) {
      const std::size_t begin = rest + taken->fetch_add(piece, std::memory_order_relaxed);
      if (begin >= count) return;
      call(thread, begin, std::min(begin + piece, count));
    }
  }
};

// A thread that sleeps between loops. What its caller offers it may take back until it has begun: a thread that was asleep, or that
// waits for a CPU, keeps nobody. The loop lies in one cache line with the state, so that the thread has it when it sees that it starts.
class alignas(64) Helper {
 public:
  explicit Helper(std::size_t index) : thread_([this, index] { run(index); }) {}
  ~Helper() {
    start({}, -1);
    thread_.join();
  }

  // cpu: the caller's.
  void start(const Loop& loop, int cpu) {
    loop_ = loop;
    callers_cpu_.store(cpu, std::memory_order_relaxed);
    turn_to(state_.load(std::memory_order_relaxed) + kOffered);
  }
  // False: it has begun.
  bool take_back() {
    std::uint32_t state = state_.load(std::memory_order_relaxed);
    return state % kIdleAgain == kOffered && begins(state, state - kOffered + kIdleAgain);
  }
  // After it has begun.
  void wait() {
    const std::uint32_t state = state_.load(std::memory_order_acquire);
    if (state % kIdleAgain == kBegun) wait_while(state_, state);
  }

 private:
  // Counts on with every loop, so that a thread which slept through one sees that it was woken.
  enum : std::uint32_t { kOffered = 1, kBegun = 2, kIdleAgain = 4 };

  void turn_to(std::uint32_t state) {
    state_.store(state, std::memory_order_release);
    state_.notify_one();
  }
  bool begins(std::uint32_t offered, std::uint32_t next) {
    return state_.compare_exchange_strong(offered, next, std::memory_order_acquire, std::memory_order_relaxed);
  }

  void run(std::size_t index) {
    Apartness apartness;
    for (std::uint32_t state = 0;;) {
      if (wait_while(state_, state)) apartness.keep_from(callers_cpu_.load(std::memory_order_relaxed));
      state = state_.load(std::memory_order_relaxed);
      if (state % kIdleAgain != kOffered || !begins(state, state - kOffered + kBegun)) continue;
      if (!loop_.body) return;
      loop_.run_share(index);
      state += kIdleAgain - kOffered;
      turn_to(state);
    }
  }

  std::atomic<std::uint32_t> state_ = 0;
  std::atomic<int> callers_cpu_ = -1;
  Loop loop_{};
  std::thread thread_;
};

// The helpers of one calling thread, which end with it.
class Team {
 public:
  void run(int most, std::size_t count, RangeBody body, const void* context) {
    const auto began = Together::Clock::now();
    const auto threads = static_cast<std::size_t>(together_.threads(most));
    const std::size_t helpers = threads - 1;
    while (helpers_.size() < helpers) helpers_.push_back(std::make_unique<Helper>(helpers_.size() + 1));
    const int cpu = sched_getcpu();
    taken_.store(0, std::memory_order_relaxed);
    const Loop loop{body, context, count, threads, &taken_};
    for (std::size_t i = 0; i < helpers; ++i) helpers_[i]->start(loop, cpu);
    loop.run_share(0);
    for (std::size_t i = 0; i < helpers; ++i)
      if (helpers_[i]->take_back()) loop.run_share(i + 1);
    const auto worked = Together::Clock::now();
    for (std::size_t i = 0; i < helpers; ++i) helpers_[i]->wait();
    const auto ended = Together::Clock::now();
    together_.took(worked - began, ended - worked, ended);
  }

 private:
  alignas(64) std::atomic<std::size_t> taken_ = 0;
  alignas(64) std::vector<std::unique_ptr<Helper>> helpers_;
  Together together_;
};

}  // namespace

void run_ranges(int threads, std::size_t count, RangeBody body, const void* context) {
  thread_local Team team;
  team.run(threads, count, body, context);
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;  // the kernel's list of the hardware threads of one core names the core
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(std::move(siblings));
  }
  return cores.empty() ? 1 : static_cast<int>(cores.size());
}

}  // namespace dgq

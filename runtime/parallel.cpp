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

// How often a waiting thread looks before it sleeps. On an idle machine the next step of a token is there within
// microseconds, and sleeping and waking costs more than the step; on a busy one a thread that spins takes the time that
// the one it waits for needs. So: look for long, but after a wait that was longer than that, for the next waits only
// briefly. Decoding the 14M demo model with 2 threads on 2 cores, tokens/s on an idle machine / beside one busy
// process: always long 2700 / 700, always brief 330 / 1350, this 2600 / 850, libgomp's
// threads 2158 / 12, one thread 1950 / 1950.
class Patience {
 public:
  int looks() const { return brief_ > 0 ? kBrief : kLong; }
  void waited(bool slept) {
    if (brief_ > 0)
      --brief_;
    else if (slept)
      brief_ = kBackOff;
  }

 private:
  static constexpr int kLong = 10000, kBrief = 50, kBackOff = 256;
  int brief_ = 0;  // waits left to be brief in
};

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// Returns when `value` is no longer `old`; whether it slept. What the writer of the value did before is visible.
bool wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old, Patience& patience) {
  bool sleeps = true;
  for (int i = patience.looks(); sleeps && i > 0; --i) {
    sleeps = value.load(std::memory_order_acquire) == old;
    if (sleeps) relax();
  }
  if (sleeps) value.wait(old, std::memory_order_acquire);
  patience.waited(sleeps);
  return sleeps;
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

// The helpers of one calling thread: they sleep between loops and end with it.
class Team {
 public:
  ~Team() {
    body_ = nullptr;
    start();
    for (const auto& helper : helpers_) helper->thread.join();
  }

  void run(int threads, std::size_t count, RangeBody body, const void* context) {
    const auto began = Together::Clock::now();
    if (together_.is_alone(began)) return body(context, 0, count, 0);
    grow(threads);
    body_ = body, context_ = context, count_ = count, threads_ = static_cast<std::size_t>(threads);
    taken_.store(0, std::memory_order_relaxed);
    cpu_.store(sched_getcpu(), std::memory_order_relaxed);
    const std::uint32_t before = start();
    run_share(0);
    const auto worked = Together::Clock::now();
    for (const auto& helper : helpers_) wait_while(helper->done, before, patience_);
    const auto ended = Together::Clock::now();
    together_.took(worked - began, ended - worked, threads, ended);
  }

 private:
  struct Helper {
    alignas(64) std::atomic<std::uint32_t> done;  // the last round that it has finished
    std::thread thread;
  };

  void grow(int threads) {
    while (helpers_.size() + 1 < static_cast<std::size_t>(threads)) {
      const std::size_t index = helpers_.size() + 1;
      Helper& helper = *helpers_.emplace_back(std::make_unique<Helper>());
      helper.done = round_.load();
      helper.thread = std::thread([this, index, &helper] {
        Patience patience;
        Apartness apartness;
        while (true) {
          const bool slept = wait_while(round_, helper.done.load(std::memory_order_relaxed), patience);
          const std::uint32_t round = round_.load(std::memory_order_acquire);
          if (!body_) return;
          if (slept) apartness.keep_from(cpu_.load(std::memory_order_relaxed));
          run_share(index);
          helper.done.store(round, std::memory_order_release);
          helper.done.notify_one();
        }
      });
    }
  }

  std::uint32_t start() {  // returns the round before
    const std::uint32_t before = round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    return before;
  }

  void call(std::size_t thread, std::size_t begin, std::size_t end) const {
    if (begin < end) body_(context_, begin, end, static_cast<int>(thread));
  }

  void run_share(std::size_t thread) {
    if (thread >= threads_) return;
    const std::size_t share = count_ / threads_, half = share / 2;
    if (share < kLongShare) return call(thread, count_ * thread / threads_, count_ * (thread + 1) / threads_);
    call(thread, half * thread, half * (thread + 1));
    const std::size_t rest = half * threads_, piece = half / kPieces;
    while (true) {
      const std::size_t begin = rest + taken_.fetch_add(piece, std::memory_order_relaxed);
      if (begin >= count_) return;
      call(thread, begin, std::min(begin + piece, count_));
    }
  }

  // The loop, in one cache line with what the helpers wait for, so that they have it when they see that it starts.
  // Written while every helper waits for the next round; a null body ends them.
  alignas(64) std::atomic<std::uint32_t> round_ = 0;
  RangeBody body_ = nullptr;
  const void* context_ = nullptr;
  std::size_t count_ = 0, threads_ = 0;
  std::atomic<int> cpu_ = -1;                       // where the caller is
  alignas(64) std::atomic<std::size_t> taken_ = 0;  // of what a long loop does not share out beforehand
  alignas(64) std::vector<std::unique_ptr<Helper>> helpers_;
  Patience patience_;
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

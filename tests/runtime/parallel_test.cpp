#include "runtime/parallel.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "runtime/together.h"

namespace dgq {
namespace {

// Every index once, the ranges of a thread in order, thread numbers in range.
void expect_covers(int threads, std::size_t count) {
  std::vector<int> visits(count);
  std::vector<std::vector<std::size_t>> begins(static_cast<std::size_t>(threads));
  parallel_ranges(threads, count, [&](std::size_t begin, std::size_t end, int thread) {
    begins.at(static_cast<std::size_t>(thread)).push_back(begin);
    for (std::size_t i = begin; i < end; ++i) ++visits[i];
  });
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(visits[i], 1) << "index " << i << " of " << count;
  for (const auto& of_thread : begins) EXPECT_TRUE(std::is_sorted(of_thread.begin(), of_thread.end()));
}

TEST(ParallelRanges, CoverEveryIndexOnce) {
  for (int threads : {1, 2, 3, 8, 2, 5, 1})  // the team grows, and is used in part
    for (std::size_t count : {0u, 1u, 2u, 3u, 7u, 8u, 100u, 127u, 128u, 129u, 1000u})
      expect_covers(threads, count);
}

TEST(ParallelRanges, ManyShortLoops) {
  std::vector<long> sums(4);
  for (int round = 0; round < 2000; ++round)
    parallel_ranges(4, 4, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i) sums[i] += round;
    });
  for (long sum : sums) EXPECT_EQ(sum, 2000L * 1999 / 2);
}

// Loops of so long, one after the other, until the number of threads changes, at most 5 s: how long that took.
std::chrono::milliseconds until_other_number(Together& together, std::chrono::microseconds work,
                                             std::chrono::microseconds wait,
                                             Together::Clock::time_point& now) {
  const auto from = now;
  const int before = together.threads(16);
  while (together.threads(16) == before && now - from < std::chrono::seconds(5)) {
    now += work + wait;
    together.took(work, wait, now);
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - from);
}

TEST(Together, TakesHalfOfThreadsThatAreWaitedForTooLong) {
  using std::chrono::microseconds, std::chrono::milliseconds;
  Together together;
  Together::Clock::time_point now{};
  EXPECT_EQ(together.threads(2), 2);
  EXPECT_EQ(until_other_number(together, microseconds(50), microseconds(45), now), milliseconds(5000));
  for (const int fewer : {8, 4, 2, 1}) {
    EXPECT_LE(until_other_number(together, microseconds(40), microseconds(60), now), Together::kWindow);
    EXPECT_EQ(together.threads(16), fewer);
    EXPECT_EQ(together.threads(1), 1);
  }
  for (const int more : {2, 4, 8, 16}) {  // when it goes well, after a pause
    EXPECT_LE(until_other_number(together, microseconds(95), microseconds(5), now), 16 * Together::kPause);
    EXPECT_EQ(together.threads(16), more);
  }
}

TEST(Together, TriesMoreThreadsMoreAndMoreSeldom) {
  using std::chrono::microseconds;
  Together together;
  Together::Clock::time_point now{};
  for (auto pause = Together::kPause; pause <= 2 * Together::kLongestPause; pause *= 2) {
    EXPECT_EQ(until_other_number(together, microseconds(40), microseconds(60), now), Together::kWindow);
    EXPECT_EQ(together.threads(2), 1);
    EXPECT_EQ(until_other_number(together, microseconds(100), microseconds(0), now),
              std::min(pause, Together::kLongestPause));
    EXPECT_EQ(together.threads(2), 2);
  }
  // One long wait among many short ones changes nothing: a thread that was asleep, a timer.
  together.took(microseconds(5), microseconds(4000), now);
  EXPECT_EQ(until_other_number(together, microseconds(50), microseconds(2), now).count(), 5000);
}

// With helpers that no loop before has taught to be alone (runtime/together.h).
template <class Body>
void with_new_helpers(const Body& body) {
  std::thread(body).join();
}

// Two threads that have landed on one CPU do not stay there, however often they sleep between loops.
void expect_threads_to_part() {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  if (CPU_COUNT(&allowed) < 2) GTEST_SKIP() << "there is one CPU only";
  std::array<int, 2> cpu{};
  const auto caller = std::this_thread::get_id();
  const auto loop = [&](bool together) {
    const int callers = cpu[0];
    std::atomic<bool> helper_is_there = false;
    parallel_ranges(2, 2, [&](std::size_t, std::size_t, int thread) {
      if (thread == 1 && std::this_thread::get_id() == caller) return;  // the helper had not begun
      if (thread == 1) helper_is_there = true;
      while (together && !helper_is_there) std::this_thread::yield();
      if (together && thread == 1) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(static_cast<std::size_t>(callers), &one);
        ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
        ASSERT_EQ(sched_setaffinity(0, sizeof allowed, &allowed), 0);
      }
      cpu[static_cast<std::size_t>(thread)] = sched_getcpu();
    });
  };
  cpu[0] = sched_getcpu();
  for (int i = 0; i < 100 && (i == 0 || cpu[0] != cpu[1]); ++i)
    loop(true);  // the caller may have moved meanwhile
  if (cpu[0] != cpu[1]) GTEST_SKIP() << "the machine is too busy to bring two threads together";
  for (int i = 0; i < 2000 && cpu[0] == cpu[1]; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // so that it sleeps
    loop(false);
  }
  EXPECT_NE(cpu[0], cpu[1]);
}
TEST(ParallelRanges, ThreadsLeaveTheCpuThatTheyShare) { with_new_helpers(expect_threads_to_part); }

// Of a long loop the threads that are ready take what one that is kept has not begun.
void expect_others_to_go_on() {
  constexpr std::size_t kCount = 1000;
  std::atomic<std::size_t> done = 0;
  std::atomic<bool> first = true;
  bool in_vain = false;
  parallel_ranges(2, kCount, [&](std::size_t begin, std::size_t end, int) {
    if (first.exchange(false)) {  // waits until the other thread has done all but this range
      const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (done + (end - begin) < kCount && !in_vain) {
        in_vain = std::chrono::steady_clock::now() > give_up;
        std::this_thread::yield();
      }
    }
    done += end - begin;
  });
  EXPECT_EQ(done, kCount);
  EXPECT_FALSE(in_vain);
}
TEST(ParallelRanges, OneSlowThreadDoesNotKeepTheOthers) { with_new_helpers(expect_others_to_go_on); }

// On one CPU a helper has seldom begun when the caller is done.
void expect_the_caller_to_do_what_is_not_begun() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const auto caller = std::this_thread::get_id();
  int alone = 0;
  for (int i = 0; i < 1000; ++i) {
    std::array<std::thread::id, 2> by;
    parallel_ranges(2, 2, [&](std::size_t begin, std::size_t end, int thread) {
      ASSERT_EQ(end, begin + 1);
      ASSERT_EQ(static_cast<std::size_t>(thread), begin);
      by[begin] = std::this_thread::get_id();
    });
    alone += by[0] == caller && by[1] == caller;
  }
  EXPECT_GT(alone, 0);
}
TEST(ParallelRanges, AHelperThatHasNotBegunKeepsNobody) {
  with_new_helpers(expect_the_caller_to_do_what_is_not_begun);
}

TEST(ParallelRanges, AfterAPauseInWhichHelpersFellAsleep) {
  for (int round = 0; round < 5; ++round) {
    expect_covers(3, 50);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

TEST(ParallelRanges, CallersHaveHelpersOfTheirOwn) {
  std::vector<std::thread> callers;
  std::atomic<int> total = 0;
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round)
        parallel_ranges(
            3, 30, [&](std::size_t begin, std::size_t end, int) { total += static_cast<int>(end - begin); });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 200 * 30);
}

TEST(PhysicalCores, IsAtLeastOneAndNotMoreThanThereAre) {
  EXPECT_GE(physical_cores(), 1);
  EXPECT_LE(physical_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace dgq

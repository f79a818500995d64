#include "runtime/parallel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace dgq {
namespace {

// Every index once, ranges in order, thread numbers in range.
void expect_covers(int threads, std::size_t count) {
  std::vector<int> visits(count);
  std::vector<std::size_t> begins(static_cast<std::size_t>(threads), SIZE_MAX);
  parallel_ranges(threads, count, [&](std::size_t begin, std::size_t end, int thread) {
    begins[static_cast<std::size_t>(thread)] = begin;
    for (std::size_t i = begin; i < end; ++i) ++visits[i];
  });
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(visits[i], 1) << "index " << i << " of " << count;
  std::erase(begins, SIZE_MAX);
  EXPECT_TRUE(std::is_sorted(begins.begin(), begins.end()));
}

TEST(ParallelRanges, CoverEveryIndexOnce) {
  for (int threads : {1, 2, 3, 8, 2, 5, 1})  // the team grows, and is used in part
    for (std::size_t count : {0u, 1u, 2u, 3u, 7u, 8u, 100u}) expect_covers(threads, count);
}

TEST(ParallelRanges, ManyShortLoops) {
  std::vector<long> sums(4);
  for (int round = 0; round < 2000; ++round)
    parallel_ranges(4, 4, [&](std::size_t begin, std::size_t end, int) {
      for (std::size_t i = begin; i < end; ++i) sums[i] += round;
    });
  for (long sum : sums) EXPECT_EQ(sum, 2000L * 1999 / 2);
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

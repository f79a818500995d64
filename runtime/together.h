// runtime/together.h - how many threads a loop gains from while other programs want the CPUs, too.
//
// Threads that share a loop wait for the last of them. On a free machine that is for a microsecond; where one waits for a CPU, the
// others wait for it, for milliseconds, in every loop, and all of them together are slower than fewer, which leave it one.
// Decoding 135M with 2 threads on two cores, tokens/s: beside four busy processes always together 2, as below 100; through
// an agent, 330 and as below 330.
#pragma once

#include <algorithm>
#include <chrono>

namespace dgq {

// Adds up over some time how long the caller of loops works on its share and how long it waits for the others. When half the threads could
// have done it all in that time, it takes half of them for a while, longer each time, and then tries twice as many again.
class Together {
 public:
  using Clock = std::chrono::steady_clock;

  // Of `most`, for the next loop.
  int threads(int most) const { return std::max(1, most >> halvings_); }

  // Of one loop, which ended at `now`.
  void took(Clock::duration work, Clock::duration wait, Clock::time_point now) {
    work_ += work, wait_ += wait;
    if (work_ + wait_ < kWindow) return;
    if (wait_ > work_) {
      ++halvings_;
      until_ = now + pause_;
      pause_ = std::min<Clock::duration>(2 * pause_, kLongestPause);
    } else if (now >= until_) {
      if (halvings_ == 0) pause_ = kPause;
      halvings_ = std::max(0, halvings_ - 1);
    }
    work_ = wait_ = {};
  }

  static constexpr std::chrono::milliseconds kWindow{10}, kPause{10}, kLongestPause{1600};

 private:
  Clock::duration work_{}, wait_{}, pause_ = kPause;
  Clock::time_point until_{};
  int halvings_ = 0;
};

}  // namespace dgq

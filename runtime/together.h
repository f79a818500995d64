// runtime/together.h - whether a loop gains from several threads while other programs want the CPUs, too.
//
// Threads that share a loop wait for the last of them. On a free machine that is for a microsecond; where one waits for a CPU, the
// others wait for it, for milliseconds, in every loop, and all of them together are slower than one alone. Decoding 135M with 2 threads
// beside four busy processes on two cores: always together 50 tokens/s, as below 113; on the free machine no difference.
#pragma once

#include <algorithm>
#include <chrono>

namespace dgq {

// Adds up over some time how long the caller of loops works on its share and how long it waits for the others. When it waits so
// long that it could have done their shares itself, it does without them for a while, longer each time.
class Together {
 public:
  using Clock = std::chrono::steady_clock;

  bool is_alone(Clock::time_point now) const { return now < alone_until_; }

  // Of one loop of `threads` >= 2, which ended at `now`.
  void took(Clock::duration work, Clock::duration wait, int threads, Clock::time_point now) {
    work_ += work, wait_ += wait;
    if (work_ + wait_ < kWindow) return;
    if (wait_ > work_ * (threads - 1)) {
      alone_until_ = now + pause_;
      pause_ = std::min<Clock::duration>(2 * pause_, kLongestPause);
    } else {
      pause_ = kPause;
    }
    work_ = wait_ = {};
  }

  static constexpr std::chrono::milliseconds kWindow{10}, kPause{100}, kLongestPause{1600};

 private:
  Clock::duration work_{}, wait_{}, pause_ = kPause;
  Clock::time_point alone_until_{};
};

}  // namespace dgq

#include "agent/give_way.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dgq::agent {
namespace {

// A thread that wakes goes before one with a longer slice, whose share of the CPU stays what it was; where slices cannot be chosen
// the nice value does some of that. Two threads that decode, their agent's and eight clients' on two cores: 99 of 100 tokens of a
// stream beside a prompt came within 1.9 to 2.9 times the median of their spacing, without this within 2.0 to 4.8.
// Nicer than 2 and a load on /health (wrk) takes the CPUs from eight streams (5800 tokens/s, 4400 with 4).
constexpr long long kLongestSliceNs = 100'000'000;
constexpr int kNicer = 2, kNicest = 19;

}  // namespace

void give_way() {
  sched_attr attributes{};
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.sched_policy != SCHED_NORMAL) return;
  attributes.size = sizeof attributes;
  attributes.sched_runtime = kLongestSliceNs;
  attributes.sched_nice = attributes.sched_nice + kNicer < kNicest ? attributes.sched_nice + kNicer : kNicest;
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace dgq::agent

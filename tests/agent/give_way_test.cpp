#include "agent/give_way.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <thread>

namespace dgq::agent {
namespace {

int nice_of_this_thread() { return ::getpriority(PRIO_PROCESS, 0); }

TEST(GiveWay, IsOfTheThreadAndOfThoseThatItStarts) {
  const int usual = nice_of_this_thread();
  int own = 0, of_helper = 0;
  std::thread([&] {
    give_way();
    own = nice_of_this_thread();
    std::thread([&] { of_helper = nice_of_this_thread(); }).join();
  }).join();
  EXPECT_EQ(own, std::min(usual + 2, 19));
  EXPECT_EQ(of_helper, own);
  EXPECT_EQ(nice_of_this_thread(), usual);
}

TEST(GiveWay, GoesNoFurtherThanThereIs) {
  int nicest = 0;
  std::thread([&] {
    for (int i = 0; i < 20; ++i) give_way();
    nicest = nice_of_this_thread();
  }).join();
  EXPECT_EQ(nicest, 19);
}

}  // namespace
}  // namespace dgq::agent

#include "rpc/xid_tracker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace sheen::rpc {
namespace {

TEST(XidTrackerTest, WaiterIsCalledWhenTheLastOfItsXidEnds) {
  XidTracker tracker;
  XidTracker::Entry a;
  XidTracker::Entry b;
  XidTracker::Entry other;
  ASSERT_TRUE(tracker.Begin(&a, 7));
  ASSERT_TRUE(tracker.Begin(&b, 7));
  ASSERT_TRUE(tracker.Begin(&other, 8));
  int called = 0;
  EXPECT_TRUE(tracker.WhenFinished(7, [&] { ++called; }));
  EXPECT_FALSE(tracker.WhenFinished(9, [&] { ++called; }));
  tracker.End(&a);
  tracker.End(&other);
  EXPECT_EQ(called, 0);
  tracker.End(&b);
  EXPECT_EQ(called, 1);
  EXPECT_FALSE(tracker.WhenFinished(7, [&] { ++called; }));
  EXPECT_EQ(tracker.count(), 0U);
}

TEST(XidTrackerTest, NothingBeginsAfterAFence) {
  XidTracker tracker;
  XidTracker::Entry a;
  XidTracker::Entry b;
  ASSERT_TRUE(tracker.Begin(&a, 1));
  tracker.Fence();
  EXPECT_FALSE(tracker.Begin(&b, 2));
  EXPECT_EQ(tracker.count(), 1U);
  tracker.End(&a);
}

// Another shard's resend never runs beside the original, whichever comes first.
TEST(XidTrackerTest, OriginalAndResendOnOtherThreadsNeverOverlap) {
  for (int round = 0; round < 500; ++round) {
    XidTracker old_link;
    std::atomic<int> running{0};
    std::atomic<bool> overlap{false};
    const auto execute = [&] {
      if (running.fetch_add(1) != 0) overlap = true;
      running.fetch_sub(1);
    };
    std::thread original([&] {
      XidTracker::Entry entry;
      if (!old_link.Begin(&entry, 5)) return;
      execute();
      old_link.End(&entry);
    });
    std::thread resend([&] {
      old_link.Fence();
      std::atomic<bool> finished{false};
      if (old_link.WhenFinished(5, [&] { finished = true; })) {
        while (!finished) std::this_thread::yield();
      }
      execute();
    });
    original.join();
    resend.join();
    ASSERT_FALSE(overlap.load());
  }
}

}  // namespace
}  // namespace sheen::rpc

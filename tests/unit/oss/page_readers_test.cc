#include "oss/page_readers.h"

#include <gtest/gtest.h>

namespace sheen::oss {
namespace {

constexpr uint64_t kAlice = 1;
constexpr uint64_t kBob = 2;
constexpr uint64_t kCarol = 3;

ObjectKey KeyOf(uint32_t oid) { return {0, {{0x200000400, oid, 0}, 1, 0}}; }

TEST(PageReadersTest, OthersAreRecalledOnceAndTheWriterIsNot) {
  PageReaders readers;
  EXPECT_FALSE((readers.count() > 0));
  EXPECT_TRUE(readers.Add(KeyOf(1), {kAlice, 10}));
  EXPECT_TRUE(readers.Add(KeyOf(1), {kBob, 20}));
  EXPECT_TRUE(readers.Add(KeyOf(2), {kBob, 21}));
  EXPECT_TRUE((readers.count() > 0));
  EXPECT_TRUE(readers.HasOthers(KeyOf(1), kAlice));
  EXPECT_FALSE(readers.HasOthers(KeyOf(2), kBob));
  const PageReaders::Recalled recalled = readers.Recall(KeyOf(1), kAlice);
  EXPECT_TRUE(readers.HasOthers(KeyOf(1), kAlice)) << "he is still to forget";
  ASSERT_EQ(recalled.begun.size(), 1U);
  EXPECT_EQ(recalled.begun[0]->reader, (lock::LockName{kBob, 20}));
  EXPECT_EQ(recalled.all, recalled.begun);
  // Who writes before bob has forgotten waits for him, and does not ask again.
  const PageReaders::Recalled next = readers.Recall(KeyOf(1), kAlice);
  EXPECT_TRUE(next.begun.empty());
  EXPECT_EQ(next.all, recalled.begun);
  readers.End(KeyOf(1), recalled.begun[0]);
  EXPECT_TRUE(readers.Recall(KeyOf(1), kAlice).all.empty());
  EXPECT_EQ(readers.count(), 2U);
}

TEST(PageReadersTest, AWriterDoesNotWaitForWhatItIsAskedItself) {
  PageReaders readers;
  readers.Add(KeyOf(1), {kAlice, 10});
  readers.Add(KeyOf(1), {kBob, 20});
  const PageReaders::Recalled of_alice = readers.Recall(KeyOf(1), kAlice);
  ASSERT_EQ(of_alice.all.size(), 1U);
  // Bob is being asked, and writes: only alice is in his way.
  const PageReaders::Recalled of_bob = readers.Recall(KeyOf(1), kBob);
  ASSERT_EQ(of_bob.all.size(), 1U);
  EXPECT_EQ(of_bob.all[0]->reader.owner, kAlice);
  for (const auto& call : {of_alice.begun[0], of_bob.begun[0]}) readers.End(KeyOf(1), call);
  EXPECT_FALSE((readers.count() > 0));
}

TEST(PageReadersTest, ASessionCountsOnceInAnObjectWithItsNewestName) {
  PageReaders readers;
  readers.Add(KeyOf(1), {kBob, 20});
  readers.Add(KeyOf(1), {kBob, 25});
  EXPECT_EQ(readers.count(), 1U);
  readers.Remove(KeyOf(1), {kBob, 20});
  EXPECT_EQ(readers.count(), 1U) << "it has another name by now";
  readers.Remove(KeyOf(1), {kBob, 25});
  EXPECT_FALSE((readers.count() > 0));
}

TEST(PageReadersTest, WhoWaitsIsWokenOnceAndNotWhenItIsDone) {
  PageReaders readers;
  readers.Add(KeyOf(1), {kBob, 20});
  const PageReaders::Recalled recalled = readers.Recall(KeyOf(1), kAlice);
  int woken = 0;
  EXPECT_TRUE(readers.AddWaiter(KeyOf(1), recalled.all[0].get(), [&woken] { ++woken; }));
  EXPECT_TRUE(readers.AddWaiter(KeyOf(1), recalled.all[0].get(), [&woken] { ++woken; }));
  readers.End(KeyOf(1), recalled.all[0]);
  EXPECT_EQ(woken, 2);
  EXPECT_FALSE(readers.AddWaiter(KeyOf(1), recalled.all[0].get(), [&woken] { ++woken; }));
  EXPECT_EQ(woken, 2);
}

TEST(PageReadersTest, AStopWakesWhoWaits) {
  PageReaders readers;
  readers.Add(KeyOf(1), {kBob, 20});
  const PageReaders::Recalled recalled = readers.Recall(KeyOf(1), kAlice);
  int woken = 0;
  EXPECT_TRUE(readers.AddWaiter(KeyOf(1), recalled.all[0].get(), [&woken] { ++woken; }));
  readers.Stop();
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(readers.AddWaiter(KeyOf(1), recalled.all[0].get(), [&woken] { ++woken; }));
  readers.End(KeyOf(1), recalled.all[0]);
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(readers.count(), 0U);
}

TEST(PageReadersTest, WhoIsGoneIsNotAskedAnyMore) {
  PageReaders readers;
  readers.Add(KeyOf(1), {kBob, 20});
  readers.Add(KeyOf(1), {kCarol, 30});
  const PageReaders::Recalled recalled = readers.Recall(KeyOf(1), kAlice);
  readers.Add(KeyOf(2), {kBob, 21});
  readers.DropSession(kBob);
  EXPECT_EQ(readers.count(), 2U) << "those who are being asked count until the end";
  for (const auto& call : recalled.begun) {
    EXPECT_EQ(call->done.load(), call->reader.owner == kBob);
    readers.End(KeyOf(1), call);
  }
  readers.Add(KeyOf(3), {kCarol, 31});
  readers.Forget(KeyOf(3));
  EXPECT_FALSE((readers.count() > 0));
}

}  // namespace
}  // namespace sheen::oss

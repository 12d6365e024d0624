#include "client/kernel_cache.h"

#include <gtest/gtest.h>

#include <optional>

namespace sheen::client {
namespace {

constexpr Fid kDirectory{0x200000400, 1, 0};
constexpr Fid kFile{0x200000400, 2, 0};
constexpr Nanos kNow = std::chrono::seconds(100);
constexpr uint32_t kAll = lock::kLookup | lock::kAttrBits;

class KernelCacheTest : public ::testing::Test, public KernelNotifier {
 protected:
  KernelCacheTest() {
    pulse->proved_ns = kNow.count();
    locks.SetPulse(0, pulse);
    kernel.SetNotifier(this);
    kernel.Tick(kNow);
  }
  void Notify(KernelNotice notice) override { notices.push_back(std::move(notice)); }

  // Attributes and the name "f" under locks.
  Attr Have(int64_t ctime_ns = 1) {
    Attr attr;
    attr.fid = kFile;
    attr.ctime_ns = ctime_ns;
    const uint64_t sent = locks.Moment();
    const LockOrigin origin{0, pulse->ended_count, kNow};
    locks.TakeAttr(sent, origin, attr, kAll);
    locks.TakeName(sent, origin, kDirectory, "f", kFile, lock::kLookup);
    return attr;
  }
  KernelPromise Entry(const Attr& attr, Nanos now = kNow) {
    return kernel.PromiseEntry(kDirectory, "f", attr, true, now);
  }
  // As the client does when it is called back.
  void CallBack(uint32_t bits) {
    locks.Callback(kFile, bits);
    answered = false;
    kernel.Recall(kFile, bits, kNow, true, [this] { answered = true; });
  }
  void TellAll() {
    for (KernelNotice& notice : std::exchange(notices, {})) notice.done();
  }

  LockCache locks{1000};
  KernelCache kernel{&locks};
  std::shared_ptr<rpc::LinkPulse> pulse = std::make_shared<rpc::LinkPulse>();
  std::vector<KernelNotice> notices;
  bool answered = false;
};

TEST_F(KernelCacheTest, OnlyWhatALockCoversIsPromised) {
  Attr attr;
  attr.fid = kFile;
  EXPECT_EQ(Entry(attr).attr, Nanos(0));
  attr = Have();
  EXPECT_EQ(Entry(attr).attr, KernelCache::kKeep);
  EXPECT_EQ(Entry(attr).entry, KernelCache::kKeep);
  EXPECT_EQ(kernel.PromiseAttr(attr, true, kNow), KernelCache::kKeep);
  EXPECT_EQ(kernel.PromiseAttr(attr, false, kNow), Nanos(0)) << "it is being written here";
  EXPECT_EQ(kernel.PromiseEntry(kDirectory, "other", attr, true, kNow).entry, Nanos(0));
  attr.size = 7;
  EXPECT_EQ(Entry(attr).attr, Nanos(0)) << "not what the lock covers";
}

TEST_F(KernelCacheTest, ACallbackIsAnsweredWhenTheKernelHasForgotten) {
  Entry(Have());
  CallBack(lock::kAttrBits);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_TRUE(notices[0].attributes);
  EXPECT_TRUE(notices[0].names.empty());
  EXPECT_FALSE(answered);
  TellAll();
  EXPECT_TRUE(answered);
  CallBack(lock::kLookup);
  ASSERT_EQ(notices.size(), 1u);
  ASSERT_EQ(notices[0].names.size(), 1u);
  EXPECT_EQ(notices[0].names[0].name, "f");
  EXPECT_GE(notices[0].names_not_before, kNow + KernelCache::kSettle);
  TellAll();
  EXPECT_TRUE(answered);
  CallBack(kAll);
  EXPECT_TRUE(notices.empty());
  EXPECT_TRUE(answered) << "nothing was promised since";
}

TEST_F(KernelCacheTest, ASecondCallbackWaitsForTheNoticeOfTheFirst) {
  Entry(Have());
  CallBack(lock::kAttrBits);
  CallBack(lock::kAttrBits);
  EXPECT_EQ(notices.size(), 1u);
  EXPECT_FALSE(answered);
  TellAll();
  EXPECT_TRUE(answered);
}

TEST_F(KernelCacheTest, APromiseIsNotedBeforeTheLockIsLookedAt) {
  const Attr attr = Have();
  locks.Callback(kFile, kAll);
  EXPECT_EQ(Entry(attr).attr, Nanos(0));
  // A callback that comes now finds it all the same.
  CallBack(kAll);
  EXPECT_EQ(notices.size(), 1u);
  TellAll();
}

TEST_F(KernelCacheTest, NamesOfADirectoryThatOthersChangeAreNotPromisedForAWhile) {
  Attr directory;
  directory.fid = kDirectory;
  kernel.PromiseEntry({}, {}, directory, true, kNow);
  Entry(Have());
  CallBack(lock::kLookup);
  TellAll();
  EXPECT_EQ(Entry(Have()).entry, Nanos(0));
  EXPECT_NE(Entry(Have()).attr, Nanos(0));
  pulse->proved_ns = (kNow + KernelCache::kShared).count();
  EXPECT_NE(Entry(Have(), kNow + KernelCache::kShared).entry, Nanos(0));
}

TEST_F(KernelCacheTest, WhatTheKernelMayYetLearnIsKnownByItsLookups) {
  EXPECT_FALSE(kernel.MayKnow(kFile, kNow));
  Entry(Have());
  Entry(Have());
  kernel.Forget(kFile, 1);
  EXPECT_TRUE(kernel.MayKnow(kFile, kNow));
  kernel.Forget(kFile, 1);
  EXPECT_FALSE(kernel.MayKnow(kFile, kNow));
  Entry(Have());
  EXPECT_FALSE(kernel.MayKnow(kFile, kNow + KernelCache::kKeep)) << "it would be old by itself";
}

TEST_F(KernelCacheTest, ANameThatIsMovedIsRecalledByItsNewNameToo) {
  Entry(Have());
  kernel.NoteMove(kFile, {kDirectory, "g"}, kNow);
  CallBack(lock::kLookup);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0].names.size(), 2u);
  TellAll();
}

TEST_F(KernelCacheTest, AllIsRecalledWhenTheConnectionEnds) {
  Entry(Have());
  EXPECT_EQ(kernel.Tick(kNow), KernelCache::kTick);
  EXPECT_TRUE(notices.empty());
  ++pulse->ended_count;
  kernel.Tick(kNow);
  EXPECT_EQ(notices.size(), 1u);
  TellAll();
}

TEST_F(KernelCacheTest, OrWhenNothingProvesThatItLivesBeforeTheLeaseEnds) {
  Entry(Have());
  EXPECT_GT(pulse->relied_until_ns.load(), kNow.count()) << "pings are asked for";
  kernel.Tick(kNow + std::chrono::seconds(2));
  EXPECT_TRUE(notices.empty());
  kernel.Tick(kNow + kLockLease - KernelCache::kTick);
  EXPECT_EQ(notices.size(), 1u);
  TellAll();
  // The lease is not over: a promise of this moment goes with the next tick.
  EXPECT_NE(Entry(Have(), kNow + kLockLease - Nanos(1)).attr, Nanos(0));
  kernel.Tick(kNow + kLockLease + KernelCache::kTick);
  EXPECT_EQ(notices.size(), 1u);
  TellAll();
  EXPECT_EQ(Entry(Have(), kNow + kLockLease).attr, Nanos(0));
}

TEST_F(KernelCacheTest, PagesAreKeptWhileEveryOpeningFindsTheSameVersion) {
  const Attr attr = Have(5);
  EXPECT_FALSE(kernel.KeepPages(attr, true)) << "the kernel does not know it";
  Entry(attr);
  EXPECT_FALSE(kernel.KeepPages(attr, true)) << "pages of before are of an unknown version";
  EXPECT_TRUE(kernel.KeepPages(attr, true));
  EXPECT_FALSE(kernel.KeepPages(attr, false)) << "somebody writes";
  EXPECT_FALSE(kernel.KeepPages(attr, true)) << "and has, since";
  EXPECT_TRUE(kernel.KeepPages(attr, true));
  EXPECT_FALSE(kernel.KeepPages(Have(6), true));
  kernel.Forget(kFile, 1);
  EXPECT_FALSE(kernel.KeepPages(Have(6), true));
}

TEST_F(KernelCacheTest, AListingIsKeptWhileEveryOpeningFindsTheSameVersion) {
  using enum KernelListing;
  const Attr attr = Have(5);
  EXPECT_EQ(kernel.OpenListing(attr, true), kNew) << "the kernel does not know it";
  Entry(attr);
  EXPECT_EQ(kernel.OpenListing(attr, true), kNew) << "the kernel may have anything";
  EXPECT_EQ(kernel.OpenListing(attr, true), kNew) << "and has it still, maybe";
  kernel.NoteListing(kFile, false);
  EXPECT_EQ(kernel.OpenListing(attr, true), kKeep);
  EXPECT_EQ(kernel.OpenListing(attr, false), kKeep) << "who has it open reads the same";
  EXPECT_EQ(kernel.OpenListing(Have(6), false), kNew);
  kernel.NoteListing(kFile, false);
  EXPECT_EQ(kernel.OpenListing(Have(6), true), kNew) << "of who had it open before, maybe";
  kernel.NoteListing(kFile, false);
  EXPECT_EQ(kernel.OpenListing(Have(6), true), kKeep);
  kernel.NoteListing(kFile, true);
  EXPECT_EQ(kernel.OpenListing(Have(6), true), kNew) << "names alone are not worth it";
  kernel.SetNotifier(nullptr);
  EXPECT_EQ(kernel.OpenListing(Have(6), true), kNone) << "nobody could make it forget";
}

TEST_F(KernelCacheTest, AListingIsForgottenWithTheAttributes) {
  using enum KernelListing;
  const Attr attr = Have(5);
  Entry(attr);
  kernel.OpenListing(attr, true);
  kernel.NoteListing(kFile, false);
  EXPECT_EQ(kernel.OpenListing(attr, true), kKeep);
  CallBack(lock::kLookup);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0].data_length, 0u);
  TellAll();
  EXPECT_EQ(kernel.OpenListing(attr, true), kKeep);
  CallBack(lock::kAttrBits);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_EQ(notices[0].data_offset, 0u);
  EXPECT_GT(notices[0].data_length, 1u << 30) << "all of it";
  EXPECT_FALSE(answered);
  TellAll();
  EXPECT_TRUE(answered);
  EXPECT_EQ(kernel.OpenListing(attr, true), kNew);
  // Its attributes are not promised any more, and it is listed all the same.
  kernel.NoteListing(kFile, false);
  kernel.Recall(kFile, lock::kAttrBits, kNow + KernelCache::kKeep, true, {});
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_FALSE(notices[0].attributes);
  EXPECT_GT(notices[0].data_length, 0u);
  TellAll();
  kernel.Recall(kFile, lock::kAttrBits, kNow + KernelCache::kKeep, true, {});
  EXPECT_TRUE(notices.empty()) << "once";
  // When all locks are lost the next opening drops it.
  kernel.OpenListing(attr, true);
  kernel.NoteListing(kFile, false);
  kernel.RecallAll(kNow + KernelCache::kKeep, {});
  EXPECT_EQ(kernel.OpenListing(attr, true), kNew);
}

TEST_F(KernelCacheTest, StoppingLetsWaitersGo) {
  Entry(Have());
  CallBack(lock::kAttrBits);
  kernel.Stop();
  EXPECT_TRUE(answered);
  TellAll();
  EXPECT_EQ(Entry(Have()).attr, Nanos(0));
}

}  // namespace
}  // namespace sheen::client

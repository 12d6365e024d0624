#include "client/layout_lock.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "layout/layout.h"

namespace sheen::client {
namespace {

using std::chrono::seconds;

LayoutPtr Generation(uint32_t generation) {
  layout::Layout layout = layout::PlainTemplate(1, 1 << 20);
  layout.generation = generation;
  return std::make_shared<const layout::Layout>(std::move(layout));
}

class LayoutLockTest : public ::testing::Test {
 protected:
  LayoutLockTest() { locks_.SetPulse(0, pulse_); }
  void ProveLife() { pulse_->proved_ns.store(now_.count()); }
  LockOrigin Here() const { return {0, pulse_->ended_count.load(), now_}; }

  Nanos now_ = seconds(1000);
  LockCache locks_{10};
  const std::shared_ptr<rpc::LinkPulse> pulse_ = std::make_shared<rpc::LinkPulse>();
  LayoutLock lock_;
};

TEST_F(LayoutLockTest, GivesTheLayoutThatItCameWith) {
  ProveLife();
  EXPECT_FALSE(lock_.Held(locks_, now_));
  const LayoutPtr layout = Generation(3);
  lock_.Take(Here(), layout);
  EXPECT_EQ(lock_.Held(locks_, now_), layout);
  EXPECT_TRUE(lock_.origin());
  lock_.Drop();
  EXPECT_FALSE(lock_.Held(locks_, now_));
  EXPECT_FALSE(lock_.origin());
  lock_.Take(Here(), nullptr);
  ASSERT_TRUE(lock_.Held(locks_, now_)) << "of a file without a layout";
  EXPECT_EQ(*lock_.Held(locks_, now_), nullptr);
}

TEST_F(LayoutLockTest, OnlyANewerLayoutRenewsItAndOnlyWhileItIsThere) {
  ProveLife();
  lock_.Renew(Generation(9));
  EXPECT_FALSE(lock_.Held(locks_, now_));
  lock_.Take(Here(), Generation(3));
  lock_.Renew(Generation(2));
  EXPECT_EQ((*lock_.Held(locks_, now_))->generation, 3U);
  lock_.Renew(Generation(4));
  EXPECT_EQ((*lock_.Held(locks_, now_))->generation, 4U);
}

TEST_F(LayoutLockTest, InGraceItGoesOnWithThatOneAndNotForLong) {
  ProveLife();
  lock_.Take(Here(), Generation(3));
  ASSERT_TRUE(lock_.Held(locks_, now_));
  now_ += seconds(3);
  EXPECT_FALSE(lock_.Held(locks_, now_)) << "nothing proves that the connection lives";
  EXPECT_TRUE(lock_.InGrace(now_));
  EXPECT_FALSE(lock_.GoesOn(now_)) << "the MDS has to be asked first";
  lock_.GoOn(now_);
  ASSERT_TRUE(lock_.GoesOn(now_));
  EXPECT_EQ((*lock_.GoesOn(now_))->generation, 3U);
  EXPECT_FALSE(lock_.GoesOn(now_ + LayoutLock::kAskPause));
  now_ += LayoutLock::kGrace;
  lock_.GoOn(now_);
  EXPECT_FALSE(lock_.GoesOn(now_)) << "too long ago";
  lock_.Take(Here(), Generation(5));
  ProveLife();
  ASSERT_TRUE(lock_.Held(locks_, now_));
  lock_.Drop();
  lock_.GoOn(now_);
  EXPECT_FALSE(lock_.GoesOn(now_)) << "called back";
}

TEST_F(LayoutLockTest, OnlyTheHandleThatHasItInItsHoldSeesItsOwn) {
  const LayoutPtr own = Generation(7);
  lock_.SetOwn(5, own);
  EXPECT_EQ(lock_.Own(5), own);
  EXPECT_EQ(lock_.Own(6), nullptr);
  lock_.EndOwn(6);
  EXPECT_EQ(lock_.Own(5), own);
  lock_.EndOwn(5);
  EXPECT_EQ(lock_.Own(5), nullptr);
}

}  // namespace
}  // namespace sheen::client

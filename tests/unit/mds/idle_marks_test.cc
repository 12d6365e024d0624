#include "mds/idle_marks.h"

#include <gtest/gtest.h>

#include "kv/memory_store.h"
#include "mdt/schema.h"

namespace sheen::mds {
namespace {

class IdleMarksTest : public ::testing::Test {
 protected:
  IdleMarksTest() : disk_(mdt::FamilyNames().size()), store_(kv::OpenMemoryStore(&disk_)) {
    EXPECT_TRUE(mdt::Format(store_.get(), {.fsname = "idle", .now_ns = 1}));
    Open();
  }
  // The next boot.
  void Open() {
    marks_ = std::make_unique<IdleMarks>();
    mdt_.reset();
    auto opened = mdt::Mdt::Open(store_.get(), {.fsname = "idle", .machine_boot_id = "b"});
    ASSERT_TRUE(opened);
    mdt_ = std::move(*opened);
  }
  std::set<uint64_t> Load(const std::set<uint64_t>& known) {
    const auto loaded = marks_->Load(mdt_.get(), known);
    EXPECT_TRUE(loaded);
    return loaded ? *loaded : std::set<uint64_t>();
  }
  std::shared_ptr<rpc::Session> Leave(uint64_t id) {
    auto session =
        std::make_shared<rpc::Session>(id, Uuid::Random(), std::array<uint8_t, 16>{});
    marks_->Left(mdt_.get(), &pool_, session);
    marks_->Drain();
    return session;
  }
  size_t Rows() {
    size_t rows = 0;
    const auto cursor = store_->NewCursor(mdt::kConfig, kv::Blocking::kMayBlock);
    for (cursor->Seek("idle/"); cursor->Valid() && cursor->key().starts_with("idle/");
         cursor->Next()) {
      ++rows;
    }
    return rows;
  }

  kv::MemoryDisk disk_;
  std::unique_ptr<kv::Store> store_;
  async::BlockingPool pool_{0};
  std::unique_ptr<mdt::Mdt> mdt_;
  std::unique_ptr<IdleMarks> marks_;
};

TEST_F(IdleMarksTest, AMarkGoesWithItsSession) {
  Leave(7);
  Leave(8);
  EXPECT_EQ(Rows(), 2U);
  EXPECT_TRUE(marks_->Forget(mdt_.get(), 7));
  EXPECT_EQ(Rows(), 1U);
  Open();
  EXPECT_EQ(Load({8}), (std::set<uint64_t>{8}));
  EXPECT_FALSE(marks_->Returned(7));
}

TEST_F(IdleMarksTest, MarksOfSessionsThatAreNotKnownGoAtTheStart) {
  Leave(7);
  Leave(8);
  Open();
  EXPECT_EQ(Load({8}), (std::set<uint64_t>{8}));
  EXPECT_EQ(Rows(), 1U);
}

// Whichever connection comes first, and however many come at once: none is served before the mark
// is gone for good.
TEST_F(IdleMarksTest, EachConnectionWaitsForTheMarkToGo) {
  Leave(7);
  ASSERT_TRUE(marks_->Returned(7));
  ASSERT_TRUE(marks_->Returned(7)) << "the second comes before the first has done it";
  const auto first = marks_->Unmark(mdt_.get(), 7);
  const auto second = marks_->Unmark(mdt_.get(), 7);
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, 0U);
  EXPECT_EQ(*first, *second) << "it waits for the same";
  EXPECT_TRUE(marks_->Returned(7)) << "it is not durable yet";
  marks_->Settled(7);
  EXPECT_FALSE(marks_->Returned(7));
  EXPECT_EQ(Rows(), 0U);
}

// A write that failed leaves the mark, and the next connection takes it away.
TEST_F(IdleMarksTest, AMarkThatCouldNotGoIsTriedAgain) {
  Leave(7);
  ASSERT_TRUE(marks_->Returned(7));
  disk_.FailWrites(Errc::kNoSpace);
  EXPECT_FALSE(marks_->Unmark(mdt_.get(), 7));
  EXPECT_TRUE(marks_->Returned(7));
}

}  // namespace
}  // namespace sheen::mds

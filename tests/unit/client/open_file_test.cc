#include "client/open_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "async/sim_poller.h"

namespace sheen::client {
namespace {

constexpr Fid kFid{kFirstClientSequence, 7, 0};

LayoutPtr TwoStripes() {
  layout::Layout layout = layout::PlainTemplate(2, 1 << 20);
  layout.generation = 1;
  layout::Component& component = layout.components.front();
  component.object_fid = kFid;
  component.birth = 5;
  component.osts = {0, 1};
  component.present = {false, false};
  return std::make_shared<const layout::Layout>(std::move(layout));
}

Attr FileAttr() {
  Attr attr;
  attr.fid = kFid;
  return attr;
}

ObjectState Object(uint64_t size, int64_t ctime_ns) {
  return {.known = true, .exists = true, .size = size, .blocks = 8, .ctime_ns = ctime_ns};
}

class OpenFileTest : public ::testing::Test {
 protected:
  void Open(uint64_t id, int flags, bool created = false) {
    file_.AddHandle({.id = id, .flags = static_cast<uint32_t>(flags)}, FileAttr(), layout_,
                    created);
  }
  void WriteTo(uint32_t stripe, uint64_t size) {
    file_.ViewForWrite();
    file_.NoteChange(layout_, {0, stripe}, Object(size, ++ctime_), 100);
  }

  const LayoutPtr layout_ = TwoStripes();
  OpenFile file_{kFid};
  int64_t ctime_ = 0;
};

TEST_F(OpenFileTest, OnlyTheLastWriterReports) {
  Open(1, O_WRONLY);
  Open(2, O_RDWR);
  Open(3, O_RDONLY);
  WriteTo(0, 10);
  EXPECT_FALSE(file_.BeginClose(1).report);
  EXPECT_TRUE(file_.BeginClose(2).report);
  EXPECT_FALSE(file_.BeginClose(3).report);
}

TEST_F(OpenFileTest, ACloseIsOfWhoeverOpened) {
  file_.AddHandle({.id = 1, .flags = O_RDONLY, .who = 5}, FileAttr(), layout_, false);
  file_.AddHandle({.id = 2, .local = true, .opener = 6}, FileAttr(), layout_, false);
  EXPECT_EQ(file_.BeginClose(1).origin, 5u);
  EXPECT_EQ(file_.BeginClose(2).origin, 6u);
}

TEST_F(OpenFileTest, AWriterThatWroteNothingReportsNothing) {
  Open(1, O_RDWR);
  const CloseStart start = file_.BeginClose(1);
  EXPECT_TRUE(start.known_handle);
  EXPECT_FALSE(start.report);
}

TEST_F(OpenFileTest, AReadOnlyHandleThatTruncatesIsAWriter) {
  Open(1, O_RDONLY | O_TRUNC);
  WriteTo(0, 0);
  EXPECT_TRUE(file_.BeginClose(1).report);
}

TEST_F(OpenFileTest, AHandleThatIsNotOpenIsNotKnown) {
  Open(1, O_RDWR);
  EXPECT_FALSE(file_.BeginClose(2).known_handle);
}

TEST_F(OpenFileTest, ANewFilesObjectsAreKnownAndAnOldOnesAreNot) {
  Open(1, O_WRONLY, /*created=*/true);
  EXPECT_TRUE(AllKnown(file_.Report().states));
  file_.BeginClose(1);
  file_.EndClose();
  Open(2, O_WRONLY);
  EXPECT_FALSE(AllKnown(file_.Report().states));
  WriteTo(0, 10);
  EXPECT_FALSE(AllKnown(file_.Report().states));
  WriteTo(1, 10);
  EXPECT_TRUE(AllKnown(file_.Report().states));
}

TEST_F(OpenFileTest, AWriterThatComesDuringACloseReportsAgainAndAsks) {
  Open(1, O_WRONLY, /*created=*/true);
  WriteTo(0, 10);
  EXPECT_TRUE(file_.BeginClose(1).report);
  Open(2, O_WRONLY);
  file_.EndClose();
  EXPECT_TRUE(file_.BeginClose(2).report);
  EXPECT_FALSE(AllKnown(file_.Report().states));
}

TEST_F(OpenFileTest, WhatIsWrittenIsDirtyUntilThatWriteIsCommitted) {
  Open(1, O_WRONLY);
  WriteTo(0, 10);
  const std::vector<DirtyObject> first = file_.Dirty();
  ASSERT_EQ(first.size(), 1U);
  file_.NoteChange(layout_, {0, 0}, Object(20, ++ctime_), 101);
  file_.NoteCommitted(first);
  EXPECT_EQ(file_.Dirty().size(), 1U);
  file_.NoteCommitted(file_.Dirty());
  EXPECT_TRUE(file_.Dirty().empty());
}

async::Task<void> ReportOnce(OpenFile* file, async::Shard* shard, int id, std::vector<int>* order) {
  while (!file->TryBeginReport()) co_await file->WaitReport();
  order->push_back(id);
  co_await shard->Sleep(std::chrono::milliseconds(10 - id));
  order->push_back(-id);
  file->EndReport();
}

TEST_F(OpenFileTest, ReportsNeverOverlap) {
  ManualClock clock;
  async::SimPoller poller(&clock);
  async::Shard shard(&poller, &clock);
  std::vector<int> order;
  shard.Post([&] {
    for (int id = 1; id <= 3; ++id) shard.Spawn(ReportOnce(&file_, &shard, id, &order));
  });
  for (int turn = 0; turn < 1000 && (turn == 0 || shard.live_tasks() > 0); ++turn) {
    shard.RunOnce(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(order.size(), 6U);
  for (size_t i = 0; i < order.size(); i += 2) EXPECT_EQ(order[i], -order[i + 1]);
}

TEST_F(OpenFileTest, OfOtherObjectsNothingIsKnown) {
  Open(1, O_RDWR, true);
  WriteTo(0, 10);
  EXPECT_TRUE(AllKnown(file_.Report().states)) << "made here";
  layout::Layout grown = *layout_;
  ++grown.generation;
  file_.UpdateLayout(std::make_shared<const layout::Layout>(grown));
  EXPECT_TRUE(AllKnown(file_.Report().states)) << "the same objects";
  ++grown.generation;
  grown.components.front().birth = 9;
  file_.UpdateLayout(std::make_shared<const layout::Layout>(grown));
  EXPECT_FALSE(AllKnown(file_.Report().states));
  EXPECT_TRUE(file_.Dirty().empty()) << "what was written to the old ones is theirs";
  file_.NoteChange(layout_, {0, 1}, Object(99, 99), 101);
  EXPECT_FALSE(file_.Report().states[0][1].exists) << "a late answer of an old one";
  EXPECT_TRUE(file_.BeginClose(1).report);
}

TEST(OpenTableTest, AFileIsForgottenWithItsLastClose) {
  OpenTable table;
  const auto file = table.AddHandle({.id = 1, .flags = O_RDONLY}, FileAttr(), TwoStripes(), false);
  EXPECT_EQ(table.Find(kFid), file);
  file->BeginClose(1);
  EXPECT_EQ(table.Find(kFid), file);
  table.EndClose(file.get());
  EXPECT_EQ(table.Find(kFid), nullptr);
}

}  // namespace
}  // namespace sheen::client

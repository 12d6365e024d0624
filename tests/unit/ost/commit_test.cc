#include <gtest/gtest.h>

#include <cstdlib>

#include "ost/index_record.h"
#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

IndexRecord RowOf(OstWorld* world, const layout::ObjectId& id) {
  const auto row = world->store->Get(kObjectFamily, ObjectKey(id), kv::Blocking::kMayBlock);
  if (!row || !*row) return {};
  return DecodeRecord(**row).value_or(IndexRecord());
}

TEST(CommitTest, RowsFollowTheDataAndTheMarkFollowsTheRows) {
  OstWorld world;
  world.Start();
  const auto written = world.Write(ObjectNumber(1), 0, "abc");
  ASSERT_TRUE(written);
  EXPECT_TRUE(RowOf(&world, ObjectNumber(1)).created_uncommitted);
  EXPECT_EQ(RowOf(&world, ObjectNumber(1)).size, 0U);
  EXPECT_EQ(world.target->last_committed(), 0U);
  ASSERT_TRUE(world.Commit());
  const IndexRecord row = RowOf(&world, ObjectNumber(1));
  EXPECT_FALSE(row.created_uncommitted);
  EXPECT_EQ(row.size, 3U);
  EXPECT_EQ(row.last_transno, written->transno);
  EXPECT_EQ(row.ctime_ns, written->attr.ctime_ns);
  EXPECT_EQ(world.target->last_committed(), written->transno);
}

TEST(CommitTest, CommittedBytesSurviveAPowerCut) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "abc"));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "xyz"));
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(ObjectNumber(1)), "abc");
}

TEST(CommitTest, SyncWriteIsDurableWhenAnswered) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Run(world.target->Write(
      world.io.get(), {.id = ObjectNumber(1), .data = AsBytes("abc"), .sync = true})));
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(ObjectNumber(1)), "abc");
}

TEST(CommitTest, EnoughUncommittedBytesStartACommit) {
  OstWorld world({.commit_bytes = 10000});
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, std::string(9000, 'a')));
  EXPECT_EQ(world.target->last_committed(), 0U);
  const auto written = world.Write(ObjectNumber(1), 9000, std::string(9000, 'a'));
  ASSERT_TRUE(written);
  async::RunFor(&world.shard, std::chrono::milliseconds(1));
  EXPECT_EQ(world.target->last_committed(), written->transno);
}

TEST(CommitTest, TickCommitsWhatIsDirty) {
  OstWorld world;
  world.Start();
  const auto written = world.Write(ObjectNumber(1), 0, "a");
  ASSERT_TRUE(written);
  world.Tick();
  EXPECT_EQ(world.target->last_committed(), written->transno);
}

TEST(CommitTest, FailedSyncStopsTheTargetAndCommitsNothing) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "a"));
  world.files.FailSyncs(Errc::kIo);
  EXPECT_FALSE(world.Commit());
  world.files.FailSyncs(Errc::kOk);
  // The kernel has marked the pages clean: a later sync would prove nothing.
  EXPECT_FALSE(world.Commit());
  EXPECT_EQ(world.target->last_committed(), 0U);
  EXPECT_NE(world.target->stop_reason(), "");
  EXPECT_EQ(world.Read(ObjectNumber(1), 0, 1).error().code(), Errc::kIo);
  EXPECT_EQ(world.Truncate(ObjectNumber(1), 0).error().code(), Errc::kIo);
  EXPECT_EQ(world.Destroy({ObjectNumber(1)}).error().code(), Errc::kIo);
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.target->stop_reason(), "");
  EXPECT_EQ(world.Contents(ObjectNumber(1)), "");
}

TEST(CommitTest, FailedIndexStopsTheTarget) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "a"));
  world.disk.FailWrites(Errc::kIo);
  EXPECT_FALSE(world.Commit());
  world.disk.FailWrites(Errc::kOk);
  EXPECT_NE(world.target->stop_reason(), "");
  EXPECT_EQ(world.target->last_committed(), 0U);
}

TEST(CommitTest, FullIndexDiskIsTriedAgain) {
  OstWorld world;
  world.Start();
  const auto written = world.Write(ObjectNumber(1), 0, "a");
  ASSERT_TRUE(written);
  world.disk.FailWrites(Errc::kNoSpace);
  EXPECT_EQ(world.Commit().error().code(), Errc::kNoSpace);
  EXPECT_EQ(world.target->last_committed(), 0U);
  world.disk.FailWrites(Errc::kOk);
  ASSERT_TRUE(world.Commit());
  EXPECT_EQ(world.target->last_committed(), written->transno);
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(ObjectNumber(1)), "a");
}

// Writers, cutters and committers at once, each call waiting at random, until the power goes: what
// was committed must be there, whatever was under way.
class ConcurrentCommitTest : public ::testing::TestWithParam<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, ConcurrentCommitTest, ::testing::Range<uint64_t>(0, 100));

struct Worker {
  Target* target = nullptr;
  io::FileIo* io = nullptr;
  layout::ObjectId id;
  Random random{0};
  std::vector<std::string> states{""};  // after each operation; the last may not be acknowledged
  std::vector<uint64_t> transnos{0};    // of each
};

async::Task<bool> Work(Worker* worker) {
  for (int i = 0;; ++i) {
    const uint64_t offset = worker->random.Below(20000);
    Result<ChangeResult> done = Fail(Errc::kIo);
    std::string next = worker->states.back();
    if (worker->random.OneIn(3)) {
      next.resize(offset, '\0');
      TruncateArgs args{.id = worker->id, .size = offset, .create = true};
      done = co_await worker->target->Truncate(worker->io, args);
    } else {
      const std::string data(1 + worker->random.Below(6000), static_cast<char>('a' + i % 26));
      if (next.size() < offset + data.size()) next.resize(offset + data.size(), '\0');
      next.replace(offset, data.size(), data);
      WriteArgs args{.id = worker->id, .offset = offset, .data = AsBytes(data)};
      done = co_await worker->target->Write(worker->io, args);
    }
    worker->states.push_back(next);
    worker->transnos.push_back(done ? done->transno : UINT64_MAX);
    if (!done) co_return true;
  }
}

async::Task<bool> CommitOften(Target* target, io::FileIo* io, async::Shard* shard) {
  for (;;) {
    const Status committed = co_await target->Commit(io);
    if (!committed) co_return true;
    co_await shard->Sleep(std::chrono::microseconds(700));
  }
}

// Every byte is that of a state from the last committed one on; one that such a state does not
// have may be zero.
void ExpectCommitted(const Worker& worker, uint64_t committed, const std::string& found) {
  size_t first = 0;
  for (size_t i = 0; i < worker.transnos.size(); ++i) {
    if (worker.transnos[i] <= committed) first = i;
  }
  size_t size_min = SIZE_MAX;
  size_t size_max = 0;
  for (size_t i = first; i < worker.states.size(); ++i) {
    size_min = std::min(size_min, worker.states[i].size());
    size_max = std::max(size_max, worker.states[i].size());
  }
  ASSERT_GE(found.size(), size_min);
  ASSERT_LE(found.size(), size_max);
  for (size_t at = 0; at < found.size(); ++at) {
    bool known = false;
    for (size_t i = first; i < worker.states.size(); ++i) {
      const std::string& state = worker.states[i];
      known |= found[at] == (at < state.size() ? state[at] : '\0');
    }
    ASSERT_TRUE(known) << "byte " << at << " of " << worker.id.ToString();
  }
}

TEST_P(ConcurrentCommitTest, WhatIsCommittedSurvivesWhateverIsUnderWay) {
  OstWorld world;
  world.Start();
  const char* const base = std::getenv("SHEEN_SEED");
  const uint64_t seed = GetParam() + (base != nullptr ? std::strtoull(base, nullptr, 0) : 0);
  Random random(seed);
  world.disk.WouldBlockEvery(3);
  io::MemoryFileIo slow(&world.files, &world.shard,
                        {.latency_min = std::chrono::microseconds(10),
                         .latency_max = std::chrono::microseconds(400),
                         .seed = seed});
  test::MortalFileIo io(&slow, world.fuse);
  world.fuse->BlowAfter(50 + random.Below(300));
  std::vector<Worker> workers(4);
  std::vector<std::optional<bool>> ended(workers.size() + 2);
  for (uint32_t i = 0; i < workers.size(); ++i) {
    workers[i] = {world.target.get(), &io, ObjectNumber(i), Random(random.Next())};
    world.Start(Work(&workers[i]), &ended[i]);
  }
  for (size_t i = 0; i < 2; ++i) {
    world.Start(CommitOften(world.target.get(), &io, &world.shard), &ended[workers.size() + i]);
  }
  for (auto& end : ended) world.Finish(&end);
  const uint64_t committed = world.target->last_committed();
  world.TornPowerCut(&random);
  world.Start();
  EXPECT_GE(world.target->recovered_transno(), committed);
  for (const Worker& worker : workers) {
    SCOPED_TRACE(worker.id.ToString());
    ExpectCommitted(worker, committed, world.Contents(worker.id));
  }
}

}  // namespace
}  // namespace sheen::ost

#include "mds/op_stats.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "sheen/v1/mds.pb.h"

namespace sheen::mds {
namespace {

using rpc::Opcode;

uint64_t Samples(const TallyTable& table, std::string_view name) {
  for (size_t i = 0; i < table.size(); ++i) {
    if (table.spec(i).name == name) return table.tally(i).samples();
  }
  ADD_FAILURE() << "no " << name;
  return 0;
}

class OpStatsTest : public ::testing::Test {
 protected:
  void Note(Opcode opcode, const std::string& body = "", const WaitTimes& waits = {}) {
    rpc::FrameHeader header;
    header.opcode = opcode;
    stats.Note(header, body, nullptr, waits, std::chrono::microseconds(5), {}, kNow);
  }
  static constexpr int64_t kNow = 1'700'000'000'000'000'000;
  OpStats stats;
};

TEST_F(OpStatsTest, WhatIsDoneIsCountedForWhoAskedForIt) {
  rpc::Session session(1, Uuid::Random(), {});
  ASSERT_TRUE(session.SetCredential(7, {1000, 1000, {}, "4711"}).has_value());
  ASSERT_TRUE(session.SetCredential(8, {1000, 1000, {}}).has_value());
  rpc::FrameHeader header;
  header.opcode = Opcode::kMdsUnlink;
  for (const uint32_t credential : {7U, 8U, 8U, 0U, 99U}) {
    header.credential = credential;
    stats.Note(header, "", &session, {}, std::chrono::microseconds(5), {}, kNow);
  }
  const auto jobs = stats.jobs().All(kNow);
  ASSERT_EQ(jobs.size(), 1u);
  EXPECT_EQ(jobs[0].name, "4711");
  const auto users = stats.users().All(kNow);
  ASSERT_EQ(users.size(), 2u) << "a credential that nobody has set counts for nobody";
  EXPECT_EQ(users[0].name, "0");
  EXPECT_EQ(users[1].name, "1000");
  uint64_t samples = 0;
  for (const auto& sums : users[1].sums) samples += sums.samples;
  EXPECT_EQ(samples, 3u);
}

TEST_F(OpStatsTest, DirectoriesAndOtherNodesCountApart) {
  v1::MakeNodeRequest request;
  request.set_mode(S_IFDIR | 0755);
  Note(Opcode::kMdsMakeNode, request.SerializeAsString());
  request.set_mode(S_IFIFO | 0644);
  Note(Opcode::kMdsMakeNode, request.SerializeAsString());
  EXPECT_EQ(Samples(stats.operations(), "mkdir"), 1u);
  EXPECT_EQ(Samples(stats.operations(), "mknod"), 1u);
}

TEST_F(OpStatsTest, RenamesCountByWhetherTheyLeaveTheirDirectory) {
  v1::RenameRequest request;
  request.mutable_old_parent()->set_seq(5);
  request.mutable_new_parent()->set_seq(5);
  Note(Opcode::kMdsRename, request.SerializeAsString());
  request.mutable_new_parent()->set_oid(1);
  Note(Opcode::kMdsRename, request.SerializeAsString());
  EXPECT_EQ(Samples(stats.operations(), "rename"), 2u);
  EXPECT_EQ(Samples(stats.operations(), "samedir_rename"), 1u);
  EXPECT_EQ(Samples(stats.operations(), "crossdir_rename"), 1u);
}

TEST_F(OpStatsTest, WaitsCountWhenThereWereAny) {
  WaitTimes waits;
  waits.Add(Wait::kCommit, std::chrono::milliseconds(2));
  Note(Opcode::kMdsOpen, "", waits);
  EXPECT_EQ(Samples(stats.waits(), "wait_commit"), 1u);
  EXPECT_EQ(Samples(stats.waits(), "wait_lock"), 0u);
  stats.Clear(0);
  EXPECT_EQ(Samples(stats.waits(), "wait_commit"), 0u);
  EXPECT_EQ(Samples(stats.operations(), "open"), 0u);
}

}  // namespace
}  // namespace sheen::mds

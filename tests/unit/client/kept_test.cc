// What is kept until it is committed: requests to the MDS, changes of objects.
#include <gtest/gtest.h>

#include <vector>

#include "client/kept_requests.h"
#include "client/kept_writes.h"
#include "sheen/v1/mds.pb.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {
namespace {

constexpr uint64_t Number(uint64_t boot, uint64_t counter) { return boot << kBootShift | counter; }

TEST(KeptRequestsTest, ACommitCoversItsOwnBootOnly) {
  KeptRequests kept;
  kept.Keep({.transno = Number(1, 7)}, 0);
  kept.Keep({.transno = Number(2, 3)}, 0);
  kept.Keep({.transno = Number(2, 4)}, 0);
  kept.Committed(Number(2, 3));
  EXPECT_EQ(kept.size(), 2U);  // of boot 1 nobody knows
  kept.Committed(Number(1, 7));
  EXPECT_EQ(kept.size(), 1U);
}

TEST(KeptRequestsTest, AReplayThatWasCutShortKeepsTheOrder) {
  KeptRequests kept;
  for (uint64_t i = 1; i <= 3; ++i) kept.Keep({.xid = i, .transno = Number(1, i)}, 0);
  EXPECT_TRUE(kept.ToReplay(1).empty()) << "that boot has them";
  std::vector<KeptRequests::Key> keys = kept.ToReplay(2);
  ASSERT_EQ(keys.size(), 3U);
  // The first got through, under a number of the next boot; then that one ended, too.
  kept.Repeated(keys[0], Number(2, 1));
  EXPECT_EQ(kept.size(), 3U) << "they are there while they are repeated";
  EXPECT_EQ(kept.ToReplay(2).size(), 2U);
  keys = kept.ToReplay(3);
  ASSERT_EQ(keys.size(), 3U);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(keys[i].xid, i + 1);
  const uint64_t before = kept.bytes();
  kept.Drop(keys[1]);
  EXPECT_LT(kept.bytes(), before);
  EXPECT_FALSE(kept.Find(keys[1]));
  ASSERT_TRUE(kept.Find(keys[2]));
  EXPECT_EQ(kept.Find(keys[2])->xid, 3U);
  kept.Clear();
  EXPECT_EQ(kept.size(), 0U);
  EXPECT_EQ(kept.bytes(), 0U);
}

TEST(KeptRequestsTest, AReplayRepeatsWhatTheAnswerDecided) {
  v1::CreateRequest request;
  request.set_name("x");
  v1::CreateReply reply;
  reply.set_created(true);
  reply.set_cookie(77);
  reply.mutable_attr()->set_layout("layout");
  reply.mutable_attr()->set_ctime_ns(5);
  const KeptRequest kept{.opcode = rpc::Opcode::kMdsCreate,
                         .body = request.SerializeAsString(),
                         .reply = reply.SerializeAsString()};
  v1::CreateRequest replay;
  ASSERT_TRUE(replay.ParseFromString(ReplayBody(kept)));
  EXPECT_EQ(replay.name(), "x");
  EXPECT_EQ(replay.decided_layout(), "layout");
  EXPECT_EQ(replay.decided_cookie(), 77U);
  EXPECT_EQ(replay.decided_time_ns(), 5);
}

KeptWrite WriteOf(uint32_t ost, uint64_t transno, ByteSpan bytes) {
  KeptWrite write;
  write.ost = ost;
  write.transno = transno;
  write.bytes = bytes;
  return write;
}

TEST(KeptWritesTest, BytesAreCountedUntilTheirTargetCommits) {
  const std::vector<std::byte> data(1000);
  KeptWrites kept;
  kept.Keep(WriteOf(0, Number(1, 1), data), 0);
  kept.Keep(WriteOf(1, Number(1, 1), data), 0);
  kept.Keep(WriteOf(1, Number(1, 2), data), 0);
  const uint64_t cost = WriteOf(0, Number(1, 1), data).Cost();
  EXPECT_GE(cost, 4096U) << "the block that has a copy";
  EXPECT_EQ(kept.bytes(), 3 * cost);
  EXPECT_EQ(kept.BytesOf(1), 2 * cost);
  EXPECT_EQ(kept.BytesOf(7), 0U);
  kept.Committed(1, Number(1, 1));
  EXPECT_EQ(kept.bytes(), 2 * cost);
  kept.Committed(0, Number(2, 9));  // another boot's
  EXPECT_EQ(kept.bytes(), 2 * cost);
  for (const KeptWrites::Key& key : kept.ToReplay({0, 1}, 2)) {
    kept.Repeated(key, 2, Number(2, 1));
    EXPECT_EQ(kept.bytes(), 2 * cost) << "it counts while it is repeated";
  }
  EXPECT_TRUE(kept.ToReplay({0, 1}, 2).empty());
  kept.Committed(1, Number(2, 1));
  kept.DropAll(0);
  EXPECT_TRUE(kept.empty());
  EXPECT_EQ(kept.bytes(), 0U);
  EXPECT_EQ(kept.BytesOf(0), 0U);
}

TEST(KeptWritesTest, WhatWaitsIsToldByFile) {
  const std::vector<std::byte> data(1000);
  KeptWrites kept;
  for (uint64_t i = 1; i <= 3; ++i) {
    KeptWrite write = WriteOf(0, Number(1, i), data);
    write.file = {0x400, i == 3 ? 2U : 1U, 0};
    // After a migrate the objects have the name that another inode had.
    v1::OstWriteRequest request;
    request.mutable_object()->mutable_fid()->set_seq(0x400);
    request.mutable_object()->mutable_fid()->set_oid(99);
    write.body = request.SerializeAsString();
    kept.Keep(std::move(write), 0);
  }
  const auto files = kept.Files();
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files.at(0).at(Fid{0x400, 1, 0}), 2000U);
  EXPECT_EQ(files.at(0).at(Fid{0x400, 2, 0}), 1000U);
  EXPECT_NE(KeptFilesText(kept, 0).find("3000 bytes of 2 files"), std::string::npos);
  EXPECT_EQ(KeptFilesText(kept, 1), "");
}

TEST(KeptWritesTest, ASyncSpeaksForNothingThatARestartedServerWasNotToldAgain) {
  KeptWrites kept;
  EXPECT_FALSE(kept.AwaitReplay(0, 2));
  KeptWrite write = WriteOf(0, Number(1, 1), {});
  write.boot = 1;
  kept.Keep(write, 0);
  EXPECT_FALSE(kept.AwaitReplay(0, 1)) << "the boot that has it";
  EXPECT_TRUE(kept.AwaitReplay(0, 2));
  EXPECT_FALSE(kept.AwaitReplay(1, 2)) << "another target";
  const std::vector<KeptWrites::Key> keys = kept.ToReplay({0}, 2);
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_TRUE(kept.AwaitReplay(0, 2)) << "it is being repeated";
  EXPECT_FALSE(kept.empty());
  kept.Repeated(keys[0], 2, Number(2, 1));
  EXPECT_FALSE(kept.AwaitReplay(0, 2));
}

TEST(KeptWritesTest, ACopyOutlivesTheCallersBytesAndTheTable) {
  std::shared_ptr<const void> owner;
  ByteSpan copy;
  {
    KeptWrites kept;
    std::vector<std::byte> data(70'000, std::byte{7});
    owner = kept.Copy(data, &copy);
    data.assign(data.size(), std::byte{0});
  }
  ASSERT_EQ(copy.size(), 70'000U);
  EXPECT_EQ(copy.front(), std::byte{7});
  EXPECT_EQ(copy.back(), std::byte{7});
}

TEST(KeptWritesTest, AReplayAsksForNothingBesideItsChange) {
  v1::OstWriteRequest request;
  request.set_offset(12);
  request.set_handle(3);
  request.set_lock(4);
  request.set_keep_lock(5);
  request.set_granted_bytes(6);
  request.set_grant_wanted(7);
  v1::OstWriteReply reply;
  reply.mutable_attr()->set_ctime_ns(99);
  KeptWrite kept;
  kept.transno = Number(1, 8);
  kept.body = request.SerializeAsString();
  kept.reply = reply.SerializeAsString();
  v1::OstWriteRequest replay;
  ASSERT_TRUE(replay.ParseFromString(ReplayBody(kept)));
  EXPECT_EQ(replay.offset(), 12U);
  EXPECT_EQ(replay.handle(), 3U);
  EXPECT_EQ(replay.lock() + replay.keep_lock() + replay.granted_bytes() + replay.grant_wanted(),
            0U);
  EXPECT_EQ(replay.decided_ctime_ns(), 99);
  EXPECT_EQ(replay.replay_of(), Number(1, 8));
}

}  // namespace
}  // namespace sheen::client

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "ost/index_record.h"
#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

class ReadWriteTest : public ::testing::Test {
 protected:
  void SetUp() override { world.Start(); }
  OstWorld world;
  const layout::ObjectId id = ObjectNumber(1);
};

TEST_F(ReadWriteTest, WhatWasNeverWrittenIsAHole) {
  const auto attr = world.GetAttr(id);
  ASSERT_TRUE(attr);
  EXPECT_FALSE(attr->exists);
  EXPECT_EQ(world.Contents(id), "");
}

TEST_F(ReadWriteTest, ReadsGiveWhatWasWrittenAndEndAtTheSize) {
  ASSERT_TRUE(world.Write(id, 5, "hello"));
  EXPECT_EQ(world.Contents(id), std::string(5, '\0') + "hello");
  EXPECT_EQ(*world.Read(id, 8, 100), "lo");
  EXPECT_EQ(*world.Read(id, 9, 1), "o");
  EXPECT_EQ(*world.Read(id, 10, 1), "");
  EXPECT_EQ(*world.Read(id, 1000, 1), "");
}

TEST_F(ReadWriteTest, RangesBeyondTheLargestObjectAreRefused) {
  EXPECT_EQ(world.Write(id, INT64_MAX, "x").error().code(), Errc::kFileTooBig);
  EXPECT_EQ(world.Write(id, UINT64_MAX, "x").error().code(), Errc::kFileTooBig);
  EXPECT_EQ(world.Read(id, UINT64_MAX - 1, 10).error().code(), Errc::kFileTooBig);
  EXPECT_FALSE(world.GetAttr(id)->exists);
}

TEST_F(ReadWriteTest, TransnosRiseAndCarryTheBoot) {
  const auto first = world.Write(id, 0, "a");
  const auto second = world.Write(ObjectNumber(2), 0, "b");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->transno >> 40, 1U);
  EXPECT_EQ(second->transno, first->transno + 1);
}

TEST_F(ReadWriteTest, TimesAlwaysMoveOnAndPassWhatTheClientKnew) {
  const auto first = world.Write(id, 0, "a");
  const auto second = world.Write(id, 0, "b");
  ASSERT_TRUE(first && second);
  EXPECT_GT(second->attr.ctime_ns, first->attr.ctime_ns);
  const int64_t seen_ns = second->attr.ctime_ns + 1'000'000'000'000;
  const auto third = world.Run(world.target->Write(
      world.io.get(), {.id = id, .data = AsBytes("c"), .ctime_seen_ns = seen_ns}));
  ASSERT_TRUE(third);
  EXPECT_EQ(third->attr.ctime_ns, seen_ns + 1);
  const auto absurd = world.Run(world.target->Write(
      world.io.get(), {.id = id, .data = AsBytes("c"), .ctime_seen_ns = INT64_MAX}));
  ASSERT_TRUE(absurd);
  EXPECT_GT(world.Write(id, 0, "d")->attr.ctime_ns, absurd->attr.ctime_ns);
}

TEST_F(ReadWriteTest, OnlyARequestOfAnOpenFileMakesAnObject) {
  const auto written = world.Run(
      world.target->Write(world.io.get(), {.id = id, .data = AsBytes("a"), .create = false}));
  EXPECT_EQ(written.error().code(), Errc::kBadHandle);
  EXPECT_FALSE(world.GetAttr(id)->exists);
}

TEST_F(ReadWriteTest, OlderLayoutGenerationThanTheFenceIsRefused) {
  ASSERT_TRUE(world.Write(id, 0, "a", 4));
  ASSERT_TRUE(world.Run(world.target->Fence(world.io.get(), {id}, 6)));
  const auto late = world.Write(id, 0, "late", 5);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), Errc::kLayoutChanged);
  EXPECT_TRUE(world.Write(id, 0, "b", 6));
  world.PowerCut();  // the fence was durable
  world.Start();
  EXPECT_EQ(world.Write(id, 0, "late", 5).error().code(), Errc::kLayoutChanged);
}

TEST_F(ReadWriteTest, AFenceShutsOutOlderReadersAndLetsThroughWhatIsRepeated) {
  ASSERT_TRUE(world.Write(id, 0, "old", 4));
  ASSERT_TRUE(world.Run(world.target->Fence(world.io.get(), {id}, 6)));
  const auto read = [&](uint32_t generation) {
    std::vector<std::byte> got(3);
    const auto done =
        world.Run(world.target->Read(world.io.get(), id, 0, got, generation));
    return done ? Errc::kOk : done.error().code();
  };
  EXPECT_EQ(read(5), Errc::kLayoutChanged);
  EXPECT_EQ(read(6), Errc::kOk);
  EXPECT_EQ(read(0), Errc::kOk) << "of a client that does not say";
  // Answered before a power cut that came between the fence and the commit behind it.
  world.PowerCut();
  world.Start();
  WriteArgs lost{.id = id, .data = AsBytes("new"), .replay = true};
  lost.owner.layout_generation = 5;
  EXPECT_TRUE(world.Run(world.target->Write(world.io.get(), lost)));
  EXPECT_EQ(*world.Read(id, 0, 3), "new");
  // Whoever fences now has seen the object as it is: a replay that was held up comes too late.
  ASSERT_TRUE(world.Run(world.target->Fence(world.io.get(), {id}, 7)));
  lost.data = AsBytes("too late");
  EXPECT_EQ(world.Run(world.target->Write(world.io.get(), lost)).error().code(),
            Errc::kLayoutChanged);
  TruncateArgs cut{.id = id, .size = 0, .replay = true};
  cut.owner.layout_generation = 5;
  EXPECT_EQ(world.Run(world.target->Truncate(world.io.get(), cut)).error().code(),
            Errc::kLayoutChanged);
  EXPECT_EQ(*world.Read(id, 0, 3), "new");
  EXPECT_EQ(world.Run(world.target->Fence(world.io.get(), {id}, UINT32_MAX)).error().code(),
            Errc::kInvalid);
}

TEST_F(ReadWriteTest, AFenceDoesNotTouchTheOwner) {
  ASSERT_TRUE(world.Run(world.target->Write(
      world.io.get(),
      {.id = id, .data = AsBytes("a"), .owner = {.uid = 10, .layout_generation = 4}})));
  ASSERT_TRUE(world.Run(world.target->Fence(world.io.get(), {id}, 6)));
  const auto row = world.store->Get(kObjectFamily, ObjectKey(id), kv::Blocking::kMayBlock);
  ASSERT_TRUE(row && *row);
  const auto record = DecodeRecord(**row);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->uid, 10U);
  EXPECT_EQ(record->layout_generation, 4U) << "a chown's is newer than that";
}

TEST_F(ReadWriteTest, TheVersionDoesNotGoBackWhenTheProcessIsKilled) {
  ASSERT_TRUE(world.Write(id, 0, "a"));
  ASSERT_TRUE(world.Commit());
  const uint64_t before = world.GetAttr(id)->version;
  ASSERT_TRUE(world.Write(id, 0, "b"));
  EXPECT_NE(world.GetAttr(id)->version, before);
  world.Kill();
  world.Start();
  EXPECT_EQ(*world.Read(id, 0, 1), "b");
  EXPECT_NE(world.GetAttr(id)->version, before) << "of other bytes";
}

TEST_F(ReadWriteTest, FenceKeepsAbsentObjectsFromBeingMadeByLateWrites) {
  ASSERT_TRUE(world.Run(world.target->Fence(world.io.get(), {id}, 6)));
  EXPECT_FALSE(world.GetAttr(id)->exists);
  EXPECT_EQ(world.Write(id, 0, "late", 5).error().code(), Errc::kLayoutChanged);
  world.PowerCut();
  world.Start();
  EXPECT_FALSE(world.GetAttr(id)->exists);
  EXPECT_EQ(world.Write(id, 0, "late", 5).error().code(), Errc::kLayoutChanged);
  EXPECT_TRUE(world.Write(id, 0, "new", 6));
  EXPECT_EQ(world.Write(id, 0, "late", 5).error().code(), Errc::kLayoutChanged);
}

TEST_F(ReadWriteTest, NewestOwnerIsKept) {
  const auto write_as = [&](uint32_t uid, uint32_t generation) {
    ASSERT_TRUE(world.Run(world.target->Write(
        world.io.get(),
        {.id = id, .data = AsBytes("a"), .owner = {.uid = uid, .layout_generation = generation}})));
  };
  write_as(10, 1);
  write_as(20, 3);
  write_as(30, 2);
  ASSERT_TRUE(world.Commit());
  const auto row = world.store->Get(kObjectFamily, ObjectKey(id), kv::Blocking::kMayBlock);
  ASSERT_TRUE(row && *row);
  const auto record = DecodeRecord(**row);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->uid, 20U);
  EXPECT_EQ(record->layout_generation, 3U);
}

TEST_F(ReadWriteTest, MissingFileOfACommittedObjectIsDamageAndNeverAHole) {
  ASSERT_TRUE(world.Write(id, 0, "abc"));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Run(world.io->Unlink(ObjectPath("/ost", id))));
  world.Close();
  world.Start();
  const auto read = world.Read(id, 0, 10);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::kCorrupt);
  EXPECT_NE(read.error().message().find("sheen-OST0003"), std::string::npos);
  EXPECT_NE(read.error().message().find(id.ToString()), std::string::npos);
  EXPECT_NE(read.error().message().find("at least 3 bytes"), std::string::npos);
  EXPECT_NE(read.error().message().find("missing"), std::string::npos);
  EXPECT_EQ(world.GetAttr(id).error().code(), Errc::kCorrupt);
  EXPECT_EQ(world.Write(id, 0, "x").error().code(), Errc::kCorrupt);
  EXPECT_TRUE(world.Write(ObjectNumber(2), 0, "x"));  // others are served
  EXPECT_TRUE(world.Destroy({id}));                   // and the damaged one can go
}

TEST_F(ReadWriteTest, ShorterFileThanCommittedIsDamage) {
  ASSERT_TRUE(world.Write(id, 0, "abcdef"));
  ASSERT_TRUE(world.Commit());
  world.Close();
  world.Start();
  const auto file = world.Run(world.io->Open(ObjectPath("/ost", id), 2 /* O_RDWR */));
  ASSERT_TRUE(file);
  ASSERT_TRUE(world.Run(world.io->Truncate(*file, 5)));
  const auto read = world.Read(id, 0, 10);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::kCorrupt);
  EXPECT_NE(read.error().message().find("has 5"), std::string::npos);
}

// The file was cut behind the target's back while it is open.
TEST_F(ReadWriteTest, ShortReadInsideTheSizeIsDamage) {
  ASSERT_TRUE(world.Write(id, 0, "abcdef"));
  const auto file = world.Run(world.io->Open(ObjectPath("/ost", id), 2 /* O_RDWR */));
  ASSERT_TRUE(world.Run(world.io->Truncate(*file, 4)));
  const auto read = world.Read(id, 0, 6);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::kCorrupt);
  EXPECT_NE(read.error().message().find("ends at 4, 6"), std::string::npos);
}

TEST_F(ReadWriteTest, RottenIndexRowIsDamageOfThatObjectOnly) {
  ASSERT_TRUE(world.Write(id, 0, "abc"));
  ASSERT_TRUE(world.Write(ObjectNumber(2), 0, "def"));
  ASSERT_TRUE(world.Commit());
  world.Close();
  world.Start();
  kv::Batch batch;
  batch.Put(kObjectFamily, ObjectKey(id), std::string(140, 'x'));
  ASSERT_TRUE(world.store->Write(batch, kv::Blocking::kMayBlock));
  EXPECT_EQ(world.Read(id, 0, 3).error().code(), Errc::kCorrupt);
  EXPECT_EQ(world.Contents(ObjectNumber(2)), "def");
}

TEST(ReadWriteWorldTest, MoreObjectsThanDescriptorsWork) {
  OstWorld world({.open_objects_max = 3});
  world.Start();
  for (uint32_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(world.Write(ObjectNumber(i), 0, fmt::format("object {}", i)));
    if (i % 7 == 0) ASSERT_TRUE(world.Commit());
  }
  for (uint32_t i = 0; i < 40; ++i) {
    EXPECT_EQ(world.Contents(ObjectNumber(i)), fmt::format("object {}", i));
  }
  world.Close();
  world.Start();
  for (uint32_t i = 0; i < 40; ++i) {
    EXPECT_EQ(world.Contents(ObjectNumber(i)), fmt::format("object {}", i));
  }
}

TEST(ReadWriteWorldTest, IndexCallsThatWouldBlockGoToThePool) {
  OstWorld world({.open_objects_max = 2});
  world.disk.WouldBlockEvery(2);
  world.Start();
  for (uint32_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(world.Write(ObjectNumber(i), 0, fmt::format("object {}", i)));
    ASSERT_TRUE(world.Commit());
  }
  for (uint32_t i = 0; i < 10; ++i) {
    EXPECT_EQ(world.Contents(ObjectNumber(i)), fmt::format("object {}", i));
  }
}

TEST(ReadWriteWorldTest, FailedWriteStopsTheTargetAndSaysWhy) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "a"));
  world.files.FailWrites(Errc::kIo);
  EXPECT_EQ(world.Write(ObjectNumber(1), 0, "b").error().code(), Errc::kIo);
  world.files.FailWrites(Errc::kOk);
  EXPECT_NE(world.target->stop_reason(), "");
  const auto next = world.Write(ObjectNumber(2), 0, "c");
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code(), Errc::kIo);
  EXPECT_NE(next.error().message().find("sheen-OST0003 has stopped serving"), std::string::npos);
}

TEST(ReadWriteWorldTest, FailedReadIsTheReadersAlone) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "a"));
  world.files.FailReads(Errc::kIo);
  EXPECT_EQ(world.Read(ObjectNumber(1), 0, 1).error().code(), Errc::kIo);
  world.files.FailReads(Errc::kOk);
  EXPECT_EQ(world.Contents(ObjectNumber(1)), "a");
}

}  // namespace
}  // namespace sheen::ost

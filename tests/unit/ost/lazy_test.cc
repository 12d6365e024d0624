// Objects whose bytes may be in S3: what is read, what must be fetched before, and what a process
// killed, or a machine cut off, at any point leaves.
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <cstdlib>
#include <functional>

#include "base/random.h"
#include "ost/index_record.h"
#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr uint64_t kMiB = kResidencyBlockBytes;
constexpr uint64_t kBytes = 3 * kMiB + 5000;  // of the object in S3: four blocks
constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

ObjectSource Source(uint64_t bytes = kBytes) {
  return {.link = 7,
          .key = "data/file",
          .etag = "\"e1\"",
          .stripe_bytes = 8 * kMiB,
          .stripe_count = 2,
          .stripe = 1,
          .bytes = bytes};
}

// What S3 holds.
char S3Byte(uint64_t offset) { return static_cast<char>('A' + offset / 1000 % 26); }
std::string S3Text(uint64_t offset, uint64_t length) {
  std::string out(length, '\0');
  for (uint64_t i = 0; i < length; ++i) out[i] = S3Byte(offset + i);
  return out;
}

Status Attach(OstWorld* world, const layout::ObjectId& id, uint64_t bytes = kBytes) {
  return world->Run(world->target->Attach(world->io.get(), id, Source(bytes), {}));
}

Target::Missing Missing(OstWorld* world, const layout::ObjectId& id, uint64_t offset,
                        uint64_t length, bool change) {
  const auto found =
      world->Run(world->target->FindMissing(world->io.get(), id, offset, length, change));
  return found ? *found : Target::Missing{};
}

Status Fill(OstWorld* world, const layout::ObjectId& id, uint64_t block,
            const std::string& etag = "\"e1\"") {
  const uint64_t begin = block * kMiB;
  const std::string data = S3Text(begin, std::min(kMiB, kBytes - std::min(begin, kBytes)));
  return world->Run(world->target->Fill(world->io.get(), id, block, etag, AsBytes(data)));
}

// As an OSS does it: fetches what is missing, then goes on.
Result<std::string> ReadThrough(OstWorld* world, const layout::ObjectId& id, uint64_t offset,
                                uint64_t length) {
  SHEEN_TRY(Attach(world, id));
  for (const uint64_t block : Missing(world, id, offset, length, false).blocks) {
    SHEEN_TRY(Fill(world, id, block));
  }
  return world->Read(id, offset, length);
}

Status WriteThrough(OstWorld* world, const layout::ObjectId& id, uint64_t offset,
                    const std::string& data) {
  SHEEN_TRY(Attach(world, id));
  for (const uint64_t block : Missing(world, id, offset, data.size(), true).blocks) {
    SHEEN_TRY(Fill(world, id, block));
  }
  SHEEN_TRY(world->Write(id, offset, data));
  return {};
}

uint64_t Release(OstWorld* world, const layout::ObjectId& id) {
  const auto released = world->Run(world->target->Release(world->io.get(), id));
  return released ? *released : UINT64_MAX;
}

std::vector<BlockState> States(OstWorld* world, const layout::ObjectId& id) {
  const auto got = world->Run(world->target->GetResidency(world->io.get(), id));
  return got && *got ? (**got).blocks : std::vector<BlockState>();
}

TEST(ResidencyTest, SurvivesItsEncoding) {
  Residency residency = Residency::AllAbsent(Source());
  residency.machine = 99;
  residency.blocks = {BlockState::kAbsent, BlockState::kHole, BlockState::kHole,
                      BlockState::kUnsynced};
  const std::string bytes = EncodeResidency(residency);
  const auto back = DecodeResidency(bytes);
  ASSERT_TRUE(back) << back.error().ToString();
  EXPECT_EQ(*back, residency);
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_FALSE(DecodeResidency(bytes.substr(0, i))) << i;
  }
  EXPECT_FALSE(DecodeResidency(bytes + "x"));
}

TEST(ResidencyTest, RecordWithASourceIsRefusedByWhoDoesNotKnowIt) {
  IndexRecord record;
  record.residency = Residency::AllAbsent(Source());
  std::string bytes = EncodeRecord(record);
  EXPECT_EQ(*DecodeRecord(bytes), record);
  // The section's tag and flags come right after the fixed part.
  EXPECT_EQ(bytes[128], 6);
  EXPECT_EQ(bytes[130], kSectionCritical);
}

TEST(ResidencyTest, FileOffsetFollowsTheStripes) {
  const ObjectSource source = Source();
  EXPECT_EQ(source.FileOffset(0), 8 * kMiB);
  EXPECT_EQ(source.FileOffset(8 * kMiB - 1), 16 * kMiB - 1);
  EXPECT_EQ(source.FileOffset(8 * kMiB), 24 * kMiB);
}

TEST(ResidencyTest, AChangeNeedsOnlyWhatItDoesNotCover) {
  const Residency all = Residency::AllAbsent(Source());
  using Blocks = std::vector<uint64_t>;
  EXPECT_EQ(all.Needed(0, kBytes, false), (Blocks{0, 1, 2, 3}));
  EXPECT_EQ(all.Needed(0, kBytes, true), Blocks{});
  EXPECT_EQ(all.Needed(1, 2 * kMiB, true), (Blocks{0, 2}));
  EXPECT_EQ(all.Needed(kMiB, 2 * kMiB, true), Blocks{});
  EXPECT_EQ(all.Needed(3 * kMiB, 4999, true), Blocks{3});
  EXPECT_EQ(all.Needed(3 * kMiB, 5000, true), Blocks{});
  EXPECT_EQ(all.Needed(kBytes, kMiB, true), Blocks{});
  EXPECT_EQ(all.Needed(kBytes - 1, UINT64_MAX, false), Blocks{3});
}

TEST(LazyTest, AbsentBytesAreNeverReadAsZeros) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(Attach(&world, id));
  EXPECT_EQ(world.GetAttr(id)->size, kBytes);
  EXPECT_EQ(world.GetAttr(id)->ctime_ns, 0);
  const auto cold = world.Read(id, 10, 20);
  ASSERT_FALSE(cold);
  EXPECT_EQ(cold.error().code(), Errc::kAbsent);
  ASSERT_TRUE(Fill(&world, id, 0));
  EXPECT_EQ(*world.Read(id, 10, 20), S3Text(10, 20));
  EXPECT_EQ(world.Read(id, kMiB - 10, 20).error().code(), Errc::kAbsent);
  EXPECT_EQ(world.Write(id, kMiB, "x").error().code(), Errc::kAbsent);
  EXPECT_EQ(*ReadThrough(&world, id, 0, kBytes + 7), S3Text(0, kBytes));
  world.Close();
}

TEST(LazyTest, AFillNeverLandsOnAWrite) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(Attach(&world, id));
  ASSERT_TRUE(world.Write(id, kMiB, std::string(kMiB, 'w')));
  ASSERT_TRUE(Fill(&world, id, 1));
  EXPECT_EQ(*world.Read(id, kMiB, kMiB), std::string(kMiB, 'w'));
  // Nor does another version of the object.
  EXPECT_EQ(Fill(&world, id, 0, "\"e2\"").error().code(), Errc::kStale);
  EXPECT_EQ(States(&world, id),
            (std::vector{BlockState::kAbsent, BlockState::kUnsynced, BlockState::kAbsent,
                         BlockState::kAbsent}));
  world.Close();
}

TEST(LazyTest, TruncatedDownAndUpReadsZeros) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(Attach(&world, id));
  ASSERT_TRUE(world.Truncate(id, kMiB + 100));
  ASSERT_TRUE(world.Truncate(id, kBytes));
  EXPECT_EQ(*ReadThrough(&world, id, 0, kBytes),
            S3Text(0, kMiB + 100) + std::string(kBytes - kMiB - 100, '\0'));
  world.Close();
}

TEST(LazyTest, PunchedAbsentBlocksAreHoles) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(Attach(&world, id));
  EXPECT_EQ(world.Allocate(id, kPunch, 10, kMiB).error().code(), Errc::kAbsent);
  ASSERT_TRUE(world.Allocate(id, kPunch, kMiB, 2 * kMiB));
  EXPECT_EQ(*ReadThrough(&world, id, 0, kBytes),
            S3Text(0, kMiB) + std::string(2 * kMiB, '\0') + S3Text(3 * kMiB, 5000));
  world.Close();
}

TEST(LazyTest, AbsentBytesAreDataForSeek) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(Attach(&world, id));
  const auto seek = [&](uint64_t offset, bool hole) {
    const auto found = world.Run(world.target->Seek(world.io.get(), id, offset, hole));
    return found && found->found ? found->offset : UINT64_MAX;
  };
  EXPECT_EQ(seek(5, false), 5U);
  EXPECT_EQ(seek(5, true), kBytes);
  ASSERT_TRUE(world.Allocate(id, kPunch, kMiB, kMiB));
  EXPECT_EQ(seek(5, true), kMiB);
  EXPECT_EQ(seek(kMiB, false), 2 * kMiB);
  ASSERT_TRUE(world.Truncate(id, 9 * kMiB));
  EXPECT_EQ(seek(2 * kMiB, true), kBytes);
  EXPECT_EQ(seek(kBytes, false), UINT64_MAX);
  world.Close();
}

TEST(LazyTest, ReleaseDropsCleanBlocksOnly) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(ReadThrough(&world, id, 0, kBytes));
  ASSERT_TRUE(WriteThrough(&world, id, kMiB + 5, "mine"));
  EXPECT_EQ(Release(&world, id), kBytes - kMiB);
  EXPECT_EQ(world.Read(id, 0, 1).error().code(), Errc::kAbsent);
  EXPECT_EQ(*world.Read(id, kMiB + 5, 4), "mine");
  EXPECT_LE(world.GetAttr(id)->allocated_bytes, kMiB + 4096);
  std::string expected = S3Text(0, kBytes);
  expected.replace(kMiB + 5, 4, "mine");
  EXPECT_EQ(*ReadThrough(&world, id, 0, kBytes), expected);
  EXPECT_EQ(Release(&world, id), kBytes - kMiB);
  world.Close();
}

TEST(LazyTest, WhatWasWrittenOnCleanBytesIsDirtyAfterAKill) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  ASSERT_TRUE(ReadThrough(&world, id, 0, kBytes));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Write(id, 3, "mine"));
  world.Kill();
  world.Start();
  EXPECT_EQ(Release(&world, id), kBytes - kMiB);
  EXPECT_EQ(*world.Read(id, 3, 4), "mine");
  world.Close();
}

TEST(LazyTest, AMarkWithoutItsDataIsNoMarkAfterAPowerCut) {
  for (size_t batches = 0; batches < 6; ++batches) {
    OstWorld world;
    world.Start();
    const layout::ObjectId id = ObjectNumber(1);
    ASSERT_TRUE(Attach(&world, id));
    ASSERT_TRUE(world.Commit());
    ASSERT_TRUE(world.Write(id, kMiB, std::string(kMiB, 'w')));
    world.PowerCut(batches);  // the index's rows survived, the file's data did not
    world.Start();
    EXPECT_EQ(*ReadThrough(&world, id, 0, kBytes), S3Text(0, kBytes)) << batches;
    world.Close();
  }
}

TEST(LazyTest, AChangeOfAPartRestsOnAFillUntilItIsCommitted) {
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  const auto rests = [&](uint64_t offset, uint64_t length) {
    return *world.Run(world.target->RestsOnFill(world.io.get(), id, offset, length));
  };
  ASSERT_TRUE(Attach(&world, id) && Fill(&world, id, 0));
  EXPECT_TRUE(rests(100, 10) && !rests(0, kMiB));
  ASSERT_TRUE(world.Commit());
  EXPECT_FALSE(rests(100, 10));
  // Answered now, and repeated after a power cut: S3 is not needed again.
  ASSERT_TRUE(world.Write(id, 100, "mine"));
  world.PowerCut(0);
  world.Start();
  EXPECT_TRUE(Missing(&world, id, 100, 4, true).blocks.empty());
  ASSERT_TRUE(world.Write(id, 100, "mine"));
  EXPECT_EQ(*world.Read(id, 100, 54), "mine" + S3Text(104, 50));
  world.Close();
}

enum class Death { kKill, kPowerCut };

void Die(OstWorld* world, Death death) {
  if (death == Death::kKill) {
    world->Kill();
  } else {
    world->PowerCut();
  }
}

class LazyCrashTest : public ::testing::TestWithParam<Death> {};

INSTANTIATE_TEST_SUITE_P(Deaths, LazyCrashTest, ::testing::Values(Death::kKill, Death::kPowerCut),
                         [](const auto& info) {
                           return info.param == Death::kKill ? "Kill" : "PowerCut";
                         });

// `act` dies before its first call to the disk, before its second, and so on.
void TryAllWindows(Death death, const std::function<void(OstWorld*)>& prepare,
                   const std::function<bool(OstWorld*)>& act,
                   const std::function<void(OstWorld*, bool)>& check) {
  for (uint64_t calls = 0;; ++calls) {
    SCOPED_TRACE(fmt::format("dies after {} calls", calls));
    OstWorld world;
    world.Start();
    prepare(&world);
    world.fuse->BlowAfter(calls);
    const bool acknowledged = act(&world);
    const bool survived = !world.fuse->blown();
    Die(&world, death);
    world.Start();
    check(&world, acknowledged);
    ASSERT_LT(calls, 1000U);
    if (::testing::Test::HasFailure() || survived) return;
  }
}

TEST_P(LazyCrashTest, AFillIsThereOrAbsent) {
  const layout::ObjectId id = ObjectNumber(1);
  TryAllWindows(
      GetParam(), [](OstWorld*) {},
      [&](OstWorld* world) {
        return ReadThrough(world, id, 0, kBytes).has_value() && world->Commit().has_value();
      },
      [&](OstWorld* world, bool committed) {
        if (committed) {
          EXPECT_EQ(*world->Read(id, 0, kBytes), S3Text(0, kBytes));
        }
        const auto read = ReadThrough(world, id, 0, kBytes);
        ASSERT_TRUE(read) << read.error().ToString();
        EXPECT_TRUE(*read == S3Text(0, kBytes));
      });
}

TEST_P(LazyCrashTest, AWriteToAbsentBytesIsNeverReplacedByS3) {
  const layout::ObjectId id = ObjectNumber(1);
  const std::string mine(2 * kMiB, 'w');
  const Death death = GetParam();
  for (const bool commit : {false, true}) {
    TryAllWindows(
        death, [](OstWorld*) {},
        [&](OstWorld* world) {
          return WriteThrough(world, id, kMiB / 2, mine).has_value() &&
                 (!commit || world->Commit().has_value());
        },
        [&](OstWorld* world, bool acknowledged) {
          const auto read = ReadThrough(world, id, 0, kBytes);
          ASSERT_TRUE(read) << read.error().ToString();
          std::string with = S3Text(0, kBytes);
          with.replace(kMiB / 2, mine.size(), mine);
          const bool must = acknowledged && (death == Death::kKill || commit);
          for (uint64_t i = 0; i < kBytes; ++i) {
            const bool old = !must && (*read)[i] == S3Byte(i);
            ASSERT_TRUE((*read)[i] == with[i] || old) << i;
          }
        });
  }
}

TEST_P(LazyCrashTest, TruncateNeverLetsS3BytesReturn) {
  const layout::ObjectId id = ObjectNumber(1);
  TryAllWindows(
      GetParam(), [&](OstWorld* world) { ASSERT_TRUE(Attach(world, id)); },
      [&](OstWorld* world) { return world->Truncate(id, kMiB + 7).has_value(); },
      [&](OstWorld* world, bool acknowledged) {
        const bool grown = world->Truncate(id, kBytes, true).has_value();
        ASSERT_TRUE(grown);
        const auto read = ReadThrough(world, id, 0, kBytes);
        ASSERT_TRUE(read) << read.error().ToString();
        const std::string cut = S3Text(0, kMiB + 7) + std::string(kBytes - kMiB - 7, '\0');
        // An object that the power cut took entirely was attached but never cut: a hole now.
        EXPECT_TRUE(*read == cut || !acknowledged);
      });
}

TEST_P(LazyCrashTest, PunchNeverLetsS3BytesReturn) {
  const layout::ObjectId id = ObjectNumber(1);
  TryAllWindows(
      GetParam(), [&](OstWorld* world) { ASSERT_TRUE(Attach(world, id)); },
      [&](OstWorld* world) { return world->Allocate(id, kPunch, kMiB, kMiB).has_value(); },
      [&](OstWorld* world, bool acknowledged) {
        const auto read = ReadThrough(world, id, kMiB, kMiB);
        ASSERT_TRUE(read) << read.error().ToString();
        const bool hole = *read == std::string(kMiB, '\0');
        EXPECT_TRUE(hole || (!acknowledged && *read == S3Text(kMiB, kMiB)));
      });
}

TEST_P(LazyCrashTest, ReleaseNeverShowsZeros) {
  const layout::ObjectId id = ObjectNumber(1);
  TryAllWindows(
      GetParam(),
      [&](OstWorld* world) {
        ASSERT_TRUE(ReadThrough(world, id, 0, kBytes));
        ASSERT_TRUE(WriteThrough(world, id, 2 * kMiB + 1, "mine"));
        ASSERT_TRUE(world->Commit());
      },
      [&](OstWorld* world) { return Release(world, id) != UINT64_MAX; },
      [&](OstWorld* world, bool) {
        std::string expected = S3Text(0, kBytes);
        expected.replace(2 * kMiB + 1, 4, "mine");
        const auto read = ReadThrough(world, id, 0, kBytes);
        ASSERT_TRUE(read) << read.error().ToString();
        EXPECT_TRUE(*read == expected);
      });
}

// Random operations against a model: for each byte what was acknowledged last; kills only, so that
// all of it must be there.
TEST(LazyRandomTest, NothingAcknowledgedIsLostByKills) {
  const char* const seed_text = std::getenv("SHEEN_SEED");
  const uint64_t seed = seed_text != nullptr ? std::strtoull(seed_text, nullptr, 10) : 20260101;
  SCOPED_TRACE(fmt::format("SHEEN_SEED={}", seed));
  Random random(seed);
  OstWorld world;
  world.Start();
  const layout::ObjectId id = ObjectNumber(1);
  std::string model = S3Text(0, kBytes);
  for (int step = 0; step < 400 && !::testing::Test::HasFailure(); ++step) {
    ASSERT_TRUE(Attach(&world, id));
    const uint64_t offset = random.Below(model.size() + 1);
    const uint64_t length = 1 + random.Below(random.Below(2) == 0 ? 5000 : 2 * kMiB);
    switch (random.Below(9)) {
      case 0:
      case 1: {
        const std::string data(length, static_cast<char>('a' + step % 26));
        ASSERT_TRUE(WriteThrough(&world, id, offset, data));
        if (offset + length > model.size()) model.resize(offset + length);
        model.replace(offset, length, data);
        break;
      }
      case 2:
        ASSERT_TRUE(world.Truncate(id, offset));
        model.resize(offset);
        break;
      case 3: {
        const auto missing = Missing(&world, id, offset, length, true);
        for (const uint64_t block : missing.blocks) ASSERT_TRUE(Fill(&world, id, block));
        ASSERT_TRUE(world.Allocate(id, kPunch, offset, length));
        const uint64_t end = std::min<uint64_t>(offset + length, model.size());
        if (offset < end) model.replace(offset, end - offset, end - offset, '\0');
        break;
      }
      case 4:
        ASSERT_NE(Release(&world, id), UINT64_MAX);
        break;
      case 5:
        world.Kill();
        world.Start();
        break;
      case 6:
        ASSERT_TRUE(world.Commit());
        break;
      case 7:
        // What is committed survives losing everything else.
        ASSERT_TRUE(world.Commit());
        world.PowerCut();
        world.Start();
        break;
      default: {
        const uint64_t end = std::min<uint64_t>(offset + length, model.size());
        if (offset >= end) break;
        const auto read = ReadThrough(&world, id, offset, end - offset);
        ASSERT_TRUE(read) << read.error().ToString();
        ASSERT_TRUE(*read == model.substr(offset, end - offset)) << "step " << step;
      }
    }
    if (model.size() > 8 * kMiB) {
      ASSERT_TRUE(world.Truncate(id, kMiB));
      model.resize(kMiB);
    }
  }
  ASSERT_TRUE(*ReadThrough(&world, id, 0, model.size() + 1) == model);
  world.Close();
}

TEST(LazyTest, AnObjectThatTheDiskCannotHoldIsAnErrorOfItsOwn) {
  OstWorld world;
  world.Start();
  const layout::ObjectId big = ObjectNumber(1);
  const layout::ObjectId other = ObjectNumber(2);
  world.files.FailWrites(Errc::kFileTooBig);
  const Status attached = Attach(&world, big);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code(), Errc::kFileTooBig);
  EXPECT_NE(attached.error().message().find("chunk-size"), std::string::npos);
  world.files.FailWrites(Errc::kOk);
  EXPECT_EQ(world.target->stop_reason(), "");
  ASSERT_TRUE(Attach(&world, other));
  ASSERT_TRUE(Fill(&world, other, 0));
  EXPECT_EQ(*world.Read(other, 0, 100), S3Text(0, 100));
  // And it can be made when it fits after all.
  ASSERT_TRUE(Attach(&world, big));
  ASSERT_TRUE(Fill(&world, big, 1));
  EXPECT_EQ(*world.Read(big, kMiB, 100), S3Text(kMiB, 100));
  world.Close();
}

}  // namespace
}  // namespace sheen::ost

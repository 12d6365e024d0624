#include <gtest/gtest.h>

#include "ost/index_meta.h"
#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

Error OpenError(OstWorld* world, OpenOptions options) {
  const auto opened = world->Run(Target::Open(world->io.get(), std::move(options)));
  return opened ? Error() : opened.error();
}

TEST(OpenTest, BootCountRisesAndIsDurableBeforeService) {
  OstWorld world;
  for (uint64_t boot = 1; boot < 4; ++boot) {
    world.Start();
    EXPECT_EQ(world.target->boot(), boot);
    world.PowerCut();
  }
}

TEST(OpenTest, UnformattedDirectoryIsRefusedWithAdvice) {
  OstWorld world;
  world.Start();
  OpenOptions options = world.Options();
  options.directory = "/";
  const Error error = OpenError(&world, std::move(options));
  EXPECT_EQ(error.code(), Errc::kNoEntry);
  EXPECT_NE(error.message().find("sheen format"), std::string::npos);
}

TEST(OpenTest, OtherFilesystemAndOtherIndexAreRefused) {
  OstWorld world;
  world.Start();
  OpenOptions options = world.Options();
  options.fsname = "other";
  const Error error = OpenError(&world, std::move(options));
  EXPECT_EQ(error.code(), Errc::kWrongFilesystem);
  EXPECT_NE(error.message().find("'sheen'"), std::string::npos);
  OpenOptions index = world.Options();
  index.ost_index = 4;
  EXPECT_EQ(OpenError(&world, std::move(index)).code(), Errc::kInvalid);
}

TEST(OpenTest, EmptyIndexIsRefusedSinceEveryObjectWouldBeAHole) {
  OstWorld world;
  world.Start();
  kv::MemoryDisk empty(IndexFamilies().size());
  const auto store = kv::OpenMemoryStore(&empty);
  OpenOptions options = world.Options();
  options.index = store.get();
  EXPECT_EQ(OpenError(&world, std::move(options)).code(), Errc::kCorrupt);
}

TEST(OpenTest, IndexOfAnotherTargetIsRefused) {
  OstWorld world;
  OstWorld other;
  world.Start();
  other.Start();
  OpenOptions options = world.Options();
  options.index = other.store.get();
  EXPECT_EQ(OpenError(&world, std::move(options)).code(), Errc::kCorrupt);
}

TEST(OpenTest, ReadOnlyDiskIsRefusedAtTheStart) {
  OstWorld world;
  world.files.FailWrites(Errc::kReadOnly);
  const Status started = world.TryStart();
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().code(), Errc::kReadOnly);
  EXPECT_NE(started.error().message().find("/ost cannot be written to"), std::string::npos);
}

TEST(OpenTest, FullDiskIsRefusedAtTheStart) {
  OstWorld world;
  world.files.FailWrites(Errc::kNoSpace);
  EXPECT_EQ(world.TryStart().error().code(), Errc::kNoSpace);
}

TEST(FormatTest, ASecondFormatChangesNothing) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "abc"));
  const auto again =
      world.Run(Format(world.io.get(), world.store.get(), {.directory = "/ost", .fsname = "new"}));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Errc::kExists);
  EXPECT_NE(again.error().message().find("sheen-OST0003"), std::string::npos);
  EXPECT_EQ(world.Contents(ObjectNumber(1)), "abc");
}

TEST(FormatTest, SuperblockLostIsNotAnEmptyDirectory) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "abc"));
  ASSERT_TRUE(world.Run(world.io->Unlink("/ost/superblock")));
  const auto again = world.Run(Format(world.io.get(), world.store.get(), {.directory = "/ost"}));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Errc::kNotEmpty);
}

TEST(FormatTest, OddOptionsAreRefused) {
  OstWorld world;
  world.Start();
  const auto code = [&](FormatOptions options) {
    options.directory = "/new";
    return world.Run(Format(world.io.get(), world.store.get(), options)).error().code();
  };
  EXPECT_EQ(code({.fsname = ""}), Errc::kInvalid);
  EXPECT_EQ(code({.fsname = "ninechars"}), Errc::kInvalid);
  EXPECT_EQ(code({.fsname = "a/b"}), Errc::kInvalid);
  EXPECT_EQ(code({.ost_index = 65536}), Errc::kInvalid);
  EXPECT_EQ(code({.size_limit_bytes = 4096}), Errc::kInvalid);
}

// A power cut at any point of Format leaves an OST or nothing; a second try then works.
TEST(FormatTest, FormatIsWholeOrCanBeRepeated) {
  for (uint64_t calls = 0;; ++calls) {
    SCOPED_TRACE(calls);
    ManualClock clock;
    async::SimPoller poller(&clock);
    async::Shard shard(&poller, &clock);
    io::MemoryFileSystem files;
    files.MakeDurableDirectory("/new");
    kv::MemoryDisk disk(IndexFamilies().size());
    const auto format = [&](std::shared_ptr<test::Fuse> fuse) {
      const auto real_store = kv::OpenMemoryStore(&disk);
      io::MemoryFileIo real_io(&files, &shard);
      test::MortalStore store(real_store.get(), fuse);
      test::MortalFileIo io(&real_io, fuse);
      std::optional<Result<Superblock>> out;
      shard.Post(
          [&] { shard.Spawn(OstWorld::Keep(Format(&io, &store, {.directory = "/new"}), &out)); });
      EXPECT_TRUE(async::RunUntil(
          &shard, [&] { return out.has_value(); }, std::chrono::seconds(1)));
      return out->has_value() ? Errc::kOk : out->error().code();
    };
    const auto fuse = std::make_shared<test::Fuse>();
    fuse->BlowAfter(calls);
    const Errc first = format(fuse);
    files.PowerCut();
    disk.PowerCut();
    const Errc second = format(std::make_shared<test::Fuse>());
    EXPECT_EQ(second, first == Errc::kOk ? Errc::kExists : Errc::kOk);
    if (!fuse->blown() || HasFailure()) break;
  }
}

}  // namespace
}  // namespace sheen::ost

// What only the fake can do: lose power, fail, fill up, rot.
#include "io/memory_file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "unit/io/file_io_rig.h"

namespace sheen::io {
namespace {

class MemoryFileSystemTest : public ::testing::Test {
 protected:
  template <class T>
  T Wait(Task<T> task) {
    return rig_.Wait(std::move(task));
  }
  MemoryRig rig_{{.capacity_bytes = 1 << 20}};
  Files files_{&rig_};
};

TEST_F(MemoryFileSystemTest, PowerCutKeepsExactlyWhatWasSynced) {
  const FileId file = files_.Open("f");
  ASSERT_TRUE(files_.Write(file, Bytes(10000, 1), 0).has_value());
  files_.Sync(file);
  files_.SyncDir("");
  ASSERT_TRUE(files_.Write(file, "unsynced", 100).has_value());
  ASSERT_TRUE(files_.Write(file, "beyond", 20000).has_value());
  rig_.files()->PowerCut();
  const FileId again = files_.Open("f", O_RDWR);
  EXPECT_TRUE(files_.Read(again, 100000, 0) == Bytes(10000, 1));
  EXPECT_EQ(files_.Write(file, "x", 0).error().code(), Errc::kBadHandle);
}

TEST_F(MemoryFileSystemTest, AnEntryNeedsItsDirectorySynced) {
  const FileId file = files_.Open("f");
  ASSERT_TRUE(files_.Write(file, "data", 0).has_value());
  files_.Sync(file);
  rig_.files()->PowerCut();
  EXPECT_EQ(files_.OpenError("f", O_RDONLY), Errc::kNoEntry);
  EXPECT_EQ(rig_.files()->used_bytes(), 0U);
}

TEST_F(MemoryFileSystemTest, AnUnsyncedUnlinkComesBack) {
  const FileId file = files_.Open("f");
  ASSERT_TRUE(files_.Write(file, "data", 0).has_value());
  files_.Sync(file);
  files_.SyncDir("");
  ASSERT_TRUE(Wait(rig_.io()->Unlink(files_.Path("f"))).has_value());
  rig_.files()->PowerCut();
  EXPECT_EQ(files_.Read(files_.Open("f", O_RDONLY), 10, 0), "data");
  ASSERT_TRUE(Wait(rig_.io()->Unlink(files_.Path("f"))).has_value());
  files_.SyncDir("");
  rig_.files()->PowerCut();
  EXPECT_EQ(files_.OpenError("f", O_RDONLY), Errc::kNoEntry);
}

TEST_F(MemoryFileSystemTest, TruncateIsVolatileUntilSynced) {
  const FileId file = files_.Open("f");
  ASSERT_TRUE(files_.Write(file, Bytes(10000, 1), 0).has_value());
  files_.Sync(file);
  files_.SyncDir("");
  ASSERT_TRUE(Wait(rig_.io()->Truncate(file, 10)).has_value());
  rig_.files()->PowerCut();
  EXPECT_TRUE(files_.Read(files_.Open("f", O_RDONLY), 20000, 0) == Bytes(10000, 1));
}

TEST_F(MemoryFileSystemTest, ARenameOverTwoDirectoriesIsOneStep) {
  files_.MakeDir("a");
  files_.MakeDir("b");
  files_.Sync(files_.Open("a/f"));
  files_.SyncDir("");
  files_.SyncDir("a");
  ASSERT_TRUE(Wait(rig_.io()->Rename(files_.Path("a/f"), files_.Path("b/f"))).has_value());
  rig_.files()->PowerCut();
  EXPECT_EQ(files_.List("a"), std::vector<std::string>{"f"});
  EXPECT_EQ(files_.List("b"), std::vector<std::string>{});
  ASSERT_TRUE(Wait(rig_.io()->Rename(files_.Path("a/f"), files_.Path("b/f"))).has_value());
  files_.SyncDir("b");
  rig_.files()->PowerCut();
  EXPECT_EQ(files_.List("a"), std::vector<std::string>{});
  EXPECT_EQ(files_.List("b"), std::vector<std::string>{"f"});
}

TEST_F(MemoryFileSystemTest, TornWritesKeepWholeBlocks) {
  const FileId file = files_.Open("f");
  const std::string old_data(64 * 4096, 'o');
  ASSERT_TRUE(files_.Write(file, old_data, 0).has_value());
  files_.Sync(file);
  files_.SyncDir("");
  ASSERT_TRUE(files_.Write(file, std::string(64 * 4096, 'n'), 0).has_value());
  Random random(7);
  rig_.files()->PowerCutKeepingSome(&random);
  const std::string now = files_.Read(files_.Open("f", O_RDONLY), 1 << 20, 0);
  ASSERT_EQ(now.size(), old_data.size());
  int fresh = 0;
  for (size_t block = 0; block < 64; ++block) {
    const std::string part = now.substr(block * 4096, 4096);
    ASSERT_TRUE(part == std::string(4096, part[0]));
    fresh += part[0] == 'n' ? 1 : 0;
  }
  EXPECT_GT(fresh, 0);
  EXPECT_LT(fresh, 64);
}

TEST_F(MemoryFileSystemTest, AFullDiskTakesNoPartOfAWrite) {
  const FileId file = files_.Open("f");
  EXPECT_EQ(files_.Write(file, std::string((1 << 20) + 1, 'x'), 0).error().code(), Errc::kNoSpace);
  EXPECT_EQ(rig_.files()->used_bytes(), 0U);
  ASSERT_TRUE(files_.Write(file, std::string(1 << 20, 'x'), 0).has_value());
  EXPECT_EQ(Wait(rig_.io()->Space("/disk"))->bytes_free, 0U);
  EXPECT_EQ(files_.Write(files_.Open("g"), "y", 0).error().code(), Errc::kNoSpace);
  ASSERT_TRUE(files_.Write(file, "over what is there", 500).has_value());
  ASSERT_TRUE(Wait(rig_.io()->Unlink(files_.Path("f"))).has_value());
  ASSERT_TRUE(Wait(rig_.io()->Close(file)).has_value());
  EXPECT_TRUE(files_.Write(files_.Open("g"), "y", 0).has_value());
}

TEST_F(MemoryFileSystemTest, InjectedFailuresLastUntilLifted) {
  const FileId file = files_.Open("f");
  rig_.files()->FailWrites(Errc::kIo);
  EXPECT_EQ(files_.Write(file, "x", 0).error().code(), Errc::kIo);
  EXPECT_EQ(Wait(rig_.io()->Truncate(file, 5)).error().code(), Errc::kIo);
  rig_.files()->FailWrites(Errc::kOk);
  ASSERT_TRUE(files_.Write(file, "x", 0).has_value());
  rig_.files()->FailReads(Errc::kIo);
  std::byte byte{};
  EXPECT_EQ(Wait(rig_.io()->Read(file, {&byte, 1}, 0)).error().code(), Errc::kIo);
  rig_.files()->FailReads(Errc::kOk);
  EXPECT_EQ(files_.Read(file, 1, 0), "x");
}

TEST_F(MemoryFileSystemTest, AFailedSyncIsNotHealedByALaterOne) {
  const FileId file = files_.Open("f");
  files_.SyncDir("");
  ASSERT_TRUE(files_.Write(file, Bytes(4096, 1), 0).has_value());
  rig_.files()->FailSyncs(Errc::kIo);
  EXPECT_EQ(Wait(rig_.io()->SyncData(file)).error().code(), Errc::kIo);
  rig_.files()->FailSyncs(Errc::kOk);
  files_.Sync(file);
  EXPECT_TRUE(files_.Read(file, 4096, 0) == Bytes(4096, 1));
  rig_.files()->PowerCut();
  EXPECT_FALSE(files_.Read(files_.Open("f", O_RDONLY), 4096, 0) == Bytes(4096, 1));
}

TEST_F(MemoryFileSystemTest, FlipBitIsSeenAndSurvives) {
  const FileId file = files_.Open("f");
  ASSERT_TRUE(files_.Write(file, "aaaa", 0).has_value());
  files_.Sync(file);
  files_.SyncDir("");
  EXPECT_TRUE(rig_.files()->FlipBit("/disk/f", 2));
  EXPECT_FALSE(rig_.files()->FlipBit("/disk/f", 4));
  EXPECT_FALSE(rig_.files()->FlipBit("/disk/g", 0));
  EXPECT_NE(files_.Read(file, 4, 0), "aaaa");
  rig_.files()->PowerCut();
  EXPECT_NE(files_.Read(files_.Open("f", O_RDONLY), 4, 0), "aaaa");
}

}  // namespace
}  // namespace sheen::io

// One conformance suite over the real FileIo and the fake.
#include "io/file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "unit/io/file_io_rig.h"

namespace sheen::io {
namespace {

template <class RigType>
class FileIoConformance : public ::testing::Test {
 protected:
  template <class T>
  T Wait(Task<T> task) {
    return rig_.Wait(std::move(task));
  }
  FileIo* io() { return rig_.io(); }
  RigType rig_;
  Files files_{&rig_};
};

using Rigs = ::testing::Types<UringRig, MemoryRig, SlowMemoryRig>;
TYPED_TEST_SUITE(FileIoConformance, Rigs);

TYPED_TEST(FileIoConformance, ReadsWhatWasWrittenAtAnyOffset) {
  const FileId file = this->files_.Open("f");
  const std::string data = Bytes(100000, 1);
  ASSERT_TRUE(this->files_.Write(file, data, 4095).has_value());
  ASSERT_TRUE(this->files_.Write(file, "patch", 50000).has_value());
  std::string expected = std::string(4095, '\0') + data;
  expected.replace(50000, 5, "patch");
  EXPECT_TRUE(this->files_.Read(file, 200000, 0) == expected);
  EXPECT_TRUE(this->files_.Read(file, 10, 49998) == expected.substr(49998, 10));
  EXPECT_EQ(this->files_.Read(file, 10, expected.size()), "");
  EXPECT_EQ(this->files_.Read(file, 10, expected.size() + 100000), "");
  EXPECT_TRUE(this->Wait(this->io()->Close(file)).has_value());
}

TYPED_TEST(FileIoConformance, OpenFlagsAreKept) {
  EXPECT_EQ(this->files_.OpenError("none", O_RDWR), Errc::kNoEntry);
  EXPECT_EQ(this->files_.OpenError("none/f", O_RDWR | O_CREAT), Errc::kNoEntry);
  const FileId file = this->files_.Open("f", O_RDWR | O_CREAT | O_EXCL);
  ASSERT_TRUE(this->files_.Write(file, "data", 0).has_value());
  EXPECT_EQ(this->files_.OpenError("f", O_RDWR | O_CREAT | O_EXCL), Errc::kExists);
  EXPECT_EQ(this->files_.OpenError("f", O_RDONLY | O_DIRECTORY), Errc::kNotDirectory);
  EXPECT_EQ(this->files_.OpenError("f/g", O_RDWR | O_CREAT), Errc::kNotDirectory);
  this->files_.MakeDir("d");
  EXPECT_EQ(this->files_.OpenError("d", O_RDWR), Errc::kIsDirectory);
  EXPECT_EQ(this->files_.OpenError("d", O_RDONLY | O_DIRECTORY), Errc::kOk);
  const FileId read_only = this->files_.Open("f", O_RDONLY);
  EXPECT_EQ(this->files_.Write(read_only, "x", 0).error().code(), Errc::kBadHandle);
  const FileId cut = this->files_.Open("f", O_RDWR | O_TRUNC);
  EXPECT_EQ(this->files_.Read(cut, 10, 0), "");
}

TYPED_TEST(FileIoConformance, ErrorsNameCallAndPath) {
  const auto file = this->Wait(this->io()->Open(this->files_.Path("none"), O_RDWR));
  ASSERT_FALSE(file.has_value());
  EXPECT_NE(file.error().message().find("open"), std::string::npos);
  EXPECT_NE(file.error().message().find(this->files_.Path("none")), std::string::npos);
  const FileId read_only = this->files_.Open("f", O_RDONLY | O_CREAT);
  const Status written = this->files_.Write(read_only, "x", 77);
  ASSERT_FALSE(written.has_value());
  EXPECT_NE(written.error().message().find("write"), std::string::npos);
  EXPECT_NE(written.error().message().find(this->files_.Path("f")), std::string::npos);
  EXPECT_NE(written.error().message().find("77"), std::string::npos);
}

TYPED_TEST(FileIoConformance, AClosedFileIsABadHandle) {
  const FileId file = this->files_.Open("f");
  ASSERT_TRUE(this->Wait(this->io()->Close(file)).has_value());
  EXPECT_EQ(this->files_.Write(file, "x", 0).error().code(), Errc::kBadHandle);
  EXPECT_EQ(this->Wait(this->io()->SyncData(file)).error().code(), Errc::kBadHandle);
}

TYPED_TEST(FileIoConformance, TruncateCutsAndExtendsWithZeros) {
  const FileId file = this->files_.Open("f");
  ASSERT_TRUE(this->files_.Write(file, Bytes(10000, 2), 0).has_value());
  ASSERT_TRUE(this->Wait(this->io()->Truncate(file, 5000)).has_value());
  EXPECT_EQ(this->Wait(this->io()->Stat(file))->size, 5000U);
  ASSERT_TRUE(this->Wait(this->io()->Truncate(file, 20000)).has_value());
  EXPECT_EQ(this->Wait(this->io()->Stat(file))->size, 20000U);
  EXPECT_TRUE(this->files_.Read(file, 30000, 0) ==
              Bytes(10000, 2).substr(0, 5000) + std::string(15000, '\0'));
}

TYPED_TEST(FileIoConformance, StatByHandleAndByPathAgree) {
  const FileId file = this->files_.Open("f");
  ASSERT_TRUE(this->files_.Write(file, Bytes(8192, 3), 0).has_value());
  this->files_.Sync(file);
  const auto by_handle = this->Wait(this->io()->Stat(file));
  const auto by_path = this->Wait(this->io()->StatPath(this->files_.Path("f")));
  ASSERT_TRUE(by_handle.has_value() && by_path.has_value());
  EXPECT_EQ(by_handle->size, 8192U);
  EXPECT_EQ(by_path->size, 8192U);
  EXPECT_EQ(by_handle->allocated_bytes, by_path->allocated_bytes);
  EXPECT_GE(by_handle->allocated_bytes, 8192U);
  EXPECT_FALSE(by_path->is_directory);
  EXPECT_TRUE(this->Wait(this->io()->StatPath(this->rig_.root()))->is_directory);
  EXPECT_EQ(this->Wait(this->io()->StatPath(this->files_.Path("none"))).error().code(),
            Errc::kNoEntry);
}

TYPED_TEST(FileIoConformance, PunchedRangesReadAsZeros) {
  const FileId file = this->files_.Open("f");
  const std::string data = Bytes(65536, 4);
  ASSERT_TRUE(this->files_.Write(file, data, 0).has_value());
  ASSERT_TRUE(this->Wait(this->io()->Allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                              5000, 20000))
                  .has_value());
  std::string expected = data;
  expected.replace(5000, 20000, 20000, '\0');
  EXPECT_TRUE(this->files_.Read(file, 100000, 0) == expected);
}

TYPED_TEST(FileIoConformance, AllocateExtendsUnlessSizeIsKept) {
  const FileId file = this->files_.Open("f");
  ASSERT_TRUE(this->Wait(this->io()->Allocate(file, FALLOC_FL_KEEP_SIZE, 0, 65536)).has_value());
  auto stat = this->Wait(this->io()->Stat(file));
  EXPECT_EQ(stat->size, 0U);
  EXPECT_GE(stat->allocated_bytes, 65536U);
  ASSERT_TRUE(this->Wait(this->io()->Allocate(file, 0, 4096, 65536)).has_value());
  EXPECT_EQ(this->Wait(this->io()->Stat(file))->size, 4096U + 65536U);
  EXPECT_TRUE(this->files_.Read(file, 100000, 0) == std::string(4096 + 65536, '\0'));
  EXPECT_EQ(this->Wait(this->io()->Allocate(file, 0, 0, 0)).error().code(), Errc::kInvalid);
}

TYPED_TEST(FileIoConformance, SeekFindsDataAndHoles) {
  const FileId file = this->files_.Open("f");
  constexpr uint64_t kData = 1 << 20;
  ASSERT_TRUE(this->files_.Write(file, Bytes(65536, 5), kData).has_value());
  ASSERT_TRUE(this->Wait(this->io()->Truncate(file, 3 << 20)).has_value());
  EXPECT_EQ(this->Wait(this->io()->Seek(file, 0, SEEK_DATA)).value_or(0), kData);
  EXPECT_EQ(this->Wait(this->io()->Seek(file, kData + 10, SEEK_DATA)).value_or(0), kData + 10);
  EXPECT_EQ(this->Wait(this->io()->Seek(file, kData, SEEK_HOLE)).value_or(0), kData + 65536);
  EXPECT_EQ(this->Wait(this->io()->Seek(file, 0, SEEK_HOLE)).value_or(7), 0U);
  EXPECT_EQ(this->Wait(this->io()->Seek(file, kData + 65536, SEEK_DATA)).error().code(),
            Errc::kNoDevice);
  EXPECT_EQ(this->Wait(this->io()->Seek(file, 3 << 20, SEEK_HOLE)).error().code(), Errc::kNoDevice);
}

TYPED_TEST(FileIoConformance, DirectoriesListWhatIsInThem) {
  this->files_.MakeDir("d");
  EXPECT_EQ(this->Wait(this->io()->MakeDirectory(this->files_.Path("d"))).error().code(),
            Errc::kExists);
  EXPECT_EQ(this->Wait(this->io()->MakeDirectory(this->files_.Path("x/y"))).error().code(),
            Errc::kNoEntry);
  this->files_.Open("d/b");
  this->files_.Open("d/a");
  this->files_.MakeDir("d/c");
  EXPECT_EQ(this->files_.List("d"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(this->files_.List("d/c"), std::vector<std::string>{});
  EXPECT_EQ(this->Wait(this->io()->List(this->files_.Path("none"))).error().code(), Errc::kNoEntry);
  EXPECT_EQ(this->Wait(this->io()->List(this->files_.Path("d/a"))).error().code(),
            Errc::kNotDirectory);
}

TYPED_TEST(FileIoConformance, AnUnlinkedFileLivesUntilItIsClosed) {
  const FileId file = this->files_.Open("f");
  ASSERT_TRUE(this->files_.Write(file, "still here", 0).has_value());
  ASSERT_TRUE(this->Wait(this->io()->Unlink(this->files_.Path("f"))).has_value());
  EXPECT_EQ(this->files_.OpenError("f", O_RDONLY), Errc::kNoEntry);
  EXPECT_EQ(this->files_.Read(file, 100, 0), "still here");
  EXPECT_EQ(this->Wait(this->io()->Unlink(this->files_.Path("f"))).error().code(), Errc::kNoEntry);
  this->files_.MakeDir("d");
  EXPECT_EQ(this->Wait(this->io()->Unlink(this->files_.Path("d"))).error().code(),
            Errc::kIsDirectory);
}

TYPED_TEST(FileIoConformance, RenameReplacesFiles) {
  ASSERT_TRUE(this->files_.Write(this->files_.Open("from"), "new", 0).has_value());
  ASSERT_TRUE(this->files_.Write(this->files_.Open("to"), "old", 0).has_value());
  this->files_.MakeDir("d");
  const auto rename = [&](const std::string& from, const std::string& to) {
    return this->Wait(this->io()->Rename(this->files_.Path(from), this->files_.Path(to)));
  };
  ASSERT_TRUE(rename("from", "to").has_value());
  EXPECT_EQ(this->files_.List(""), (std::vector<std::string>{"d", "to"}));
  EXPECT_EQ(this->files_.Read(this->files_.Open("to"), 10, 0), "new");
  ASSERT_TRUE(rename("to", "d/to").has_value());
  EXPECT_EQ(this->files_.Read(this->files_.Open("d/to"), 10, 0), "new");
  ASSERT_TRUE(rename("d/to", "d/to").has_value());
  EXPECT_EQ(this->files_.List("d"), std::vector<std::string>{"to"});
  EXPECT_EQ(rename("none", "x").error().code(), Errc::kNoEntry);
  this->files_.MakeDir("e");
  EXPECT_EQ(rename("d/to", "e").error().code(), Errc::kIsDirectory);
  EXPECT_EQ(rename("d/to", "d").error().code(), Errc::kNotEmpty);
  EXPECT_EQ(rename("d", "d/sub").error().code(), Errc::kInvalid);
}

TYPED_TEST(FileIoConformance, SpaceAddsUp) {
  const auto space = this->Wait(this->io()->Space(this->rig_.root()));
  ASSERT_TRUE(space.has_value()) << space.error().ToString();
  EXPECT_GT(space->bytes_total, 0U);
  EXPECT_LE(space->bytes_free, space->bytes_total);
  EXPECT_NE(space->device, 0U);
  EXPECT_EQ(this->Wait(this->io()->Space(this->files_.Path("none"))).error().code(),
            Errc::kNoEntry);
}

Task<int> WriteAll(FileIo* io, FileId file, int count) {
  std::vector<std::string> chunks;
  std::vector<Task<Status>> writes;
  for (int i = 0; i < count; ++i) chunks.push_back(Bytes(4096, i));
  for (int i = 0; i < count; ++i) {
    writes.push_back(io->Write(file, AsBytes(chunks[size_t(i)]), uint64_t(i) * 4096));
  }
  const std::vector<Status> done = co_await async::WhenAll(std::move(writes));
  int good = 0;
  for (const Status& status : done) good += status.has_value() ? 1 : 0;
  co_return good;
}

TYPED_TEST(FileIoConformance, ConcurrentWritesAllArrive) {
  const FileId file = this->files_.Open("f");
  constexpr int kCount = 300;
  EXPECT_EQ(this->Wait(WriteAll(this->io(), file, kCount)), kCount);
  for (int i = 0; i < kCount; i += 37) {
    EXPECT_TRUE(this->files_.Read(file, 4096, uint64_t(i) * 4096) == Bytes(4096, i)) << i;
  }
}

}  // namespace
}  // namespace sheen::io

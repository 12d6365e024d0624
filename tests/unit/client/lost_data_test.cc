#include "client/lost_data.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/log.h"

namespace sheen::client {
namespace {

namespace fs = std::filesystem;

class LostDataTest : public ::testing::Test {
 protected:
  LostDataTest() {
    std::string name = (fs::temp_directory_path() / "sheen-lost-XXXXXX").string();
    if (::mkdtemp(name.data()) != nullptr) top_ = name;
  }
  ~LostDataTest() override { fs::remove_all(top_); }
  // The one directory of a mount.
  fs::path OfMount() const {
    for (const auto& entry : fs::directory_iterator(top_ / "new" / "scratch")) return entry.path();
    return {};
  }
  static std::string Contents(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::string Save(LostData* lost, const std::string& file, uint64_t offset,
                          const std::string& text) {
    const auto owner = std::make_shared<std::string>(text);
    return lost->Save(file, offset, AsBytes(*owner), owner);
  }
  fs::path top_;
};

TEST_F(LostDataTest, EachByteIsAtItsPlace) {
  std::string said;
  {
    LostData lost(top_ / "new", "scratch");
    EXPECT_FALSE(fs::exists(top_ / "new")) << "made before there is anything";
    said = Save(&lost, "[0x1:0x2:0x0]", 5, "world");
    Save(&lost, "[0x1:0x3:0x0]", 0, "other");
    Save(&lost, "[0x1:0x2:0x0]", 0, "hello");
    Save(&lost, "[0x1:0x2:0x0]", 6, "O");
  }
  const fs::path mount = OfMount();
  EXPECT_EQ(said, "; saved in " + (mount / "[0x1:0x2:0x0].data").string());
  EXPECT_EQ(Contents(mount / "[0x1:0x2:0x0].data"), "hellowOrld");
  EXPECT_EQ(Contents(mount / "[0x1:0x2:0x0].ranges"), "5 5\n0 5\n6 1\n");
  EXPECT_EQ(Contents(mount / "[0x1:0x3:0x0].data"), "other");
  struct stat info {};
  ASSERT_EQ(::stat((mount / "[0x1:0x2:0x0].data").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  ASSERT_EQ(::stat(mount.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
}

TEST_F(LostDataTest, WithoutADirectoryNothingIsSaved) {
  LostData lost("", "scratch");
  EXPECT_EQ(Save(&lost, "[0x1:0x2:0x0]", 0, "hello"), "");
}

TEST_F(LostDataTest, ADirectoryThatCannotBeMadeIsTold) {
  std::ofstream(top_ / "file") << "in the way";
  ::testing::internal::CaptureStderr();
  LogToStderr("lost_data_test");
  {
    LostData lost(top_ / "file", "scratch");
    EXPECT_NE(Save(&lost, "[0x1:0x2:0x0]", 7, "hello"), "");
  }
  LogFlush();
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("5 bytes at 7 that could not be stored are not saved either"),
            std::string::npos)
      << log;
}

TEST_F(LostDataTest, ThereIsALimit) {
  LostData lost(top_ / "new", "scratch");
  // Given once, but counted by its length.
  const auto owner = std::make_shared<std::string>(64 << 20, 'x');
  const uint64_t fits = LostData::kBytesMax / owner->size();
  for (uint64_t i = 0; i < fits; ++i) {
    EXPECT_NE(lost.Save("[0x1:0x2:0x0]", 0, AsBytes(*owner), owner).find("saved in"),
              std::string::npos);
  }
  const std::string more = Save(&lost, "[0x1:0x2:0x0]", 0, "hello");
  EXPECT_EQ(more, "; not saved, since 1073741824 bytes have been");
}

}  // namespace
}  // namespace sheen::client

#include "apps/common/tar_gz.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

// Unpacked by tar(1), the second party.
class TarGzTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sheen-tar-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { fs::remove_all(directory_); }

  void Unpack(const std::string& archive) {
    std::ofstream(directory_ / "a.tar.gz", std::ios::binary) << archive;
    const std::string command = "cd " + directory_.string() + " && tar -xzf a.tar.gz 2>&1";
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  std::string Read(const std::string& path) {
    std::ifstream file(directory_ / path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return file ? text.str() : "there is no " + path;
  }

  fs::path directory_;
};

TEST_F(TarGzTest, TarUnpacksWhatWasAdded) {
  std::mt19937 random(7);
  std::string large(300'001, '\0');
  for (char& c : large) c = static_cast<char>(random());
  const std::string block(512, 'b');
  TarGz archive("top", 1'700'000'000);
  archive.Add("one.txt", "one\n");
  archive.Add("empty", "");
  archive.Add("deep/er/block", block);
  archive.Add("large", large);
  Unpack(archive.Finish());
  EXPECT_EQ(Read("top/one.txt"), "one\n");
  EXPECT_EQ(Read("top/empty"), "");
  EXPECT_EQ(Read("top/deep/er/block"), block);
  EXPECT_EQ(Read("top/large"), large);
  const auto mode = fs::status(directory_ / "top/one.txt").permissions();
  EXPECT_EQ(mode, fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(TarGzTest, LongPathsAreDividedAndVeryLongOnesShortened) {
  const std::string part(60, 'p');
  const std::string two = part + "/" + part + "/name";
  const std::string unbroken(300, 'u');
  TarGz archive("top", 0);
  archive.Add(two, "divided");
  archive.Add(unbroken, "shortened");
  Unpack(archive.Finish());
  EXPECT_EQ(Read("top/" + two), "divided");
  EXPECT_EQ(Read(std::string(100, 'u')), "shortened");
}

TEST_F(TarGzTest, AnArchiveOfNothingIsOne) {
  Unpack(TarGz("top", 0).Finish());
  EXPECT_FALSE(fs::exists(directory_ / "top"));
}

}  // namespace
}  // namespace sheen::apps

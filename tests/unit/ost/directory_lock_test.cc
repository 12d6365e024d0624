#include "ost/directory_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace sheen::ost {
namespace {

class DirectoryLockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "/sheen-lock-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  std::string directory;
};

TEST_F(DirectoryLockTest, SecondOwnerIsToldTheDirectoryAndThePid) {
  const auto first = DirectoryLock::Acquire(directory);
  ASSERT_TRUE(first) << first.error().ToString();
  // flock counts open file descriptions, so a second one in this process conflicts too.
  const auto second = DirectoryLock::Acquire(directory);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  EXPECT_NE(second.error().message().find(directory), std::string::npos);
  EXPECT_NE(second.error().message().find("pid " + std::to_string(getpid())), std::string::npos);
}

TEST_F(DirectoryLockTest, ReleasedLockCanBeTakenAgain) {
  { ASSERT_TRUE(DirectoryLock::Acquire(directory)); }
  EXPECT_TRUE(DirectoryLock::Acquire(directory));
}

TEST_F(DirectoryLockTest, MissingDirectoryIsNamed) {
  const auto lock = DirectoryLock::Acquire(directory + "/none");
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code(), Errc::kNoEntry);
  EXPECT_NE(lock.error().message().find(directory + "/none"), std::string::npos);
}

}  // namespace
}  // namespace sheen::ost

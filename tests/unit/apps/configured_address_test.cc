#include "apps/common/configured_address.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace sheen::apps {
namespace {

class ConfiguredControlTest : public ::testing::Test {
 protected:
  ConfiguredControlTest()
      : path_(::testing::TempDir() + "configured_address_" + std::to_string(::getpid())) {}
  ~ConfiguredControlTest() override { std::remove(path_.c_str()); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  // "HOST:PORT", or the error's message.
  std::string Address() const {
    const auto address = ConfiguredControl(path_, 7989);
    return address ? address->ToString() : address.error().message();
  }

  const std::string path_;
};

TEST_F(ConfiguredControlTest, WithoutAFileItIsTheDefault) {
  EXPECT_EQ(Address(), "127.0.0.1:7989");
}

TEST_F(ConfiguredControlTest, FollowsWhatTheFileSays) {
  Write("listen = \"10.0.0.1\"\nallow = [\"10.0.0.0/8\"]\ncontrol-port = 8000\n");
  EXPECT_EQ(Address(), "10.0.0.1:8000");
  Write("listen = \"*\"\n");
  EXPECT_EQ(Address(), "127.0.0.1:7989") << "all addresses: loopback is one of them";
  Write("control-port = 0\n");
  EXPECT_EQ(Address(), "127.0.0.1:7989") << "any free port is not known here";
}

TEST_F(ConfiguredControlTest, ABrokenFileNamesItselfAndWhatToDo) {
  Write("listen = 10.0.0.1.2\n");
  EXPECT_NE(Address().find(path_), std::string::npos) << Address();
  EXPECT_NE(Address().find("--server"), std::string::npos) << Address();
}

}  // namespace
}  // namespace sheen::apps

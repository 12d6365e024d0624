#include "apps/common/settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace sheen::apps {
namespace {

class SettingsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sheen-settings-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory_ = pattern;
    path_ = directory_ + "/test.toml";
  }
  void TearDown() override {
    ::unlink(path_.c_str());
    ::rmdir(directory_.c_str());
  }

  void WriteConfig(const std::string& text) { std::ofstream(path_) << text; }

  // With --config PATH before `words`.
  ParseOutcome Parse(std::vector<std::string> words) {
    Settings settings({.program = "test", .about = "a test", .config = "/nowhere/test.toml"});
    settings.Text("dir", &dir_, "text");
    settings.Number("port", &port_, "number", 0, 65535);
    settings.Switch("fast", &fast_, "switch");
    settings.List("allow", &allow_, "list");
    settings.ShortList('o', "options", &options_, "list with a letter");
    std::vector<const char*> argv = {"test"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    ::testing::internal::CaptureStderr();
    const ParseOutcome outcome = settings.Parse(static_cast<int>(argv.size()), argv.data());
    error_ = ::testing::internal::GetCapturedStderr();
    port_given_ = settings.Given("port");
    return outcome;
  }

  std::string directory_;
  std::string path_;
  std::string error_;
  std::string dir_ = "default";
  int64_t port_ = 7;
  bool fast_ = false;
  bool port_given_ = false;
  std::vector<std::string> allow_;
  std::vector<std::string> options_;
};

TEST_F(SettingsTest, DefaultsStayWithoutFlagAndFile) {
  EXPECT_EQ(Parse({}), ParseOutcome::kRun);
  EXPECT_EQ(dir_, "default");
  EXPECT_EQ(port_, 7);
  EXPECT_FALSE(port_given_);
}

TEST_F(SettingsTest, FileGivesEveryKindOfValue) {
  WriteConfig("dir = \"/x\"\nport = 0\nfast = true\nallow = [\"10.0.0.0/8\", \"::1\"]\n");
  EXPECT_EQ(Parse({"--config", path_}), ParseOutcome::kRun) << error_;
  EXPECT_EQ(dir_, "/x");
  EXPECT_EQ(port_, 0);
  EXPECT_TRUE(port_given_);
  EXPECT_TRUE(fast_);
  EXPECT_EQ(allow_, (std::vector<std::string>{"10.0.0.0/8", "::1"}));
}

TEST_F(SettingsTest, FlagsWinOverTheFile) {
  WriteConfig("dir = \"/x\"\nallow = \"10.0.0.0/8\"\n");
  EXPECT_EQ(Parse({"--config", path_, "--dir", "/y", "--allow", "a,b", "--allow", "c"}),
            ParseOutcome::kRun)
      << error_;
  EXPECT_EQ(dir_, "/y");
  EXPECT_EQ(allow_, (std::vector<std::string>{"a", "b", "c"}));
}

TEST_F(SettingsTest, OptionsOfTheCommandLineFollowThoseOfTheFile) {
  WriteConfig("options = [\"noatime\", \"port=1\"]\n");
  EXPECT_EQ(Parse({"--config", path_, "-o", "rw,port=2", "-o", "fg"}), ParseOutcome::kRun);
  EXPECT_EQ(options_, (std::vector<std::string>{"noatime", "port=1", "rw", "port=2", "fg"}));
}

TEST_F(SettingsTest, MissingFileIsNamedWithARemedy) {
  EXPECT_EQ(Parse({"--config", path_}), ParseOutcome::kFailed);
  EXPECT_NE(error_.find(path_), std::string::npos);
  EXPECT_NE(error_.find("check"), std::string::npos);
}

TEST_F(SettingsTest, DamagedFileIsNamedWithItsLine) {
  WriteConfig("dir = \"/x\"\nport = = 1\n");
  EXPECT_EQ(Parse({"--config", path_}), ParseOutcome::kFailed);
  EXPECT_NE(error_.find(path_ + ":2: "), std::string::npos) << error_;
}

TEST_F(SettingsTest, UnknownKeysAndWrongTypesAreNamedWithTheirLine) {
  WriteConfig("\nprot = 1\n");
  EXPECT_EQ(Parse({"--config", path_}), ParseOutcome::kFailed);
  EXPECT_NE(error_.find(path_ + ":2: unknown key 'prot'"), std::string::npos) << error_;
  WriteConfig("port = \"7988\"\n");
  EXPECT_EQ(Parse({"--config", path_}), ParseOutcome::kFailed);
  EXPECT_NE(error_.find(path_ + ":1: port must be"), std::string::npos) << error_;
  WriteConfig("port = 65536\n");
  EXPECT_EQ(Parse({"--config", path_}), ParseOutcome::kFailed);
}

TEST_F(SettingsTest, WrongCommandLineIsUsage) {
  EXPECT_EQ(Parse({"--nonsense"}), ParseOutcome::kUsage);
  EXPECT_NE(error_.find("--help"), std::string::npos);
  EXPECT_EQ(Parse({"--port", "65536"}), ParseOutcome::kUsage);
  EXPECT_EQ(Parse({"--port", "x"}), ParseOutcome::kUsage);
}

}  // namespace
}  // namespace sheen::apps

#include "apps/common/ost_notes.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sheen::apps {
namespace {

class OstNotesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sheen-notes-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
};

TEST_F(OstNotesTest, NoFileIsEmptyNotes) {
  const auto notes = ReadOstNotes(directory_);
  ASSERT_TRUE(notes);
  EXPECT_TRUE(notes->mgs.empty());
  EXPECT_EQ(notes->server_name, "");
}

TEST_F(OstNotesTest, WhatIsWrittenIsRead) {
  ASSERT_TRUE(WriteOstNotes(directory_, {{"a:1", "[::1]:2"}, "oss3"}));
  const auto notes = ReadOstNotes(directory_);
  ASSERT_TRUE(notes);
  EXPECT_EQ(notes->mgs, (std::vector<std::string>{"a:1", "[::1]:2"}));
  EXPECT_EQ(notes->server_name, "oss3");
}

TEST_F(OstNotesTest, DamageIsCorruptAndNamed) {
  for (const char* text :
       {"", "{", "[]", "{\"mgs\": 1}", "{\"mgs\": [1]}", "{\"server_name\": []}"}) {
    std::ofstream(directory_ + "/oss.json") << text;
    const auto notes = ReadOstNotes(directory_);
    ASSERT_FALSE(notes) << text;
    EXPECT_EQ(notes.error().code(), Errc::kCorrupt) << text;
    EXPECT_NE(notes.error().message().find("/oss.json"), std::string::npos);
  }
}

TEST_F(OstNotesTest, ReplacingAFileLeavesNothingElseBehind) {
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/f", "one"));
  ASSERT_TRUE(WriteFileAtomically(directory_ + "/f", "two"));
  EXPECT_EQ(ReadWholeFile(directory_ + "/f").value(), "two");
  size_t files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory_))
    ++files;
  EXPECT_EQ(files, 1U);
  EXPECT_FALSE(WriteFileAtomically(directory_ + "/none/f", "x"));
}

}  // namespace
}  // namespace sheen::apps

#include "apps/bench/ior_options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sheen::bench {
namespace {

Result<IorOptions> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), "ior");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return ParseIorOptions(static_cast<int>(words.size()), argv.data());
}

TEST(IorOptions, WithoutAnyBothAccessesAreRun) {
  const auto options = Parse({});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->write && options->read);
  EXPECT_FALSE(options->check_read || options->check_write || options->barriers);
  EXPECT_EQ(options->block_bytes, 1U << 20);
  EXPECT_EQ(options->transfer_bytes, 256U << 10);
  EXPECT_EQ(options->summary_format, SummaryFormat::kDefault);
}

TEST(IorOptions, EveryLetterIsTaken) {
  const auto options =
      Parse({"-a", "POSIX", "-b", "4m", "-t", "64K", "-s", "3",  "-F", "-C", "-e", "-g", "-i",
             "2",  "-k",    "-r", "-w", "-W", "-R",  "-z", "-B", "-o", "x",  "-N", "5"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->bytes_per_task(), 12U << 20);
  EXPECT_EQ(options->transfers_per_task(), 192U);
  EXPECT_TRUE(options->file_per_process && options->reorder_tasks && options->fsync);
  EXPECT_TRUE(options->barriers && options->keep_file && options->read && options->write);
  EXPECT_TRUE(options->check_write && options->check_read && options->random_offset);
  EXPECT_TRUE(options->direct);
  EXPECT_EQ(options->repetitions, 2U);
  EXPECT_EQ(options->task_count, 5U);
  EXPECT_EQ(options->test_file, "x");
}

TEST(IorOptions, DirectivesOfTheSummaryMindNoCase) {
  const auto options = Parse({"-O", "SUMMARYFORMAT=json,summaryFile=/tmp/x"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->summary_format, SummaryFormat::kJson);
  EXPECT_EQ(options->summary_file, "/tmp/x");
  EXPECT_EQ(Parse({"-O", "summaryFormat=CSV"})->summary_format, SummaryFormat::kCsv);
  EXPECT_EQ(Parse({"-O", "summaryFormat=default"})->summary_format, SummaryFormat::kDefault);
}

TEST(IorOptions, TheLibraryNeedsToBeToldTheFilesystem) {
  const auto options =
      Parse({"-a", "SHEEN", "--sheen.source", "mds1:/sheen", "--sheen.port", "7000"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->api, Api::kSheen);
  EXPECT_EQ(options->sheen_source, "mds1:/sheen");
  EXPECT_EQ(options->sheen_port, 7000);
  EXPECT_EQ(Parse({})->api, Api::kPosix);
}

TEST(IorOptions, WhatIsWrongIsNamed) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"-a", "MPIIO"}, "-a MPIIO"},
      {{"-a", "SHEEN"}, "--sheen.source"},
      {{"--sheen.source", "a:/b"}, "--sheen.source"},
      {{"-a", "SHEEN", "--sheen.source", "a:/b", "-B"}, "-B"},
      {{"-O", "checkRead=1"}, "-O checkRead=1"},
      {{"-O", "summaryFormat=XML"}, "-O summaryFormat=XML"},
      {{"-N", "0"}, "-N 0"},
      {{"-N", "5000"}, "-N 5000"},
      {{"-i", "many"}, "-i many"},
      {{"-b", "1y"}, "-b 1y"},
      {{"-b", "0"}, "-b 0"},
      {{"-b", "1m", "-t", "300k"}, "-b"},
      {{"-t", "12", "-b", "12"}, "-t"},
      {{"-t", "1032", "-b", "1032", "-B"}, "-B"},
      {{"-y"}, "-y"},
      {{"--nosuch"}, "--nosuch"},
      {{"-s"}, "-s"},
      {{"word"}, "word"}};
  for (const auto& [words, name] : cases) {
    const auto options = Parse(words);
    ASSERT_FALSE(options) << name;
    EXPECT_EQ(options.error().code(), Errc::kInvalid);
    EXPECT_NE(options.error().message().find(name), std::string::npos) << options.error().message();
  }
}

}  // namespace
}  // namespace sheen::bench

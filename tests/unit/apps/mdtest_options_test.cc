#include "apps/bench/mdtest_options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sheen::bench {
namespace {

Result<MdtestOptions> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), "mdtest");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  return ParseMdtestOptions(static_cast<int>(words.size()), argv.data());
}

TEST(MdtestOptions, WithoutAPhaseAllAreRunOnBothKinds) {
  const auto options = Parse({"-n", "10"});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->create && options->stat && options->read && options->remove);
  EXPECT_TRUE(options->directories && options->files);
  EXPECT_TRUE(options->rates);
  EXPECT_FALSE(options->times || options->unique_directory);
  EXPECT_EQ(options->items_total(), 10U);
}

TEST(MdtestOptions, EveryLetterIsTaken) {
  const auto options = Parse({"-n", "7", "-i", "2", "-u", "-F", "-C", "-r", "-d", "x", "-w", "4k",
                              "-e", "3901", "-N", "1", "-Z", "--tasks", "3"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->items_total(), 21U);
  EXPECT_EQ(options->iterations, 2U);
  EXPECT_TRUE(options->unique_directory && options->files && options->create && options->remove);
  EXPECT_FALSE(options->directories || options->stat || options->read || options->rates);
  EXPECT_TRUE(options->times);
  EXPECT_EQ(options->directory, "x");
  EXPECT_EQ(options->write_bytes, 4096U);
  EXPECT_EQ(options->read_bytes, 3901U);
  EXPECT_EQ(options->stride, 1U);
  const auto directories = Parse({"-n", "1", "-D", "-T", "-P"});
  ASSERT_TRUE(directories);
  EXPECT_TRUE(directories->directories && directories->rates && directories->times);
  EXPECT_FALSE(directories->files);
}

TEST(MdtestOptions, WhatIsWrongIsNamed) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{}, "-n"},
      {{"-n"}, "-n"},
      {{"-n", "0"}, "-n 0"},
      {{"-n", "-3"}, "-n -3"},
      {{"-n", "5", "-D", "-F"}, "-D and -F"},
      {{"-n", "5", "-D", "-E"}, "-E"},
      {{"-n", "5", "-w", "2g"}, "-w 2g"},
      {{"-n", "5", "-e", "1q"}, "-e 1q"},
      {{"-n", "5", "-w", "10", "-e", "20"}, "-e 20"},
      {{"-n", "5", "-N", "x"}, "-N x"},
      {{"-n", "5", "-d", ""}, "-d"},
      {{"-n", "5", "--tasks", "0"}, "--tasks 0"},
      {{"-n", "5", "-q"}, "-q"},
      {{"-n", "5", "--nosuch"}, "--nosuch"},
      {{"-n", "5", "word"}, "word"}};
  for (const auto& [words, name] : cases) {
    const auto options = Parse(words);
    ASSERT_FALSE(options) << name;
    EXPECT_EQ(options.error().code(), Errc::kInvalid);
    EXPECT_NE(options.error().message().find(name), std::string::npos) << options.error().message();
  }
}

}  // namespace
}  // namespace sheen::bench

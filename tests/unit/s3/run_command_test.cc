#include "s3/run_command.h"

#include <gtest/gtest.h>

namespace sheen::s3 {
namespace {

constexpr Nanos kShort = std::chrono::milliseconds(300);

Nanos Now() { return SystemClock().Monotonic(); }

TEST(RunCommand, GivesWhatIsPrinted) {
  EXPECT_EQ(*RunCommand("echo a; echo b"), "a\nb\n");
  EXPECT_EQ(*RunCommand("true"), "");
}

TEST(RunCommand, SaysHowItFailed) {
  const auto failed = RunCommand("echo x; exit 3");
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message().find("status 3"), std::string::npos);
  EXPECT_EQ(RunCommand("no-such-program-here").error().code(), Errc::kPerm);
}

TEST(RunCommand, WhatHangsIsKilledWithItsChildren) {
  for (const char* command : {"sleep 100", "sleep 100 & wait", "exec >&-; sleep 100"}) {
    const Nanos began = Now();
    const auto ended = RunCommand(command, {.time = kShort});
    ASSERT_FALSE(ended) << command;
    EXPECT_EQ(ended.error().code(), Errc::kTimedOut) << command;
    EXPECT_LT(Now() - began, std::chrono::seconds(20)) << command;
  }
}

TEST(RunCommand, WhatPrintsWithoutEndIsStopped) {
  const auto ended = RunCommand("yes", {.output_bytes = 10'000});
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code(), Errc::kFileTooBig);
}

}  // namespace
}  // namespace sheen::s3

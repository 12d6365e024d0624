#include "fuse/job_id.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sheen::fuse {
namespace {

// A process with an environment of its own, until the test ends.
class Sleeper final {
 public:
  explicit Sleeper(const char* variable) {
    pid_ = ::fork();
    if (pid_ == 0) {
      const char* const arguments[] = {"sleep", "60", nullptr};
      const char* const environment[] = {"A=1", variable, "Z=9", nullptr};
      ::execve("/bin/sleep", const_cast<char* const*>(arguments),
               const_cast<char* const*>(environment));
      ::_exit(127);
    }
    // The environment comes after the program's name.
    while (LastVariable() != "9") ::usleep(1000);
  }
  ~Sleeper() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  int32_t pid() const { return pid_; }

 private:
  std::string LastVariable() const {
    JobIds ids;
    EXPECT_TRUE(ids.SetVariable("Z").has_value());
    return ids.Of(pid_, 0, 0);
  }
  pid_t pid_ = 0;
};

std::string Of(const Sleeper& sleeper, const std::string& variable, const std::string& name = "") {
  JobIds ids;
  EXPECT_TRUE(ids.SetVariable(variable).has_value());
  EXPECT_TRUE(ids.SetSession("night").has_value());
  if (!name.empty()) EXPECT_TRUE(ids.SetName(name).has_value());
  return ids.Of(sleeper.pid(), 1000, 100);
}

TEST(JobIdTest, TheVariableOfTheProcessNamesItsJob) {
  const Sleeper sleeper("SLURM_JOB_ID=4711");
  EXPECT_EQ(Of(sleeper, "SLURM_JOB_ID"), "4711");
  EXPECT_EQ(Of(sleeper, "SLURM_JOB"), "");
  EXPECT_EQ(Of(sleeper, "disable"), "");
  EXPECT_EQ(Of(sleeper, "procname_uid"), "sleep.1000");
  EXPECT_EQ(Of(sleeper, "session"), "night");
  EXPECT_EQ(Of(sleeper, "nodelocal", "x-%e.%u.%g"), "x-sleep.1000.100");
  EXPECT_EQ(Of(sleeper, "SLURM_JOB_ID", "%j:%e"), "4711:sleep");
  EXPECT_EQ(Of(sleeper, "SLURM_JOB_ID", "%e"), "4711") << "a name without %j is for nodelocal";
  EXPECT_EQ(Of(sleeper, "nodelocal", "%p"), std::to_string(sleeper.pid()));
}

TEST(JobIdTest, AReaderGivesTheSameAnswer) {
  const Sleeper sleeper("SLURM_JOB_ID=4711");
  JobIds ids;
  EXPECT_TRUE(ids.SetVariable("SLURM_JOB_ID").has_value());
  EXPECT_EQ(ids.Ask(sleeper.pid(), 0, 0).get(), "4711");
  EXPECT_EQ(ids.Ask(0, 0, 0).get(), "");
}

TEST(JobIdTest, LongOnesAreCutAndThoseWhoHaveGoneHaveNone) {
  const Sleeper sleeper("SLURM_JOB_ID=0123456789012345678901234567890123456789");
  EXPECT_EQ(Of(sleeper, "SLURM_JOB_ID"), "0123456789012345678901234567890");
  JobIds ids;
  EXPECT_TRUE(ids.SetVariable("SLURM_JOB_ID").has_value());
  EXPECT_EQ(ids.Of(0, 0, 0), "");
}

TEST(JobIdTest, WhatCannotBeIsRefused) {
  JobIds ids;
  EXPECT_FALSE(ids.enabled());
  EXPECT_EQ(ids.SetVariable("A B").error().code(), Errc::kInvalid);
  EXPECT_EQ(ids.SetVariable("").error().code(), Errc::kInvalid);
  EXPECT_EQ(ids.SetName("%x").error().code(), Errc::kInvalid);
  EXPECT_EQ(ids.SetName("a%").error().code(), Errc::kInvalid);
  EXPECT_EQ(ids.SetSession(std::string(32, 's')).error().code(), Errc::kInvalid);
  EXPECT_EQ(ids.variable(), "disable");
  EXPECT_EQ(ids.name(), "%e.%u");
  EXPECT_TRUE(ids.SetVariable("nodelocal").has_value());
  EXPECT_TRUE(ids.enabled());
}

TEST(JobIdTest, VariablesAreFoundByTheirWholeName) {
  const std::string_view environment("XJOB=1\0JOB=2\0JOBS=3\0JOB=4\0", 25);
  EXPECT_EQ(VariableIn(environment, "JOB"), "2");
  EXPECT_EQ(VariableIn(environment, "JOBS"), "3");
  EXPECT_EQ(VariableIn(environment, "OB"), "");
  EXPECT_EQ(VariableIn("JOB=", "JOB"), "");
  EXPECT_EQ(VariableIn("", "JOB"), "");
}

}  // namespace
}  // namespace sheen::fuse

// One agent at a time compares a repository; when it is not heard of any more another does.
#include "mds/import_schedule.h"

#include <gtest/gtest.h>

namespace sheen::mds {
namespace {

using std::chrono::seconds;

class ImportScheduleTest : public ::testing::Test {
 protected:
  ImportScheduleTest() {
    Add(1, 60);
    Add(2, 0);  // never
  }
  void Add(uint32_t id, uint32_t every) {
    v1::Repository* const repository = all_.add_repositories();
    repository->set_id(id);
    repository->set_import_what(v1::IMPORT_NEW);
    repository->set_import_every_s(every);
  }
  // A heartbeat, one second after the last; gives what is due to the agent.
  std::vector<uint32_t> Beat(const std::string& agent, bool runs = false, bool done = false,
                             bool leaving = false) {
    now_ += seconds(1);
    v1::AgentHeartbeatRequest beat;
    beat.mutable_agent()->set_name(agent);
    beat.set_leaving(leaving);
    if (runs || done) {
      v1::ImportReport* const report = beat.add_imports();
      report->set_repository(1);
      report->mutable_progress()->set_done(done);
      report->mutable_progress()->set_created(7);
    }
    schedule_.Hear(beat, now_, 1000);
    v1::ListRepositoriesReply reply = all_;
    if (!leaving) schedule_.GiveDue(agent, now_, &reply);
    return {reply.imports_due().begin(), reply.imports_due().end()};
  }
  v1::ImportState State() {
    v1::ListRepositoriesReply reply = all_;
    schedule_.Describe(now_, &reply);
    EXPECT_EQ(reply.imports_size(), 1);
    return reply.imports(0);
  }
  using Ids = std::vector<uint32_t>;

  ImportSchedule schedule_;
  v1::ListRepositoriesReply all_;
  Nanos now_ = seconds(100);
};

TEST_F(ImportScheduleTest, OneAgentGetsItAndAgainAfterItsTime) {
  EXPECT_EQ(Beat("a"), Ids{1});
  EXPECT_EQ(Beat("b"), Ids{});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Beat("a", true), Ids{}) << i;
  EXPECT_TRUE(State().running());
  EXPECT_EQ(Beat("a", true, true), Ids{});
  EXPECT_FALSE(State().running());
  EXPECT_EQ(State().last().created(), 7U);
  EXPECT_EQ(State().ended_ns(), 1000);
  for (int i = 0; i < 59; ++i) EXPECT_EQ(Beat("b"), Ids{}) << i;
  EXPECT_EQ(Beat("b"), Ids{1});
}

TEST_F(ImportScheduleTest, AnAgentThatIsNotHeardOfLosesIt) {
  EXPECT_EQ(Beat("a"), Ids{1});
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Beat("b"), Ids{}) << i;
  EXPECT_EQ(Beat("b"), Ids{1});
  // Its end is not the other's.
  EXPECT_EQ(Beat("a", true, true), Ids{});
  EXPECT_EQ(State().agent(), "b");
}

TEST_F(ImportScheduleTest, WhoLeavesLosesItAtOnce) {
  EXPECT_EQ(Beat("a"), Ids{1});
  EXPECT_EQ(Beat("a", true, false, true), Ids{});
  EXPECT_EQ(Beat("b"), Ids{1});
}

TEST_F(ImportScheduleTest, AnOrderThatWasLostOnItsWayComesAgain) {
  EXPECT_EQ(Beat("a"), Ids{1});
  EXPECT_EQ(Beat("b"), Ids{});
  EXPECT_EQ(Beat("a"), Ids{1});
}

TEST_F(ImportScheduleTest, AnAgentThatWasStartedAgainGoesOnAtOnce) {
  EXPECT_EQ(Beat("a"), Ids{1});
  EXPECT_EQ(Beat("a", true), Ids{});
  EXPECT_EQ(Beat("b"), Ids{});
  // The next process of its name, which has nothing to tell of.
  EXPECT_EQ(Beat("a"), Ids{1});
  EXPECT_EQ(Beat("a", true, true), Ids{});
}

TEST_F(ImportScheduleTest, AfterARestartOfTheMdsWhoIsAtItGoesOn) {
  EXPECT_EQ(Beat("a", true), Ids{});
  EXPECT_EQ(Beat("b"), Ids{});
  EXPECT_EQ(State().agent(), "a");
}

TEST_F(ImportScheduleTest, OtherSettingsMakeItDueAtOnce) {
  EXPECT_EQ(Beat("a"), Ids{1});
  EXPECT_EQ(Beat("a", true, true), Ids{});
  schedule_.Forget(1);
  EXPECT_EQ(Beat("a"), Ids{1});
}

TEST_F(ImportScheduleTest, WhatStillRunsIsShownWhenItIsOrderedNoMore) {
  EXPECT_EQ(Beat("a"), Ids{1});
  all_.mutable_repositories(0)->set_import_every_s(0);
  EXPECT_TRUE(State().running());
  EXPECT_EQ(State().agent(), "a");
  EXPECT_EQ(Beat("a", true, true), Ids{});
  v1::ListRepositoriesReply reply = all_;
  schedule_.Describe(now_, &reply);
  EXPECT_EQ(reply.imports_size(), 0);
}

TEST_F(ImportScheduleTest, WhatAnAgentTookWithItDoesNotRun) {
  EXPECT_EQ(Beat("a"), Ids{1});
  all_.mutable_repositories(0)->set_import_every_s(0);
  now_ += ImportSchedule::kLost;
  v1::ListRepositoriesReply reply = all_;
  schedule_.Describe(now_, &reply);
  EXPECT_EQ(reply.imports_size(), 0);
}

}  // namespace
}  // namespace sheen::mds

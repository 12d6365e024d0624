#include "ost/group_call.h"

#include <gtest/gtest.h>

#include "async/sim_poller.h"

namespace sheen::ost {
namespace {

struct Rounds {
  async::Shard* shard = nullptr;
  int begun = 0;
  int running = 0;
  Status result;
};

async::Task<Status> OneRound(Rounds* rounds) {
  ++rounds->begun;
  EXPECT_EQ(++rounds->running, 1);  // never two at once
  co_await rounds->shard->Sleep(std::chrono::milliseconds(1));
  --rounds->running;
  co_return rounds->result;
}

async::Task<void> Call(GroupCall* group, Rounds* rounds, int* served_by, Errc* code) {
  const int begun_before = rounds->begun;
  const Status status = co_await group->Run(nullptr);
  *code = status ? Errc::kOk : status.error().code();
  EXPECT_GT(rounds->begun, begun_before);  // a round that began after the call
  *served_by = rounds->begun;
}

TEST(GroupCallTest, CallersDuringARoundShareTheNext) {
  ManualClock clock;
  async::SimPoller poller(&clock);
  async::Shard shard(&poller, &clock);
  Rounds rounds{&shard};
  GroupCall group([&](io::FileIo*) { return OneRound(&rounds); });
  std::vector<int> served(6, 0);
  std::vector<Errc> codes(6, Errc::kIo);
  shard.Post([&] {
    for (size_t i = 0; i < served.size(); ++i) {
      shard.Spawn(Call(&group, &rounds, &served[i], &codes[i]));
    }
  });
  async::RunFor(&shard, std::chrono::milliseconds(10));
  EXPECT_EQ(rounds.begun, 2);
  EXPECT_EQ(codes, std::vector<Errc>(6, Errc::kOk));
  EXPECT_EQ(served.front(), 1);
  EXPECT_EQ(served.back(), 2);
}

TEST(GroupCallTest, FailureReachesEveryCallerOfTheRound) {
  ManualClock clock;
  async::SimPoller poller(&clock);
  async::Shard shard(&poller, &clock);
  Rounds rounds{&shard, 0, 0, Fail(Errc::kNoSpace)};
  GroupCall group([&](io::FileIo*) { return OneRound(&rounds); });
  std::vector<int> served(3, 0);
  std::vector<Errc> codes(3, Errc::kOk);
  shard.Post([&] {
    for (size_t i = 0; i < served.size(); ++i) {
      shard.Spawn(Call(&group, &rounds, &served[i], &codes[i]));
    }
  });
  async::RunFor(&shard, std::chrono::milliseconds(10));
  EXPECT_EQ(codes, std::vector<Errc>(3, Errc::kNoSpace));
}

}  // namespace
}  // namespace sheen::ost

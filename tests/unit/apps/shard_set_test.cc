#include "apps/common/shard_set.h"

#include <gtest/gtest.h>

#include <set>

namespace sheen::apps {
namespace {

async::Task<Result<uint32_t>> IndexAfterAPause(async::Shard* shard) {
  co_await shard->Sleep(std::chrono::milliseconds(1));
  co_return async::Shard::Current()->index();
}

TEST(ShardSet, WorkRunsOnTheShardItWasGivenTo) {
  auto set = ShardSet::Start({.count = 3});
  ASSERT_TRUE(set) << set.error().ToString();
  std::set<std::thread::id> threads;
  EXPECT_TRUE((*set)->RunOnEach([&threads](ShardSet::Member* member) {
    EXPECT_EQ(async::Shard::Current(), member->shard.get());
    threads.insert(std::this_thread::get_id());
    return Status{};
  }));
  EXPECT_EQ(threads.size(), 3U);
  for (uint32_t i = 0; i < 3; ++i) {
    const auto index = (*set)->Await<Result<uint32_t>>(
        i, [&] { return IndexAfterAPause((*set)->At(i)->shard.get()); });
    EXPECT_EQ(index.value(), i);
  }
  (*set)->Stop();
  (*set)->Stop();
}

TEST(ShardSet, FirstErrorEndsRunOnEach) {
  auto set = ShardSet::Start({.count = 2});
  ASSERT_TRUE(set);
  uint32_t ran = 0;
  const Status status = (*set)->RunOnEach([&ran](ShardSet::Member*) -> Status {
    ++ran;
    return Fail(Errc::kBusy, "first");
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::kBusy);
  EXPECT_EQ(ran, 1U);
}

}  // namespace
}  // namespace sheen::apps

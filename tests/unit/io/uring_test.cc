#include "io/uring.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace sheen::io {
namespace {

using std::chrono::milliseconds;

std::unique_ptr<UringPoller> MakePoller(UringOptions options = {}) {
  auto poller = UringPoller::Create(options);
  EXPECT_TRUE(poller.has_value()) << poller.error().ToString();
  return std::move(*poller);
}

class Recorder final : public Completion {
 public:
  void Complete(int32_t result, uint32_t) override { results.push_back(result); }
  std::vector<int32_t> results;
};

struct SocketPair {
  SocketPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0); }
  ~SocketPair() {
    close(fds[0]);
    close(fds[1]);
  }
  std::array<int, 2> fds{};
};

TEST(UringPollerTest, PollReturnsWhenTheWaitIsOver) {
  const auto poller = MakePoller();
  const Nanos start = SystemClock().Monotonic();
  poller->Poll(milliseconds(20));
  const Nanos waited = SystemClock().Monotonic() - start;
  EXPECT_GE(waited, milliseconds(15));
  EXPECT_LT(waited, std::chrono::seconds(20));
}

TEST(UringPollerTest, QuietSuccessWakesNobodyAndIsToldWithTheNextEvent) {
  const auto poller = MakePoller();
  ASSERT_TRUE(poller->quiet_successes());
  const SocketPair pair;
  Recorder sent;
  io_uring_sqe* sqe = poller->NextSqe();
  io_uring_prep_send(sqe, pair.fds[0], "quiet", 5, MSG_DONTWAIT | MSG_WAITALL);
  poller->AttachQuietly(sqe, &sent, 5);
  const Nanos start = SystemClock().Monotonic();
  poller->Poll(milliseconds(30));
  EXPECT_GE(SystemClock().Monotonic() - start, milliseconds(25)) << "it woke up";
  EXPECT_EQ(sent.results, std::vector<int32_t>{5});
  std::array<char, 8> got{};
  EXPECT_EQ(recv(pair.fds[1], got.data(), got.size(), MSG_DONTWAIT), 5);
  poller->Poll(Nanos(0));
  EXPECT_EQ(sent.results.size(), 1U) << "told twice";
}

TEST(UringPollerTest, QuietFailureIsToldAtOnceAndWithWhatWasTaken) {
  const auto poller = MakePoller();
  const SocketPair pair;
  const std::vector<char> much(4 << 20, 'x');
  Recorder sent;
  for (int i = 0; i < 2; ++i) {
    io_uring_sqe* sqe = poller->NextSqe();
    io_uring_prep_send(sqe, pair.fds[0], much.data(), much.size(), MSG_DONTWAIT | MSG_WAITALL);
    poller->AttachQuietly(sqe, &sent, static_cast<int32_t>(much.size()));
    const Nanos start = SystemClock().Monotonic();
    poller->Poll(std::chrono::seconds(5));
    EXPECT_LT(SystemClock().Monotonic() - start, std::chrono::seconds(4));
  }
  ASSERT_EQ(sent.results.size(), 2U);
  EXPECT_GT(sent.results[0], 0);
  EXPECT_LT(sent.results[0], static_cast<int32_t>(much.size()));
  EXPECT_EQ(sent.results[1], -EAGAIN);
}

TEST(UringPollerTest, WaitingTakesNoProcessorTime) {
  const auto poller = MakePoller();
  poller->Poll(Nanos(0));
  rusage before{};
  getrusage(RUSAGE_THREAD, &before);
  for (int i = 0; i < 10; ++i) poller->Poll(milliseconds(10));
  rusage after{};
  getrusage(RUSAGE_THREAD, &after);
  const auto micros = [](const rusage& u) {
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1'000'000 + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
  };
  EXPECT_LT(micros(after) - micros(before), 50'000);
}

TEST(UringPollerTest, EachWakeEndsAWait) {
  const auto poller = MakePoller();
  std::atomic<int> turns{0};
  std::atomic<bool> stop{false};
  std::thread owner([&] {
    while (!stop.load()) {
      poller->Poll(std::chrono::seconds(30));
      turns.fetch_add(1);
      turns.notify_all();
    }
  });
  for (int i = 0; i < 2000; ++i) {
    const int seen = turns.load();
    poller->Wake();
    turns.wait(seen);
  }
  stop = true;
  poller->Wake();
  owner.join();
  EXPECT_GE(turns.load(), 2000);
}

TEST(UringPollerTest, AWakeBeforeTheWaitIsNotLost) {
  const auto poller = MakePoller();
  poller->Poll(Nanos(0));
  poller->Wake();
  const Nanos start = SystemClock().Monotonic();
  poller->Poll(std::chrono::seconds(30));
  EXPECT_LT(SystemClock().Monotonic() - start, std::chrono::seconds(10));
}

TEST(UringPollerTest, ALookWithoutAWaitReapsDeferredCompletions) {
  const auto poller = MakePoller();
  SocketPair pair;
  Recorder recorder;
  char byte = 0;
  io_uring_sqe* sqe = poller->NextSqe();
  io_uring_prep_recv(sqe, pair.fds[0], &byte, 1, 0);
  UringPoller::Attach(sqe, &recorder);
  poller->Poll(Nanos(0));
  EXPECT_TRUE(recorder.results.empty());
  ASSERT_EQ(write(pair.fds[1], "x", 1), 1);
  for (int i = 0; i < 1000 && recorder.results.empty(); ++i) poller->Poll(Nanos(0));
  EXPECT_EQ(recorder.results, std::vector<int32_t>{1});
  EXPECT_EQ(byte, 'x');
}

TEST(UringPollerTest, MoreOperationsThanEntriesAllComplete) {
  const auto poller = MakePoller({.entries = 8});
  Recorder recorder;
  constexpr int kCount = 500;
  for (int i = 0; i < kCount; ++i) {
    io_uring_sqe* sqe = poller->NextSqe();
    io_uring_prep_nop(sqe);
    UringPoller::Attach(sqe, &recorder);
  }
  for (int i = 0; i < 1000 && recorder.results.size() < kCount; ++i) poller->Poll(Nanos(0));
  EXPECT_EQ(recorder.results, std::vector<int32_t>(kCount, 0));
}

TEST(UringPollerTest, CancelStillBringsTheCompletion) {
  const auto poller = MakePoller();
  SocketPair pair;
  Recorder recorder;
  char byte = 0;
  io_uring_sqe* sqe = poller->NextSqe();
  io_uring_prep_recv(sqe, pair.fds[0], &byte, 1, 0);
  UringPoller::Attach(sqe, &recorder);
  poller->Poll(Nanos(0));
  poller->Cancel(&recorder);
  for (int i = 0; i < 100 && recorder.results.empty(); ++i) poller->Poll(milliseconds(10));
  EXPECT_EQ(recorder.results, std::vector<int32_t>{-ECANCELED});
}

TEST(UringPollerTest, LargeEntriesAreCleared) {
  const auto poller = MakePoller({.entries = 4, .sqe128 = true});
  Recorder recorder;
  for (int round = 0; round < 20; ++round) {
    io_uring_sqe* sqe = poller->NextSqe();
    const auto* bytes = reinterpret_cast<const unsigned char*>(sqe);
    for (int i = 0; i < 128; ++i) ASSERT_EQ(bytes[i], 0);
    std::memset(static_cast<void*>(sqe), 0xEE, 128);
    io_uring_prep_nop(sqe);
    sqe->flags = 0;
    UringPoller::Attach(sqe, &recorder);
    poller->Poll(Nanos(0));
  }
  EXPECT_EQ(recorder.results.size(), 20U);
}

class CountingTurnEnd final : public TurnEnd {
 public:
  void OnTurnEnd() override { ++calls; }
  int calls = 0;
};

TEST(UringPollerTest, TurnEndIsCalledOnceAndNotAfterForget) {
  const auto poller = MakePoller();
  CountingTurnEnd once;
  CountingTurnEnd forgotten;
  poller->AtTurnEnd(&once);
  poller->AtTurnEnd(&forgotten);
  poller->ForgetTurnEnd(&forgotten);
  poller->EndTurn();
  poller->Poll(Nanos(0));
  poller->EndTurn();
  poller->Poll(Nanos(0));
  EXPECT_EQ(once.calls, 1);
  EXPECT_EQ(forgotten.calls, 0);
}

TEST(UringPollerTest, ARingMadeHereRunsOnAnotherThread) {
  const auto poller = MakePoller();
  Recorder recorder;
  io_uring_sqe* sqe = poller->NextSqe();
  io_uring_prep_nop(sqe);
  UringPoller::Attach(sqe, &recorder);
  std::thread owner([&] {
    async::Shard shard(poller.get(), &SystemClock());
    while (recorder.results.empty()) shard.RunOnce(milliseconds(10));
  });
  owner.join();
  EXPECT_EQ(recorder.results, std::vector<int32_t>{0});
}

TEST(UringPollerTest, PostsFromManyThreadsAllRun) {
  const auto poller = MakePoller();
  async::Shard shard(poller.get(), &SystemClock());
  int ran = 0;
  constexpr int kPerThread = 5000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kPerThread; ++i) {
        shard.Post([&] {
          // The turn that ran the last one must not wait for more.
          if (++ran == 3 * kPerThread) shard.Stop();
        });
      }
    });
  }
  const Nanos start = SystemClock().Monotonic();
  while (ran < 3 * kPerThread) shard.RunOnce(std::chrono::seconds(30));
  EXPECT_LT(SystemClock().Monotonic() - start, std::chrono::seconds(25));
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace sheen::io

// The fake network itself: order, faults, limits, repeatability.
#include "rpc/sim_transport.h"

#include "unit/rpc/rpc_world.h"

namespace sheen::rpc::test {
namespace {

class SimTransportTest : public ::testing::Test {
 protected:
  void Listen() {
    listener = std::move(*server.Listen({"", 80}, [this](std::unique_ptr<Link> link) {
      accepted.link = std::move(link);
      accepted.link->SetHandler(&accepted);
      accepted.link->SetEstablished();
    }));
  }
  void Connect() {
    bool done = false;
    shard.Spawn(Open(&done));
    ASSERT_TRUE(async::RunUntil(
        &shard, [&] { return done; }, seconds(10)));
  }
  async::Task<void> Open(bool* done) {
    co_await RawLink::Open(&client, {"server", 80}, &raw);
    *done = true;
  }

  ManualClock clock;
  async::SimPoller poller{&clock};
  async::Shard shard{&poller, &clock};
  SimNetwork network{&shard, {.seed = 5}};
  SimTransport server{&network, "server"};
  SimTransport client{&network, "client"};
  RawLink raw;
  RawLink accepted;
  std::unique_ptr<Listener> listener;
};

TEST_F(SimTransportTest, FramesArriveWholeAndInOrder) {
  Listen();
  Connect();
  for (uint64_t i = 0; i < 500; ++i) raw.Send(Opcode::kPing, std::string(i, 'x'), i, kBodyCrc);
  async::RunFor(&shard, seconds(1));
  ASSERT_EQ(accepted.received.size(), 500U);
  for (uint64_t i = 0; i < 500; ++i) {
    EXPECT_EQ(accepted.received[i].header.xid, i);
    EXPECT_EQ(accepted.received[i].body.size(), i);
  }
}

TEST_F(SimTransportTest, CloseArrivesAfterWhatWasSent) {
  Listen();
  Connect();
  raw.Send(Opcode::kPing, "", 1);
  raw.link->Close(Error(Errc::kCancelled, "test"));
  EXPECT_FALSE(raw.closed.has_value()) << "not within Close itself";
  async::RunFor(&shard, seconds(1));
  EXPECT_EQ(raw.closed->code(), Errc::kCancelled);
  EXPECT_EQ(accepted.received.size(), 1U);
  EXPECT_EQ(accepted.closed->code(), Errc::kDisconnected);
}

TEST_F(SimTransportTest, PartitionHoldsFramesUntilItHeals) {
  Listen();
  Connect();
  network.Partition("server", "client");
  raw.Send(Opcode::kPing, "", 1);
  async::RunFor(&shard, seconds(100));
  EXPECT_TRUE(accepted.received.empty());
  EXPECT_FALSE(raw.closed.has_value());
  RawLink other;
  shard.Spawn(RawLink::Open(&client, {"server", 80}, &other));
  async::RunFor(&shard, seconds(6));
  ASSERT_TRUE(other.closed.has_value());
  EXPECT_EQ(other.closed->code(), Errc::kTimedOut);
  network.Heal("client", "server");
  async::RunFor(&shard, seconds(1));
  EXPECT_EQ(accepted.received.size(), 1U);
}

TEST_F(SimTransportTest, KillEndsConnectionsAndListeners) {
  Listen();
  Connect();
  raw.Send(Opcode::kPing, "", 1);
  network.Kill("server");
  async::RunFor(&shard, seconds(1));
  EXPECT_TRUE(raw.closed.has_value());
  EXPECT_TRUE(accepted.closed.has_value());
  EXPECT_TRUE(accepted.received.empty());
  RawLink other;
  shard.Spawn(RawLink::Open(&client, {"server", 80}, &other));
  async::RunFor(&shard, seconds(1));
  ASSERT_TRUE(other.closed.has_value());
  EXPECT_EQ(other.closed->code(), Errc::kConnectionRefused);
  // The dead process' listener does not take the new one's port with it.
  std::unique_ptr<Listener> old = std::move(listener);
  Listen();
  old.reset();
  accepted = {};
  Connect();
  EXPECT_NE(raw.link, nullptr);
}

TEST_F(SimTransportTest, PausedLinkDeliversNothing) {
  Listen();
  Connect();
  accepted.link->SetReceiving(false);
  for (uint64_t i = 0; i < 10; ++i) raw.Send(Opcode::kPing, "", i);
  async::RunFor(&shard, seconds(1));
  EXPECT_TRUE(accepted.received.empty());
  EXPECT_GT(raw.link->queued_bytes(), 0U);
  accepted.link->SetReceiving(true);
  async::RunFor(&shard, seconds(1));
  EXPECT_EQ(accepted.received.size(), 10U);
  EXPECT_EQ(raw.link->queued_bytes(), 0U);
}

TEST_F(SimTransportTest, FrameBeyondTheLimitsClosesTheLink) {
  Listen();
  Connect();
  raw.Send(Opcode::kPing, std::string(kBodyBytesMax + 1, 'x'), 1);
  async::RunFor(&shard, seconds(1));
  EXPECT_TRUE(accepted.received.empty());
  ASSERT_TRUE(accepted.closed.has_value());
  EXPECT_EQ(accepted.closed->code(), Errc::kProtocol);
}

TEST_F(SimTransportTest, PortIsTakenOnce) {
  Listen();
  const auto second = server.Listen({"", 80}, [](std::unique_ptr<Link>) {});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  EXPECT_TRUE(client.Listen({"", 80}, [](std::unique_ptr<Link>) {}).has_value());
}

// How many frames arrive, and when the last, under faults from `seed`.
std::pair<size_t, Nanos> Trace(uint64_t seed) {
  ManualClock clock;
  async::SimPoller poller(&clock);
  async::Shard shard(&poller, &clock);
  SimNetwork network(&shard, {.seed = seed, .break_one_in = 300});
  SimTransport a(&network, "a");
  SimTransport b(&network, "b");
  RawLink in;
  RawLink out;
  const auto listener = *b.Listen({"", 1}, [&](std::unique_ptr<Link> link) {
    in.link = std::move(link);
    in.link->SetHandler(&in);
    in.link->SetEstablished();
  });
  shard.Spawn(RawLink::Open(&a, {"b", 1}, &out));
  async::RunFor(&shard, seconds(1));
  for (uint64_t i = 0; i < 1000 && out.link != nullptr; ++i) {
    out.Send(Opcode::kPing, "", i);
    async::RunFor(&shard, microseconds(10));
  }
  const Nanos end = shard.Now();
  async::RunFor(&shard, seconds(1));
  return {in.received.size(), end};
}

TEST(SimNetworkTest, SameSeedGivesTheSameRun) {
  EXPECT_EQ(Trace(1), Trace(1));
  EXPECT_EQ(Trace(2), Trace(2));
  EXPECT_NE(Trace(1), Trace(2));
}

}  // namespace
}  // namespace sheen::rpc::test

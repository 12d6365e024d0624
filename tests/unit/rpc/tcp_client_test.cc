// Client and server over real sockets, on one shard of the test's own thread.
#include <gtest/gtest.h>

#include "async/blocking_pool.h"
#include "async/sim_poller.h"
#include "io/uring.h"
#include "rpc/client.h"
#include "rpc/tcp_transport.h"
#include "unit/rpc/test_service.h"

namespace sheen::rpc::test {
namespace {

class TcpClientTest : public ::testing::Test {
 protected:
  struct Daemon {
    Daemon(TcpClientTest* test, uint64_t boot)
        : service(&test->shard, &test->disk),
          table({.fsname = "sheen", .server_name = "mds0", .boot = boot}, &service),
          server(&test->shard, &table, &service, {}) {
      for (const auto& [id, known] : test->disk.sessions) {
        table.Insert(std::make_shared<Session>(id, known.first, known.second));
      }
      listener =
          std::move(*test->transport.Listen({"127.0.0.1", 0}, [this](std::unique_ptr<Link> link) {
            server.Accept(std::move(link));
          }));
    }
    TestService service;
    SessionTable table;
    Server server;
    std::unique_ptr<Listener> listener;
  };

  void SetUp() override { StartServer(); }
  void TearDown() override {
    Run(StopClient(client.get()));
    Run(daemon->server.Stop());
    Run(transport.Stop());
    client.reset();
    daemon.reset();
  }
  void StartServer() { daemon = std::make_unique<Daemon>(this, ++boot); }
  Address Here() const { return {"127.0.0.1", daemon->listener->port()}; }
  void StartClient() {
    ClientOptions options;
    options.server_name = "mds0";
    options.addresses = {Here()};
    client = std::make_unique<Client>(&shard, &transport, &identity, options);
  }

  static async::Task<void> StopClient(Client* stopping) {
    co_await stopping->Stop(seconds(5), true);
  }
  static async::Task<void> Mark(async::Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  void Run(async::Task<void> task) {
    bool done = false;
    shard.Post([&] { shard.Spawn(Mark(std::move(task), &done)); });
    ASSERT_TRUE(async::RunUntil(
        &shard, [&] { return done; }, seconds(60)));
  }

  // Writes and reads in turn; each read's bytes land in the worker's own sink.
  static async::Task<void> Work(Client* to, std::string name, int rounds, int* left, int* bad) {
    std::vector<std::byte> out(300'000, std::byte{0x11});
    std::vector<std::byte> sink(300'000);
    for (int i = 0; i < rounds; ++i) {
      Call write;
      write.opcode = Opcode::kOstWrite;
      write.body = name + "." + std::to_string(i);
      write.bulk = out;
      const std::string expected = "done " + write.body;
      const Result<Answer> written = co_await to->Execute(std::move(write));
      if (!written || written->body != expected) ++*bad;
      std::ranges::fill(sink, std::byte{0});
      Call read;
      read.opcode = Opcode::kOstRead;
      read.target = static_cast<uint32_t>(sink.size());
      read.bulk_sink = sink;
      const Result<Answer> got = co_await to->Execute(std::move(read));
      const bool filled =
          std::ranges::all_of(sink, [](std::byte b) { return b == std::byte{0x5A}; });
      if (!got || got->bulk_bytes != sink.size() || !filled) ++*bad;
    }
    --*left;
  }

  std::unique_ptr<io::UringPoller> poller = *io::UringPoller::Create({});
  async::Shard shard{poller.get(), &SystemClock()};
  async::BlockingPool pool{1};
  TcpTransport transport{&shard, poller.get(), &pool};
  ClientIdentity identity{"sheen"};
  TestService::Disk disk;
  uint64_t boot = 0;
  std::unique_ptr<Daemon> daemon;
  std::unique_ptr<Client> client;
};

TEST_F(TcpClientTest, BulkWorkGoesOverRestartsOnOtherPorts) {
  StartClient();
  constexpr int kWorkers = 8;
  constexpr int kRounds = 40;
  int left = kWorkers;
  int bad = 0;
  shard.Post([&] {
    for (int i = 0; i < kWorkers; ++i) {
      shard.Spawn(Work(client.get(), std::to_string(i), kRounds, &left, &bad));
    }
  });
  int restarts = 0;
  while (left > 0) {
    const size_t next = disk.executed.size() + 50;
    const auto reached = [&] { return left == 0 || disk.executed.size() >= next; };
    ASSERT_TRUE(async::RunUntil(&shard, reached, seconds(60)));
    if (left == 0) break;
    daemon->listener.reset();
    Run(daemon->server.Stop());
    StartServer();
    ++restarts;
    client->SetAddresses({Here()});
  }
  EXPECT_GT(restarts, 2);
  EXPECT_EQ(bad, 0);
  EXPECT_EQ(disk.executed.size(), size_t{kWorkers * kRounds});
  EXPECT_EQ(std::set<std::string>(disk.executed.begin(), disk.executed.end()).size(),
            size_t{kWorkers * kRounds});
}

TEST_F(TcpClientTest, RefusalReachesTheClient) {
  ClientIdentity other("other");
  ClientOptions options;
  options.server_name = "mds0";
  options.addresses = {Here()};
  client = std::make_unique<Client>(&shard, &transport, &other, options);
  Status connected;
  bool done = false;
  const auto connect = [](Client* to, Nanos deadline, Status* out,
                          bool* flag) -> async::Task<void> {
    *out = co_await to->Connect(deadline);
    *flag = true;
  };
  shard.Spawn(connect(client.get(), shard.Now() + seconds(10), &connected, &done));
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return done; }, seconds(20)));
  ASSERT_FALSE(connected.has_value());
  EXPECT_EQ(connected.error().code(), Errc::kWrongFilesystem);
  EXPECT_NE(connected.error().message().find("127.0.0.1"), std::string::npos);
  Run(StopClient(client.get()));
  StartClient();
}

}  // namespace
}  // namespace sheen::rpc::test

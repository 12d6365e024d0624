// What the data plane's tests run in: a simulated network on virtual time with a server and a
// client, and a raw link to speak badly with.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "async/sim_poller.h"
#include "async/sync.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "rpc/sim_transport.h"
#include "sheen/v1/common.pb.h"
#include "unit/rpc/test_service.h"

namespace sheen::rpc::test {

inline uint64_t TestSeed() {
  const char* const text = std::getenv("SHEEN_SEED");
  const uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : RandomU64();
  std::fprintf(stderr, "SHEEN_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// One server daemon; destroy it to end its process.
struct TestServer {
  TestServer(SimNetwork* network, TestService::Disk* disk, uint64_t boot,
             ServerOptions options = {}, std::string name = "mds0")
      : shard(network->shard()),
        service(shard, disk),
        table({.fsname = "sheen", .server_name = name, .boot = boot}, &service),
        server(shard, &table, &service, options),
        transport(network, name) {
    for (const auto& [id, known] : disk->sessions) {
      table.Insert(std::make_shared<Session>(id, known.first, known.second));
    }
    listener = std::move(*transport.Listen(
        {name, 7988}, [this](std::unique_ptr<Link> link) { server.Accept(std::move(link)); }));
  }

  async::Shard* shard;
  TestService service;
  SessionTable table;
  Server server;
  SimTransport transport;
  std::unique_ptr<Listener> listener;
};

class WorldTest : public ::testing::Test {
 protected:
  explicit WorldTest(SimNetworkOptions options = {}) : network(&shard, options) {}

  void TearDown() override {
    if (client != nullptr) RunTask(client->Stop(seconds(0), false));
    if (server != nullptr) RunTask(server->server.Stop());
    client.reset();
    async::RunFor(&shard, seconds(20));
    EXPECT_EQ(shard.live_tasks(), 0U);
  }

  void StartServer(ServerOptions options = {}) {
    server = std::make_unique<TestServer>(&network, &disk, ++boot, options);
  }
  // The process ends without a word; what it had in `disk` stays.
  void KillServer() {
    network.Kill("mds0");
    RunTask(server->server.Stop());
    server.reset();
  }
  ClientOptions DefaultClientOptions() {
    ClientOptions options;
    options.server_name = "mds0";
    options.addresses = {{"mds0", 7988}};
    return options;
  }
  void StartClient() { StartClient(DefaultClientOptions()); }
  void StartClient(ClientOptions options) {
    client = std::make_unique<Client>(&shard, &client_transport, &identity, std::move(options));
  }

  static async::Task<void> Mark(async::Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  // Until the task has ended; fails after an hour of virtual time.
  void RunTask(async::Task<void> task) {
    bool done = false;
    shard.Spawn(Mark(std::move(task), &done));
    ASSERT_TRUE(async::RunUntil(
        &shard, [&] { return done; }, std::chrono::hours(1)));
  }
  static async::Task<void> Keep(async::Task<Result<Answer>> task,
                                std::optional<Result<Answer>>* out) {
    out->emplace(co_await std::move(task));
  }
  void Start(Call call, std::optional<Result<Answer>>* out) {
    shard.Spawn(Keep(client->Execute(std::move(call)), out));
  }
  Result<Answer> Execute(Call call) {
    std::optional<Result<Answer>> out;
    Start(std::move(call), &out);
    EXPECT_TRUE(async::RunUntil(
        &shard, [&] { return out.has_value(); }, std::chrono::hours(1)));
    if (!out) return Fail(Errc::kTimedOut, "the test's own limit");
    return std::move(*out);
  }
  static Call Mutate(std::string body) {
    Call call;
    call.opcode = Opcode::kMdsMakeNode;
    call.body = std::move(body);
    return call;
  }
  static Call Look(std::string body) {
    Call call;
    call.opcode = Opcode::kMdsLookup;
    call.body = std::move(body);
    return call;
  }

  ManualClock clock;
  async::SimPoller poller{&clock};
  async::Shard shard{&poller, &clock};
  SimNetwork network;
  SimTransport client_transport{&network, "alice"};
  ClientIdentity identity{"sheen"};
  TestService::Disk disk;
  uint64_t boot = 0;
  std::unique_ptr<TestServer> server;
  std::unique_ptr<Client> client;
};

// A connection spoken to by hand.
class RawLink final : public LinkHandler {
 public:
  static async::Task<void> Open(SimTransport* transport, Address address, RawLink* out) {
    auto link = co_await transport->Connect(std::move(address), seconds(5));
    if (!link) {
      out->closed = link.error();
      co_return;
    }
    out->link = std::move(*link);
    out->link->SetHandler(out);
  }
  MutableByteSpan SinkFor(const FrameHeader&) override { return {}; }
  void OnMessage(Message message) override { received.push_back(std::move(message)); }
  void OnClosed(const Error& reason) override {
    closed = reason;
    link.reset();
  }
  void Send(Opcode opcode, std::string body, uint64_t xid, uint16_t flags = 0, uint32_t slot = 0) {
    Message message;
    message.header.opcode = opcode;
    message.header.xid = xid;
    message.header.flags = flags;
    message.header.slot = slot;
    message.body = std::move(body);
    link->Send(std::move(message));
  }

  std::unique_ptr<Link> link;
  std::vector<Message> received;
  std::optional<Error> closed;
};

}  // namespace sheen::rpc::test

// A client's calls: answers, deadlines, buffers, slots.
#include "rpc/client.h"

#include "rpc/xid_table.h"
#include "unit/rpc/rpc_world.h"

namespace sheen::rpc::test {
namespace {

class ClientTest : public WorldTest {};

TEST_F(ClientTest, AnswersAndErrorsComeBackAsSent) {
  StartServer();
  StartClient();
  const Result<Answer> good = Execute(Mutate("a"));
  ASSERT_TRUE(good.has_value()) << good.error().ToString();
  EXPECT_EQ(good->body, "done a");
  EXPECT_EQ(good->transno, 1U);
  EXPECT_EQ(good->last_committed, 1U);
  EXPECT_EQ(client->last_committed(), 1U);
  const Result<Answer> bad = Execute(Look("fail"));
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code(), Errc::kNotEmpty);
  EXPECT_EQ(bad.error().message(), "the directory is not empty");
}

TEST_F(ClientTest, BulkGoesToTheSinkOrToABuffer) {
  StartServer();
  StartClient();
  std::vector<std::byte> sink(10000, std::byte{0});
  Call read;
  read.opcode = Opcode::kOstRead;
  read.target = 10000;  // the service's size of the answer
  read.bulk_sink = sink;
  const Result<Answer> into_sink = Execute(read);
  ASSERT_TRUE(into_sink.has_value());
  EXPECT_EQ(into_sink->bulk_bytes, 10000U);
  EXPECT_TRUE(into_sink->bulk.empty());
  EXPECT_EQ(sink, std::vector<std::byte>(10000, std::byte{0x5A}));
  read.target = 10001;
  const Result<Answer> too_large = Execute(read);
  ASSERT_TRUE(too_large.has_value());
  EXPECT_EQ(too_large->bulk.size(), 10001U);
}

TEST_F(ClientTest, ManyCallsInFlightAllEnd) {
  StartServer();
  StartClient();
  server->service.work = milliseconds(1);
  std::vector<std::optional<Result<Answer>>> answers(5000);
  for (size_t i = 0; i < answers.size(); ++i) {
    Start(i % 3 == 0 ? Mutate(std::to_string(i)) : Look(std::to_string(i)), &answers[i]);
  }
  const auto all = [&] {
    return std::ranges::all_of(answers, [](const auto& answer) { return answer.has_value(); });
  };
  ASSERT_TRUE(async::RunUntil(&shard, all, seconds(60)));
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i]->has_value());
    EXPECT_EQ((*answers[i])->body, "done " + std::to_string(i));
  }
  EXPECT_GT(server->service.max_running, 500U);
}

TEST_F(ClientTest, MutatingCallsInFlightAreBoundedBySlots) {
  StartServer();
  ClientOptions options = DefaultClientOptions();
  options.slot_base = 10;
  options.slot_count = 5;  // one of them is kept for recovery
  StartClient(options);
  server->service.work = milliseconds(1);
  std::vector<std::optional<Result<Answer>>> answers(50);
  for (size_t i = 0; i < answers.size(); ++i) Start(Mutate(std::to_string(i)), &answers[i]);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return disk.executed.size() == 50; }, seconds(60)));
  EXPECT_EQ(server->service.max_running, 4U);
  for (const auto& [key, kept] : disk.slots) {
    EXPECT_GE(std::get<2>(key), 10U);
    EXPECT_LT(std::get<2>(key), 15U);
  }
  // Those that waited for a slot were served in the order they came in.
  async::RunFor(&shard, seconds(1));
}

// Slots that others may have all of; each target and each list has its own.
TEST_F(ClientTest, ATargetThatHangsTakesNoSlotOfAnother) {
  StartServer();
  ClientOptions options = DefaultClientOptions();
  options.slot_count = 4;
  options.slot_lists_apart = 2;
  options.slot_count_apart = 2;
  StartClient(options);
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  async::Semaphore hold(0);
  server->service.hold = &hold;
  server->service.hold_target = 1;
  const auto apart = [](uint32_t target, const std::string& body, uint32_t list = 1) {
    Call call = Mutate(body);
    call.target = target;
    call.slot_list_apart = list;
    return call;
  };
  std::vector<std::optional<Result<Answer>>> hung(3);
  for (size_t i = 0; i < hung.size(); ++i) Start(apart(1, "hung" + std::to_string(i)), &hung[i]);
  async::RunFor(&shard, milliseconds(100));
  EXPECT_EQ(server->service.running.size(), 2U) << "a third one has no slot";
  for (int i = 0; i < 5; ++i) {
    Call call = apart(2, "other" + std::to_string(i));
    call.deadline = shard.Now() + seconds(1);
    const Result<Answer> answer = Execute(std::move(call));
    EXPECT_TRUE(answer.has_value()) << answer.error().ToString();
  }
  EXPECT_TRUE(Execute(Mutate("with a slot of the others")).has_value());
  std::vector<std::optional<Result<Answer>>> second(3);
  for (size_t i = 0; i < second.size(); ++i) {
    Start(apart(1, "second" + std::to_string(i), 2), &second[i]);
  }
  async::RunFor(&shard, milliseconds(100));
  EXPECT_EQ(server->service.running.size(), 4U) << "the second list has as many";
  hold.Release(&shard, 100);
  async::RunFor(&shard, milliseconds(100));
  for (const auto& answer : hung) EXPECT_TRUE(answer && answer->has_value());
  for (const auto& answer : second) EXPECT_TRUE(answer && answer->has_value());
  std::set<uint32_t> slots;
  for (const auto& [key, kept] : disk.slots) slots.insert(std::get<2>(key));
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(slots.contains(options.slot_base + options.slot_count + i)) << i;
  }
}

TEST_F(ClientTest, DeadlineEndsACallAndItsLateAnswerIsIgnored) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  server->service.work = seconds(2);
  Call call = Mutate("slow");
  call.deadline = shard.Now() + seconds(1);
  const Nanos before = shard.Now();
  const Result<Answer> late = Execute(call);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code(), Errc::kTimedOut);
  EXPECT_NE(late.error().message().find("mds0 did not answer mds_make_node"), std::string::npos);
  EXPECT_LT(shard.Now() - before, milliseconds(1100));
  async::RunFor(&shard, seconds(2));
  EXPECT_TRUE(client->connected());
  EXPECT_EQ(disk.executed, (std::vector<std::string>{"slow"}));
  server->service.work = Nanos(0);
  EXPECT_TRUE(Execute(Mutate("next")).has_value());
}

TEST_F(ClientTest, DeadlineHoldsWithNoServerAndSaysWhy) {
  StartClient();
  Call call = Look("x");
  call.deadline = shard.Now() + seconds(1);
  const Result<Answer> failed = Execute(call);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Errc::kTimedOut);
  EXPECT_NE(failed.error().message().find("nothing listens on mds0:7988"), std::string::npos)
      << failed.error().message();
  EXPECT_EQ(shard.Now(), seconds(1));
}

// The sink is the caller's again when Execute returns: nothing may be written there afterwards.
TEST_F(ClientTest, NothingIsWrittenIntoTheSinkAfterADeadline) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  uint32_t timed_out = 0;
  for (int i = 0; i < 400; ++i) {
    std::vector<std::byte> sink(4096, std::byte{0});
    Call read;
    read.opcode = Opcode::kOstRead;
    read.target = 4096;
    read.bulk_sink = sink;
    // Around the moments at which the answer arrives and is in the middle of the sink.
    read.deadline = shard.Now() + microseconds(100 + 4 * i);
    const Result<Answer> answer = Execute(read);
    if (answer) continue;
    ++timed_out;
    std::ranges::fill(sink, std::byte{1});
    async::RunFor(&shard, milliseconds(20));
    ASSERT_EQ(sink, std::vector<std::byte>(4096, std::byte{1}));
  }
  EXPECT_GT(timed_out, 20U);
}

TEST_F(ClientTest, ServersUnavailableIsTriedAgain) {
  StartServer();
  StartClient();
  server->service.unavailable_left = 5;
  EXPECT_TRUE(Execute(Mutate("a")).has_value());
  EXPECT_EQ(disk.executed, (std::vector<std::string>{"a"}));
  server->service.unavailable_left = 1000000;
  Call call = Mutate("b");
  call.deadline = shard.Now() + seconds(5);
  const Result<Answer> failed = Execute(call);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Errc::kTimedOut);
  EXPECT_NE(failed.error().message().find("starting"), std::string::npos);
}

TEST_F(ClientTest, CancelledCallKeepsItsSlotUntilTheAnswer) {
  StartServer();
  ClientOptions options = DefaultClientOptions();
  options.slot_count = 2;  // one ordinary, one for recovery
  StartClient(options);
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  async::Semaphore hold(0);
  server->service.hold = &hold;
  uint64_t ticket = 0;
  Call call = Mutate("a");
  call.ticket_out = &ticket;
  std::optional<Result<Answer>> cancelled;
  Start(call, &cancelled);
  async::RunFor(&shard, milliseconds(100));
  ASSERT_FALSE(cancelled.has_value());
  client->Cancel(ticket);
  ASSERT_TRUE(cancelled.has_value());
  EXPECT_EQ(cancelled->error().code(), Errc::kInterrupted);
  std::optional<Result<Answer>> next;
  Start(Mutate("b"), &next);
  async::RunFor(&shard, seconds(1));
  EXPECT_EQ(server->service.running.size(), 1U);  // "b" waits for the slot
  hold.Release(&shard, 100);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return next.has_value(); }, seconds(5)));
  EXPECT_EQ(disk.executed, (std::vector<std::string>{"a", "b"}));
}

// A call was given up and its link ended: its slot is not used while the server still runs it.
TEST_F(ClientTest, SlotOfACallGivenUpIsFreeOnlyWhenTheServerIsDoneWithIt) {
  StartServer();
  ClientOptions options = DefaultClientOptions();
  options.slot_count = 2;
  StartClient(options);
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  async::Semaphore hold(0);
  server->service.hold = &hold;
  Call call = Mutate("a");
  call.deadline = shard.Now() + seconds(1);
  const auto kept = std::make_shared<int>(0);
  call.keep = kept;
  EXPECT_FALSE(Execute(std::move(call)).has_value());
  EXPECT_EQ(kept.use_count(), 2) << "the server has it";
  network.Break("alice", "mds0");
  std::optional<Result<Answer>> next;
  Start(Mutate("b"), &next);
  async::RunFor(&shard, seconds(2));
  EXPECT_TRUE(client->connected());
  EXPECT_EQ(server->service.running.size(), 1U);
  hold.Release(&shard, 100);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return next.has_value(); }, seconds(5)));
  EXPECT_EQ(disk.executed, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(kept.use_count(), 1);
}

TEST_F(ClientTest, RefusalsForGoodFailTheCalls) {
  StartServer();
  ClientIdentity other("other");
  client = std::make_unique<Client>(&shard, &client_transport, &other, DefaultClientOptions());
  const Result<Answer> failed = Execute(Look("x"));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Errc::kWrongFilesystem);
  RunTask(client->Stop(seconds(1), false));
  client.reset();
}

TEST_F(ClientTest, StopFailsWhatIsLeftAndGoodbyeEndsTheSession) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Mutate("a")).has_value());
  ASSERT_EQ(disk.sessions.size(), 1U);
  async::Semaphore hold(0);
  server->service.hold = &hold;
  std::optional<Result<Answer>> left;
  Start(Mutate("b"), &left);
  RunTask(client->Stop(seconds(2), false));
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(left->error().code(), Errc::kCancelled);
  EXPECT_EQ(disk.sessions.size(), 1U);
  hold.Release(&shard, 100);

  StartClient();
  ASSERT_TRUE(Execute(Mutate("c")).has_value());
  RunTask(client->Stop(seconds(2), true));
  EXPECT_TRUE(disk.sessions.empty());
  const Result<Answer> after = Execute(Look("x"));
  ASSERT_FALSE(after.has_value());
  EXPECT_EQ(after.error().code(), Errc::kCancelled);
}

TEST_F(ClientTest, ServerRequestsAreHandedOverAndAnswered) {
  StartServer();
  StartClient();
  std::vector<std::string> heard;
  client->OnServerRequest([&](Opcode opcode, const std::string& body, const auto& answer) {
    EXPECT_EQ(opcode, Opcode::kMapChanged);
    heard.push_back(body);
    answer();
  });
  ASSERT_TRUE(Execute(Look("x")).has_value());
  server->server.Broadcast(Opcode::kMapChanged, "7");
  async::RunFor(&shard, seconds(1));
  EXPECT_EQ(heard, (std::vector<std::string>{"7"}));
  EXPECT_TRUE(client->connected());
}

TEST_F(ClientTest, ShardsShareOneSessionAndTheOldestXid) {
  StartServer();
  StartClient();
  ClientOptions options = DefaultClientOptions();
  options.slot_base = 100;
  Client second(&shard, &client_transport, &identity, options);
  std::optional<Result<Answer>> a;
  std::optional<Result<Answer>> b;
  Start(Mutate("a"), &a);
  shard.Spawn(Keep(second.Execute(Mutate("b")), &b));
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return a && b; }, seconds(10)));
  ASSERT_TRUE(a->has_value());
  ASSERT_TRUE(b->has_value());
  async::RunFor(&shard, seconds(2));
  EXPECT_EQ(disk.sessions.size(), 1U) << "the session that was not needed has been ended";

  async::Semaphore hold(0);
  server->service.hold = &hold;
  std::optional<Result<Answer>> held;
  Start(Mutate("held"), &held);
  async::RunFor(&shard, milliseconds(100));
  const uint64_t oldest = *server->service.running.begin();
  server->service.hold = nullptr;
  for (int i = 0; i < 20; ++i) {
    std::optional<Result<Answer>> answer;
    shard.Spawn(Keep(second.Execute(Look("x")), &answer));
    ASSERT_TRUE(async::RunUntil(
        &shard, [&] { return answer.has_value(); }, seconds(10)));
    EXPECT_LE(server->service.last_oldest_xid, oldest);
  }
  EXPECT_EQ(server->service.last_oldest_xid, oldest);
  hold.Release(&shard, 100);
  async::RunFor(&shard, milliseconds(100));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Execute(Look("x")).has_value());
  EXPECT_GT(server->service.last_oldest_xid, oldest);
  RunTask(second.Stop(seconds(1), false));
}

TEST_F(ClientTest, IdleConnectionIsKeptByPings) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("x")).has_value());
  async::RunFor(&shard, seconds(600));
  EXPECT_TRUE(client->connected());
  EXPECT_EQ(network.connections_broken(), 0U);
  EXPECT_EQ(server->server.connection_count(), 1U);
}

TEST_F(ClientTest, OversizedRequestsFailAlone) {
  StartServer();
  StartClient();
  const Result<Answer> failed = Execute(Look(std::string(kBodyBytesMax + 1, 'x')));
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), Errc::kInvalid);
  EXPECT_TRUE(Execute(Look("x")).has_value());
}

TEST(XidTableTest, HoldsExactlyWhatAMapHolds) {
  Random random(TestSeed());
  XidTable<int> table;
  std::map<uint64_t, int*> model;
  std::vector<int> values(1000);
  for (int step = 0; step < 200000; ++step) {
    // Clusters and wrap-around: few distinct low bits.
    const uint64_t xid = random.Below(8) * 64 + random.Below(40);
    if (random.OneIn(2)) {
      int* const value = &values[random.Below(values.size())];
      table.Insert(xid, value);
      model[xid] = value;
    } else {
      table.Erase(xid);
      model.erase(xid);
    }
    const uint64_t asked = random.Below(8) * 64 + random.Below(40);
    const auto found = model.find(asked);
    ASSERT_EQ(table.Find(asked), found == model.end() ? nullptr : found->second);
    ASSERT_EQ(table.size(), model.size());
  }
}

}  // namespace
}  // namespace sheen::rpc::test

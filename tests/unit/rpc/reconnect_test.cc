// Connections that end, servers that restart: calls go on, each executed once.
#include "unit/rpc/rpc_world.h"

namespace sheen::rpc::test {
namespace {

class ReconnectTest : public WorldTest {
 protected:
  // `count` mutating calls one after the other, as a process does.
  static async::Task<void> Sequence(Client* client, std::string name, int count, int* failed) {
    for (int i = 0; i < count; ++i) {
      const Result<Answer> answer =
          co_await client->Execute(Mutate(name + "." + std::to_string(i)));
      if (!answer || answer->body != "done " + name + "." + std::to_string(i)) ++*failed;
    }
  }
  // Each of `tasks` sequences executed each of its calls once and in order.
  void ExpectEachOnceInOrder(int tasks, int count) {
    std::map<std::string, int> next;
    for (const std::string& body : disk.executed) {
      const size_t dot = body.find('.');
      int& expected = next[body.substr(0, dot)];
      ASSERT_EQ(std::stoi(body.substr(dot + 1)), expected) << "of " << body;
      ++expected;
    }
    ASSERT_EQ(next.size(), static_cast<size_t>(tasks));
    for (const auto& [name, done] : next) EXPECT_EQ(done, count) << name;
  }
};

TEST_F(ReconnectTest, EachCallIsExecutedOnceUnderDroppedConnections) {
  const uint64_t seed = TestSeed();
  SimNetworkOptions faults;
  faults.break_one_in = 12;
  faults.refuse_one_in = 4;
  network.SetOptions(faults);
  Random random(seed);
  StartServer();
  StartClient();
  constexpr int kTasks = 20;
  constexpr int kCalls = 50;
  int failed = 0;
  std::array<bool, kTasks> done{};
  for (int i = 0; i < kTasks; ++i) {
    shard.Spawn(Mark(Sequence(client.get(), std::to_string(i), kCalls, &failed), &done[i]));
  }
  while (!std::ranges::all_of(done, [](bool d) { return d; })) {
    server->service.work = Nanos(random.Below(3'000'000));
    ASSERT_LT(shard.Now(), std::chrono::hours(1));
    async::RunFor(&shard, milliseconds(10));
  }
  EXPECT_EQ(failed, 0);
  EXPECT_GT(network.connections_broken(), 20U);
  EXPECT_EQ(disk.sessions.size(), 1U);
  ExpectEachOnceInOrder(kTasks, kCalls);
}

TEST_F(ReconnectTest, CallsGoOnOverRestartsOfTheServer) {
  const uint64_t seed = TestSeed();
  Random random(seed);
  SimNetworkOptions faults;
  faults.break_one_in = 100;
  network.SetOptions(faults);
  StartServer();
  StartClient();
  constexpr int kTasks = 10;
  constexpr int kCalls = 200;
  int failed = 0;
  std::array<bool, kTasks> done{};
  for (int i = 0; i < kTasks; ++i) {
    shard.Spawn(Mark(Sequence(client.get(), std::to_string(i), kCalls, &failed), &done[i]));
  }
  int restarts = 0;
  while (!std::ranges::all_of(done, [](bool d) { return d; })) {
    ASSERT_LT(shard.Now(), std::chrono::hours(1));
    async::RunFor(&shard, milliseconds(5 + static_cast<int64_t>(random.Below(50))));
    KillServer();
    ++restarts;
    async::RunFor(&shard, milliseconds(static_cast<int64_t>(random.Below(2000))));
    StartServer();
  }
  EXPECT_EQ(failed, 0);
  EXPECT_GT(restarts, 2);
  EXPECT_EQ(disk.sessions.size(), 1U);
  ExpectEachOnceInOrder(kTasks, kCalls);
}

TEST_F(ReconnectTest, UnansweredCallsAreSentAgainInXidOrder) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  network.Partition("alice", "mds0");
  std::vector<std::optional<Result<Answer>>> answers(30);
  for (size_t i = 0; i < answers.size(); ++i) Start(Mutate(std::to_string(i)), &answers[i]);
  async::RunFor(&shard, milliseconds(10));
  network.Break("alice", "mds0");
  async::RunFor(&shard, milliseconds(100));
  network.Heal("alice", "mds0");
  const auto all = [&] {
    return std::ranges::all_of(answers, [](const auto& answer) { return answer.has_value(); });
  };
  ASSERT_TRUE(async::RunUntil(&shard, all, seconds(60)));
  ASSERT_EQ(disk.executed.size(), 30U);
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(disk.executed[i], std::to_string(i));
  // They had been sent before, and say so.
  const std::vector<uint16_t>& flags = server->service.seen_flags;
  for (size_t i = 1; i < flags.size(); ++i) EXPECT_NE(flags[i] & kResend, 0) << i;
}

TEST_F(ReconnectTest, SilentServerIsNoticedAndAnotherConnectionMade) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("x")).has_value());
  network.Partition("alice", "mds0");
  async::RunFor(&shard, seconds(40));
  EXPECT_FALSE(client->connected());
  network.Heal("alice", "mds0");
  EXPECT_TRUE(Execute(Look("x")).has_value());
}

class HookedTest : public ReconnectTest {
 protected:
  static async::Task<void> Declare(HookedTest* test, bool restarted) {
    test->hook_restarted.push_back(restarted);
    for (int i = 0; i < 3; ++i) {
      const Result<Answer> answer =
          co_await test->client->Execute(Mutate("declare " + std::to_string(i)));
      EXPECT_TRUE(answer.has_value()) << answer.error().ToString();
    }
  }
  void StartHookedClient(ClientOptions options) {
    StartClient(std::move(options));
    client->OnReconnect([this](bool restarted) { return Declare(this, restarted); });
    ASSERT_TRUE(Execute(Look("warm up")).has_value());
  }
  std::vector<bool> hook_restarted;
};

TEST_F(HookedTest, CallsOfTheHookGoBeforeTheWaitingOnes) {
  StartServer();
  ClientOptions options = DefaultClientOptions();
  options.slot_count = 4;
  StartHookedClient(options);
  EXPECT_TRUE(hook_restarted.empty());
  KillServer();
  // More than there are slots: the hook's calls must not wait for them.
  std::vector<std::optional<Result<Answer>>> answers(10);
  for (size_t i = 0; i < answers.size(); ++i) Start(Mutate(std::to_string(i)), &answers[i]);
  async::RunFor(&shard, seconds(1));
  StartServer();
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return disk.executed.size() == 13; }, seconds(15)));
  EXPECT_EQ(disk.executed[0], "declare 0");
  EXPECT_EQ(disk.executed[1], "declare 1");
  EXPECT_EQ(disk.executed[2], "declare 2");
  EXPECT_EQ(hook_restarted, (std::vector<bool>{true}));
  network.Break("alice", "mds0");
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return hook_restarted.size() == 2; }, seconds(15)));
  EXPECT_FALSE(hook_restarted[1]);
  async::RunFor(&shard, seconds(1));
}

TEST_F(HookedTest, HookSurvivesConnectionsThatBreakUnderIt) {
  SimNetworkOptions faults;
  StartServer();
  StartHookedClient(DefaultClientOptions());
  for (int round = 0; round < 30; ++round) {
    KillServer();
    faults.break_one_in = 4;
    network.SetOptions(faults);
    StartServer();
    const Result<Answer> answer = Execute(Mutate("round " + std::to_string(round)));
    ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
    faults.break_one_in = 0;
    network.SetOptions(faults);
    async::RunFor(&shard, seconds(5));
    ASSERT_TRUE(client->connected());
  }
}

// A shard that first speaks to the server when that has restarted knows nothing of the time before,
// but its client does.
TEST_F(HookedTest, TheFirstConnectionOfAShardRecoversWhatTheOthersHad) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  Client second(&shard, &client_transport, &identity, DefaultClientOptions());
  std::vector<bool> hooks;
  second.OnReconnect([&hooks](bool restarted) -> async::Task<void> {
    hooks.push_back(restarted);
    co_return;
  });
  const auto look = [&] {
    std::optional<Result<Answer>> out;
    shard.Spawn(Keep(second.Execute(Look("x")), &out));
    ASSERT_TRUE(async::RunUntil(&shard, [&] { return out.has_value(); }, seconds(60)));
    EXPECT_TRUE(out->has_value());
    if (*out) EXPECT_EQ((*out)->boot, boot);
  };
  RunTask(client->Stop(seconds(0), false));
  KillServer();
  StartServer();
  look();
  EXPECT_EQ(hooks, (std::vector<bool>{true}));
  RunTask(second.Stop(seconds(0), false));
}

TEST_F(HookedTest, TheFirstConnectionToAServerThatHasNotRestartedRecoversNothing) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  ClientOptions options = DefaultClientOptions();
  options.slot_base = 100;
  Client second(&shard, &client_transport, &identity, options);
  int hooks = 0;
  second.OnReconnect([&hooks](bool) -> async::Task<void> {
    ++hooks;
    co_return;
  });
  std::optional<Result<Answer>> out;
  shard.Spawn(Keep(second.Execute(Look("x")), &out));
  ASSERT_TRUE(async::RunUntil(&shard, [&] { return out.has_value(); }, seconds(60)));
  EXPECT_EQ(hooks, 0);
  RunTask(second.Stop(seconds(0), false));
}

// A machine without power ends no connection: who knows the new boot ends it.
TEST_F(ReconnectTest, AConnectionToAnEarlierBootIsEndedByWhoKnowsTheLater) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("x")).has_value());
  EXPECT_FALSE(client->EndEarlierBoot(boot));
  ASSERT_TRUE(client->connected());
  EXPECT_TRUE(client->EndEarlierBoot(boot + 1));
  async::RunFor(&shard, milliseconds(1));
  EXPECT_FALSE(client->EndEarlierBoot(boot + 1)) << "there is none any more";
}

// Two shards shake hands; the one with the earlier boot reads its answer last.
TEST(ClientIdentityTest, AHandshakeWithAnEarlierBootThatEndsLastIsNotTaken) {
  ClientIdentity identity("sheen");
  ServerSession session{.session_id = 7, .server_boot = 1};
  identity.SetSession("mds0", session);
  const ServerSession before = identity.Session("mds0");
  session.server_boot = 3;
  EXPECT_TRUE(identity.AdoptSession("mds0", before, session));
  session.server_boot = 2;
  EXPECT_FALSE(identity.AdoptSession("mds0", before, session));
  EXPECT_EQ(identity.Session("mds0").server_boot, 3U);
  session.server_boot = 3;
  EXPECT_TRUE(identity.AdoptSession("mds0", before, session));
  // Of a handshake that began after that, as with a server whose store was restored: taken.
  session.server_boot = 2;
  EXPECT_TRUE(identity.AdoptSession("mds0", identity.Session("mds0"), session));
  session.session_id = 8;
  EXPECT_FALSE(identity.AdoptSession("mds0", ServerSession{.session_id = 8}, session));
}

TEST_F(ReconnectTest, TheAnswerOfAChangeThatNobodyWaitsForIsToldWithItsBytes) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  std::vector<std::string> late;
  client->OnLateAnswer([&late](const Call& call, const Answer& answer) {
    late.push_back(call.body + "+" + std::string(AsText(call.bulk)) + "=" + answer.body);
  });
  async::Semaphore hold(0);
  server->service.hold = &hold;
  std::optional<Result<Answer>> given_up;
  std::string bytes = "bytes";
  Call call = Mutate("a");
  call.bulk = AsBytes(bytes);
  call.deadline = shard.Now() + milliseconds(100);
  Start(std::move(call), &given_up);
  std::optional<Result<Answer>> read;
  Call look = Look("b");
  look.deadline = shard.Now() + milliseconds(100);
  Start(std::move(look), &read);
  async::RunFor(&shard, milliseconds(200));
  ASSERT_TRUE(given_up && !given_up->has_value());
  bytes = "other";
  EXPECT_TRUE(late.empty());
  hold.Release(&shard, 100);
  async::RunFor(&shard, milliseconds(100));
  EXPECT_EQ(late, (std::vector<std::string>{"a+bytes=done a"}));
}

TEST_F(ReconnectTest, LostSessionFailsWhatMayHaveBeenExecuted) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  async::Semaphore hold(0);
  server->service.hold = &hold;
  std::optional<Result<Answer>> unknown;
  std::optional<Result<Answer>> read;
  std::optional<Result<Answer>> twice_is_as_once;
  Start(Mutate("a"), &unknown);
  Start(Look("b"), &read);
  Call instantiate = Mutate("d");
  instantiate.opcode = Opcode::kMdsInstantiate;
  Start(std::move(instantiate), &twice_is_as_once);
  async::RunFor(&shard, milliseconds(100));
  ASSERT_EQ(server->service.running.size(), 3U);
  hold.Release(&shard, 100);
  network.Break("alice", "mds0");
  KillServer();
  disk.sessions.clear();
  StartServer();
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return unknown && read && twice_is_as_once; }, seconds(10)));
  ASSERT_FALSE(unknown->has_value());
  EXPECT_EQ(unknown->error().code(), Errc::kIo) << "nobody may try it again";
  EXPECT_TRUE(read->has_value());
  EXPECT_TRUE(twice_is_as_once->has_value());
  EXPECT_TRUE(Execute(Mutate("c")).has_value());
}

// What it says of a change that was sent again is of the second sending.
TEST_F(ReconnectTest, ARefusalOfTheSecondSendingSaysNothingOfTheFirst) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  async::Semaphore hold(0);
  server->service.hold = &hold;
  std::optional<Result<Answer>> sent_twice;
  Start(Mutate("a"), &sent_twice);
  async::RunFor(&shard, milliseconds(100));
  hold.Release(&shard, 100);
  network.Break("alice", "mds0");
  KillServer();
  disk.evict_all = true;
  StartServer();
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return sent_twice.has_value(); }, seconds(10)));
  ASSERT_FALSE(sent_twice->has_value());
  EXPECT_EQ(sent_twice->error().code(), Errc::kIo);
  std::optional<Result<Answer>> sent_once;
  Start(Mutate("b"), &sent_once);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return sent_once.has_value(); }, seconds(10)));
  ASSERT_FALSE(sent_once->has_value());
  EXPECT_EQ(sent_once->error().code(), Errc::kEvicted) << "it was not executed, and may be again";
}

// The hook waits for each answer for 15 s: as long as they come, nothing goes before it has ended.
TEST_F(HookedTest, AHookThatGetsAnswersIsWaitedFor) {
  StartServer();
  StartHookedClient(DefaultClientOptions());
  KillServer();
  StartServer();
  server->service.work = seconds(15);
  const Nanos begun = shard.Now();
  const Result<Answer> answer = Execute(Mutate("ordinary"));
  ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
  ASSERT_EQ(disk.executed.size(), 4U);
  EXPECT_EQ(disk.executed[3], "ordinary") << "it was executed before the hook had ended";
  EXPECT_GT(shard.Now() - begun, seconds(45));
}

// A restarted server is not told yet what it had lost: whatever keeps that back, nothing goes
// before it. What the hook does after it may be overtaken.
TEST_F(HookedTest, NothingOvertakesAReplayThatStandsStill) {
  StartServer();
  StartClient();
  async::OneShot<bool> replayed;
  async::OneShot<bool> ended;
  client->OnReconnect([&](bool restarted) -> async::Task<void> {
    EXPECT_TRUE(restarted);
    co_await replayed;
    client->ReplayDone();
    co_await ended;
  });
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  KillServer();
  StartServer();
  std::optional<Result<Answer>> ordinary;
  Start(Mutate("ordinary"), &ordinary);
  async::RunFor(&shard, seconds(90));
  EXPECT_TRUE(disk.executed.empty()) << "it was executed before the replay";
  shard.Post([&replayed] { replayed.Set(true); });
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return ordinary.has_value(); }, seconds(60)));
  EXPECT_TRUE(ordinary->has_value());
  shard.Post([&ended] { ended.Set(true); });
  async::RunFor(&shard, seconds(1));
}

// The hook gives up and ends its connection: that one is over at once, though its end takes time.
TEST_F(HookedTest, AHookThatEndsItsConnectionRunsAgain) {
  StartServer();
  StartClient();
  client->OnReconnect([this](bool restarted) -> async::Task<void> {
    hook_restarted.push_back(restarted);
    if (hook_restarted.size() == 1) client->EndConnection("it did not work");
    co_return;
  });
  ASSERT_TRUE(Execute(Look("warm up")).has_value());
  KillServer();
  StartServer();
  const Result<Answer> answer = Execute(Mutate("ordinary"));
  ASSERT_TRUE(answer.has_value()) << answer.error().ToString();
  EXPECT_EQ(hook_restarted, (std::vector<bool>{true, true}));
  ASSERT_EQ(server->service.seen_flags.size(), 1U);
  EXPECT_EQ(server->service.seen_flags[0] & kResend, 0) << "it had not been sent before";
}

TEST_F(ReconnectTest, CredentialsAreSetAgainAfterARestart) {
  StartServer();
  StartClient();
  v1::SetCredential set;
  set.set_id(3);
  set.set_uid(1000);
  Call call;
  call.opcode = Opcode::kSetCredential;
  call.body = set.SerializeAsString();
  ASSERT_TRUE(Execute(call).has_value());
  KillServer();
  StartServer();
  ASSERT_TRUE(Execute(Look("x")).has_value());
  const auto credential = server->table.FindClient(identity.uuid())->FindCredential(3);
  ASSERT_TRUE(credential.has_value());
  EXPECT_EQ(credential->uid, 1000U);
}

TEST_F(ReconnectTest, OtherAddressesAreTried) {
  StartServer();
  ClientOptions options = DefaultClientOptions();
  options.addresses = {{"nowhere", 1}, {"mds0", 1}, {"mds0", 7988}};
  StartClient(options);
  EXPECT_TRUE(Execute(Look("x")).has_value());
  network.Break("alice", "mds0");
  EXPECT_TRUE(Execute(Look("x")).has_value());
}

TEST_F(ReconnectTest, ServerThatWentBackInTimeIsNotUsed) {
  StartServer();
  StartClient();
  ASSERT_TRUE(Execute(Mutate("a")).has_value());
  KillServer();
  disk.transno = 0;
  StartServer();
  Call call = Look("x");
  call.deadline = shard.Now() + seconds(3);
  const Result<Answer> failed = Execute(call);
  ASSERT_FALSE(failed.has_value());
  EXPECT_NE(failed.error().message().find("went back in time"), std::string::npos)
      << failed.error().message();
}

TEST_F(ReconnectTest, ServerMayStopWhileHandlersRunAndLinksEnd) {
  StartServer();
  StartClient();
  server->service.work = seconds(1);
  std::vector<std::optional<Result<Answer>>> answers(20);
  for (size_t i = 0; i < answers.size(); ++i) Start(Mutate(std::to_string(i)), &answers[i]);
  async::RunFor(&shard, milliseconds(500));
  ASSERT_EQ(server->service.running.size(), 20U);
  network.Break("alice", "mds0");
  KillServer();
  EXPECT_EQ(disk.executed.size(), 20U);
  StartServer();
  const auto all = [&] {
    return std::ranges::all_of(answers, [](const auto& answer) { return answer.has_value(); });
  };
  ASSERT_TRUE(async::RunUntil(&shard, all, seconds(30)));
  for (const auto& answer : answers) EXPECT_TRUE(answer->has_value());
  EXPECT_EQ(disk.executed.size(), 20U);
}

}  // namespace
}  // namespace sheen::rpc::test

// What a server lets in and what it says to the rest.
#include "unit/rpc/rpc_world.h"

namespace sheen::rpc::test {
namespace {

class HandshakeTest : public WorldTest {
 protected:
  static v1::Hello GoodHello() {
    v1::Hello hello;
    hello.set_version_oldest(1);
    hello.set_version_newest(1);
    hello.set_client_uuid(std::string(16, 'u'));
    hello.set_fsname("sheen");
    return hello;
  }
  void Open(RawLink* raw) {
    RunTask(RawLink::Open(&client_transport, {"mds0", 7988}, raw));
    ASSERT_NE(raw->link, nullptr);
  }
  // The answer to `hello`, on a fresh connection.
  Message Greet(const v1::Hello& hello, RawLink* raw) {
    Open(raw);
    raw->Send(Opcode::kHello, hello.SerializeAsString(), 1);
    EXPECT_TRUE(async::RunUntil(
        &shard, [&] { return !raw->received.empty(); }, seconds(5)));
    return raw->received.empty() ? Message{} : std::move(raw->received.front());
  }
  v1::HelloReply Accepted(const v1::Hello& hello, RawLink* raw) {
    const Message message = Greet(hello, raw);
    EXPECT_EQ(message.header.status, Errc::kOk) << message.body;
    v1::HelloReply reply;
    EXPECT_TRUE(reply.ParseFromString(message.body));
    return reply;
  }
  void ExpectRefused(const v1::Hello& hello, Errc code, const std::string& says) {
    RawLink raw;
    const Message message = Greet(hello, &raw);
    EXPECT_EQ(message.header.status, code) << message.body;
    EXPECT_NE(message.body.find(says), std::string::npos) << message.body;
    EXPECT_TRUE(async::RunUntil(
        &shard, [&] { return raw.closed.has_value(); }, seconds(5)));
  }
};

TEST_F(HandshakeTest, RefusalsNameWhatIsWrong) {
  StartServer();
  v1::Hello hello = GoodHello();
  hello.set_fsname("other");
  ExpectRefused(hello, Errc::kWrongFilesystem, "'other'");
  hello = GoodHello();
  hello.set_version_oldest(7);
  hello.set_version_newest(9);
  ExpectRefused(hello, Errc::kBadVersion, "7 to 9");
  hello = GoodHello();
  hello.set_server_name("oss3");
  ExpectRefused(hello, Errc::kNotThisServer, "oss3");
  hello = GoodHello();
  hello.set_client_uuid("short");
  ExpectRefused(hello, Errc::kProtocol, "UUID");
  hello = GoodHello();
  v1::TargetCommit* const seen = hello.add_committed_seen();
  seen->set_target(4);
  seen->set_transno(1000);
  ExpectRefused(hello, Errc::kCorrupt, "target 4 went back in time");
  EXPECT_TRUE(disk.sessions.empty());
}

TEST_F(HandshakeTest, NewSessionIsStoredBeforeItIsGiven) {
  StartServer();
  RawLink raw;
  const v1::HelloReply reply = Accepted(GoodHello(), &raw);
  EXPECT_FALSE(reply.session_resumed());
  EXPECT_EQ(reply.session_secret().size(), 16U);
  ASSERT_TRUE(disk.sessions.contains(reply.session_id()));
  server->service.save_fails = true;
  ExpectRefused(GoodHello(), Errc::kNoSpace, "the store is full");
}

TEST_F(HandshakeTest, SessionIsResumedOnlyWithItsSecret) {
  StartServer();
  RawLink first;
  const v1::HelloReply given = Accepted(GoodHello(), &first);
  v1::Hello again = GoodHello();
  again.set_session_id(given.session_id());
  again.set_session_secret(given.session_secret());
  RawLink second;
  const v1::HelloReply resumed = Accepted(again, &second);
  EXPECT_TRUE(resumed.session_resumed());
  EXPECT_EQ(resumed.session_id(), given.session_id());
  EXPECT_TRUE(resumed.session_secret().empty());

  std::string wrong = given.session_secret();
  wrong[15] ^= 1;
  again.set_session_secret(wrong);
  ExpectRefused(again, Errc::kAccess, "proof");
  again.set_session_secret("");
  ExpectRefused(again, Errc::kAccess, "proof");
  // The right secret from another client.
  again.set_session_secret(given.session_secret());
  again.set_client_uuid(std::string(16, 'v'));
  ExpectRefused(again, Errc::kAccess, "another client");
}

TEST_F(HandshakeTest, UnknownSessionGetsANewOne) {
  StartServer();
  v1::Hello hello = GoodHello();
  hello.set_session_id(77);
  hello.set_session_secret(std::string(16, 's'));
  RawLink raw;
  const v1::HelloReply reply = Accepted(hello, &raw);
  EXPECT_FALSE(reply.session_resumed());
  EXPECT_NE(reply.session_id(), 77U);
  EXPECT_EQ(reply.session_secret().size(), 16U);
}

TEST_F(HandshakeTest, NothingIsServedBeforeAHello) {
  StartServer();
  for (const Opcode opcode : {Opcode::kMdsLookup, Opcode::kPing, Opcode::kGoodbye}) {
    RawLink raw;
    Open(&raw);
    raw.Send(opcode, "x", 1);
    EXPECT_TRUE(async::RunUntil(
        &shard, [&] { return raw.closed.has_value(); }, seconds(5)));
    EXPECT_TRUE(raw.received.empty());
  }
  RawLink garbage;
  Open(&garbage);
  garbage.Send(Opcode::kHello, std::string(100, '\xFF'), 1);
  EXPECT_TRUE(async::RunUntil(
      &shard, [&] { return !garbage.received.empty(); }, seconds(5)));
  EXPECT_EQ(garbage.received.front().header.status, Errc::kProtocol);
  EXPECT_TRUE(server->service.seen_flags.empty());
}

TEST_F(HandshakeTest, LargeBodiesCloseTheLinkBeforeASession) {
  StartServer();
  RawLink raw;
  Open(&raw);
  raw.Send(Opcode::kHello, std::string(kHelloBodyBytesMax + 1, 'x'), 1);
  EXPECT_TRUE(async::RunUntil(
      &shard, [&] { return raw.closed.has_value(); }, seconds(5)));
  EXPECT_TRUE(raw.received.empty());
}

TEST_F(HandshakeTest, SilentStrangerIsClosed) {
  ServerOptions options;
  options.handshake_timeout = seconds(3);
  StartServer(options);
  RawLink raw;
  Open(&raw);
  async::RunFor(&shard, milliseconds(2900));
  EXPECT_FALSE(raw.closed.has_value());
  async::RunFor(&shard, milliseconds(200));
  EXPECT_TRUE(raw.closed.has_value());
  EXPECT_EQ(server->server.connection_count(), 0U);
}

TEST_F(HandshakeTest, OnlyAllowedNetworksMayConnect) {
  network.SetNodeIp("alice", "10.1.2.3");
  StartServer();
  RawLink refused;
  Open(&refused);
  EXPECT_TRUE(async::RunUntil(
      &shard, [&] { return refused.closed.has_value(); }, seconds(5)));
  KillServer();
  ServerOptions options;
  options.allow = {"10.1.0.0/16"};
  StartServer(options);
  RawLink raw;
  Accepted(GoodHello(), &raw);
}

TEST_F(HandshakeTest, ConnectionsAreBounded) {
  ServerOptions options;
  options.connections_max = 2;
  StartServer(options);
  RawLink links[3];
  for (RawLink& raw : links) Open(&raw);
  async::RunFor(&shard, seconds(1));
  EXPECT_FALSE(links[0].closed.has_value());
  EXPECT_FALSE(links[1].closed.has_value());
  EXPECT_TRUE(links[2].closed.has_value());
}

TEST_F(HandshakeTest, UnknownOpcodesAreAnswered) {
  StartServer();
  RawLink raw;
  Accepted(GoodHello(), &raw);
  raw.received.clear();
  raw.Send(static_cast<Opcode>(999), "", 2);
  raw.Send(Opcode::kAuth, "", 3);
  raw.Send(Opcode::kMapChanged, "", 4);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return raw.received.size() == 3; }, seconds(5)));
  for (const Message& reply : raw.received) {
    EXPECT_EQ(reply.header.status, Errc::kNotSupported);
    EXPECT_NE(reply.header.flags & kFromServer, 0);
  }
  EXPECT_TRUE(server->service.seen_flags.empty());
}

TEST_F(HandshakeTest, GoodbyeEndsTheSession) {
  StartServer();
  RawLink raw;
  const v1::HelloReply given = Accepted(GoodHello(), &raw);
  raw.received.clear();
  raw.Send(Opcode::kGoodbye, "", 2);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return !raw.received.empty(); }, seconds(5)));
  EXPECT_EQ(raw.received.front().header.status, Errc::kOk);
  EXPECT_TRUE(disk.sessions.empty());
  EXPECT_EQ(server->table.Find(given.session_id()), nullptr);
  raw.received.clear();
  raw.Send(Opcode::kMdsLookup, "", 3);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return !raw.received.empty(); }, seconds(5)));
  EXPECT_EQ(raw.received.front().header.status, Errc::kEvicted);
}

TEST_F(HandshakeTest, ServiceHearsOfIdleSessionsAfterTheGrace) {
  StartServer();
  RawLink raw;
  const v1::HelloReply given = Accepted(GoodHello(), &raw);
  raw.link->Close(Error(Errc::kCancelled, "test"));
  async::RunFor(&shard, milliseconds(2900));
  EXPECT_TRUE(server->service.idle.empty());
  async::RunFor(&shard, milliseconds(200));
  EXPECT_EQ(server->service.idle, (std::vector<uint64_t>{given.session_id()}));
  EXPECT_NE(server->table.Find(given.session_id()), nullptr);
}

TEST_F(HandshakeTest, AClientThatComesBackInTimeIsNotIdle) {
  StartServer();
  RawLink raw;
  const v1::HelloReply given = Accepted(GoodHello(), &raw);
  raw.link->Close(Error(Errc::kCancelled, "test"));
  async::RunFor(&shard, seconds(2));
  v1::Hello again = GoodHello();
  again.set_session_id(given.session_id());
  again.set_session_secret(given.session_secret());
  RawLink second;
  Accepted(again, &second);
  async::RunFor(&shard, seconds(10));
  EXPECT_TRUE(server->service.idle.empty());
}

TEST_F(HandshakeTest, SilentClientsLinkIsClosed) {
  StartServer();
  RawLink raw;
  Accepted(GoodHello(), &raw);
  async::RunFor(&shard, seconds(59));
  EXPECT_FALSE(raw.closed.has_value());
  async::RunFor(&shard, seconds(20));
  EXPECT_TRUE(raw.closed.has_value());
}

TEST_F(HandshakeTest, SilentLinkOfAClientForWhomOthersWaitIsClosedSooner) {
  StartServer();
  RawLink raw;
  const v1::HelloReply given = Accepted(GoodHello(), &raw);
  async::RunFor(&shard, seconds(15));
  // A sign of life, and silence from then on.
  raw.Send(Opcode::kPing, "", 2);
  async::RunFor(&shard, seconds(15));
  EXPECT_FALSE(raw.closed.has_value());
  server->table.Find(given.session_id())->wanted_until_ns = (shard.Now() + seconds(10)).count();
  async::RunFor(&shard, seconds(4));
  EXPECT_FALSE(raw.closed.has_value()) << "19 s of silence";
  async::RunFor(&shard, seconds(4));
  EXPECT_TRUE(raw.closed.has_value()) << "23 s of silence";
}

TEST_F(HandshakeTest, CredentialsAreOfTheSession) {
  StartServer();
  RawLink raw;
  const v1::HelloReply given = Accepted(GoodHello(), &raw);
  raw.received.clear();
  v1::SetCredential set;
  set.set_id(9);
  set.set_uid(1000);
  set.set_gid(100);
  set.add_groups(4);
  raw.Send(Opcode::kSetCredential, set.SerializeAsString(), 2);
  set.set_id(0);
  raw.Send(Opcode::kSetCredential, set.SerializeAsString(), 3);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return raw.received.size() == 2; }, seconds(5)));
  EXPECT_EQ(raw.received[0].header.status, Errc::kOk);
  EXPECT_EQ(raw.received[1].header.status, Errc::kInvalid);
  const auto session = server->table.Find(given.session_id());
  const auto credential = session->FindCredential(9);
  ASSERT_TRUE(credential.has_value());
  EXPECT_EQ(credential->uid, 1000U);
  EXPECT_EQ(credential->groups, (std::vector<uint32_t>{4}));
  EXPECT_FALSE(session->FindCredential(8).has_value());
  EXPECT_EQ(session->FindCredential(0)->uid, 0U);
}

// A resend on a new connection waits for the original, which still runs for the old one.
TEST_F(HandshakeTest, ResendWaitsForTheOriginalOfTheDeadLink) {
  StartServer();
  async::Semaphore hold(0);
  server->service.hold = &hold;
  v1::Hello hello = GoodHello();
  hello.set_link(5);
  RawLink first;
  const v1::HelloReply given = Accepted(hello, &first);
  first.Send(Opcode::kMdsMakeNode, "a", 10, 0, 1);
  async::RunFor(&shard, seconds(1));
  ASSERT_EQ(server->service.running.size(), 1U);
  first.link->Close(Error(Errc::kCancelled, "test"));

  hello.set_session_id(given.session_id());
  hello.set_session_secret(given.session_secret());
  RawLink second;
  Accepted(hello, &second);
  second.received.clear();
  second.Send(Opcode::kMdsMakeNode, "a", 10, kResend, 1);
  second.Send(Opcode::kPing, "", 10, kResend);
  second.Send(Opcode::kPing, "", 11);
  async::RunFor(&shard, seconds(1));
  ASSERT_EQ(second.received.size(), 1U);  // the plain ping alone
  EXPECT_EQ(second.received[0].header.xid, 11U);
  EXPECT_EQ(server->service.running.size(), 1U);
  hold.Release(&shard, 100);
  async::RunFor(&shard, seconds(1));
  ASSERT_EQ(second.received.size(), 3U);
  EXPECT_EQ(disk.executed, (std::vector<std::string>{"a"}));
}

// What the server has not begun of the old connection never lands after its resend.
TEST_F(HandshakeTest, NewLinkOfTheSameNumberFencesAndEndsTheOld) {
  StartServer();
  v1::Hello hello = GoodHello();
  hello.set_link(5);
  RawLink first;
  const v1::HelloReply given = Accepted(hello, &first);
  hello.set_session_id(given.session_id());
  hello.set_session_secret(given.session_secret());
  RawLink second;
  Accepted(hello, &second);
  hello.set_link(6);
  RawLink other;
  Accepted(hello, &other);
  if (first.link) first.Send(Opcode::kMdsMakeNode, "late", 10, 0, 1);
  second.Send(Opcode::kMdsMakeNode, "new", 11, 0, 1);
  other.Send(Opcode::kMdsMakeNode, "other", 12, 0, 2);
  async::RunFor(&shard, seconds(1));
  EXPECT_EQ(disk.executed.size(), 2U);
  for (const std::string& body : disk.executed) EXPECT_NE(body, "late");
  EXPECT_TRUE(first.closed.has_value()) << "what it held is not waited for any longer";
  EXPECT_FALSE(second.closed.has_value());
}

TEST_F(HandshakeTest, RequestsInFlightAreBoundedAndNoneIsLost) {
  ServerOptions options;
  options.requests_in_flight_max = 4;
  StartServer(options);
  server->service.work = milliseconds(1);
  RawLink raw;
  Accepted(GoodHello(), &raw);
  raw.received.clear();
  for (uint64_t i = 0; i < 100; ++i) raw.Send(Opcode::kMdsLookup, std::to_string(i), 10 + i);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return raw.received.size() == 100; }, seconds(5)));
  EXPECT_EQ(server->service.max_running, 4U);
}

TEST_F(HandshakeTest, RequestsThatEndAtOnceDoNotPileUpOnTheStack) {
  ServerOptions options;
  options.requests_in_flight_max = 512;
  StartServer(options);
  async::Semaphore hold(0);
  server->service.hold = &hold;
  RawLink raw;
  Accepted(GoodHello(), &raw);
  raw.received.clear();
  for (uint64_t i = 0; i < 30000; ++i) raw.Send(Opcode::kMdsLookup, "x", 10 + i);
  async::RunFor(&shard, seconds(1));
  server->service.hold = nullptr;
  hold.Release(&shard, 512);
  ASSERT_TRUE(async::RunUntil(
      &shard, [&] { return raw.received.size() == 30000; }, seconds(60)));
}

}  // namespace
}  // namespace sheen::rpc::test

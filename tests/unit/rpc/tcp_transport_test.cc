// Messages over TcpTransport, peers that break the rules, and the ends of connections.
#include "rpc/tcp_transport.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/crc32c.h"
#include "unit/rpc/tcp_rig.h"

namespace sheen::rpc {
namespace {

constexpr size_t kSizes[] = {0,     1,     79,    80,      4096,    8191,          8192,   16303,
                             16304, 16305, 65536, 1000000, 1 << 20, (4 << 20) - 1, 4 << 20};

TEST_F(TcpTransportTest, EchoesBodiesAndBulksOfAllSizes) {
  StartServer();
  ConnectClient();
  uint64_t xid = 0;
  for (const size_t body : kSizes) {
    for (const size_t bulk : {size_t{0}, size_t{1}, size_t{5000}, size_t{4} << 20}) {
      Message message;
      message.header.opcode = Opcode::kOstWrite;
      message.header.xid = ++xid;
      message.body.assign(AsText(Pattern(body, xid).span()));
      message.bulk = Pattern(bulk, xid + 1000);
      Send(std::move(message));
      const Message back = collector_.AwaitMessage();
      ASSERT_EQ(back.header.xid, xid);
      ASSERT_TRUE(back.header.flags & kFromServer);
      ASSERT_TRUE(back.body == AsText(Pattern(body, xid).span())) << body;
      ASSERT_TRUE(AsText(back.bulk_bytes()) == AsText(Pattern(bulk, xid + 1000).span())) << bulk;
    }
  }
}

TEST_F(TcpTransportTest, ManyFramesInOneTurnKeepTheirOrder) {
  StartServer();
  ConnectClient();
  constexpr uint64_t kCount = 3000;
  client_->Do([&] {
    for (uint64_t xid = 1; xid <= kCount; ++xid) {
      Message message;
      message.header.xid = xid;
      message.body = std::string(xid % 300, 'b');
      if (xid % 100 == 0) message.bulk = Pattern(xid * 10, xid);
      link_->Send(std::move(message));
    }
    EXPECT_GT(link_->queued_bytes(), kCount * kHeaderBytes);
  });
  for (uint64_t xid = 1; xid <= kCount; ++xid) {
    const Message back = collector_.AwaitMessage();
    ASSERT_EQ(back.header.xid, xid);
    ASSERT_EQ(back.body.size(), xid % 300);
    if (xid % 100 == 0) {
      ASSERT_TRUE(AsText(back.bulk_bytes()) == AsText(Pattern(xid * 10, xid).span()));
    }
  }
  client_->Do([&] { EXPECT_EQ(link_->queued_bytes(), 0U); });
}

TEST_F(TcpTransportTest, BulkGoesStraightIntoTheSink) {
  StartServer();
  ConnectClient();
  io::Buffer sink = io::Buffer::Allocate(1 << 20);
  collector_.sink = sink.span();
  Message message;
  const io::Buffer bytes = Pattern(1 << 20, 7);
  message.bulk_view = bytes.span();
  Send(std::move(message));
  const Message back = collector_.AwaitMessage();
  EXPECT_TRUE(back.bulk.empty());
  EXPECT_EQ(back.bulk_view.data(), sink.data());
  EXPECT_TRUE(AsText(sink.span()) == AsText(bytes.span()));
}

TEST_F(TcpTransportTest, ASinkThatIsTooSmallIsNotTouched) {
  StartServer();
  ConnectClient();
  io::Buffer sink = io::Buffer::Allocate(100);
  std::memset(sink.data(), 0x55, 100);
  collector_.sink = sink.span();
  Message message;
  message.bulk = Pattern(101, 7);
  Send(std::move(message));
  const Message back = collector_.AwaitMessage();
  EXPECT_EQ(back.bulk.size(), 101U);
  for (const std::byte b : sink.span()) EXPECT_EQ(b, std::byte{0x55});
}

// ---- a peer that does not keep the rules ----

HeaderBytes HeaderOf(FrameHeader header) { return EncodeHeader(header); }

TEST_F(TcpTransportTest, DamagedHeaderClosesTheLinkWithTheReason) {
  StartServer();
  const int fd = RawConnect(port_);
  HeaderBytes bytes = HeaderOf({});
  bytes[20] ^= std::byte{1};
  RawSend(fd, bytes);
  const Error reason = Peer(0)->AwaitClosed();
  EXPECT_EQ(reason.code(), Errc::kCorrupt);
  EXPECT_NE(reason.message().find("header_crc"), std::string::npos) << reason.message();
  EXPECT_NE(reason.message().find("127.0.0.1:"), std::string::npos) << reason.message();
  EXPECT_EQ(RawReadAll(fd), "");
  close(fd);
}

TEST_F(TcpTransportTest, DamagedBodyOrBulkClosesTheLink) {
  StartServer();
  for (const bool bulk : {false, true}) {
    const int fd = RawConnect(port_);
    FrameHeader header;
    header.flags = bulk ? kBulkCrc : kBodyCrc;
    (bulk ? header.bulk_bytes : header.body_bytes) = 4;
    (bulk ? header.bulk_crc : header.body_crc) = Crc32c(AsBytes("good"));
    RawSend(fd, HeaderOf(header));
    RawSend(fd, AsBytes("goof"));
    const Error reason = Peer(bulk ? 1 : 0)->AwaitClosed();
    EXPECT_EQ(reason.code(), Errc::kCorrupt);
    EXPECT_NE(reason.message().find(bulk ? "bulk" : "body"), std::string::npos);
    close(fd);
  }
}

TEST_F(TcpTransportTest, RandomBytesCloseOnlyTheirLink) {
  StartServer();
  ConnectClient();
  const char* const given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  for (size_t i = 0; i < 50; ++i) {
    const int fd = RawConnect(port_);
    RawSend(fd, Pattern(80 + random.Below(20000), random.Next()).span());
    const Error reason = Peer(i + 1)->AwaitClosed();
    EXPECT_EQ(reason.code(), Errc::kProtocol);
    close(fd);
  }
  Message message;
  message.header.xid = 99;
  Send(std::move(message));
  EXPECT_EQ(collector_.AwaitMessage().header.xid, 99U);
}

TEST_F(TcpTransportTest, AClientThatClaimsToBeTheServerIsClosed) {
  StartServer();
  const int fd = RawConnect(port_);
  FrameHeader header;
  header.flags = kFromServer;
  RawSend(fd, HeaderOf(header));
  EXPECT_EQ(Peer(0)->AwaitClosed().code(), Errc::kProtocol);
  close(fd);
}

TEST_F(TcpTransportTest, HelloLimitsHoldUntilEstablished) {
  StartServer({}, "127.0.0.1", /*established=*/false);
  const int small = RawConnect(port_);
  FrameHeader header;
  header.body_bytes = kHelloBodyBytesMax;
  RawSend(small, HeaderOf(header));
  RawSend(small, Pattern(kHelloBodyBytesMax, 1).span());
  std::byte back[kHeaderBytes];
  EXPECT_EQ(RawReceive(small, back), ssize_t(kHeaderBytes));
  header.body_bytes = kHelloBodyBytesMax + 1;
  RawSend(small, HeaderOf(header));
  EXPECT_EQ(Peer(0)->AwaitClosed().code(), Errc::kProtocol);
  close(small);
  const int bulk = RawConnect(port_);
  header.body_bytes = 0;
  header.bulk_bytes = 1;
  RawSend(bulk, HeaderOf(header));
  EXPECT_EQ(Peer(1)->AwaitClosed().code(), Errc::kProtocol);
  close(bulk);
}

// ---- ends of connections ----

TEST_F(TcpTransportTest, AFrameSentByteByByteArrives) {
  StartServer();
  const int fd = RawConnect(port_);
  FrameHeader header;
  header.xid = 5;
  header.body_bytes = 3;
  std::string bytes(AsText(HeaderOf(header)));
  bytes += "abc";
  for (const char c : bytes) RawSend(fd, AsBytes(std::string_view(&c, 1)));
  std::byte back[kHeaderBytes + 3];
  ASSERT_EQ(RawReceive(fd, back), ssize_t(sizeof back));
  EXPECT_EQ(AsText(ByteSpan(back).subspan(kHeaderBytes)), "abc");
  close(fd);
  EXPECT_EQ(Peer(0)->AwaitClosed().code(), Errc::kDisconnected);
}

TEST_F(TcpTransportTest, HalfClosedPeerEndsTheLink) {
  StartServer();
  const int between = RawConnect(port_);
  shutdown(between, SHUT_WR);
  Error reason = Peer(0)->AwaitClosed();
  EXPECT_EQ(reason.code(), Errc::kDisconnected);
  EXPECT_EQ(reason.message().find("inside a frame"), std::string::npos);
  EXPECT_EQ(RawReadAll(between), "");
  close(between);
  const int inside = RawConnect(port_);
  FrameHeader header;
  header.bulk_bytes = 100000;
  RawSend(inside, HeaderOf(header));
  RawSend(inside, Pattern(60000, 1).span());
  shutdown(inside, SHUT_WR);
  reason = Peer(1)->AwaitClosed();
  EXPECT_EQ(reason.code(), Errc::kDisconnected);
  EXPECT_NE(reason.message().find("inside a frame"), std::string::npos);
  close(inside);
}

TEST_F(TcpTransportTest, CloseWithSendsInFlightAwaitsTheKernel) {
  StartServer();
  const int fd = RawConnect(port_);  // never reads
  EchoPeer* peer = Peer(0);
  server_->Do([&] {
    for (int i = 0; i < 40; ++i) {
      Message message;
      message.bulk = Pattern(1 << 20, static_cast<uint64_t>(i));
      peer->link()->Send(std::move(message));
    }
  });
  server_->Do([&] { EXPECT_GT(peer->link()->queued_bytes(), 0U); });
  server_->Do([&] { peer->link()->Close(Error(Errc::kEvicted, "test")); });
  const Error reason = peer->AwaitClosed();
  EXPECT_EQ(reason.code(), Errc::kEvicted);
  close(fd);
}

TEST_F(TcpTransportTest, ALinkDestroyedWithSendsInFlightLeavesNothingBehind) {
  StartServer();
  ConnectClient();
  client_->Do([&] {
    for (int i = 0; i < 40; ++i) {
      Message message;
      message.bulk = Pattern(1 << 20, static_cast<uint64_t>(i));
      link_->Send(std::move(message));
    }
  });
  client_->Do([&] { link_.reset(); });
  EXPECT_EQ(Peer(0)->AwaitClosed().code(), Errc::kDisconnected);
}

TEST_F(TcpTransportTest, WordsSentJustBeforeCloseArrive) {
  StartServer();
  const int fd = RawConnect(port_);
  EchoPeer* peer = Peer(0);
  server_->Do([&] {
    Message message;
    message.body = "go away";
    peer->link()->Send(std::move(message));
    peer->link()->Close(Error(Errc::kAccess, "refused"));
  });
  const std::string bytes = RawReadAll(fd);
  ASSERT_EQ(bytes.size(), kHeaderBytes + 7);
  EXPECT_EQ(bytes.substr(kHeaderBytes), "go away");
  close(fd);
}

TEST_F(TcpTransportTest, APeerThatDoesNotReadIsClosedAtTheQueueLimit) {
  StartServer({.send_queue_bytes_max = 10 << 20});
  const int fd = RawConnect(port_);
  EchoPeer* peer = Peer(0);
  server_->Do([&] {
    for (int i = 0; i < 11; ++i) {
      Message message;
      message.bulk = Pattern(1 << 20, 1);
      peer->link()->Send(std::move(message));
    }
  });
  EXPECT_NE(peer->AwaitClosed().message().find("does not read"), std::string::npos);
  close(fd);
}

TEST_F(TcpTransportTest, PausedReceivingDeliversNothingUntilResumed) {
  StartServer();
  ConnectClient();
  client_->Do([&] { link_->SetReceiving(false); });
  for (uint64_t xid = 1; xid <= 3; ++xid) {
    Message message;
    message.header.xid = xid;
    message.bulk = Pattern(20000, xid);
    Send(std::move(message));
  }
  int echo_count = 0;
  while (echo_count < 3) server_->Do([&] { echo_count = Peer(0)->echo_count; });
  for (int turn = 0; turn < 100; ++turn) {
    server_->Do([] {});
    client_->Do([] {});
  }
  EXPECT_EQ(collector_.message_count(), 0U);
  client_->Do([&] { link_->SetReceiving(true); });
  for (uint64_t xid = 1; xid <= 3; ++xid) EXPECT_EQ(collector_.AwaitMessage().header.xid, xid);
}

TEST_F(TcpTransportTest, StopClosesLinksAndTellsTheirHandlers) {
  StartServer();
  ConnectClient();
  (void)Peer(0);
  server_->Do([&] { listener_.reset(); });
  server_->Stop();
  EXPECT_EQ(Peer(0)->AwaitClosed().code(), Errc::kCancelled);
  EXPECT_EQ(collector_.AwaitClosed().code(), Errc::kDisconnected);
  server_.reset();
}

}  // namespace
}  // namespace sheen::rpc

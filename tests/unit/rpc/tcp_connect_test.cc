// How TcpTransport connects and listens: addresses, ports in use, who may come in.
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <atomic>

#include "rpc/tcp_transport.h"
#include "unit/rpc/tcp_rig.h"

namespace sheen::rpc {
namespace {

using TcpConnectTest = TcpTransportTest;

TEST_F(TcpConnectTest, ConnectRefusedNamesTheAddress) {
  StartServer();
  server_->Do([&] { listener_.reset(); });
  Node node;
  Error error;
  EXPECT_EQ(node.Connect({"127.0.0.1", port_}, &error), nullptr);
  EXPECT_EQ(error.code(), Errc::kConnectionRefused);
  EXPECT_NE(error.message().find("127.0.0.1:" + std::to_string(port_)), std::string::npos);
}

TEST_F(TcpConnectTest, ConnectTimesOut) {
  // A listener whose backlog is full answers no SYN.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 0), 0);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  const int filler = RawConnect(ntohs(address.sin_port));
  Node node;
  Error error;
  EXPECT_EQ(node.Connect({"127.0.0.1", ntohs(address.sin_port)}, &error, milliseconds(100)),
            nullptr);
  EXPECT_EQ(error.code(), Errc::kTimedOut);
  close(filler);
  close(fd);
}

TEST_F(TcpConnectTest, UnknownHostIsNoEntry) {
  Node node;
  Error error;
  EXPECT_EQ(node.Connect({"no-such-host.invalid", 1}, &error), nullptr);
  EXPECT_TRUE(error.code() == Errc::kNoEntry || error.code() == Errc::kUnavailable)
      << error.ToString();
  EXPECT_NE(error.message().find("no-such-host.invalid"), std::string::npos);
}

TEST_F(TcpConnectTest, HostNamesAndIpv6LiteralsWork) {
  StartServer({}, "");
  Node node;
  for (const char* host : {"localhost", "::1", "127.0.0.1"}) {
    std::unique_ptr<Link> link = node.Connect({host, port_});
    ASSERT_NE(link, nullptr) << host;
    node.Do([&] { link.reset(); });
  }
  // The client has its link a moment before the server has made the peer known.
  size_t known = 0;
  for (int attempt = 0; attempt < 10'000 && known < 3; ++attempt) {
    server_->Do([&] { known = peers_.size(); });
    std::this_thread::yield();
  }
  EXPECT_EQ(known, 3U);
}

TEST_F(TcpConnectTest, PortInUseNamesTheAddress) {
  StartServer();
  for (const bool reuse_port : {false, true}) {
    // Another process is played by a socket without SO_REUSEPORT: the server's.
    Node node({.reuse_port = reuse_port});
    node.Do([&] {
      const auto listener = node.transport()->Listen({"127.0.0.1", port_}, nullptr);
      ASSERT_FALSE(listener.has_value());
      EXPECT_EQ(listener.error().code(), Errc::kBusy);
      EXPECT_NE(listener.error().message().find("127.0.0.1:" + std::to_string(port_)),
                std::string::npos);
    });
  }
}

TEST_F(TcpConnectTest, ASharedPortOfAnotherProcessIsInUse) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(fd, 8), 0);
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  Node node({.reuse_port = true});
  node.Do([&] {
    const auto listener = node.transport()->Listen({"127.0.0.1", ntohs(address.sin_port)}, nullptr);
    ASSERT_FALSE(listener.has_value());
    EXPECT_EQ(listener.error().code(), Errc::kBusy);
  });
  close(fd);
}

TEST_F(TcpConnectTest, ShardsShareAPort) {
  StartServer({.reuse_port = true});
  Node second({.reuse_port = true});
  std::atomic<int> accepted{0};
  std::unique_ptr<Listener> other;
  second.Do([&] {
    auto listener = second.transport()->Listen(
        {"127.0.0.1", port_}, [&](std::unique_ptr<Link>) { accepted.fetch_add(1); });
    ASSERT_TRUE(listener.has_value()) << listener.error().ToString();
    other = std::move(*listener);
  });
  std::vector<int> fds;
  for (int i = 0; i < 200 && accepted.load() == 0; ++i) {
    fds.push_back(RawConnect(port_));
    second.Do([] {});
  }
  EXPECT_GT(accepted.load(), 0);
  for (const int fd : fds) close(fd);
  second.Do([&] { other.reset(); });
}

TEST_F(TcpConnectTest, ClosingAListenerFreesItsPort) {
  StartServer();
  server_->Do([&] { listener_.reset(); });
  for (int i = 0; i < 100; ++i) server_->Do([] {});
  server_->Do([&] {
    auto again = server_->transport()->Listen({"127.0.0.1", port_}, nullptr);
    EXPECT_TRUE(again.has_value()) << again.error().ToString();
    listener_ = std::move(*again);
  });
}

// An IPv4 address of this host that is not loopback; 0 when there is none.
in_addr_t OutsideAddress() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return 0;
  in_addr_t found = 0;
  for (const ifaddrs* at = list; at != nullptr && found == 0; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    if ((at->ifa_flags & (IFF_LOOPBACK | IFF_UP)) != IFF_UP) continue;
    found = reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr.s_addr;
  }
  freeifaddrs(list);
  return found;
}

TEST_F(TcpConnectTest, PeersOutsideTheAllowListAreClosedUnheard) {
  const in_addr_t outside = OutsideAddress();
  if (outside == 0) GTEST_SKIP() << "this host has no address but loopback";
  // The half of all addresses that ours is not in.
  const bool upper_half = (ntohl(outside) >> 31) != 0;
  StartServer({.allow = {upper_half ? "0.0.0.0/1" : "128.0.0.0/1"}}, "");
  const int fd = RawConnect(port_, outside);
  EXPECT_EQ(RawReadAll(fd), "");
  close(fd);
  server_->Do([&] { EXPECT_TRUE(peers_.empty()); });
}

TEST_F(TcpConnectTest, PeersInTheAllowListAreServed) {
  const in_addr_t outside = OutsideAddress();
  if (outside == 0) GTEST_SKIP() << "this host has no address but loopback";
  StartServer({.allow = {"0.0.0.0/0"}}, "");
  const int fd = RawConnect(port_, outside);
  EXPECT_NE(Peer(0), nullptr);
  close(fd);
}

TEST_F(TcpConnectTest, ABadAllowListIsNamed) {
  Node node({.allow = {"10.0.0.0/33"}});
  node.Do([&] {
    const auto listener = node.transport()->Listen({"127.0.0.1", 0}, nullptr);
    ASSERT_FALSE(listener.has_value());
    EXPECT_EQ(listener.error().code(), Errc::kInvalid);
    EXPECT_NE(listener.error().message().find("10.0.0.0/33"), std::string::npos);
  });
}

TEST_F(TcpConnectTest, ConnectionsAboveTheLimitAreClosed) {
  StartServer({.connections_max = 1});
  const int first = RawConnect(port_);
  (void)Peer(0);
  const int second = RawConnect(port_);
  EXPECT_EQ(RawReadAll(second), "");
  close(second);
  close(first);
  (void)Peer(0)->AwaitClosed();
  // The place is free again.
  ConnectClient();
  Message message;
  message.header.xid = 1;
  Send(std::move(message));
  EXPECT_EQ(collector_.AwaitMessage().header.xid, 1U);
}

}  // namespace
}  // namespace sheen::rpc

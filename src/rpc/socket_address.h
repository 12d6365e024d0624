// SocketAddress: an IPv4 or IPv6 address with a port, as the socket calls want it; and the list of
// networks (CIDR) that a listener admits.
//
// Immutable values.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rpc/link.h"
#include "sheen/result.h"

namespace sheen::rpc {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  uint16_t port() const;
  // "10.0.0.1:4711", "[::1]:4711"; an IPv4 address that came over an IPv6 socket as IPv4.
  std::string ToString() const;
  // The address alone as 16 bytes, IPv4 as ::ffff:a.b.c.d.
  std::array<uint8_t, 16> Ip() const;

  static SocketAddress LocalOf(int fd);  // getsockname(2)
  static SocketAddress PeerOf(int fd);   // getpeername(2); family 0 when it has gone
};

// Of "10.0.0.1", "::1"; nullopt for anything that needs a look-up.
std::optional<SocketAddress> ParseLiteral(const std::string& host, uint16_t port);
// All addresses of a name, in the resolver's order; blocks. Errors: kNoEntry (no such host),
// kUnavailable (no answer from the name service).
Result<std::vector<SocketAddress>> ResolveBlocking(const Address& address);

// Networks as "10.0.0.0/8", "fd00::/8", or single addresses.
class CidrList final {
 public:
  CidrList() = default;
  // Loopback (127.0.0.0/8, ::1) is always in; nothing else when there are no texts. Errors:
  // kInvalid names the entry that is none.
  static Result<CidrList> Parse(const std::vector<std::string>& texts);
  bool Contains(const SocketAddress& address) const;

 private:
  struct Network {
    std::array<uint8_t, 16> ip{};
    uint32_t prefix_bits = 0;  // of the 128
  };
  static Result<Network> ParseNetwork(const std::string& text);

  std::vector<Network> networks_;
};

}  // namespace sheen::rpc

#include "rpc/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace sheen::rpc {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

const sockaddr_in& AsV4(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr_in&>(address.storage);
}
const sockaddr_in6& AsV6(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr_in6&>(address.storage);
}

SocketAddress FromV4(const in_addr& ip, uint16_t port) {
  SocketAddress out;
  auto& v4 = reinterpret_cast<sockaddr_in&>(out.storage);
  v4.sin_family = AF_INET;
  v4.sin_addr = ip;
  v4.sin_port = htons(port);
  out.size = sizeof v4;
  return out;
}

SocketAddress FromV6(const in6_addr& ip, uint16_t port) {
  SocketAddress out;
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out.storage);
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = ip;
  v6.sin6_port = htons(port);
  out.size = sizeof v6;
  return out;
}

bool IsMapped(const std::array<uint8_t, 16>& ip) {
  return std::memcmp(ip.data(), kMappedPrefix.data(), kMappedPrefix.size()) == 0;
}

Error ResolveFailure(const std::string& host, int code) {
  if (code == EAI_AGAIN || code == EAI_SYSTEM || code == EAI_MEMORY) {
    return Error(Errc::kUnavailable, "look up host " + host + ": " + gai_strerror(code));
  }
  return Error(Errc::kNoEntry, "look up host " + host + ": " + gai_strerror(code) +
                                   "; check the name, DNS and /etc/hosts");
}

}  // namespace

uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(AsV4(*this).sin_port);
  if (family() == AF_INET6) return ntohs(AsV6(*this).sin6_port);
  return 0;
}

std::array<uint8_t, 16> SocketAddress::Ip() const {
  std::array<uint8_t, 16> ip{};
  if (family() == AF_INET6) {
    std::memcpy(ip.data(), &AsV6(*this).sin6_addr, ip.size());
  } else if (family() == AF_INET) {
    std::memcpy(ip.data(), kMappedPrefix.data(), kMappedPrefix.size());
    std::memcpy(ip.data() + kMappedPrefix.size(), &AsV4(*this).sin_addr, 4);
  }
  return ip;
}

std::string SocketAddress::ToString() const {
  if (family() != AF_INET && family() != AF_INET6) return "unknown peer";
  const std::array<uint8_t, 16> ip = Ip();
  char text[INET6_ADDRSTRLEN] = {};
  if (IsMapped(ip)) {
    inet_ntop(AF_INET, ip.data() + kMappedPrefix.size(), text, sizeof text);
  } else {
    inet_ntop(AF_INET6, ip.data(), text, sizeof text);
  }
  return Address{text, port()}.ToString();
}

SocketAddress SocketAddress::LocalOf(int fd) {
  SocketAddress out;
  out.size = sizeof out.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&out.storage), &out.size) != 0) out = {};
  return out;
}

SocketAddress SocketAddress::PeerOf(int fd) {
  SocketAddress out;
  out.size = sizeof out.storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&out.storage), &out.size) != 0) out = {};
  return out;
}

std::optional<SocketAddress> ParseLiteral(const std::string& host, uint16_t port) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return FromV4(v4, port);
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return FromV6(v6, port);
  return std::nullopt;
}

Result<std::vector<SocketAddress>> ResolveBlocking(const Address& address) {
  if (const auto literal = ParseLiteral(address.host, address.port)) {
    return std::vector<SocketAddress>{*literal};
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  const std::string port = std::to_string(address.port);
  const int code = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &raw);
  if (code != 0) return std::unexpected(ResolveFailure(address.host, code));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(raw, freeaddrinfo);
  std::vector<SocketAddress> out;
  for (const addrinfo* info = list.get(); info != nullptr; info = info->ai_next) {
    SocketAddress found;
    if (info->ai_addrlen > sizeof found.storage) continue;
    std::memcpy(&found.storage, info->ai_addr, info->ai_addrlen);
    found.size = info->ai_addrlen;
    out.push_back(found);
  }
  if (out.empty()) return std::unexpected(ResolveFailure(address.host, EAI_NONAME));
  return out;
}

Result<CidrList::Network> CidrList::ParseNetwork(const std::string& text) {
  const size_t slash = text.find('/');
  const auto address = ParseLiteral(text.substr(0, slash), 0);
  const auto bad = [&text] {
    return Fail(Errc::kInvalid, "\"" + text +
                                    "\" is not a network: write an address with an optional "
                                    "prefix length, as 10.0.0.0/8 or fd00::/8");
  };
  if (!address) return bad();
  const uint32_t width = address->family() == AF_INET ? 32 : 128;
  uint32_t bits = width;
  if (slash != std::string::npos) {
    const char* const first = text.data() + slash + 1;
    const char* const last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, bits);
    if (error != std::errc() || end != last || bits > width) return bad();
  }
  return Network{address->Ip(), bits + (128 - width)};
}

Result<CidrList> CidrList::Parse(const std::vector<std::string>& texts) {
  static const std::vector<std::string> kLoopback = {"127.0.0.0/8", "::1/128"};
  CidrList list;
  for (const std::vector<std::string>* part : {&kLoopback, &texts}) {
    for (const std::string& text : *part) {
      SHEEN_TRY_ASSIGN(const Network network, ParseNetwork(text));
      list.networks_.push_back(network);
    }
  }
  return list;
}

bool CidrList::Contains(const SocketAddress& address) const {
  if (address.family() != AF_INET && address.family() != AF_INET6) return false;
  const std::array<uint8_t, 16> ip = address.Ip();
  for (const Network& network : networks_) {
    const uint32_t whole = network.prefix_bits / 8;
    const uint32_t rest = network.prefix_bits % 8;
    if (std::memcmp(ip.data(), network.ip.data(), whole) != 0) continue;
    const auto mask = static_cast<uint8_t>(0xFF00 >> rest);
    if (rest == 0 || ((ip[whole] ^ network.ip[whole]) & mask) == 0) return true;
  }
  return false;
}

}  // namespace sheen::rpc

#include "rpc/address.h"

#include <charconv>

namespace sheen::rpc {
namespace {

std::unexpected<Error> BadAddress(std::string_view text, std::string_view what) {
  return Fail(Errc::kInvalid, "'" + std::string(text) + "' is not an address (" +
                                  std::string(what) + "): write HOST, HOST:PORT, or [IPV6]:PORT");
}

Result<uint16_t> ParsePort(std::string_view text, std::string_view port) {
  uint16_t value = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (error != std::errc() || end != port.data() + port.size() || value == 0) {
    return BadAddress(text, "its port is not a number from 1 to 65535");
  }
  return value;
}

}  // namespace

Result<Address> ParseAddress(std::string_view text, uint16_t default_port) {
  if (text.empty()) return BadAddress(text, "it is empty");
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '/') {
      return BadAddress(text, "it has a blank or a slash");
    }
  }
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.front() == '[') {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return BadAddress(text, "']' is missing");
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return BadAddress(text, "after ']' comes ':PORT'");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
    if (host.find(':') == std::string_view::npos) return BadAddress(text, "no IPv6 in brackets");
  } else if (const size_t colon = text.find(':'); colon == text.rfind(':')) {
    has_port = colon != std::string_view::npos;
    if (has_port) {
      host = text.substr(0, colon);
      port = text.substr(colon + 1);
    }
  } else if (!ParseLiteral(std::string(text), 0)) {
    return BadAddress(text, "several colons, but no IPv6 address");
  }
  if (host.empty()) return BadAddress(text, "the host is missing");
  Address address{std::string(host), default_port};
  if (has_port) {
    SHEEN_TRY_ASSIGN(address.port, ParsePort(text, port));
  }
  return address;
}

Result<std::vector<Address>> ParseAddresses(std::string_view text, uint16_t default_port) {
  std::vector<Address> addresses;
  while (true) {
    const size_t comma = text.find(',');
    SHEEN_TRY_ASSIGN(Address address, ParseAddress(text.substr(0, comma), default_port));
    addresses.push_back(std::move(address));
    if (comma == std::string_view::npos) return addresses;
    text.remove_prefix(comma + 1);
  }
}

bool IsLoopback(const std::string& host) {
  const auto address = ParseLiteral(host, 0);
  static const CidrList kLoopback = *CidrList::Parse({});
  return address && kLoopback.Contains(*address);
}

bool MayConnect(const CidrList& allow, const std::string& host) {
  const auto address = ParseLiteral(host, 0);
  return address && (allow.Contains(*address) || IsLoopback(host));
}

std::string HostOfPeer(std::string_view peer) {
  const size_t colon = peer.rfind(':');
  std::string_view host = peer.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return std::string(host);
}

}  // namespace sheen::rpc

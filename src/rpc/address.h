// Addresses as people write them, and who of a peer address may connect. Thread-safe functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rpc/link.h"
#include "rpc/socket_address.h"

namespace sheen::rpc {

// "host", "host:port", "10.0.0.1:7988", "[::1]:7988", "[::1]", "::1" (an IPv6 literal with no
// port). Errors: kInvalid; the message shows the text and what was expected.
Result<Address> ParseAddress(std::string_view text, uint16_t default_port);
// Comma-separated. Errors: as above; kInvalid when there is none.
Result<std::vector<Address>> ParseAddresses(std::string_view text, uint16_t default_port);

// Is the address literal `host` (no name, no brackets) in 127.0.0.0/8 or ::1?
bool IsLoopback(const std::string& host);
// Loopback, or in `allow`. False for anything but an address literal.
bool MayConnect(const CidrList& allow, const std::string& host);
// The host of "10.0.0.1:4711" or "[::1]:4711", as Link::peer() gives it.
std::string HostOfPeer(std::string_view peer);

}  // namespace sheen::rpc

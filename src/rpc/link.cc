#include "rpc/link.h"

namespace sheen::rpc {

std::string Address::ToString() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace sheen::rpc

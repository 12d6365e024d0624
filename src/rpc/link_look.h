// What `lctl` shows of a client's connection to a server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace sheen::rpc {

// What there is to tell of a connection.
struct LinkLook {
  bool connected = false;   // requests are sent and answered
  bool recovering = false;  // greeted; what a lost connection or server left is being repeated
  bool wanted = false;      // somebody has asked for it, now or ever
  std::string peer;         // "10.0.0.1:7990", while there is a connection
  uint64_t handshakes = 0;  // greetings that succeeded
  uint64_t boot = 0;        // the server's, at the last of them
  uint64_t committed = 0;   // highest last_committed seen
  size_t calls = 0;         // sent, or to be sent
};

}  // namespace sheen::rpc

// A client's connection to a target, in the form of Lustre's *.import and *.state.
// Thread-safe functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sheen::apps {

struct ImportFacts {
  std::string name;                    // "sheen-OST0000-osc-ffff0123456789ab"
  std::string target;                  // "sheen-OST0000_UUID"
  std::string state;                   // "FULL"
  uint64_t features = 0;               // rpc::Feature bits that both sides know
  uint64_t boot = 0;                   // of the server; 0: not known yet
  std::vector<std::string> addresses;  // NIDs under which the server may be reached
  std::string current;                 // NID that it is reached under; empty: not connected
  uint64_t connections = 0;            // of all shards, now
  uint64_t handshakes = 0;             // since the mount
  uint64_t in_flight = 0;              // requests to the target
  uint64_t in_flight_max = 0;
  uint64_t resends = 0;      // tries after the first
  uint64_t requests = 0;     // answered ones, and how long they took together
  uint64_t micros = 0;
  uint64_t committed = 0;    // highest transno known to be committed
  bool is_ost = false;
  uint64_t granted_bytes = 0;  // of an OST
};

// Lustre's form; what there is nothing like of (adaptive timeouts, service estimates) is left out.
std::string ImportText(const ImportFacts& facts);
// "current_state: FULL\n".
std::string ImportStateText(const std::string& state);

}  // namespace sheen::apps

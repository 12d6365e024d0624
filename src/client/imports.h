// How a mount is connected to its servers, for those who look at it from outside (lctl's *.import
// and *.state, lctl dl -t).
//
// Thread-safe; not to be called on a shard of the filesystem: it waits for them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/link.h"

namespace sheen::client {

class Filesystem;

// Of all shards' connections to one server together. States have Lustre's names.
enum class ImportState : uint8_t {
  kIdle,        // nobody has asked for anything there
  kFull,        // connected
  kRecover,     // greeted again; what was lost is being repeated
  kConnecting,  // no connection has been made yet
  kDisconnected,
  kUnknown,  // a shard does not answer
};
std::string_view NameOf(ImportState state);

struct Import {
  ImportState state = ImportState::kIdle;
  std::vector<rpc::Address> addresses;  // as the cluster map, or the mount, has them
  std::string peer;                     // of a connection, "10.0.0.1:7990"; empty: there is none
  uint64_t connections = 0;             // now, of all shards
  uint64_t handshakes = 0;              // since the mount
  uint64_t boot = 0;                    // the server's
  uint64_t features = 0;                // rpc::Feature bits that both sides know
  uint64_t committed = 0;               // highest transno known to be committed there
  uint64_t calls = 0;                   // sent, or to be sent

  // "10.0.0.1@tcp": of the connection, else of the first address; "0.0.0.0@tcp": none is known.
  std::string Nid() const;
};

struct Imports {
  Import mdt;
  std::map<uint32_t, Import> osts;  // by index; OSTs of one server share its connections
};
Imports ImportsOf(Filesystem* filesystem);

}  // namespace sheen::client

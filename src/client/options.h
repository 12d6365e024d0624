// How a filesystem is mounted.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "rpc/client.h"
#include "rpc/link.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::client {

struct Options {
  std::string fsname = "sheen";
  std::vector<rpc::Address> mgs;  // data ports of the management server, tried in turn
  std::string subdir;             // "a/b": this directory is the root; empty: the whole filesystem
  bool checksums = true;
  bool noatime = false;  // reads report no access time
  bool read_only = false;  // as mounted: the kernel looks after all but ioctls
  // Two of them in a request of the kernel: one is checked and stored while the other travels.
  uint32_t max_rpc_bytes = 512 << 10;
  std::string client_name;  // host and mount point, for the servers' lists and logs
  // A cluster map has come into use; on a shard.
  std::function<void(const v1::ClusterMap& map)> on_map;
  // Longest wait of one request for its server; Nanos::max(): for ever.
  Nanos deadline = Nanos::max();
  rpc::FaultPoints* faults = nullptr;  // outlives the Filesystem
  Nanos mount_timeout = std::chrono::seconds(20);
  // Inodes whose attributes and names are kept under locks, at most about so many; 0: none.
  uint64_t locks_max = 100'000;
  // flock(2) and fcntl(2) locks are the kernel's, among the processes of this mount.
  bool local_locks = false;
  // Writes are answered when they are held here under a lock of the OSS, for a second at most.
  bool write_behind = true;
  // Bytes that the OSSs have answered and not committed are kept, up to so many, to be repeated to
  // a server that lost them; 0: none are.
  uint64_t kept_bytes_max = 256 << 20;
  // False: nothing is kept for a server that loses what it has answered, no answers are kept there
  // for this client, and no space is set aside. For measuring what these cost: after any restart
  // of a server changes under way and every later fsync fail with kIo.
  bool recovery = true;
  // A directory of this machine for bytes that could not be stored (LostData); empty: none.
  std::string lost_data;
  // Files are opened for reading under their attributes' lock, without asking the MDS.
  bool local_opens = true;
};

}  // namespace sheen::client

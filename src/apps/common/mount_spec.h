// What is mounted and how, as people write it for mount(8) and fstab(5):
//
//   mds1@tcp:10.0.0.2:[fd00::1]:/sheen/team1     servers of the MGS, filesystem, subdirectory
//   -o ro,noatime,port=7988,io_uring=off,_netdev
//
// Pure functions; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

struct MountSpec {
  std::vector<std::string> hosts;  // IPv6 without brackets
  std::string fsname;
  std::string subdir;  // "a/b"; empty: the whole filesystem
};

// HOST[@tcp][:HOST...]:/FSNAME[/SUBDIR]; a colon or a comma between hosts. Errors: kInvalid.
Result<MountSpec> ParseMountSpec(std::string_view text);

struct ClientOptions {
  bool read_only = false;
  bool noatime = false;
  bool nosuid = false;
  bool nodev = false;
  bool noexec = false;
  bool allow_other = true;
  bool foreground = false;
  bool checksums = true;
  bool write_behind = true;
  bool recovery = true;
  bool local_locks = false;  // flock(2) and fcntl(2) among the processes of this mount only
  bool sloppy = false;  // mount -s: unknown options are ignored
  std::string log;
  std::string log_level = "info";
  std::string io_uring = "auto";
  std::string lost_data = "/var/lib/sheen/client";  // empty: it is not saved
  std::string metrics;               // [HOST:]PORT on loopback, for Prometheus; empty: none
  int64_t port = 7988;               // data port of the MDS
  int64_t shards = 0;                // 0: one for each usable core
  int64_t timeout_s = 0;             // longest wait for a server; 0: for ever
  // What the kernel asks for ahead of a sequential reader, at most; 0: as it does by itself (128).
  int64_t read_ahead_kb = 4096;
  std::vector<std::string> ignored;  // unknown ones, with sloppy
};

// Options as -o takes them, one each; later ones win. Errors: kInvalid, naming the option.
Status ApplyMountOptions(const std::vector<std::string>& options, ClientOptions* out);
// "a,b=c" -> "a", "b=c"; empty ones are left out.
std::vector<std::string> SplitOptions(std::string_view text);

}  // namespace sheen::apps

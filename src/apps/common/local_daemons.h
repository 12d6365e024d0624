// Sheen's daemons that run on this host, as /proc shows them: what they were started with, what
// they listen on, where they log to.
//
// Blocking; thread-safe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "rpc/link.h"

namespace sheen::apps {

struct LocalDaemon {
  pid_t pid = 0;
  std::string program;             // "sheen-mds", "sheen-oss", "sheen-client"
  std::vector<std::string> words;  // its command line
  std::vector<std::string> logs;   // files that its log or its standard error goes to
  // TCP addresses that it listens on; none when it is in another network namespace than this
  // process, or when this process may not look.
  std::vector<rpc::Address> listening;
  bool same_network = true;

  // Values of --NAME VALUE and --NAME=VALUE, divided at commas.
  std::vector<std::string> Values(const std::string& name) const;
};

std::vector<LocalDaemon> FindLocalDaemons();

// The listening addresses of a table as /proc/net/tcp and tcp6 are, with these inodes; wildcards as
// loopback. Each once.
std::vector<rpc::Address> ListeningAddresses(const std::string& table,
                                             const std::vector<std::string>& inodes);

}  // namespace sheen::apps

// ReplayTurns: each boot of a server is told by one shard what it has lost; the others wait for it.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace sheen::client {

class ReplayTurns final {
 public:
  enum class Turn : uint8_t { kMine, kWait, kDone };
  Turn Take(const std::string& server, uint64_t boot) {
    const std::scoped_lock lock(mutex_);
    One& one = servers_[server];
    if (one.running) return Turn::kWait;
    if (one.done_boot == boot) return Turn::kDone;
    one.running = true;
    return Turn::kMine;
  }
  // Of a turn that was kMine.
  void End(const std::string& server, uint64_t boot, bool done) {
    const std::scoped_lock lock(mutex_);
    One& one = servers_[server];
    one.running = false;
    if (done) one.done_boot = boot;
  }

 private:
  struct One {
    uint64_t done_boot = 0;
    bool running = false;
  };
  std::mutex mutex_;  // guards servers_
  std::map<std::string, One> servers_;
};

}  // namespace sheen::client

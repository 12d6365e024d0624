// IdleSessions: clients without a connection, until they come back or their lease is over. A client
// that died without a goodbye would else keep its files open for ever, and every restart waiting.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "rpc/server.h"

namespace sheen::mds {

class IdleSessions final {
 public:
  // Since its idle_since_ns.
  void Add(std::shared_ptr<const rpc::Session> session);
  // Those whose lease is over; they are not listed again.
  std::vector<uint64_t> TakeExpired(Nanos now, Nanos lease);

 private:
  std::mutex mutex_;  // guards sessions_
  std::map<uint64_t, std::shared_ptr<const rpc::Session>> sessions_;
};

}  // namespace sheen::mds

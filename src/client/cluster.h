// Cluster: which server has which target, as the MGS said it last. A snapshot is immutable; shards
// hold one until the version has moved on.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "rpc/link.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::client {

// Immutable after construction.
struct Cluster {
  uint64_t version = 0;
  std::map<std::string, std::vector<rpc::Address>> servers;  // by name
  std::map<uint32_t, std::string> ost_servers;               // OST index -> server name
  bool opens_are_logged = false;  // the MDS is to be told of every open
};

// Errors: kWrongFilesystem (the map is another filesystem's), kProtocol.
Result<Cluster> ClusterFromWire(const v1::ClusterMap& map, const std::string& fsname);

// Thread-safe.
class ClusterHolder final {
 public:
  std::shared_ptr<const Cluster> Get() const {
    const std::scoped_lock lock(mutex_);
    return cluster_;
  }
  // False when the one in place is as new.
  bool Set(Cluster cluster) {
    const std::scoped_lock lock(mutex_);
    if (cluster_->version >= cluster.version) return false;
    opens_are_logged_.store(cluster.opens_are_logged, std::memory_order_relaxed);
    version_.store(cluster.version, std::memory_order_release);
    cluster_ = std::make_shared<const Cluster>(std::move(cluster));
    return true;
  }
  // Cheap.
  bool opens_are_logged() const { return opens_are_logged_.load(std::memory_order_relaxed); }
  // Cheap; 0 before the first.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

 private:
  mutable std::mutex mutex_;  // guards cluster_
  std::shared_ptr<const Cluster> cluster_ = std::make_shared<const Cluster>();
  std::atomic<bool> opens_are_logged_{false};
  std::atomic<uint64_t> version_{0};
};

}  // namespace sheen::client

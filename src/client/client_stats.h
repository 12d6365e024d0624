// What a mount asked of its servers: requests by kind, bytes, and how long each took from being
// given to the connection to its answer, tries again and reconnecting included. By target, as
// Lustre's osc.*.stats and mdc.*.stats.
//
// Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/io_table.h"
#include "base/slow.h"
#include "base/stats.h"
#include "client/rpc_limit.h"
#include "rpc/frame.h"

namespace sheen::client {

// Requests to one target.
class TargetStats final {
 public:
  TargetStats(bool is_mdt, uint32_t index);
  const std::string& name() const { return name_; }  // "MDT0000", "OST000a"
  bool is_mdt() const { return is_mdt_; }
  uint32_t index() const { return index_; }

  // A request has been answered. `sent` and `received`: bulk bytes.
  void NoteAnswer(rpc::Opcode opcode, Nanos took, uint64_t sent, uint64_t received);
  // A request begins or has ended, answered or not.
  void NoteBegin(rpc::Opcode opcode);
  void NoteEnd(rpc::Opcode opcode);
  uint64_t in_flight() const { return in_flight_.value(); }
  Counter retries;  // tries after the first
  RpcLimit limit;
  const TallyTable& requests() const { return requests_; }
  void Clear(int64_t now_ns) { requests_.Clear(now_ns); }
  // Reads and writes by pages (kPagesPerRpc), by how many there were (the request itself counts),
  // by microseconds.
  static constexpr size_t kPagesPerRpc = 0;
  const IoTable& rpcs() const { return rpcs_; }
  void ClearRpcs(int64_t now_ns) { rpcs_.Clear(now_ns); }
  std::string RpcStatsText(int64_t now_ns) const;

 private:
  const bool is_mdt_;
  const uint32_t index_;
  const std::string name_;
  TallyTable requests_;
  IoTable rpcs_;
  Counter in_flight_;
  Counter reads_in_flight_;
  Counter writes_in_flight_;
};

class ClientStats final {
 public:
  // Lives as long as this.
  TargetStats* Mdt(uint32_t index) { return Of(true, index); }
  TargetStats* Ost(uint32_t index) { return Of(false, index); }
  // MDTs first, by index.
  std::vector<TargetStats*> All() const;

  SlowWaits slow_waits;
  // Lookups and getattrs of this mount's callers that locks covered, and those that the MDS was
  // asked for. What the kernel itself knows is in neither.
  Counter name_hits;
  Counter name_misses;
  Counter attr_hits;
  Counter attr_misses;

 private:
  TargetStats* Of(bool is_mdt, uint32_t index);

  mutable std::mutex mutex_;                                                   // guards targets_
  std::map<std::pair<bool, uint32_t>, std::unique_ptr<TargetStats>> targets_;  // by !is_mdt, index
};

// One request under way: counts, and when it took long, logs it and notes it for the operations
// that waited on it. Ends with its destruction.
class RequestTimer final {
 public:
  RequestTimer(ClientStats* stats, TargetStats* target, rpc::Opcode opcode, uint64_t sent,
               const Clock* clock);
  ~RequestTimer();
  RequestTimer(const RequestTimer&) = delete;
  RequestTimer& operator=(const RequestTimer&) = delete;
  void Answered(uint64_t received);
  // The request is tried again after this.
  void Failed(const std::string& why);

 private:
  ClientStats* const stats_;
  TargetStats* const target_;
  const rpc::Opcode opcode_;
  const uint64_t sent_;
  const Clock* const clock_;
  const Nanos began_;
  std::string trouble_;
};

}  // namespace sheen::client

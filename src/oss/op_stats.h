// What was done on one OST: how often, how much, how long from the request's arrival to its answer,
// and how long requests waited for others' locks.
//
// Thread-safe.
#pragma once

#include "base/clock.h"
#include "base/stats.h"
#include "rpc/server.h"

namespace sheen::oss {

class OpStats final {
 public:
  OpStats();
  // A request has ended; one that took long is logged with what it waited on. `lock_wait`: of the
  // time, for others' locks.
  void Note(const rpc::Request& request, const rpc::Response& response, std::string_view target,
            Nanos lock_wait, Nanos took);
  void NoteDestroyed(Nanos took);
  const TallyTable& operations() const { return operations_; }
  void Clear(int64_t now_ns) { operations_.Clear(now_ns); }
  uint64_t read_bytes() const;
  uint64_t written_bytes() const;

 private:
  TallyTable operations_;
};

}  // namespace sheen::oss

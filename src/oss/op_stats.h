// What was done on one OST: how often, how much, how long from the request's arrival to its answer,
// and how long requests waited for others' locks.
//
// Thread-safe.
#pragma once

#include "base/clock.h"
#include "base/io_table.h"
#include "base/origin_stats.h"
#include "base/stats.h"
#include "rpc/server.h"

namespace sheen::oss {

class OpStats final {
 public:
  OpStats();
  // A request has ended; one that took long is logged with what it waited on. `lock_wait`: of the
  // time, for others' locks.
  // `now_ns`: wall clock.
  void Note(const rpc::Request& request, const rpc::Response& response, std::string_view target,
            Nanos lock_wait, Nanos took, int64_t now_ns);
  void NoteDestroyed(Nanos took);
  const TallyTable& operations() const { return operations_; }
  // Of the operations of clients that say for whom they are (rpc::kOrigins), by job id and by the
  // user's number: reads and writes, and what else somebody is named for.
  OriginStats& jobs() { return jobs_; }
  OriginStats& users() { return users_; }
  void Clear(int64_t now_ns) { operations_.Clear(now_ns); }
  // Reads and writes by pages, by milliseconds, by bytes.
  enum IoPart : size_t { kPages, kMillis, kBytes };
  IoTable& io() { return io_; }
  uint64_t read_bytes() const;
  uint64_t written_bytes() const;

 private:
  void NoteOrigin(const rpc::Request& request, size_t op, uint64_t micros, uint64_t bytes,
                  int64_t now_ns);

  TallyTable operations_;
  IoTable io_;
  OriginStats jobs_;
  OriginStats users_;
};

}  // namespace sheen::oss

// What the kernel asked of this mount: how often, how much, and how long each request took from its
// coming to its answer.
//
// Thread-safe.
#pragma once

#include <sys/uio.h>

#include <functional>

#include "base/clock.h"
#include "base/stats.h"
#include "fuse/request.h"

namespace sheen::fuse {

class OpStats final {
 public:
  OpStats();
  // Gives what a request that began then (monotonic) waited on, for the log. Set it before requests
  // flow.
  void set_explain(std::function<std::string(Nanos began)> explain) {
    explain_ = std::move(explain);
  }
  // `iov`: the answer. One that took long is logged with what it waited on.
  void Note(const Request& request, const iovec* iov, int count, Nanos took);
  const TallyTable& operations() const { return operations_; }
  void Clear(int64_t now_ns) { operations_.Clear(now_ns); }
  uint64_t read_bytes() const;
  uint64_t written_bytes() const;

 private:
  TallyTable operations_;
  std::function<std::string(Nanos)> explain_;
};

}  // namespace sheen::fuse

// Pending names: those that a listing of S3 has made, and whose owner, mode and type are still to
// be asked for (mdt::kSourcePending). No client is shown one: its request waits (questions.h).
//
// Every pending inode has a row of the config family, so that they are found again after a restart
// without a walk.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "fid/fid.h"
#include "mdt/mdt.h"
#include "mdt/records.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {

struct OpContext;

bool IsPending(const mdt::Inode& inode);
// The row, and what is counted when the batch is written. REQUIRES: the latch of `fid`.
void AddPending(OpContext* context, uint32_t link, const Fid& fid);
void RemovePending(OpContext* context, uint32_t link, const Fid& fid);

// How many there are, by repository. Thread-safe.
class PendingCounts final {
 public:
  // Reads the rows. Blocks.
  Status Load(mdt::Mdt* mdt);
  void Add(uint32_t link, int64_t names);
  uint64_t Of(uint32_t link) const;

 private:
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<uint32_t, int64_t> counts_;
};

}  // namespace sheen::mds

// HsmCoordinator: does what is in the HsmQueue. For each file that is to be restored it asks the
// OSSs of its objects, again and again until nothing is absent: so what a restart of anybody
// interrupts goes on where it was, and what is here already costs a question.
//
//   an OSS, its agents, S3 away   the file goes to the end of the queue; another's turn comes
//   S3 says no                    the restore has failed; the reason is told for 60 s
//   the file is gone              nothing is left to do
//
// An action's row goes when it has ended. Belongs to the shard of the background work.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "async/sync.h"
#include "mds/core.h"
#include "mds/hsm_queue.h"

namespace sheen::mds {

class HsmCoordinator final {
 public:
  HsmCoordinator(Core* core, async::Shard* shard) : core_(core), shard_(shard) {}
  // Reads the rows. Blocks. Before Start.
  Status Load();
  void Start();
  // Those under way end soon; their rows stay.
  async::Task<void> Stop();

 private:
  void Wake();
  void StartSome();
  async::Task<void> RunOne(HsmQueued action);
  using Stripes = std::vector<std::pair<uint32_t, v1::ObjectName>>;  // OST and object
  using Trouble = std::pair<uint32_t, uint32_t>;                     // repository, OST
  async::Task<Result<Stripes>> StripesOf(Fid fid);
  async::Task<Status> Restore(Fid fid);
  async::Task<Status> RestoreStripe(Fid fid, uint32_t ost, v1::ObjectName name,
                                    async::Semaphore* few);
  async::Task<Result<bool>> RestorePart(Fid fid, uint32_t ost, Trouble place,
                                        const v1::RestoreObjectRequest* request);
  // Nothing is to be asked of it now. False: the caller finds out.
  bool IsInTrouble(const Trouble& place);

  Core* const core_;
  async::Shard* const shard_;
  async::Gate gate_;
  async::TimerId timer_;
  std::atomic<bool> woken_{false};     // StartSome has been posted, and has not begun
  std::map<Trouble, Nanos> troubles_;  // until when nobody looks
  std::map<std::string, std::unique_ptr<async::Semaphore>> orders_;  // by server
  bool stopping_ = false;
};

}  // namespace sheen::mds

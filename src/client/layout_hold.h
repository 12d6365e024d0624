// The layout of an open file in the hold of one handle (kMdsLayoutHold): nobody else uses or
// changes it until the hold ends. The MDS ends one that was not renewed for 10 s.
//
// Shard-confined as the ShardContext that they use.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "async/task.h"
#include "base/clock.h"
#include "client/types.h"

namespace sheen::client {

class OpenFile;
class State;

inline constexpr Nanos kRenewHoldEvery = std::chrono::seconds(2);

// The layout under the hold. Errors: those of the MDS.
async::Task<Result<LayoutPtr>> TakeHold(State* state, CredentialId who, OpenFile* file,
                                        uint64_t handle);
// Errors: kAgain: it has ended.
async::Task<Status> RenewHold(State* state, Fid fid, uint64_t handle);
// What fails is ended by the MDS, when the file is closed or 10 s have passed.
async::Task<void> ReleaseHold(State* state, Fid fid, uint64_t handle);

// As long as it lives a hold is renewed, if not for ever.
class HoldRenewal final {
 public:
  HoldRenewal(State* state, Fid fid, uint64_t handle);
  ~HoldRenewal() { ended_->store(true); }
  HoldRenewal(const HoldRenewal&) = delete;
  HoldRenewal& operator=(const HoldRenewal&) = delete;

 private:
  const std::shared_ptr<std::atomic<bool>> ended_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace sheen::client

// ChangeTurn: a change of bytes from when others' uncommitted ones are out of its way until its
// transno is known (uncommitted.h).
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <utility>

#include "oss/object_locks.h"
#include "oss/requests.h"
#include "oss/uncommitted.h"

namespace sheen::oss {

class ChangeTurn final {
 public:
  ChangeTurn() = default;
  ChangeTurn(Uncommitted* owner, const ObjectKey& key, uint64_t id)
      : owner_(owner), key_(key), id_(id) {}
  ChangeTurn(ChangeTurn&& other) noexcept { *this = std::move(other); }
  ChangeTurn& operator=(ChangeTurn&& other) noexcept {
    End(0);
    owner_ = std::exchange(other.owner_, nullptr);
    key_ = other.key_;
    id_ = other.id_;
    return *this;
  }
  ~ChangeTurn() { End(0); }
  void End(uint64_t transno) {
    if (owner_ != nullptr) std::exchange(owner_, nullptr)->End(key_, id_, transno);
  }

 private:
  Uncommitted* owner_ = nullptr;
  ObjectKey key_;
  uint64_t id_ = 0;
};

// Before the bytes of `extent` are changed; in a write also those that it locks. Errors: the
// commit's.
async::Task<Result<ChangeTurn>> BeginChange(RequestContext context, const rpc::Request* request,
                                            layout::ObjectId id, lock::Extent extent);

bool IsReplay(const rpc::Request& request);
// A client that comes back repeats what it was answered: before anybody else is served, so without
// locks. Errors: kLockLost (it came too late, or is not awaited).
Status CheckReplay(const RequestContext& context, const rpc::Request& request);
// What got this transno in the boot before was committed: others may have changed it since.
bool HasLasted(const RequestContext& context, const rpc::Request& request, uint64_t replay_of);
// It was not: no fence that was answered came after it.
bool WasLost(const RequestContext& context, const rpc::Request& request, uint64_t replay_of);

}  // namespace sheen::oss

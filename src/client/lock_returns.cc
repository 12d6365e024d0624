// How the locks of a shard's connection to the MDS go back: called back by the MDS, or given back
// because there are too many. In both cases the kernel forgets first what they cover.
#include <atomic>
#include <memory>
#include <utility>

#include "base/log.h"
#include "client/convert.h"
#include "client/layout_lock.h"
#include "client/shard_context.h"
#include "client/state.h"

namespace sheen::client {
namespace {

// How long the answer to a recall of a layout waits for what is held back of the file.
constexpr Nanos kRecallWait = std::chrono::seconds(2);
// Until locks are tried again that could not be given back.
constexpr Nanos kGiveBackAgain = std::chrono::seconds(1);

}  // namespace

void ShardContext::OnLockCallback(const std::string& body, rpc::Client::AnswerFunction answer) {
  v1::LockList list;
  if (!list.ParseFromString(body)) {
    // Without an answer the MDS ends the connection, and the locks with it.
    SHEEN_LOG(Error, "a lock callback cannot be read; all locks are dropped");
    state_->locks.Clear();
    return;
  }
  std::vector<HeldLock> locks;
  for (const v1::InodeLock& wire : list.locks()) {
    locks.push_back({FidFromWire(wire.fid()), wire.bits()});
    state_->locks.Callback(locks.back().fid, locks.back().bits);
  }
  // What this mount is appending, relying on the lock, comes before whoever wants it; and what it
  // has open under the lock the MDS learns now.
  const auto left = std::make_shared<std::atomic<size_t>>(2 * locks.size() + 1);
  const auto go_on = [this, left, locks, answer = std::move(answer)] {
    if (left->fetch_sub(1) != 1) return;
    if (async::Shard::Current() == shard_) {
      RecallFromKernel(locks, true, answer);
    } else {
      shard_->Post([this, locks, answer] { RecallFromKernel(locks, true, answer); });
    }
  };
  for (const HeldLock& held : locks) {
    const std::shared_ptr<OpenFile> file = state_->files.Find(held.fid);
    // Nothing new goes by the old layout; what is held back for its objects is written now.
    if (file && (held.bits & lock::kLayout) != 0) DropLayoutLock(file.get());
    if (HasHeld(file) && (held.bits & lock::kLayout) != 0) {
      left->fetch_add(1);
      shard_->Spawn(WriteHeldThen(file, go_on));
    }
    if (file && (held.bits & lock::kUpdate) != 0) {
      file->WhenNoSoleAppend(go_on);
    } else {
      go_on();
    }
    if (file && file->HasLocal()) {
      shard_->Spawn(TellOpensThen(file, go_on));
    } else {
      go_on();
    }
  }
  go_on();
}

// What is on its way to an OST that is away is not waited for: whoever takes objects from a file
// fences them first, and that waits for each object's own.
async::Task<void> ShardContext::WriteHeldThen(std::shared_ptr<OpenFile> file,
                                              std::function<void()> done) {
  const BackgroundMark mark(state_);
  const auto answered = std::make_shared<bool>(false);
  const auto once = [answered, done = std::move(done)] {
    if (!std::exchange(*answered, true)) done();
  };
  const async::TimerId timer = shard_->AddTimer(shard_->Now() + kRecallWait, once);
  co_await WriteHeld(state_, file);
  shard_->CancelTimer(timer);
  once();
}

void ShardContext::RecallFromKernel(const std::vector<HeldLock>& locks, bool by_others,
                                    std::function<void()> done) {
  // One more than there are locks: not done before all have been begun.
  const auto left = std::make_shared<std::atomic<size_t>>(locks.size() + 1);
  const auto one_done = [this, left, done = std::move(done)] {
    if (left->fetch_sub(1) != 1) return;
    if (async::Shard::Current() == shard_) {
      done();
    } else {
      shard_->Post(done);
    }
  };
  for (const HeldLock& held : locks) {
    state_->kernel.Recall(held.fid, held.bits, shard_->Now(), by_others, one_done);
  }
  one_done();
}

async::Task<void> ShardContext::KernelForgets(Fid fid, uint32_t bits) {
  async::OneShot<bool> forgotten;
  RecallFromKernel({{fid, bits}}, false, [&forgotten] { forgotten.Set(true); });
  co_await forgotten;
}

void ShardContext::TrimLocks(bool however_few) {
  if (state_->stopping) return;
  if (state_->locks.HasTooMany()) {
    state_->locks.Trim(state_->locks.inodes_max());
    however_few = true;
  }
  if (!however_few && !state_->locks.HasSurplus()) return;
  for (const uint32_t shard : state_->locks.ShardsWithSurplus()) {
    ShardContext* context = state_->contexts[shard].get();
    if (context != nullptr) context->shard_->Post([context] { context->StartGivingBack(); });
  }
}

void ShardContext::StartGivingBack() {
  if (giving_back_ || state_->stopping) return;
  giving_back_ = true;
  shard_->Spawn(GiveLocksBack());
}

async::Task<void> ShardContext::GiveLocksBack() {
  const BackgroundMark mark(state_);
  const std::vector<HeldLock> locks = state_->locks.TakeSurplus(ordinal_);
  std::vector<HeldLock> given;
  std::vector<HeldLock> untold;
  v1::LockList list;
  for (const HeldLock& held : locks) {
    // What the MDS does not know to be open stays under its lock: it asks before that goes.
    const bool told = co_await TellOpensOf({held.fid});
    (told ? given : untold).push_back(held);
    if (!told) continue;
    v1::InodeLock* wire = list.add_locks();
    FidToWire(held.fid, wire->mutable_fid());
    wire->set_bits(held.bits);
  }
  async::OneShot<bool> forgotten;
  RecallFromKernel(locks, false, [&forgotten] { forgotten.Set(true); });
  co_await forgotten;
  // Without an answer the connection has ended, and the locks with it.
  if (list.locks_size() > 0) {
    rpc::Call call = MakeCall(rpc::Opcode::kMdsLockCancel, 0, list);
    // Never given up before the connection ends: it might be executed after a new grant.
    call.deadline = shard_->Now() + std::chrono::days(365);
    const auto answer = co_await Mds(std::move(call));
    static_cast<void>(answer);
  }
  state_->locks.GivenBack(given);
  state_->locks.PutBack(ordinal_, untold);
  giving_back_ = false;
  if (untold.empty() || state_->unmounting || state_->stopping) co_return;
  co_await shard_->Sleep(kGiveBackAgain);
  StartGivingBack();
}

}  // namespace sheen::client

// flock(2) and fcntl(2) locks, and what becomes of them when files are closed and when the MDS has
// lost them.

#include <fcntl.h>

#include "base/log.h"
#include "client/convert.h"
#include "client/file_lock_orders.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr size_t kDeclaredAtOnce = 1000;
constexpr Nanos kDeclareTimeout = std::chrono::seconds(60);

// A close waits so long for the MDS, then the locks are let go in the background: an exiting
// process cannot be killed.
constexpr Nanos kClosePatience = std::chrono::seconds(1);

async::Task<void> AwaitOrGoOn(async::Shard* shard, std::shared_ptr<async::OneShot<bool>> ended) {
  const async::TimerId timer = shard->AddTimer(shard->Now() + kClosePatience, [ended] {
    if (!ended->is_set()) ended->Set(false);
  });
  co_await *ended;
  shard->CancelTimer(timer);
}

lock::FileLockOwner OwnerOf(const FileLockSpec& spec) { return {0, spec.owner, spec.kind}; }

}  // namespace

bool Filesystem::KnowsFileLocks() const {
  return (state_->identity.Session(kMdsName).features & rpc::kFileLocks) != 0;
}

bool Filesystem::KeepsFileLocks() const {
  return !state_->options.local_locks && KnowsFileLocks();
}

async::Task<Result<std::optional<FileLockSpec>>> Filesystem::GetLock(Fid fid, FileLockSpec spec) {
  State* state = state_.get();
  while (state->file_locks.LettingGo(fid)) co_await state->file_locks.WaitLetGo(fid);
  v1::FileLockGetRequest request;
  FidToWire(fid, request.mutable_fid());
  FileLockToWire({OwnerOf(spec), spec.type, spec.extent, spec.pid}, request.mutable_lock());
  auto answered = co_await MdsCall<v1::FileLockGetReply>(
      state->Here(), MakeCall(rpc::Opcode::kMdsFileLockGet, 0, request));
  if (!answered) co_return std::unexpected(answered.error());
  if (!answered->reply.has_blocker()) co_return std::optional<FileLockSpec>();
  const v1::FileLock& wire = answered->reply.blocker();
  FileLockSpec blocker;
  blocker.kind = static_cast<lock::FileLockKind>(wire.kind());
  blocker.type =
      wire.type() == 0 ? lock::FileLockType::kRead : lock::FileLockType::kWrite;
  blocker.extent = {wire.start(), wire.end()};
  if (!blocker.extent.Valid()) co_return std::unexpected(BadReply(kMdsName));
  // Another client's process has no number here.
  if (!answered->reply.other_client()) blocker.pid = wire.pid();
  co_return blocker;
}

uint64_t Filesystem::NewLockTicket() { return state_->next_file_lock++; }

async::Task<Status> Filesystem::SetLock(Fid fid, uint64_t handle, FileLockSpec spec,
                                        LockWait wait) {
  State* state = state_.get();
  ShardContext* const context = state->Here();
  const bool unlock = spec.type == lock::FileLockType::kUnlock;
  if (unlock && !state->file_locks.Concerns(fid, OwnerOf(spec))) co_return Status();
  const auto order = std::make_shared<FileLockOrder>();
  order->fid = fid;
  order->request.owner = OwnerOf(spec);
  order->request.id = wait.ticket != 0 ? wait.ticket : NewLockTicket();
  order->request.type = spec.type;
  order->request.extent = spec.extent;
  order->request.pid = spec.pid;
  order->request.wait = wait.wait && !unlock;
  // A flock lock's end comes with its own word at the release.
  order->handle = unlock || spec.kind == lock::FileLockKind::kFlock ? 0 : handle;
  async::TimerId timer;
  const Nanos deadline = state->options.deadline;
  if (deadline != Nanos::max()) {
    const auto late = [order, context] {
      if (order->waiting) return;  // the server is there, and waits as it was asked to
      context->file_locks()->GiveUp(order->request.id,
                                    Error(Errc::kTimedOut, "mds0 did not answer in time"));
    };
    timer = context->shard()->AddTimer(context->shard()->Now() + deadline, late);
  }
  context->file_locks()->Start(order);
  Status status = co_await order->answer;
  if (deadline != Nanos::max()) context->shard()->CancelTimer(timer);
  co_return status;
}

void Filesystem::InterruptLock(uint64_t ticket) {
  state_->Here()->file_locks()->GiveUp(ticket, Error(Errc::kInterrupted, "interrupted"));
}

std::optional<async::Task<void>> Filesystem::FlushLocks(Fid fid, uint64_t owner) {
  const lock::FileLockOwner posix{0, owner, lock::FileLockKind::kPosix};
  state_->file_locks.OwnerNamed(fid, posix);
  const auto ended = state_->Here()->file_locks()->LetGo(fid, posix);
  if (ended == nullptr) return std::nullopt;
  return AwaitOrGoOn(state_->Here()->shard(), ended);
}

void Filesystem::ReleaseLocks(Fid fid, uint64_t handle, std::optional<uint64_t> flock_owner) {
  FileLockOrders* const orders = state_->Here()->file_locks();
  for (const lock::FileLockOwner& owner : state_->file_locks.TakeOwners(fid, handle))
    orders->LetGo(fid, owner);
  if (flock_owner) orders->LetGo(fid, {0, *flock_owner, lock::FileLockKind::kFlock});
}

// Part of the recovery: before any other request of this mount.
async::Task<bool> ShardContext::DeclareFileLocks() {
  const rpc::ServerSession session = state_->identity.Session(kMdsName);
  if ((session.features & rpc::kFileLocks) == 0) co_return true;
  const std::vector<FileLockBook::Held> held = state_->file_locks.Declare();
  size_t next = 0;
  do {
    const size_t first = next;
    v1::FileLockReclaimRequest request;
    request.set_boot(session.server_boot);
    for (; next < held.size() && next - first < kDeclaredAtOnce; ++next) {
      v1::FileLockReclaimRequest::Held* wire = request.add_locks();
      FidToWire(held[next].fid, wire->mutable_fid());
      FileLockToWire(held[next].lock, wire->mutable_lock());
    }
    request.set_done(next == held.size());
    rpc::Call call = MakeCall(rpc::Opcode::kMdsFileLockReclaim, 0, request);
    call.deadline = shard_->Now() + kDeclareTimeout;
    call.recovery = true;
    call.this_connection = true;
    const Result<rpc::Answer> answer = co_await mds_->Execute(std::move(call));
    ++state_->recovery_steps;
    v1::FileLockReclaimReply reply;
    if (!answer && answer.error().code() == Errc::kDisconnected) co_return false;
    if (!answer || !reply.ParseFromString(answer->body)) {
      SHEEN_LOG(Warn, "mds0: {} file locks could not be declared again: {}", held.size(),
                answer ? "an answer that cannot be read" : answer.error().ToString());
      co_return true;
    }
    for (const uint32_t index : reply.lost()) {
      if (index >= next - first) continue;
      const FileLockBook::Held& lost = held[first + index];
      SHEEN_LOG(Error,
                "{}: a file lock of process {} is lost: the MDS gave it to another client while "
                "this one was away",
                lost.fid.ToString(), lost.lock.pid);
      state_->file_locks.Lose(lost);
    }
  } while (next < held.size());
  co_return true;
}

}  // namespace sheen::client

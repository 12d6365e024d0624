#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

// How long an operation waits before it looks again whether OSTs have reported after a start.
constexpr Nanos kWarmUpWait = std::chrono::milliseconds(50);

const rpc::Credential kServerCredential{};

struct Job {
  OperationFunction function = nullptr;
  std::string_view body;
  const rpc::Credential* credential = nullptr;
  ClientSession* session = nullptr;
  uint32_t slot = 0;  // 0: no exactly-once
  uint64_t xid = 0;
  bool replay = false;
};

class Run final {
 public:
  enum class Outcome : uint8_t { kDone, kWouldBlock, kBusy };

  Run(Core* core, const Job& job)
      : core_(core),
        job_(job),
        latches_(core->mdt->latches(), core->next_owner.fetch_add(1, std::memory_order_relaxed)) {}

  Outcome Attempt(kv::Blocking blocking);
  LatchSet* latches() { return &latches_; }
  uint64_t wait_committed() const { return wait_committed_; }
  Errc code() const { return status_ ? Errc::kOk : status_.error().code(); }
  const Status& status() const { return status_; }
  rpc::Response& response() { return response_; }

 private:
  Status Execute(kv::Blocking blocking);
  Status AnswerAgain(const SlotMemo& memo, mdt::Txn* txn);
  Status Commit(OpContext* context, mdt::Txn* txn);
  Status PrepareHandle(const OpContext& context) const;
  void ApplyHandle(const OpContext& context);

  Core* const core_;
  const Job job_;
  LatchSet latches_;
  Status status_;
  rpc::Response response_;
  uint64_t wait_committed_ = 0;
};

Run::Outcome Run::Attempt(kv::Blocking blocking) {
  status_ = Execute(blocking);
  latches_.ReleaseAll();
  if (status_ || status_.error().code() != Errc::kWouldBlock) return Outcome::kDone;
  return latches_.busy() ? Outcome::kBusy : Outcome::kWouldBlock;
}

Status Run::Execute(kv::Blocking blocking) {
  response_ = {};
  wait_committed_ = 0;
  if (job_.session != nullptr && job_.session->evicted.load(std::memory_order_relaxed)) {
    return Fail(Errc::kEvicted, "the session was ended while the request waited; mount again");
  }
  if (!latches_.LockKnown()) return Fail(Errc::kWouldBlock);
  mdt::Txn txn(core_->mdt->store(), core_->mdt->transnos(), blocking);
  if (job_.slot != 0) {
    if (!latches_.Lock(job_.session->SlotLatch(job_.slot))) return Fail(Errc::kWouldBlock);
    const std::optional<SlotMemo> memo = job_.session->Slot(job_.slot);
    if (memo && job_.xid <= memo->xid) return AnswerAgain(*memo, &txn);
  }
  OpContext context;
  context.core = core_;
  context.txn = &txn;
  context.latches = &latches_;
  context.credential = job_.credential;
  context.session = job_.session;
  context.replay = job_.replay;
  context.now_ns = core_->WallNs();
  SHEEN_TRY(job_.function(&context, job_.body, &response_.body));
  SHEEN_TRY(PrepareHandle(context));
  SHEEN_TRY(Commit(&context, &txn));
  ApplyHandle(context);
  if (context.outbox) core_->outbox_waiting.store(true, std::memory_order_release);
  wait_committed_ = context.wait_committed;
  if (context.durable) wait_committed_ = std::max(wait_committed_, response_.transno);
  return {};
}

Status Run::AnswerAgain(const SlotMemo& memo, mdt::Txn* txn) {
  if (job_.xid < memo.xid) {
    // The slot has gone on, so the request was executed and answered; in a replay its client
    // knows the answer and only has to learn that it is not lost.
    if (job_.replay) return {};
    return Fail(Errc::kStale,
                "request " + std::to_string(job_.xid) + " comes after its slot was used again");
  }
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes,
                   txn->Get(mdt::kSlots, mdt::SlotKey(job_.session->id(), job_.slot)));
  if (!bytes) return Fail(Errc::kCorrupt, "the reply slot's row is gone");
  SHEEN_TRY_ASSIGN(mdt::SlotRow row, mdt::DecodeSlot(*bytes));
  response_.body = std::move(row.reply);
  response_.transno = row.transno;
  // What had to be durable the first time must be now as well; usually it is.
  wait_committed_ = row.transno;
  return {};
}

Status Run::Commit(OpContext* context, mdt::Txn* txn) {
  if (!txn->has_writes()) return {};
  const uint64_t transno = txn->transno();
  if (job_.slot != 0) {
    mdt::SlotRow row{job_.xid, transno, response_.body};
    txn->Put(mdt::kSlots, mdt::SlotKey(context->session_id(), job_.slot), mdt::Encode(row));
  }
  SHEEN_TRY(core_->mdt->Commit(txn));
  if (job_.slot != 0) job_.session->SetSlot(job_.slot, {job_.xid, transno});
  response_.transno = transno;
  return {};
}

// Before the batch is written: afterwards nothing may fail.
Status Run::PrepareHandle(const OpContext& context) const {
  const auto& change = context.handle_change;
  if (change.kind != OpContext::HandleChange::Kind::kAdd) return {};
  return core_->handles.Check(change.fid, change.open.session, change.open.handle);
}

void Run::ApplyHandle(const OpContext& context) {
  const auto& change = context.handle_change;
  using Kind = OpContext::HandleChange::Kind;
  if (change.kind == Kind::kRemove) {
    core_->handles.Remove(change.fid, change.open.session, change.open.handle);
  }
  if (change.kind != Kind::kAdd) return;
  // It can only fail when the session ends meanwhile: then nobody uses the handle.
  const Status added = core_->handles.Add(change.fid, change.open);
  if (!added) SHEEN_LOG(Debug, "open of {}: {}", change.fid.ToString(), added.error().ToString());
}

// Waits in the queue of the latch that was busy, and has it afterwards.
struct ParkAwaiter {
  LatchSet* latches;
  Fid fid;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    async::Shard* shard = async::Shard::Current();
    return latches->table()->Wait(fid, latches->owner(),
                                  [shard, caller] { shard->Post([caller] { caller.resume(); }); });
  }
  void await_resume() { latches->Took(fid); }
};

async::Task<void> RunToEnd(Core* core, Run* run) {
  kv::Blocking blocking = kv::Blocking::kNever;
  for (;;) {
    Run::Outcome outcome = Run::Outcome::kDone;
    if (blocking == kv::Blocking::kNever) {
      outcome = run->Attempt(blocking);
    } else {
      std::function<Run::Outcome()> attempt = [run] {
        return run->Attempt(kv::Blocking::kMayBlock);
      };
      outcome = co_await core->options.pool->Run<Run::Outcome>(std::move(attempt));
    }
    if (outcome == Run::Outcome::kBusy) {
      co_await ParkAwaiter{run->latches(), *run->latches()->busy()};
    } else if (outcome == Run::Outcome::kWouldBlock) {
      blocking = kv::Blocking::kMayBlock;
    } else if (run->code() == Errc::kUnavailable && core->cluster->WarmingUp()) {
      co_await async::Shard::Current()->Sleep(kWarmUpWait);
    } else {
      co_return;
    }
  }
}

rpc::Response Refuse(Errc code, std::string message) {
  return rpc::Response::Of(Error(code, std::move(message)));
}

// A session counts as back with its first request that is not part of coming back.
void NoteBack(Core* core, const rpc::Request& request, ClientSession* session) {
  if (!session->awaited.load(std::memory_order_relaxed)) return;
  session->NoteHeard();
  const bool coming_back = (request.header.flags & (rpc::kReplay | rpc::kResend)) != 0 ||
                           request.header.opcode == rpc::Opcode::kMdsOpen;
  if (coming_back || !session->awaited.exchange(false)) return;
  core->recovery.Back(session->id());
}

}  // namespace

async::Task<rpc::Response> RunRequest(Core* core, rpc::Request request) {
  const rpc::FrameHeader& header = request.header;
  const OperationFunction function = FindOperation(header.opcode);
  if (function == nullptr) {
    co_return Refuse(Errc::kNoSys,
                     std::string(rpc::NameOf(header.opcode)) + " is not an operation of the MDS");
  }
  if (header.target != core->options.index) {
    co_return Refuse(Errc::kNotThisServer,
                     "this is " + core->mdt->name() + ", not MDT " + std::to_string(header.target));
  }
  if (core->mdt->stopped()) {
    co_return Refuse(Errc::kIo, core->mdt->name() + " is stopped: " + core->mdt->StopReason());
  }
  const std::shared_ptr<ClientSession> session = core->sessions.Find(request.session->id());
  if (session == nullptr || session->ended.load(std::memory_order_relaxed)) {
    co_return Refuse(Errc::kEvicted, "the MDS does not know this session; mount again");
  }
  const std::optional<rpc::Credential> credential =
      request.session->FindCredential(header.credential);
  if (!credential) {
    co_return Refuse(Errc::kProtocol,
                     "credential " + std::to_string(header.credential) + " was never set");
  }
  Job job{.function = function, .body = request.body, .credential = &*credential};
  job.session = session.get();
  job.xid = header.xid;
  job.replay = (header.flags & rpc::kReplay) != 0;
  if (rpc::IsMutating(header.opcode)) job.slot = header.slot;
  if (job.slot > ClientSession::kSlotMax) {
    co_return Refuse(Errc::kProtocol, "reply slot " + std::to_string(job.slot) + " is too high");
  }
  NoteBack(core, request, session.get());

  Run run(core, job);
  co_await RunToEnd(core, &run);
  if (!run.status()) co_return rpc::Response::Of(run.status().error());
  if (run.wait_committed() > core->mdt->LastCommitted()) {
    const Status committed = co_await core->committer->WaitCommitted(run.wait_committed());
    if (!committed) co_return rpc::Response::Of(committed.error());
  }
  co_return std::move(run.response());
}

async::Task<Status> RunInternal(Core* core, OperationFunction function, std::string body) {
  const Job job{.function = function, .body = body, .credential = &kServerCredential};
  Run run(core, job);
  co_await RunToEnd(core, &run);
  co_return run.status();
}

}  // namespace sheen::mds

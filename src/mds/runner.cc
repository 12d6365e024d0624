#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "mds/coming_back.h"
#include "mds/file_lock_requests.h"
#include "mds/grants.h"
#include "mds/lock_awaiter.h"
#include "mds/operation.h"
#include "mds/ops/ops.h"
#include "mds/park_awaiter.h"
#include "mds/questions.h"

namespace sheen::mds {
namespace {

// How long an operation waits before it looks again: whether OSTs have reported after a start,
// another's hold of a layout has ended, all known clients are back.
constexpr Nanos kWarmUpWait = std::chrono::milliseconds(50);
constexpr Nanos kHoldLook = std::chrono::milliseconds(5);
constexpr Nanos kRecoveryLook = std::chrono::milliseconds(10);

const rpc::Credential kServerCredential{};

// A client that holds a lock must have given it back by then, or its connection is closed.
constexpr Nanos kCallbackTimeout = std::chrono::seconds(20);
constexpr int kSetAsideMax = 16;  // a rename names four inodes

struct Job {
  OperationFunction function = nullptr;
  std::string_view body;
  const rpc::Credential* credential = nullptr;
  ClientSession* session = nullptr;
  const rpc::Session* connection = nullptr;
  uint32_t slot = 0;  // 0: no exactly-once
  uint64_t xid = 0;
  rpc::Opcode opcode = rpc::Opcode::kPing;  // of a client's request
  bool replay = false;
  PeerPtr peer;                 // may be granted locks; null: none
  std::vector<Fid> set_aside;   // the session's own locks there do not conflict
};

class Run final {
 public:
  enum class Outcome : uint8_t {
    kDone, kWouldBlock, kBusy, kLocked, kHeld, kRecovering, kUnasked
  };

  Run(Core* core, const Job& job)
      : core_(core),
        job_(job),
        latches_(core->mdt->latches(), core->next_owner.fetch_add(1, std::memory_order_relaxed)) {}
  ~Run() { FinishChanges(); }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Outcome Attempt(kv::Blocking blocking);
  LatchSet* latches() { return &latches_; }
  uint64_t wait_committed() const { return wait_committed_; }
  Errc code() const { return status_ ? Errc::kOk : status_.error().code(); }
  const Status& status() const { return status_; }
  rpc::Response& response() { return response_; }
  // Asks the holders of locks in the way to give them back.
  void CallHolders();
  // Of inodes whose locks are in the way; changes when the operation runs again.
  const std::vector<Fid>& locked() const { return locked_; }
  // What S3 is to be asked for before it runs again.
  Unasked* unasked() { return &unasked_; }
  // The server ends before what it waits for.
  void EndWaiting();
  // S3 did not say. True: it runs again, and goes without.
  bool GoOnWithout(const Status& asked);
  LockTable::SetAside aside() const {
    return {job_.session == nullptr ? 0 : job_.session->id(), job_.set_aside};
  }

 private:
  Status Execute(kv::Blocking blocking);
  OpContext ContextOf(mdt::Txn* txn) {
    return {.core = core_, .txn = txn, .latches = latches(), .credential = job_.credential,
            .session = job_.session, .connection = job_.connection, .peer = job_.peer,
            .replay = job_.replay, .now_ns = core_->WallNs(), .unasked = {.failed = s3_failed_}};
  }
  Status AnswerAgain(const SlotMemo& memo, mdt::Txn* txn);
  Status Commit(OpContext* context, mdt::Txn* txn);
  Status MeetFault(rpc::FaultStep step) const;
  Status CheckGround(const OpContext& context, const mdt::Txn& txn);
  Status CheckNotHeld(const OpContext& context, const Fid& fid);
  Status AnnounceChanges(const OpContext& context, const mdt::Txn& txn);
  bool MustWaitForClients(const OpContext& context, const mdt::Txn& txn) const;
  void FinishChanges();
  Status OpenAgain(mdt::Txn* txn);
  Status PrepareHandle(const OpContext& context) const;
  void ApplyHandle(const OpContext& context);

  Core* const core_;
  const Job job_;
  LatchSet latches_;
  Status status_;
  rpc::Response response_;
  uint64_t wait_committed_ = 0;
  struct Announced {
    Fid fid;
    bool gone = false;
  };
  std::vector<Announced> announced_;
  std::vector<Fid> locked_;
  std::vector<LockCall> calls_;
  bool recovering_ = false;
  bool held_ = false;  // the layout, by another
  Unasked unasked_;
  bool s3_failed_ = false;
};

Run::Outcome Run::Attempt(kv::Blocking blocking) {
  locked_.clear();
  recovering_ = held_ = false;
  unasked_.names.clear();
  status_ = Execute(blocking);
  latches_.ReleaseAll();
  if (recovering_) return Outcome::kRecovering;
  if (held_) return Outcome::kHeld;
  if (!unasked_.names.empty()) return Outcome::kUnasked;
  if (!locked_.empty()) return Outcome::kLocked;
  if (!status_ && status_.error().code() == Errc::kWouldBlock) {
    return latches_.busy() ? Outcome::kBusy : Outcome::kWouldBlock;
  }
  FinishChanges();
  return Outcome::kDone;
}

void Run::EndWaiting() {
  FinishChanges();
  status_ = Fail(Errc::kUnavailable, "the server is stopping; ask again when it is back");
}

bool Run::GoOnWithout(const Status& asked) {
  if (unasked_.may_leave_out && !s3_failed_) return s3_failed_ = true;
  status_ = asked;
  return false;
}

void Run::FinishChanges() {
  for (const Announced& change : announced_) {
    core_->locks->Finish(latches_.owner(), change.fid, change.gone);
  }
  announced_.clear();
}

Status Run::CheckNotHeld(const OpContext& context, const Fid& fid) {
  if (context.is_holder || !core_->locks->IsHeld(fid)) return {};
  FinishChanges();  // whoever waits for what was announced here would wait for the hold as well
  held_ = true;
  return Fail(Errc::kWouldBlock, "its layout is being replaced");
}

// With the latches of all that the batch changes: what is granted from now on is granted by others
// than this operation only after it has finished.
Status Run::AnnounceChanges(const OpContext& context, const mdt::Txn& txn) {
  for (const mdt::Txn::Touched& touched : txn.touched()) {
    const bool layout = (touched.bits & lock::kLayout) != 0 && !touched.gone;
    if (layout) SHEEN_TRY(CheckNotHeld(context, touched.fid));
  }
  for (const mdt::Txn::Touched& touched : txn.touched()) {
    const auto known = std::ranges::find(announced_, touched.fid, &Announced::fid);
    if (known == announced_.end()) announced_.push_back({touched.fid, false});
    if (!core_->locks->Announce(latches_.owner(), touched.fid, touched.bits, aside(), &calls_)) {
      locked_.push_back(touched.fid);
    }
  }
  if (locked_.empty()) return {};
  return Fail(Errc::kWouldBlock, "locks are held");
}

// After a restart nobody knows what clients still keep under locks of the time before: nothing of
// it may change until they are back, and have dropped it, or until none can be valid any more.
// What they bring back themselves does not wait.
bool Run::MustWaitForClients(const OpContext& context, const mdt::Txn& txn) const {
  if (job_.session == nullptr || job_.replay || context.declares_again) return false;
  return !txn.touched().empty() && core_->recovery.Active(core_->Now());
}

// What is answered rests on what was read: other clients' changes among it are made durable before
// the answer leaves. And after a power cut nothing is looked at before those have come back who may
// have to repeat what was lost.
Status Run::CheckGround(const OpContext& context, const mdt::Txn& txn) {
  if (job_.session == nullptr || job_.replay || context.declares_again) return {};
  const bool may_wait = core_->mdt->lost_power() && !context.reads_lasting;
  if (may_wait && !txn.reads().empty() && core_->recovery.Active(core_->Now())) {
    recovering_ = true;
    return Fail(Errc::kWouldBlock, "clients are still to come back");
  }
  wait_committed_ = core_->dependencies.Foreign(txn.reads(), job_.session->id(),
                                                core_->mdt->LastCommitted());
  return {};
}

void Run::CallHolders() {
  for (LockCall& call : calls_) {
    v1::LockList list;
    v1::InodeLock* lock = list.add_locks();
    SetFid(call.fid, lock->mutable_fid());
    lock->set_bits(call.bits);
    const uint64_t peer_id = call.peer->id();
    core_->stats.lock_callbacks.Add();
    const std::shared_ptr<LockTable> locks = core_->locks;
    call.peer->Ask(rpc::Opcode::kLockCallback, list.SerializeAsString(), {kCallbackTimeout},
                   [locks, peer_id, fid = call.fid, bits = call.bits](bool answered) {
                     // Else its connection has ended, and DropPeer follows.
                     if (answered) locks->Release(peer_id, fid, bits);
                   });
  }
  calls_.clear();
}

Status Run::Execute(kv::Blocking blocking) {
  response_ = {};
  wait_committed_ = 0;
  if (job_.session != nullptr && job_.session->evicted.load(std::memory_order_relaxed)) {
    return Fail(Errc::kEvicted,
                "the session was ended while the request waited; the client begins a new one");
  }
  if (!latches_.LockKnown()) return Fail(Errc::kWouldBlock);
  mdt::Txn txn(core_->mdt->store(), core_->mdt->transnos(), blocking);
  if (job_.slot != 0) {
    if (!latches_.Lock(job_.session->SlotLatch(job_.slot))) return Fail(Errc::kWouldBlock);
    const std::optional<SlotMemo> memo = job_.session->Slot(job_.slot);
    if (memo && job_.xid <= memo->xid) {
      SHEEN_TRY(AnswerAgain(*memo, &txn));
      const bool before = memo->transno >> 40 != core_->mdt->superblock().boot;
      return before && !job_.replay && ops::Opens(job_.opcode) ? OpenAgain(&txn) : Status();
    }
  }
  OpContext context = ContextOf(&txn);
  const Status done = job_.function(&context, job_.body, &response_.body);
  unasked_ = std::move(context.unasked);
  if (!unasked_.names.empty()) {
    FinishChanges();  // nobody is to wait with it
    return Fail(Errc::kWouldBlock, "S3 is to be asked");
  }
  // A refusal, too, may rest on what another client has changed.
  if (done || done.error().code() != Errc::kWouldBlock) SHEEN_TRY(CheckGround(context, txn));
  SHEEN_TRY(done);
  if (!context.layout_for_io.empty()) SHEEN_TRY(CheckNotHeld(context, context.layout_for_io));
  SHEEN_TRY(PrepareHandle(context));
  SHEEN_TRY(Commit(&context, &txn));
  ApplyHandle(context);
  core_->hsm.Add(std::move(context.hsm_added));
  for (const auto& [link, names] : context.pending_added) core_->pending.Add(link, names);
  for (const Fid& fid : context.hsm_cancelled) static_cast<void>(core_->hsm.Cancel(fid));
  AppendGrants(&context, &response_.body);
  if (context.outbox) core_->outbox_waiting.store(true, std::memory_order_release);
  wait_committed_ = std::max(wait_committed_, context.wait_committed);
  if (context.durable) wait_committed_ = std::max(wait_committed_, response_.transno);
  return {};
}

Status Run::AnswerAgain(const SlotMemo& memo, mdt::Txn* txn) {
  if (job_.xid < memo.xid) {
    // The slot has gone on, so the request was executed and answered; in a replay its client
    // knows the answer and only has to learn that it is not lost. Nobody knows that when the slot
    // has gone on in this boot, which had lost it: replays come before all else.
    const bool lost = memo.transno >> 40 == core_->mdt->superblock().boot;
    if (job_.replay && !lost) return {};
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

// An earlier life of the server opened it; its client has not heard so, and did not declare it.
Status Run::OpenAgain(mdt::Txn* txn) {
  OpContext context = ContextOf(txn);
  SHEEN_TRY(ops::OpenAgain(&context, job_.opcode, job_.body, &response_.body));
  SHEEN_TRY(PrepareHandle(context));
  SHEEN_TRY(Commit(&context, txn));
  ApplyHandle(context);
  return {};
}

Status Run::MeetFault(rpc::FaultStep step) const {
  rpc::FaultPoints* const faults = core_->options.faults;
  if (faults == nullptr || !faults->Hit(step, job_.opcode)) return {};
  return Fail(Errc::kUnavailable, "a fault point refuses it");
}

Status Run::Commit(OpContext* context, mdt::Txn* txn) {
  if (!txn->has_writes() && context->log.empty()) return {};
  if (MustWaitForClients(*context, *txn)) {
    recovering_ = true;
    return Fail(Errc::kWouldBlock, "clients are still to come back");
  }
  if (job_.replay && job_.slot != 0) SHEEN_TRY(CheckInTime(core_, *job_.session));
  SHEEN_TRY(AnnounceChanges(*context, *txn));
  const uint64_t transno = txn->transno();
  const std::vector<uint64_t> rows = txn->ChangedRows();
  if (job_.slot != 0) {
    txn->Put(mdt::kSlots, mdt::SlotKey(context->session_id(), job_.slot),
             mdt::Encode(mdt::SlotRow{job_.xid, transno, response_.body}));
  }
  SHEEN_TRY(MeetFault(rpc::FaultStep::kChanging));
  // Before others can read it.
  core_->dependencies.Note(rows, context->session_id(), transno, core_->mdt->LastCommitted());
  LogNumbers numbers(&core_->changelog);
  numbers.Put(context->log, txn);
  SHEEN_TRY(core_->mdt->Commit(txn));
  for (const mdt::Txn::Touched& touched : txn->touched()) {
    if (touched.gone) std::ranges::find(announced_, touched.fid, &Announced::fid)->gone = true;
  }
  // While the change is announced, so that nobody comes in between.
  if (const auto& hold = context->hold) core_->locks->Hold(hold->first, hold->second, core_->Now());
  for (const auto& [fid, owner] : context->end_holds) core_->locks->EndHold(fid, owner);
  if (context->root_template_changed) core_->root_template.Changed();
  if (job_.slot != 0) job_.session->SetSlot(job_.slot, {job_.xid, transno});
  response_.transno = transno;
  static_cast<void>(MeetFault(rpc::FaultStep::kChanged));  // who outlives it has no connection
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
    core_->locks->EndHold(change.fid, {change.open.session, change.open.handle});
    // A layout is kept for as long as the file is open.
    if (!core_->handles.HasOpen(change.fid, change.open.session, false)) {
      core_->locks->ReleaseSession(change.open.session, change.fid, lock::kLayout);
    }
  }
  if (change.kind != Kind::kAdd) return;
  // It can only fail when the session ends meanwhile: then nobody uses the handle.
  const Status added = core_->handles.Add(change.fid, change.open);
  if (!added) SHEEN_LOG(Debug, "open of {}: {}", change.fid.ToString(), added.error().ToString());
}

// Which may take as long as their leases.
bool WaitsForClients(Run::Outcome outcome) {
  return outcome == Run::Outcome::kRecovering || outcome == Run::Outcome::kHeld ||
         outcome == Run::Outcome::kLocked;
}

async::Task<void> RunToEnd(Core* core, Run* run, WaitTimes* waits) {
  kv::Blocking blocking = kv::Blocking::kNever;
  for (;;) {
    Run::Outcome outcome = Run::Outcome::kDone;
    Nanos began{0};
    if (blocking == kv::Blocking::kNever) {
      outcome = run->Attempt(blocking);
    } else {
      std::function<Run::Outcome()> attempt = [run] {
        return run->Attempt(kv::Blocking::kMayBlock);
      };
      began = core->Now();
      outcome = co_await core->options.pool->Run<Run::Outcome>(std::move(attempt));
      waits->Add(Wait::kStore, core->Now() - began);
    }
    if (outcome == Run::Outcome::kDone && run->code() == Errc::kOk) co_return;
    if (core->stopping.load() && WaitsForClients(outcome)) {
      run->EndWaiting();
      co_return;
    }
    began = core->Now();
    if (outcome == Run::Outcome::kRecovering) {
      co_await async::Shard::Current()->Sleep(kRecoveryLook);
      waits->Add(Wait::kClients, core->Now() - began);
    } else if (outcome == Run::Outcome::kHeld) {
      co_await async::Shard::Current()->Sleep(kHoldLook);
      waits->Add(Wait::kLock, core->Now() - began);
    } else if (outcome == Run::Outcome::kUnasked) {
      const Status asked = co_await core->questions->Ask(*run->unasked());
      waits->Add(Wait::kS3, core->Now() - began);
      if (!asked && !run->GoOnWithout(asked)) co_return;
    } else if (outcome == Run::Outcome::kLocked) {
      waits->fid = run->locked().front();
      run->CallHolders();
      co_await LockAwaiter{core->locks.get(), run->latches()->owner(), waits->fid, run->aside()};
      waits->Add(Wait::kLock, core->Now() - began);
    } else if (outcome == Run::Outcome::kBusy) {
      waits->fid = *run->latches()->busy();
      co_await ParkAwaiter{run->latches(), waits->fid};
      waits->Add(Wait::kLatch, core->Now() - began);
    } else if (outcome == Run::Outcome::kWouldBlock) {
      blocking = kv::Blocking::kMayBlock;
    } else if (run->code() == Errc::kUnavailable && core->cluster->WarmingUp()) {
      co_await async::Shard::Current()->Sleep(kWarmUpWait);
      waits->Add(Wait::kOsts, core->Now() - began);
    } else {
      co_return;
    }
  }
}

rpc::Response Refuse(Errc code, std::string message) {
  return rpc::Response::Of(Error(code, std::move(message)));
}

// The fields that any request may have at its end.
void TakeLockFields(const rpc::Request& request, Job* job) {
  if (request.peer == nullptr || (request.peer->features() & rpc::kInodeLocks) == 0) return;
  v1::LockedRequest fields;
  if (!fields.ParseFromString(request.body)) return;  // the operation refuses it
  if (!fields.no_locks()) job->peer = request.peer;
  const int count = std::min(fields.set_aside_size(), kSetAsideMax);
  for (int i = 0; i < count; ++i) job->set_aside.push_back(FidOf(fields.set_aside(i)));
}

}  // namespace

async::Task<rpc::Response> RunRequest(Core* core, const rpc::Request* from, WaitTimes* waits) {
  const rpc::Request& request = *from;
  const rpc::FrameHeader& header = request.header;
  const OperationFunction function = FindOperation(header.opcode);
  if (function == nullptr && !IsFileLockRequest(header.opcode)) {
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
    co_return Refuse(Errc::kEvicted,
                     "the MDS does not know this session; the client begins a new one");
  }
  if (IsFileLockRequest(header.opcode)) {
    NoteBack(core, request, session.get());
    co_return RunFileLockRequest(core, request, *session);
  }
  const std::optional<rpc::Credential> credential =
      request.session->FindCredential(header.credential);
  if (!credential) {
    co_return Refuse(Errc::kProtocol,
                     "credential " + std::to_string(header.credential) + " was never set");
  }
  Job job{.function = function, .body = request.body, .credential = &*credential};
  job.session = session.get();
  job.connection = request.session.get();
  job.xid = header.xid;
  job.opcode = header.opcode;
  job.replay = (header.flags & rpc::kReplay) != 0;
  if (rpc::IsMutating(header.opcode)) job.slot = header.slot;
  TakeLockFields(request, &job);
  if (job.slot > ClientSession::kSlotMax) {
    co_return Refuse(Errc::kProtocol, "reply slot " + std::to_string(job.slot) + " is too high");
  }
  NoteBack(core, request, session.get());

  Run run(core, job);
  co_await RunToEnd(core, &run, waits);
  if (run.wait_committed() > core->mdt->LastCommitted()) {
    const Nanos began = core->Now();
    const Status committed = co_await core->committer->WaitCommitted(run.wait_committed());
    waits->Add(Wait::kCommit, core->Now() - began);
    if (!committed) co_return rpc::Response::Of(committed.error());
  }
  if (!run.status()) co_return rpc::Response::Of(run.status().error());
  co_return std::move(run.response());
}

async::Task<Status> RunInternal(Core* core, OperationFunction function, std::string body) {
  Run run(core, {.function = function, .body = body, .credential = &kServerCredential});
  WaitTimes waits;
  co_await RunToEnd(core, &run, &waits);
  co_return run.status();
}

async::Task<Result<std::string>> AskInternal(Core* core, OperationFunction function,
                                             std::string body) {
  Run run(core, {.function = function, .body = body, .credential = &kServerCredential});
  WaitTimes waits;
  co_await RunToEnd(core, &run, &waits);
  if (!run.status()) co_return std::unexpected(run.status().error());
  if (run.wait_committed() > core->mdt->LastCommitted()) {
    SHEEN_CO_TRY(co_await core->committer->WaitCommitted(run.wait_committed()));
  }
  co_return std::move(run.response().body);
}

}  // namespace sheen::mds

// What a client declares again when the MDS has lost it: a restarted server knows the session from
// its store, but neither credentials nor open handles nor file locks, and a renewed session knows
// nothing.
//
// The session is shared by the shards, so one of them does it, before its own waiting requests go
// out; the others wait for it. It must not wait for ordinary requests: it calls the connection
// directly, which sends these first.
#include <algorithm>

#include "async/sync.h"
#include "base/log.h"
#include "client/convert.h"
#include "client/layout_lock.h"
#include "client/replay.h"
#include "client/shard_context.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr size_t kReopensInFlight = 64;
constexpr size_t kCredentialsInFlight = 64;
constexpr Nanos kRecoveryCallTimeout = std::chrono::seconds(60);
constexpr Nanos kRejoinLook = std::chrono::milliseconds(1);
constexpr Nanos kRecoveryLook = std::chrono::milliseconds(5);

v1::SetCredential CredentialToWire(CredentialId id, const CredentialCache::Identity& identity) {
  v1::SetCredential wire;
  wire.set_id(id);
  wire.set_uid(identity.uid);
  wire.set_gid(identity.gid);
  for (const uint32_t group : identity.groups) wire.add_groups(group);
  wire.set_job_id(identity.job_id);
  return wire;
}

// True: this shard shall do it.
bool TakeTurn(State* state, uint64_t stamp, bool* done) {
  const std::scoped_lock lock(state->recovery_mutex);
  *done = state->recovered_stamp == stamp;
  if (*done || state->recovering) return false;
  state->recovering = true;
  return true;
}

void EndTurn(State* state, uint64_t stamp) {
  const std::scoped_lock lock(state->recovery_mutex);
  state->recovering = false;
  state->recovered_stamp = stamp;
}

bool RejoinIsDue(State* state) {
  const std::scoped_lock lock(state->recovery_mutex);
  return std::exchange(state->rejoin_due, false);
}

bool IsRecovering(State* state) {
  const std::scoped_lock lock(state->recovery_mutex);
  return state->recovering;
}

}  // namespace

// While another shard recovers: for as long as that comes further nothing of this one goes before
// what it repeats. `stamp`: what for.
async::Task<void> ShardContext::AwaitOtherRecovery(uint64_t stamp) {
  uint64_t seen = state_->recovery_steps.load();
  while (IsRecovering(state_) && !state_->stopping) {
    co_await shard_->Sleep(kRecoveryLook);
    const uint64_t steps = state_->recovery_steps.load();
    if (steps != seen || state_->replaying_mds.load()) mds_->StillRecovering();
    if (state_->replayed_stamp.load() == stamp) mds_->ReplayDone();
    seen = steps;
  }
}

async::Task<void> ShardContext::RecoverMds(bool server_restarted) {
  const uint64_t stamp = state_->SessionStamp();
  if (server_restarted) NoteUnkept(kMdsName);
  file_lock_orders_.AskAgain();
  for (;;) {
    bool done = false;
    if (TakeTurn(state_, stamp, &done)) break;
    if (done) {
      // The locks of the old connection are gone with it.
      co_await TellAllOpens();
      co_return;
    }
    co_await AwaitOtherRecovery(stamp);
    if (state_->stopping) co_return;
  }
  bool evicted = false;
  {
    const uint64_t session = state_->identity.Session(kMdsName).session_id;
    const std::scoped_lock lock(state_->recovery_mutex);
    evicted = std::exchange(state_->recovered_session, session) != session;
    // Also when this recovery is interrupted: for the one that comes to its end.
    state_->rejoin_due |= evicted;
  }
  SHEEN_LOG(Info, "mds0 {}: declaring open files again",
            evicted            ? "has ended the session"
            : server_restarted ? "has restarted"
                               : "is there again");
  // What was kept under the lost locks must go, in the kernel too, before this client counts as
  // back: others' changes wait for that.
  state_->locks.Clear();
  for (const std::shared_ptr<OpenFile>& file : state_->files.All()) {
    DropLayoutLock(file.get());
    if (evicted) file->MissedChanges();
  }
  const auto forgotten = std::make_shared<async::OneShot<bool>>();
  state_->kernel.RecallAll(shard_->Now(), [this, forgotten] {
    shard_->Post([forgotten] { forgotten->Set(true); });
  });
  if (evicted) LoseKeptRequests(state_);
  // Before the kernel is waited for, which may wait for a request that waits for this.
  if (!co_await ReplayMds()) {
    // Once more by the next connection, whose recovery follows this one's end.
    EndTurn(state_, 0);
    co_return;
  }
  state_->replayed_stamp = stamp;
  mds_->ReplayDone();
  // Not for longer than it matters: another restart is to be told anew, and that waits for this.
  while (!forgotten->is_set() && state_->SessionStamp() == stamp && !state_->stopping) {
    co_await shard_->Sleep(kRecoveryLook);
  }
  if (!forgotten->is_set()) {
    EndTurn(state_, 0);
    co_return;
  }
  // All of it to the life of the MDS that has been told what it had lost: another must be told that
  // before it is told anything else.
  const bool declared = co_await Redeclare(stamp) && co_await DeclareFileLocks();
  if (!declared || !mds_->linked()) {
    EndTurn(state_, 0);
    co_return;
  }
  if (RejoinIsDue(state_)) co_await RejoinOsts();
  EndTurn(state_, stamp);
  // The first ordinary request: now this client is back.
  StartRefresh();
}

void ShardContext::RenewOstSessions() {
  const Error lost(Errc::kIo,
                   "the MDS evicted this client while it was away; whether this change was made is "
                   "not known");
  for (const auto& [server, client] : clients_) {
    if (client.get() != mds_) client->RenewSession(lost);
  }
}

async::Task<void> ShardContext::RejoinOsts() {
  SHEEN_LOG(Warn, "this client was evicted; it begins new sessions with all servers");
  std::atomic<uint32_t> left{0};
  for (const std::unique_ptr<ShardContext>& context : state_->contexts) {
    if (!context) continue;
    left.fetch_add(1);
    ShardContext* const other = context.get();
    other->shard_->Post([other, &left] {
      other->RenewOstSessions();
      left.fetch_sub(1);
    });
  }
  while (left.load() > 0) co_await shard_->Sleep(kRejoinLook);
}

// The handshake has sent what was known then; by these answers the MDS is known to have all.
async::Task<void> ShardContext::ConfirmCredentials(Nanos deadline) {
  const std::vector<CredentialId> ids = state_->credentials.InUse();
  for (size_t i = 0; i < ids.size();) {
    std::vector<async::Task<Status>> tasks;
    while (i < ids.size() && tasks.size() < kCredentialsInFlight) {
      tasks.push_back(SendCredential(ids[i++], deadline));
    }
    const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
    for (const Status& sent : all) {
      if (!sent) SHEEN_LOG(Warn, "mds0: credential not accepted: {}", sent.error().ToString());
    }
  }
}

async::Task<bool> ShardContext::Redeclare(uint64_t stamp) {
  const Nanos deadline = shard_->Now() + kRecoveryCallTimeout;
  co_await ConfirmCredentials(deadline);
  std::vector<std::pair<Fid, OpenHandle>> open;
  for (const std::shared_ptr<OpenFile>& file : state_->files.All()) {
    for (const OpenHandle& handle : file->handles()) {
      if (!handle.local) open.emplace_back(file->fid(), handle);
    }
  }
  for (size_t i = 0; i < open.size();) {
    std::vector<async::Task<Status>> tasks;
    while (i < open.size() && tasks.size() < kReopensInFlight) {
      const auto& [fid, handle] = open[i++];
      tasks.push_back(Reopen(fid, handle.id, handle.flags, handle.who));
    }
    const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
    for (const Status& told : all) {
      if (!told && told.error().code() == Errc::kDisconnected) co_return false;
    }
  }
  co_await TellAllOpens();
  co_return state_->SessionStamp() == stamp;
}

async::Task<Status> ShardContext::Reopen(Fid fid, uint64_t handle, uint32_t flags,
                                         CredentialId who, Nanos until) {
  rpc::Client* const mds = MdsClient();
  // It begins to connect; whoever wants the handle known asks again.
  if (!mds->linked()) static_cast<void>(co_await mds->Connect(shard_->Now()));
  if (state_->replayed_stamp.load() != state_->SessionStamp()) {
    co_return Fail(Errc::kDisconnected, "mds0 has still to be told what it has lost");
  }
  v1::OpenRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_flags(flags);
  request.set_handle(handle);
  request.set_reopen(true);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsOpen, who, request);
  // Twice is as once. And no slot that what is still to be repeated was answered in goes on before.
  call.needs_slot = false;
  call.deadline = std::min(shard_->Now() + kRecoveryCallTimeout, until);
  call.recovery = true;
  // Held, it would go to the next life of the MDS before what that is to be told first.
  call.this_connection = true;
  Result<rpc::Answer> answer = co_await mds->Execute(std::move(call));
  ++state_->recovery_steps;
  if (!answer) {
    const bool ended = answer.error().code() == Errc::kDisconnected;
    if (!ended) {
      SHEEN_LOG(Warn, "{}: an open file could not be declared again: {}", fid.ToString(),
                answer.error().ToString());
    }
    co_return std::unexpected(answer.error());
  }
  co_return Status();
}

async::Task<Status> ShardContext::EnsureCredential(CredentialId who, Nanos deadline) {
  if (state_->credentials.KnownTo(who, state_->SessionStamp())) co_return Status();
  // A stamp of 0 means no session yet: connect, so that the mark below names a real one.
  SHEEN_CO_TRY(co_await MdsClient()->Connect(deadline));
  if (state_->credentials.KnownTo(who, state_->SessionStamp())) co_return Status();
  const Status sent = co_await SendCredential(who, deadline);
  // Whoever goes on from an answer that was part of a recovery would count as part of it.
  co_await shard_->Yield();
  co_return sent;
}

async::Task<Status> ShardContext::SendCredential(CredentialId who, Nanos deadline) {
  const uint64_t stamp = state_->SessionStamp();
  const v1::SetCredential request = CredentialToWire(who, state_->credentials.Find(who));
  rpc::Call call = MakeCall(rpc::Opcode::kSetCredential, 0, request);
  call.deadline = deadline;
  call.recovery = true;
  Result<rpc::Answer> answer = co_await MdsClient()->Execute(std::move(call));
  if (!answer) co_return std::unexpected(answer.error());
  state_->credentials.SetKnown(who, stamp);
  co_return Status();
}

// Only for whom things are counted depends on it: what fails is done for nobody in particular.
async::Task<CredentialId> ShardContext::OriginAt(rpc::Client* client, CredentialId who,
                                                 Nanos deadline) {
  const std::string& server = client->server_name();
  const uint64_t session = state_->identity.Session(server).session_id;
  const auto told = told_.find({server, who});
  if (told != told_.end() && told->second.session == session) co_return told->second.id;
  // Which of them it knows the handshake tells.
  if (!client->connected()) {
    const Status connected = co_await client->Connect(deadline);
    if (!connected) co_return 0;
  }
  const rpc::ServerSession now = state_->identity.Session(server);
  CredentialId id = 0;
  if ((now.features & rpc::kOrigins) != 0) {
    const v1::SetCredential request = CredentialToWire(who, state_->credentials.Find(who));
    rpc::Call call = MakeCall(rpc::Opcode::kSetCredential, 0, request);
    call.deadline = deadline;
    const Result<rpc::Answer> answer = co_await client->Execute(std::move(call));
    // Asked again by the next request: the failure may be this moment's.
    if (!answer) co_return 0;
    id = who;
  }
  told_[{server, who}] = {now.session_id, id};
  co_return id;
}

}  // namespace sheen::client

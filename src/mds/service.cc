#include "mds/service.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "mds/background.h"
#include "mds/core.h"
#include "mds/file_lock_requests.h"
#include "mds/hsm_coordinator.h"
#include "mds/operation.h"
#include "mds/questions.h"
#include "mds/repositories.h"

namespace sheen::mds {
namespace {

struct StoredSession {
  uint64_t id = 0;
  mdt::ClientRow row;
};

Result<std::vector<StoredSession>> ReadClients(mdt::Mdt* mdt) {
  std::vector<StoredSession> sessions;
  Status parsed;
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  SHEEN_TRY(txn.Scan(mdt::kClients, "", "", [&](std::string_view key, std::string_view value) {
    auto row = mdt::DecodeClient(value);
    if (key.size() != sizeof(uint64_t) || !row) {
      parsed = row ? Fail(Errc::kCorrupt, "clients: a key has the wrong length")
                   : Status(std::unexpected(std::move(row).error()));
      return false;
    }
    sessions.push_back({LoadBig64(key.data()), *row});
    return true;
  }));
  SHEEN_TRY(std::move(parsed));
  return sessions;
}

Status ReadSlots(mdt::Mdt* mdt, const SessionMap& sessions) {
  Status parsed;
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  SHEEN_TRY(txn.Scan(mdt::kSlots, "", "", [&](std::string_view key, std::string_view value) {
    auto row = mdt::DecodeSlot(value);
    if (key.size() != sizeof(uint64_t) + sizeof(uint32_t) || !row) {
      parsed = row ? Fail(Errc::kCorrupt, "slots: a key has the wrong length")
                   : Status(std::unexpected(std::move(row).error()));
      return false;
    }
    const auto session = sessions.Find(LoadBig64(key.data()));
    if (session) session->SetSlot(LoadBig32(key.data() + 8), {row->xid, row->transno});
    return true;
  }));
  return parsed;
}

struct SaveOrder {
  uint64_t session_id = 0;
  mdt::ClientRow row;
};

// A client trusts what it holds for client::kLockLease after the last sign of life of a connection:
// its locks are dropped later than that. An ended connection delays others no longer.
constexpr Nanos kPeerGrace = std::chrono::seconds(3);

Result<uint64_t> WriteClient(mdt::Mdt* mdt, const SaveOrder& order) {
  mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  txn.Put(mdt::kClients, mdt::SessionKey(order.session_id), mdt::Encode(order.row));
  const uint64_t transno = txn.transno();
  SHEEN_TRY(mdt->Commit(&txn));
  return transno;
}

bool LogsOpens(const Changelog& log) {
  return (log.wanted() & mdt::LogBit(mdt::LogType::kOpen)) != 0;
}

Result<v1::PoolReply> ListPools(const OstPools& pools, const v1::PoolRequest& request) {
  if (!request.pool().empty() && !pools.contains(request.pool())) {
    return Fail(Errc::kNoEntry, "Pool " + request.fsname() + "." + request.pool() + " not found");
  }
  v1::PoolReply reply;
  for (const auto& [name, osts] : pools) {
    if (!request.pool().empty() && name != request.pool()) continue;
    v1::OstPool* const pool = reply.add_pools();
    pool->set_name(name);
    pool->mutable_osts()->Add(osts.begin(), osts.end());
  }
  return reply;
}

}  // namespace

struct MdsService::State {
  explicit State(MdsOptions options) : core(std::move(options)) { core.questions = &questions; }

  Core core;
  std::string mdt_name;
  std::vector<StoredSession> stored;
  std::unique_ptr<Background> background;
  std::unique_ptr<HsmCoordinator> coordinator;
  Repositories repositories{&core};
  Questions questions{&core, [this] { return repositories.Agents(); },
                      [this] { return repositories.NewFid(); }};
};

MdsService::MdsService(MdsOptions options) : state_(std::make_unique<State>(std::move(options))) {}

MdsService::~MdsService() {
  if (state_->core.committer) state_->core.committer->Drain();
  if (state_->core.space) state_->core.space->Drain();
  state_->core.idle_marks.Drain();
}

Status MdsService::Open() {
  Core& core = state_->core;
  const MdsOptions& options = core.options;
  SHEEN_TRY_ASSIGN(core.mdt, mdt::Mdt::Open(options.store, {.fsname = options.fsname,
                                              .index = options.index,
                                              .machine_boot_id = options.machine_boot_id}));
  state_->mdt_name = core.mdt->name();
  core.committer = std::make_unique<Committer>(core.mdt.get(), options.pool);
  core.cluster = std::make_unique<ClusterMap>(
      core.mdt.get(), ClusterMap::Options{.clock = options.clock,
                                          .target_timeout = options.target_timeout,
                                          .on_changed = options.on_map_changed});
  SHEEN_TRY(core.cluster->Load());
  SHEEN_TRY(core.changelog.Load(core.mdt.get()));
  SHEEN_TRY(core.pending.Load(core.mdt.get()));
  SHEEN_TRY(core.unlisted.Load(core.mdt.get()));
  // With a new version of the map: clients may have the last one without it.
  if (LogsOpens(core.changelog)) SHEEN_TRY(core.cluster->SetOpensAreLogged(true));
  core.space = std::make_unique<OwnSpace>(core.mdt.get(), options.pool, options.clock,
                                          options.own_space);
  if (options.own_space) {
    SHEEN_TRY_ASSIGN(const v1::TargetSpace space, core.space->Measure());
    core.cluster->SetOwnSpace(space);
  }
  SHEEN_TRY_ASSIGN(state_->stored, ReadClients(core.mdt.get()));
  std::set<uint64_t> known_ids;
  for (const StoredSession& stored : state_->stored) known_ids.insert(stored.id);
  SHEEN_TRY_ASSIGN(const std::set<uint64_t> idle,
                   core.idle_marks.Load(core.mdt.get(), known_ids));
  Recovery::Known known;
  std::vector<uint64_t> awaited_ids;
  for (const StoredSession& stored : state_->stored) {
    const auto session = core.sessions.Insert(stored.id, stored.row.client);
    session->earlier_boot.store(true);
    session->ended.store(stored.row.evicted);
    session->evicted.store(stored.row.evicted);
    if (stored.row.evicted) {
      known.evicted.push_back(stored.id);
      continue;
    }
    core.handles.AddSession(stored.id);
    session->awaited.store(true);  // also an idle one, for which nobody waits
    (idle.contains(stored.id) ? known.idle : known.awaited).push_back(session);
    if (!idle.contains(stored.id)) awaited_ids.push_back(stored.id);
  }
  SHEEN_TRY(ReadSlots(core.mdt.get(), core.sessions));
  const Nanos now = core.Now();
  core.file_locks.Begin(boot(), awaited_ids, now + options.recovery_wait, now + Recovery::kLongest);
  core.recovery.Begin(known, now, options.recovery_wait);
  core.outbox_waiting.store(true);
  SHEEN_LOG(Info, "{}: boot {}, recovered up to transno {:#x}, {} known clients", state_->mdt_name,
            boot(), recovered_transno(), awaited_ids.size());
  return {};
}

void MdsService::StartBackground(async::Shard* shard) {
  SHEEN_ASSERT(state_->core.mdt != nullptr && state_->background == nullptr);
  state_->core.eviction = std::make_unique<Eviction>(&state_->core, shard);
  state_->core.eviction->Start();
  state_->background = std::make_unique<Background>(&state_->core, shard);
  state_->background->Start();
  state_->coordinator = std::make_unique<HsmCoordinator>(&state_->core, shard);
  const Status loaded = state_->coordinator->Load();
  // Nothing else rests on it.
  if (!loaded) SHEEN_LOG(Error, "restores that wait are lost: {}", loaded.error().ToString());
  state_->coordinator->Start();
}

void MdsService::BeginStop() {
  state_->core.stopping.store(true);
  state_->core.locks->EndWaiting();
  state_->questions.Stop();
}

async::Task<Status> MdsService::Stop() {
  if (state_->background) {
    co_await state_->coordinator->Stop();
    co_await state_->background->Stop();
    co_await state_->core.eviction->Stop();
  }
  if (!state_->core.mdt) co_return Status();
  std::function<Status()> sync = [this] { return state_->core.mdt->Sync(); };
  co_return co_await state_->core.options.pool->Run<Status>(std::move(sync));
}

std::vector<std::shared_ptr<rpc::Session>> MdsService::LoadSessions() {
  std::vector<std::shared_ptr<rpc::Session>> sessions;
  sessions.reserve(state_->stored.size());
  for (const StoredSession& stored : state_->stored) {
    if (stored.row.evicted) continue;
    sessions.push_back(
        std::make_shared<rpc::Session>(stored.id, stored.row.client, stored.row.secret));
    const auto session = state_->core.sessions.Find(stored.id);
    if (session != nullptr) session->SetConnections(sessions.back());
    sessions.back()->idle_since_ns.store(state_->core.Now().count());
    state_->core.idle_sessions.Add(sessions.back());
  }
  return sessions;
}

rpc::ServerIdentity MdsService::Identity() const {
  rpc::ServerIdentity identity;
  identity.fsname = state_->core.mdt->superblock().fsname;
  identity.server_name = "mds" + std::to_string(state_->core.options.index);
  identity.boot = boot();
  identity.recovered_transno = recovered_transno();
  identity.features = rpc::kInodeLocks | rpc::kFileLocks | rpc::kLayoutLocks;
  return identity;
}

uint64_t MdsService::boot() const { return state_->core.mdt->superblock().boot; }

uint64_t MdsService::recovered_transno() const { return state_->core.mdt->recovered_transno(); }

const std::string& MdsService::mdt_name() const { return state_->mdt_name; }

const Uuid& MdsService::mdt_uuid() const { return state_->core.mdt->superblock().uuid; }

std::vector<v1::TargetSpace> MdsService::TargetStates() const {
  return state_->core.cluster->Targets();
}

std::string MdsService::StopReason() const { return state_->core.mdt->StopReason(); }

uint64_t MdsService::session_count() const { return state_->core.sessions.size(); }

async::Task<rpc::Response> MdsService::Handle(rpc::Request request) {
  Core& core = state_->core;
  const Nanos began = core.Now();
  WaitTimes waits;
  rpc::Response response = co_await RunRequest(&core, &request, &waits);
  Status status;
  if (response.status != Errc::kOk) status = Fail(response.status, response.body);
  core.stats.Note(request.header, request.body, request.session.get(), waits, core.Now() - began,
                  status, core.WallNs());
  co_return std::move(response);
}

OpStats& MdsService::stats() const { return state_->core.stats; }

void MdsService::ClearStats() { state_->core.stats.Clear(state_->core.WallNs()); }

std::string MdsService::RecoveryText() {
  const bool active = state_->core.recovery.Active(state_->core.Now());
  return std::string("status: ") + (active ? "RECOVERING" : "COMPLETE") +
         "\nconnected_clients: " + std::to_string(session_count()) +
         "\nlast_transno: " + std::to_string(state_->core.mdt->LastCommitted()) +
         "\nVBR: DISABLED\nIR: DISABLED\n";
}

Status MdsService::KeepParam(const std::string& name, const std::string& value, bool forget) {
  return state_->core.cluster->KeepParam(name, value, forget);
}

std::map<std::string, std::string> MdsService::KeptParams() const {
  return state_->core.cluster->Kept();
}

std::shared_ptr<const OstPools> MdsService::Pools() const { return state_->core.cluster->Pools(); }

Result<v1::PoolReply> MdsService::HandlePool(const v1::PoolRequest& request) {
  if (request.fsname() != state_->core.mdt->superblock().fsname) {
    return Fail(Errc::kNotThisServer, "another filesystem's pools");
  }
  v1::PoolReply reply;
  PoolChange change{.pool = request.pool(), .osts = {request.osts().begin(), request.osts().end()}};
  switch (request.action()) {
    case v1::POOL_LIST:
      return ListPools(*Pools(), request);
    case v1::POOL_NEW:
      change.kind = PoolChange::Kind::kNew;
      break;
    case v1::POOL_ADD:
      change.kind = PoolChange::Kind::kAdd;
      break;
    case v1::POOL_REMOVE:
      change.kind = PoolChange::Kind::kRemove;
      break;
    case v1::POOL_DESTROY:
      change.kind = PoolChange::Kind::kDestroy;
      break;
    default:
      return Fail(Errc::kNoSys, "the MDS does not know the request");
  }
  SHEEN_TRY_ASSIGN(const std::vector<PoolRefusal> refused,
                   state_->core.cluster->ChangePool(std::move(change)));
  for (const PoolRefusal& one : refused) {
    v1::PoolReply::Refusal* const out = reply.add_refused();
    out->set_ost(one.ost);
    out->set_errc(static_cast<uint32_t>(one.error.code()));
    out->set_message(one.error.message());
  }
  return reply;
}

async::Task<Result<v1::ChangelogUserReply>> MdsService::ChangeChangelogUser(
    v1::ChangelogUserRequest request) {
  Core* const core = &state_->core;
  if (!request.device().empty() && request.device() != state_->mdt_name) {
    co_return Fail(Errc::kNotThisServer,
                   "this is " + state_->mdt_name + ", not " + request.device());
  }
  SHEEN_CO_TRY_ASSIGN(const std::string body,
                      co_await AskInternal(core, &ChangelogUser, request.SerializeAsString()));
  std::function<Status()> reload = [this, core]() -> Status {
    SHEEN_TRY(core->changelog.Reload());
    return TellWhatIsLogged();
  };
  SHEEN_CO_TRY(co_await core->options.pool->Run<Status>(std::move(reload)));
  v1::ChangelogUserReply reply;
  if (!reply.ParseFromString(body)) co_return Fail(Errc::kProtocol, "a bad reply");
  reply.set_device(state_->mdt_name);
  SHEEN_LOG(Info, "{}: changelog user {} {}", state_->mdt_name, reply.user(),
            request.remove() ? "deregistered" : "registered");
  co_return reply;
}

Status MdsService::TellWhatIsLogged() {
  return state_->core.cluster->SetOpensAreLogged(LogsOpens(state_->core.changelog));
}

Changelog& MdsService::changelog() { return state_->core.changelog; }

MdsService::LockCounts MdsService::lock_counts() const {
  return {state_->core.locks->size(), state_->core.locks->locks_max()};
}

void MdsService::SetLockLimit(uint64_t locks_max) { state_->core.locks->SetLocksMax(locks_max); }

uint64_t MdsService::LastCommitted(uint32_t /*target*/) const {
  return state_->core.mdt->LastCommitted();
}

Status MdsService::CheckCommitted(uint32_t target, uint64_t transno) {
  const uint64_t own = state_->core.mdt->LastCommitted();
  if (target != state_->core.options.index || transno <= own) return {};
  return Fail(Errc::kCorrupt, state_->mdt_name + " went back in time: a client has seen transno " +
                                  std::to_string(transno) + " committed, this store knows up to " +
                                  std::to_string(own) +
                                  ". Is it an old copy? Start it on its newest disk");
}

void MdsService::OnSessionIdle(std::shared_ptr<rpc::Session> session) {
  Core& core = state_->core;
  core.idle_sessions.Add(session);
  OnClientIdle(&core, *session);
  // All users of such a file wait; what is still to come of the exchange is refused.
  core.locks->EndHoldsOf(session->id());
  // Who may hold file locks is waited for: nobody else may get them before it has said so.
  if (core.file_locks.Knows(session->id())) return;
  core.idle_marks.Left(core.mdt.get(), core.options.pool, std::move(session));
}

async::Task<Status> MdsService::Resumed(uint64_t session_id) {
  Core& core = state_->core;
  if (!core.idle_marks.Returned(session_id)) co_return Status();
  std::function<Result<uint64_t>()> unmark = [&core, session_id] {
    return core.idle_marks.Unmark(core.mdt.get(), session_id);
  };
  SHEEN_CO_TRY_ASSIGN(const uint64_t transno,
                      co_await core.options.pool->Run<Result<uint64_t>>(std::move(unmark)));
  if (transno != 0) SHEEN_CO_TRY(co_await core.committer->WaitCommitted(transno));
  core.idle_marks.Settled(session_id);
  co_return Status();
}

void MdsService::OnPeerEnded(std::shared_ptr<rpc::Peer> peer) {
  async::Shard* const shard = async::Shard::Current();
  shard->AddTimer(shard->Now() + kPeerGrace, [locks = state_->core.locks, id = peer->id()] {
    locks->DropPeer(id);
  });
}

async::Task<Status> MdsService::Save(uint64_t session_id, Uuid client,
                                     std::array<uint8_t, 16> secret) {
  Core& core = state_->core;
  // The fence that is on its way to the OSSs would be one for the new session, too.
  for (const std::shared_ptr<ClientSession>& known : core.sessions.All()) {
    if (known->client() != client || !known->evicted.load()) continue;
    co_return Fail(Errc::kUnavailable, "this client is being evicted; a moment more");
  }
  const SaveOrder order{session_id, {client, secret}};
  std::function<Result<uint64_t>()> write = [&core, &order] {
    return WriteClient(core.mdt.get(), order);
  };
  const auto transno = co_await core.options.pool->Run<Result<uint64_t>>(std::move(write));
  if (!transno) co_return std::unexpected(transno.error());
  const Status committed = co_await core.committer->WaitCommitted(*transno);
  if (!committed) co_return committed;
  core.sessions.Insert(session_id, client);
  core.handles.AddSession(session_id);
  co_return Status();
}

async::Task<Status> MdsService::Remove(uint64_t session_id) {
  Core& core = state_->core;
  const std::shared_ptr<ClientSession> session = core.sessions.Find(session_id);
  if (session == nullptr) co_return Status();
  if (session->ended.exchange(true)) co_return Status();
  // Said by the client itself, which holds nothing any more.
  core.locks->DropSession(session_id);
  co_return co_await EndSession(&core, session);
}

async::Task<Status> MdsService::EvictSession(uint64_t session_id, std::string reason) {
  SHEEN_ASSERT(state_->core.eviction != nullptr);
  co_return co_await state_->core.eviction->Evict(session_id, std::move(reason));
}

Result<v1::RegisterServerReply> MdsService::RegisterServer(
    const v1::RegisterServerRequest& request) {
  return state_->core.cluster->Register(request);
}

Result<v1::HeartbeatReply> MdsService::Heartbeat(const v1::HeartbeatRequest& request) {
  auto reply = state_->core.cluster->Heartbeat(request);
  if (!reply) return reply;
  for (const v1::AgentEntry& agent : state_->repositories.Agents()) *reply->add_agents() = agent;
  return reply;
}

HsmQueue* MdsService::hsm() { return &state_->core.hsm; }

rpc::RepositoryService* MdsService::repositories() { return &state_->repositories; }

v1::ClusterMap MdsService::GetClusterMap() {
  v1::ClusterMap map;
  state_->core.cluster->Fill(&map);
  return map;
}

}  // namespace sheen::mds

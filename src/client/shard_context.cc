#include "client/shard_context.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "client/convert.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr uint32_t kSlotsPerShard = 64;
// For what was held back: 16 MiB of chunks under way, more than any disk or network needs. And as
// many for what may have to wait for S3.
constexpr uint32_t kSlotsForHeld = 32;
constexpr Nanos kRetryFirst = std::chrono::milliseconds(20);
constexpr Nanos kRetryMax = std::chrono::seconds(1);
constexpr Nanos kRefreshTimeout = std::chrono::seconds(10);

bool MayRetry(Errc code) {
  switch (code) {
    case Errc::kUnavailable:
    case Errc::kNotThisServer:
    case Errc::kDisconnected:
    case Errc::kStaleEpoch:
    case Errc::kEvicted:
      return true;
    default:
      return false;
  }
}

// Whether max_rpcs_in_flight counts the call: what applications ask for, as Lustre's; not what
// others may be waiting for.
bool IsLimited(const rpc::Call& call) {
  if (call.recovery || call.this_connection || call.replay_xid != 0) return false;
  switch (call.opcode) {
    case rpc::Opcode::kOstRead:
    case rpc::Opcode::kOstWrite:
    case rpc::Opcode::kMdsLookup:
    case rpc::Opcode::kMdsGetAttr:
    case rpc::Opcode::kMdsSetAttr:
    case rpc::Opcode::kMdsCreate:
    case rpc::Opcode::kMdsMakeNode:
    case rpc::Opcode::kMdsLink:
    case rpc::Opcode::kMdsUnlink:
    case rpc::Opcode::kMdsRemoveDir:
    case rpc::Opcode::kMdsRename:
    case rpc::Opcode::kMdsOpen:
    case rpc::Opcode::kMdsReadDir:
    case rpc::Opcode::kMdsReadLink:
    case rpc::Opcode::kMdsGetXattr:
    case rpc::Opcode::kMdsSetXattr:
    case rpc::Opcode::kMdsListXattr:
    case rpc::Opcode::kMdsRemoveXattr:
    case rpc::Opcode::kMdsStatFs:
      return true;
    default:
      return false;
  }
}

}  // namespace

Error BadReply(std::string_view from) {
  return Error(Errc::kProtocol, std::string(from) +
                                    ": an answer that cannot be read; are client and server of "
                                    "versions that fit?");
}

uint32_t Granted::BitsOf(const Fid& fid) const {
  uint32_t bits = 0;
  for (const HeldLock& lock : locks) {
    if (lock.fid == fid) bits |= lock.bits;
  }
  return bits;
}

Granted GrantedIn(const ShardContext& context, const rpc::Answer& answer) {
  Granted granted{{context.ordinal(), answer.link, context.shard()->Now()}, {}};
  v1::LockedReply fields;
  if (!fields.ParseFromString(answer.body)) return granted;
  granted.locks.reserve(static_cast<size_t>(fields.granted_size()));
  for (const v1::InodeLock& wire : fields.granted()) {
    granted.locks.push_back({FidFromWire(wire.fid()), wire.bits()});
  }
  return granted;
}

bool IsRefusal(Errc code) {
  switch (code) {
    case Errc::kNoEntry:
    case Errc::kExists:
    case Errc::kNotDirectory:
    case Errc::kIsDirectory:
    case Errc::kNotEmpty:
    case Errc::kAccess:
    case Errc::kPerm:
    case Errc::kNameTooLong:
    case Errc::kTooManyLinks:
    case Errc::kInvalid:
    case Errc::kLoop:
    case Errc::kNoSpace:
    case Errc::kNoData:
      return true;
    default:
      return false;
  }
}

void SetAside(ShardContext* context, const LockCache::Change& change, rpc::Call* call) {
  v1::LockedRequest fields;
  for (const Fid& fid : change.fids()) FidToWire(fid, fields.add_set_aside());
  fields.AppendToString(&call->body);
  State* state = context->state();
  if (state->options.deadline == Nanos::max()) return;
  auto hold = std::make_shared<LockCache::Hold>(&state->locks, change.fids());
  using Both = std::pair<std::shared_ptr<void>, std::shared_ptr<void>>;
  call->keep = call->keep ? std::make_shared<Both>(std::move(call->keep), std::move(hold))
                          : std::shared_ptr<void>(std::move(hold));
}

void GiveUp(ShardContext* context, const LockCache::Change& change) {
  const Nanos now = context->shard()->Now();
  for (const Fid& fid : change.fids()) {
    context->state()->kernel.Recall(fid, lock::kAllInodeBits, now, false, {});
  }
}

rpc::Call MakeCall(rpc::Opcode opcode, CredentialId who,
                   const google::protobuf::MessageLite& request) {
  rpc::Call call;
  call.opcode = opcode;
  call.credential = who;
  call.body = request.SerializeAsString();
  return call;
}

ShardContext::ShardContext(State* state, async::Shard* shard, rpc::Transport* transport,
                           uint32_t ordinal)
    : state_(state),
      shard_(shard),
      transport_(transport),
      ordinal_(ordinal),
      file_lock_orders_(state) {}

ShardContext::~ShardContext() = default;

Nanos ShardContext::DeadlineOf(const rpc::Call& call) const {
  if (call.deadline != Nanos::max()) return call.deadline;
  const Nanos wait = state_->options.deadline;
  return wait == Nanos::max() ? wait : shard_->Now() + wait;
}

std::vector<rpc::Address> ShardContext::AddressesOf(const std::string& server) const {
  std::vector<rpc::Address> addresses;
  // What the user gave to mount is known to be reachable from here.
  if (server == kMdsName) addresses = state_->options.mgs;
  const std::shared_ptr<const Cluster> cluster = state_->cluster.Get();
  const auto found = cluster->servers.find(server);
  if (found == cluster->servers.end()) return addresses;
  for (const rpc::Address& address : found->second) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
      addresses.push_back(address);
    }
  }
  return addresses;
}

rpc::Client* ShardContext::ClientOf(const std::string& server) {
  std::unique_ptr<rpc::Client>& client = clients_[server];
  if (client) return client.get();
  rpc::ClientOptions options;
  options.server_name = server;
  options.addresses = AddressesOf(server);
  constexpr uint32_t kAllSlots = kSlotsPerShard + kSlotListsForHeld * kSlotsForHeld;
  options.slot_base = 1 + ordinal_ * kAllSlots;
  options.slot_count = kSlotsPerShard;
  options.slot_lists_apart = kSlotListsForHeld;
  options.slot_count_apart = kSlotsForHeld;
  options.checksums = state_->options.checksums;
  options.client_name = state_->options.client_name;
  options.faults = state_->options.faults;
  options.names_slots = state_->options.recovery;
  if (server == kMdsName) {
    options.features = rpc::kInodeLocks | rpc::kFileLocks | rpc::kLayoutLocks;
    options.pulse = state_->pulses[ordinal_];
  } else {
    options.features = rpc::kExtentLocks | rpc::kOrigins;
    const bool keeps = state_->options.recovery && state_->options.kept_bytes_max > 0;
    if (keeps) options.features |= rpc::kKeptWrites;
  }
  client = std::make_unique<rpc::Client>(shard_, transport_, &state_->identity, options);
  client->OnServerRequest([this](rpc::Opcode opcode, const std::string& body,
                                 rpc::Client::AnswerFunction answer) {
    OnServerRequest(opcode, body, std::move(answer));
  });
  client->OnLateAnswer([this, server](const rpc::Call& call, const rpc::Answer& answer) {
    if (server == kMdsName) KeepRequest(call, answer);
    if (server == kMdsName) unwanted_handles_->NoteLateAnswer(call, answer);
    if (server != kMdsName) KeepWrite(server, call.target, call, answer);
  });
  if (server != kMdsName) {
    client->OnReconnect([this, server](bool restarted) { return RecoverOst(server, restarted); });
  }
  return client.get();
}

rpc::Client* ShardContext::MdsClient() {
  if (mds_) return mds_;
  mds_ = ClientOf(kMdsName);
  mds_->OnReconnect([this](bool server_restarted) { return RecoverMds(server_restarted); });
  return mds_;
}

void ShardContext::OnServerRequest(rpc::Opcode opcode, const std::string& body,
                                   rpc::Client::AnswerFunction answer) {
  if (opcode == rpc::Opcode::kExtentCallback) {
    OnExtentCallback(body, std::move(answer));
    return;
  }
  if (opcode == rpc::Opcode::kLockCallback) {
    OnLockCallback(body, std::move(answer));
    return;
  }
  if (opcode == rpc::Opcode::kMapChanged) StartRefresh();
  if (opcode == rpc::Opcode::kFileLockEvent) {
    v1::FileLockEvents events;
    if (events.ParseFromString(body)) file_lock_orders_.OnEvents(events);
  }
  answer();
}

ShardContext::OstSlot* ShardContext::SlotOf(uint32_t ost) {
  if (osts_version_ != state_->cluster.version()) {
    const std::shared_ptr<const Cluster> cluster = state_->cluster.Get();
    for (OstSlot& slot : osts_) slot.client = nullptr;
    for (const auto& [index, server] : cluster->ost_servers) {
      if (index >= osts_.size()) osts_.resize(index + 1);
      osts_[index].client = ClientOf(server);
    }
    osts_version_ = cluster->version;
  }
  if (ost >= osts_.size() || osts_[ost].client == nullptr) return nullptr;
  return &osts_[ost];
}

async::Task<Result<rpc::Answer>> ShardContext::Mds(rpc::Call call) {
  call.deadline = DeadlineOf(call);
  TargetStats* const target = state_->stats.Mdt(0);
  const bool limited = IsLimited(call);
  if (limited && !target->limit.TryTake()) co_await AwaitPlace(target);
  const RpcPlace place(limited ? &target->limit : nullptr, &shard_->clock());
  RequestTimer timer(&state_->stats, target, call.opcode, 0, &shard_->clock());
  if (rpc::IsMutating(call.opcode) && state_->kept_requests.bytes() > KeptRequests::kBytesMax) {
    const Status committed = co_await CommitMds(call.deadline);
    static_cast<void>(committed);  // the request itself hears of it
  }
  for (uint32_t attempt = 0;; ++attempt) {
    if (state_->stopping) co_return Fail(Errc::kCancelled, "the filesystem is being unmounted");
    if (call.credential != 0) {
      SHEEN_CO_TRY(co_await EnsureCredential(call.credential, call.deadline));
    }
    Result<rpc::Answer> answer = co_await MdsClient()->Execute(call);
    if (answer) KeepRequest(call, *answer);
    if (answer) timer.Answered(answer->bulk_bytes);
    if (answer || !MayRetry(answer.error().code())) co_return answer;
    timer.Failed(answer.error().ToString());
    const bool again = co_await PrepareRetry(answer.error(), attempt, call.deadline);
    if (!again) co_return answer;
  }
}

async::Task<Result<rpc::Answer>> ShardContext::Ost(uint32_t ost, rpc::Call call) {
  call.deadline = DeadlineOf(call);
  call.target = ost;
  TargetStats* const target = state_->stats.Ost(ost);
  const bool limited = IsLimited(call);
  if (limited && !target->limit.TryTake()) co_await AwaitPlace(target);
  const RpcPlace place(limited ? &target->limit : nullptr, &shard_->clock());
  RequestTimer timer(&state_->stats, target, call.opcode, call.bulk.size(), &shard_->clock());
  if (!call.bulk.empty() && state_->kept_writes.bytes() > state_->options.kept_bytes_max) {
    co_await AwaitKeptRoom(ost);
  }
  const CredentialId who = call.credential;
  for (uint32_t attempt = 0;; ++attempt) {
    if (state_->stopping) co_return Fail(Errc::kCancelled, "the filesystem is being unmounted");
    OstSlot* slot = SlotOf(ost);
    if (slot && who != 0) {
      call.credential = co_await OriginAt(slot->client, who, call.deadline);
      slot = SlotOf(ost);
    }
    Error error(Errc::kNotThisServer, "OST " + std::to_string(ost) + " is not in the cluster map");
    if (slot) {
      // It may have moved to another port: the map tells.
      if (attempt == 0 && !slot->client->connected() && slot->committed != 0) StartRefresh();
      Result<rpc::Answer> answer = co_await slot->client->Execute(call);
      if (answer) {
        timer.Answered(answer->bulk_bytes);
        if (ost < osts_.size()) {
          osts_[ost].committed = std::max(osts_[ost].committed, answer->last_committed);
        }
        KeepWrite(slot->client->server_name(), ost, call, *answer);
        co_return answer;
      }
      error = answer.error();
      // Evicted, and perhaps not aware of it: the MDS tells. What only asks may wait for that; a
      // change may depend on what this client has lost.
      if (error.code() == Errc::kFenced) StartRefresh();
      const bool asks = error.code() == Errc::kFenced && !rpc::IsMutating(call.opcode);
      if (!asks && !MayRetry(error.code())) co_return answer;
    }
    timer.Failed(error.ToString());
    const bool again = co_await PrepareRetry(error, attempt, call.deadline);
    if (!again) co_return std::unexpected(std::move(error));
  }
}

async::Task<void> ShardContext::AwaitPlace(TargetStats* target) {
  const Nanos began = shard_->Now();
  co_await target->limit.Wait(shard_);
  const Nanos ended = shard_->Now();
  if (ended - began < SlowWaits::kWorthNaming) co_return;
  state_->stats.slow_waits.Note("max_rpcs_in_flight of " + target->name(), began, ended);
}

async::Task<bool> ShardContext::PrepareRetry(Error error, uint32_t attempt, Nanos deadline) {
  const Nanos wait = std::min(kRetryFirst * (1 << std::min(attempt, 6U)), kRetryMax);
  if (deadline != Nanos::max() && shard_->Now() + wait >= deadline) co_return false;
  if (attempt == 8) {
    SHEEN_LOG(Warn, "a request is being tried again since {}", error.ToString());
  }
  if (error.code() == Errc::kNotThisServer) StartRefresh();
  co_await shard_->Sleep(wait);
  co_return !state_->stopping;
}

async::Task<Status> ShardContext::ConnectMds(Nanos deadline) {
  co_return co_await MdsClient()->Connect(deadline);
}

async::Task<Status> ShardContext::RefreshMap(Nanos deadline) {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsClusterMap, 0, v1::ClusterMapRequest());
  call.deadline = deadline;
  Result<rpc::Answer> answer = co_await MdsClient()->Execute(std::move(call));
  if (!answer) co_return std::unexpected(answer.error());
  v1::ClusterMap map;
  if (!map.ParseFromString(answer->body)) co_return std::unexpected(BadReply(kMdsName));
  SHEEN_CO_TRY_ASSIGN(Cluster cluster, ClusterFromWire(map, state_->options.fsname));
  const uint64_t version = cluster.version;
  if (!state_->cluster.Set(std::move(cluster))) co_return Status();
  SHEEN_LOG(Info, "cluster map version {} in use", version);
  if (state_->options.on_map) state_->options.on_map(map);
  for (const std::unique_ptr<ShardContext>& context : state_->contexts) {
    if (!context) continue;
    ShardContext* other = context.get();
    other->shard_->Post([other] { other->TakeAddresses(); });
  }
  co_return Status();
}

void ShardContext::StartRefresh() {
  if (refreshing_ || state_->stopping) return;
  refreshing_ = true;
  shard_->Spawn(RefreshInBackground());
}

async::Task<void> ShardContext::RefreshInBackground() {
  const BackgroundMark mark(state_);
  const Status refreshed = co_await RefreshMap(shard_->Now() + kRefreshTimeout);
  refreshing_ = false;
  if (!refreshed) {
    SHEEN_LOG(Warn, "the cluster map could not be fetched: {}", refreshed.error().ToString());
  }
}

void ShardContext::TakeAddresses() {
  for (const auto& [server, client] : clients_) {
    std::vector<rpc::Address> addresses = AddressesOf(server);
    if (!addresses.empty()) client->SetAddresses(std::move(addresses));
  }
}

async::Task<Result<Fid>> ShardContext::NewFid() {
  co_await sequence_lock_.Acquire(1);
  Status granted;
  if (next_oid_ == 0 || next_oid_ >= kOidPerSequence) {
    auto answered = co_await MdsCall<v1::AllocateSequenceReply>(
        this,
        MakeCall(rpc::Opcode::kMdsAllocateSequence, 0, v1::AllocateSequenceRequest()));
    if (!answered) {
      granted = std::unexpected(answered.error());
    } else if (const Fid first{answered->reply.seq(), 1, 0}; !first.Valid()) {
      granted = Fail(Errc::kProtocol, "mds0: granted a bad FID sequence");
    } else {
      sequence_ = first.seq;
      next_oid_ = 1;
    }
  }
  Fid fid;
  if (granted) fid = Fid{sequence_, next_oid_++, 0};
  sequence_lock_.Release(shard_, 1);
  if (!granted) co_return std::unexpected(granted.error());
  co_return fid;
}

std::optional<rpc::LinkLook> ShardContext::LookAt(const std::string& server) const {
  const auto found = clients_.find(server);
  if (found == clients_.end()) return std::nullopt;
  return found->second->Look();
}

uint64_t ShardContext::OstCommitted(uint32_t ost) const {
  return ost < osts_.size() ? osts_[ost].committed : 0;
}

uint64_t ShardContext::MdsCommitted() const { return mds_ ? mds_->last_committed() : 0; }

std::set<std::string> ShardContext::ServerNames() const {
  std::set<std::string> names;
  for (const auto& [server, client] : clients_) names.insert(server);
  return names;
}

async::Task<void> ShardContext::Stop(std::set<std::string> farewells, Nanos timeout) {
  for (auto& [server, client] : clients_) {
    co_await client->Stop(timeout, farewells.contains(server));
  }
}

}  // namespace sheen::client

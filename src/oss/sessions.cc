// Sessions and fences in the index of the server's first target, so that after a restart the server
// knows who may come back, and who may not.
//
//   's' + session id (u64 big-endian)   u8 version 1, client UUID (16), secret (16), CRC32C
//   'f' + session id (u64 big-endian)   u8 version 1, client UUID (16), CRC32C: the id is refused
//   'l' + session id (u64 big-endian)   u8 version 1, client UUID (16), CRC32C: it may hold locks
//
// What a client holds that has gone is in rows of their own (gone_holders.h).
// A session that ends takes its rows with it: its id never comes again.
#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/crc32c.h"
#include "base/log.h"
#include "oss/gone_holders.h"
#include "oss/service.h"

namespace sheen::oss {
namespace {

// How often a fence looks whether requests that were under way have ended.
constexpr Nanos kRequestsLook = std::chrono::milliseconds(2);
// How often it is tried to note what a client has left that has gone.
constexpr Nanos kSettleAgain = std::chrono::seconds(1);
constexpr Nanos kStopLook = std::chrono::milliseconds(50);
// Rows of clients that have gone, in one batch: 200 KiB each at most.
constexpr size_t kNotedTogetherMax = 64;
constexpr char kSessionPrefix = 's';
constexpr char kFencePrefix = 'f';
constexpr char kHolderPrefix = 'l';
constexpr uint8_t kRowVersion = 1;
constexpr size_t kKeyBytes = 9;

std::string Key(char prefix, uint64_t session_id) {
  std::string key(1, prefix);
  AppendBig64(&key, session_id);
  return key;
}

std::string Seal(Encoder out) {
  out.U32(Crc32c(AsBytes(out.data())));
  return out.Take();
}

// Of a fence or a holder.
std::string MarkOf(const Uuid& client) {
  Encoder row;
  row.U8(kRowVersion);
  row.Raw(client.bytes.data(), client.bytes.size());
  return Seal(std::move(row));
}

struct Row {
  uint64_t session_id = 0;
  Uuid client;
  std::array<uint8_t, 16> secret{};
};

Result<Row> DecodeRow(std::string_view key, std::string_view value) {
  const bool is_session = key.starts_with(kSessionPrefix);
  const size_t expected_bytes = is_session ? 37 : 21;
  if (key.size() != kKeyBytes || value.size() != expected_bytes) {
    return Fail(Errc::kCorrupt,
                fmt::format("session row of {} + {} bytes", key.size(), value.size()));
  }
  const std::string_view covered = value.substr(0, value.size() - 4);
  if (LoadLittle<uint32_t>(value.data() + covered.size()) != Crc32c(AsBytes(covered))) {
    return Fail(Errc::kCorrupt, "session row fails its checksum");
  }
  Decoder in(covered);
  if (in.U8() != kRowVersion) return Fail(Errc::kBadVersion, "session row of an unknown version");
  Row row;
  row.session_id = LoadBig64(key.data() + 1);
  const std::string_view client = in.Raw(row.client.bytes.size());
  std::memcpy(row.client.bytes.data(), client.data(), client.size());
  if (is_session) {
    const std::string_view secret = in.Raw(row.secret.size());
    std::memcpy(row.secret.data(), secret.data(), secret.size());
  }
  return row;
}

}  // namespace

ost::Target* OssService::SessionTarget() const {
  return targets_.empty() ? nullptr : targets_.begin()->second;
}

Status OssService::CheckFence(const rpc::Session* session) const {
  if (session == nullptr || !has_fences_.load()) return {};
  std::lock_guard guard(mutex_);
  if (!fenced_.contains(session->id())) return {};
  return Fail(Errc::kFenced,
              fmt::format("client {} was evicted by the metadata server; it comes back by itself",
                          session->client_uuid().ToString()));
}

async::Task<Status> OssService::Save(uint64_t session_id, Uuid client,
                                     std::array<uint8_t, 16> secret) {
  ost::Target* const target = SessionTarget();
  if (target == nullptr) co_return Fail(Errc::kUnavailable, "this server has no target");
  Encoder row;
  row.U8(kRowVersion);
  row.Raw(client.bytes.data(), client.bytes.size());
  row.Raw(secret.data(), secret.size());
  kv::Batch batch;
  batch.Put(ost::kSessionFamily, Key(kSessionPrefix, session_id), Seal(std::move(row)));
  {
    std::lock_guard guard(mutex_);
    sessions_[session_id] = client;
  }
  co_return co_await target->WriteSessionRows(CurrentIo(), std::move(batch));
}

async::Task<Status> OssService::Remove(uint64_t session_id) {
  ost::Target* const target = SessionTarget();
  if (target == nullptr) co_return Status();
  kv::Batch batch;
  batch.Delete(ost::kSessionFamily, Key(kSessionPrefix, session_id));
  batch.Delete(ost::kSessionFamily, Key(kFencePrefix, session_id));
  batch.Delete(ost::kSessionFamily, Key(kHolderPrefix, session_id));
  batch.Delete(ost::kMetaFamily, GoneKey(session_id));
  {
    // Else a row that is being written might come after its end.
    const async::RwGuard rows_guard = co_await holders_lock_.Exclusive();
    {
      std::lock_guard guard(mutex_);
      sessions_.erase(session_id);
      holders_.erase(session_id);
      gone_.erase(session_id);
    }
    SHEEN_CO_TRY(co_await target->WriteSessionRows(CurrentIo(), std::move(batch)));
  }
  // After this no request of the session keeps a lock (RememberHolder).
  locks_.EndSession(session_id);
  grants_.DropSession(session_id);
  away_.Forget(session_id);
  co_return co_await ForgetAnswers(session_id);
}

async::Task<Status> OssService::ForgetAnswers(uint64_t session_id) {
  slots_.DropSession(session_id);
  for (const auto& [index, target] : targets_) {
    SHEEN_CO_TRY(co_await target->ForgetAnswered(session_id));
  }
  co_return Status();
}

async::Task<Status> OssService::FenceSession(v1::FenceSessionRequest request) {
  Uuid client;
  if (request.client_uuid().size() != client.bytes.size()) {
    co_return Fail(Errc::kInvalid, "a client's UUID has 16 bytes");
  }
  std::memcpy(client.bytes.data(), request.client_uuid().data(), client.bytes.size());
  SHEEN_CO_TRY_ASSIGN(const std::vector<uint64_t> fenced, co_await NoteFence(client));
  if (fenced.empty()) co_return Status();  // never was here
  for (const uint64_t session_id : fenced) {
    locks_.EndSession(session_id);
    grants_.DropSession(session_id);
  }
  co_await WaitForRequests();
  // What those have left.
  for (const uint64_t session_id : fenced) {
    locks_.EndSession(session_id);
    grants_.DropSession(session_id);
    away_.Forget(session_id);
    // Whatever else fails: nothing of a fenced session is answered.
    const Status forgotten = co_await ForgetAnswers(session_id);
    if (!forgotten) SHEEN_LOG(Warn, "answers to keep: {}", forgotten.error().ToString());
  }
  co_return Status();
}

async::Task<Result<std::vector<uint64_t>>> OssService::NoteFence(Uuid client) {
  kv::Batch batch;
  std::vector<uint64_t> fenced;
  const async::RwGuard rows_guard = co_await holders_lock_.Exclusive();
  {
    std::lock_guard guard(mutex_);
    for (const auto& [session_id, owner] : sessions_) {
      if (owner != client) continue;
      fenced_.insert(session_id);
      fenced.push_back(session_id);
      batch.Put(ost::kSessionFamily, Key(kFencePrefix, session_id), MarkOf(client));
      batch.Delete(ost::kSessionFamily, Key(kHolderPrefix, session_id));
      batch.Delete(ost::kMetaFamily, GoneKey(session_id));
      gone_.erase(session_id);
    }
    has_fences_.store(!fenced_.empty());
  }
  if (fenced.empty()) co_return fenced;
  SHEEN_LOG(Warn, "client {} is fenced off", client.ToString());
  SHEEN_CO_TRY(co_await SessionTarget()->WriteSessionRows(CurrentIo(), std::move(batch)));
  co_return fenced;
}

async::Task<Status> OssService::Resumed(uint64_t session_id) {
  away_.Back(session_id, async::Shard::Current()->WallNow().count());
  bool gone = false;
  {
    std::lock_guard guard(mutex_);
    gone = gone_.contains(session_id);
  }
  if (!gone) co_return Status();
  // From now on it is waited for again.
  co_return co_await RememberHolder(session_id);
}

void OssService::OnSessionIdle(std::shared_ptr<rpc::Session> session) {
  async::Shard* const shard = async::Shard::Current();
  const int64_t now_ns = shard->WallNow().count();
  away_.Away(session->id(), now_ns, now_ns);
  if (stopping_) return;
  settling_.fetch_add(1);
  const int64_t since_ns = session->idle_since_ns.load();
  shard->Spawn(SettleIdle(std::move(session), since_ns));
}

// `since_ns`: what it has done until it went then is settled here; what it does when it comes back
// and goes again is not.
async::Task<void> OssService::SettleIdle(std::shared_ptr<rpc::Session> session, int64_t since_ns) {
  const Gone gone{session.get(), since_ns};
  async::Shard* const shard = async::Shard::Current();
  while (!stopping_ && !co_await SettleOnce(gone)) {
    const Nanos until = shard->Now() + kSettleAgain;
    while (!stopping_ && shard->Now() < until) co_await shard->Sleep(kStopLook);
  }
  settling_.fetch_sub(1);
}

async::Task<bool> OssService::SettleOnce(Gone gone) {
  // What it was answered until now is durable after this.
  for (const auto& [index, target] : targets_) {
    const Status committed = co_await target->Commit(CurrentIo());
    if (!committed) co_return true;  // it has stopped, and says so everywhere
  }
  Leaving leaving{gone, std::nullopt};
  {
    std::lock_guard mutex_guard(mutex_);
    leaving_.push_back(&leaving);
  }
  const async::RwGuard guard = co_await holders_lock_.Exclusive();
  if (!leaving.settled) co_await SettleTogether(TakeLeaving(&leaving));
  co_return *leaving.settled;
}

std::vector<OssService::Leaving*> OssService::TakeLeaving(Leaving* first) {
  std::lock_guard guard(mutex_);
  std::erase(leaving_, first);
  const size_t others = std::min(leaving_.size(), kNotedTogetherMax - 1);
  std::vector<Leaving*> taken(leaving_.begin(), leaving_.begin() + static_cast<ptrdiff_t>(others));
  leaving_.erase(leaving_.begin(), leaving_.begin() + static_cast<ptrdiff_t>(others));
  taken.push_back(first);
  return taken;
}

async::Task<void> OssService::SettleTogether(std::vector<Leaving*> leaving) {
  std::set<uint64_t> sessions;
  {
    std::lock_guard guard(mutex_);
    for (Leaving* const one : leaving) {
      const uint64_t session_id = one->gone.session->id();
      const bool ended = !sessions_.contains(session_id) || fenced_.contains(session_id);
      if (!ended && !IsBackLocked(one->gone)) sessions.insert(session_id);
      if (!sessions.contains(session_id)) one->settled = true;
    }
  }
  std::map<uint64_t, std::vector<ObjectLocks::Held>> held = locks_.HeldByEach(sessions);
  for (Leaving* const one : leaving) {
    if (one->settled) continue;
    const auto found = held.find(one->gone.session->id());
    one->settled = found != held.end();
    if (*one->settled) one->row = RowOf(*one->gone.session, std::move(found->second));
  }
  kv::Batch batch;
  {
    std::lock_guard guard(mutex_);
    // One that has come back is waited for as before. Under the mutex: its first request finds it
    // there, and then it is seen here to have a connection, or it does not.
    for (const Leaving* const one : leaving) {
      if (one->row && !IsBackLocked(one->gone)) NoteLeavingLocked(*one, &batch);
    }
  }
  if (batch.empty()) co_return;
  const Status written = co_await SessionTarget()->WriteSessionRows(CurrentIo(), std::move(batch));
  if (!written) {
    SHEEN_LOG(Warn, "clients that have gone are not noted: {}", written.error().ToString());
  }
}

std::optional<std::string> OssService::RowOf(const rpc::Session& session,
                                             std::vector<ObjectLocks::Held> held) const {
  if (held.empty()) return "";
  if (held.size() > kGoneLocksMax) return std::nullopt;
  return Encode({SessionTarget()->boot(), session.client_uuid(), std::move(held)});
}

// With locks it stays among the holders, for a start that cannot go by what is noted.
void OssService::NoteLeavingLocked(const Leaving& leaving, kv::Batch* batch) {
  const uint64_t session_id = leaving.gone.session->id();
  if (!leaving.row->empty()) {
    // Who comes back meanwhile finds it here, and waits for this to be undone.
    gone_.insert(session_id);
    batch->Put(ost::kMetaFamily, GoneKey(session_id), *leaving.row);
  } else if (holders_.erase(session_id) + gone_.erase(session_id) > 0) {
    batch->Delete(ost::kSessionFamily, Key(kHolderPrefix, session_id));
    batch->Delete(ost::kMetaFamily, GoneKey(session_id));
  }
}

async::Task<void> OssService::ForgetHolders(std::set<uint64_t> sessions) {
  const async::RwGuard rows_guard = co_await holders_lock_.Exclusive();
  kv::Batch batch;
  {
    std::lock_guard guard(mutex_);
    for (const uint64_t session_id : sessions) {
      if (holders_.erase(session_id) + gone_.erase(session_id) == 0) continue;
      batch.Delete(ost::kSessionFamily, Key(kHolderPrefix, session_id));
      batch.Delete(ost::kMetaFamily, GoneKey(session_id));
    }
  }
  if (batch.empty()) co_return;
  const Status written = co_await SessionTarget()->WriteSessionRows(CurrentIo(), std::move(batch));
  if (!written) SHEEN_LOG(Error, "lost locks are not noted: {}", written.error().ToString());
}

bool OssService::IsBackLocked(const Gone& gone) const {
  return gone.session->link_count.load() != 0 ||
         gone.session->idle_since_ns.load() != gone.since_ns;
}

// Clients that come back together, after a network's failure say, are noted together: while one
// writes the others gather.
async::Task<Status> OssService::RememberHolder(uint64_t session_id) {
  ost::Target* const target = SessionTarget();
  {
    std::lock_guard guard(mutex_);
    if (target == nullptr || !sessions_.contains(session_id)) {
      co_return Fail(Errc::kNoEntry, "the session is not known here");
    }
    if (holders_.contains(session_id) && !gone_.contains(session_id)) co_return Status();
    coming_.insert(session_id);
  }
  const async::RwGuard guard = co_await holders_lock_.Exclusive();
  kv::Batch batch;
  const std::set<uint64_t> noted = TakeComing(session_id, &batch);
  if (!batch.empty()) {
    SHEEN_CO_TRY(co_await target->WriteSessionRows(CurrentIo(), std::move(batch)));
  }
  std::lock_guard mutex_guard(mutex_);
  for (const uint64_t id : noted) {
    holders_.insert(id);
    gone_.erase(id);
  }
  if (!sessions_.contains(session_id)) co_return Fail(Errc::kNoEntry, "the session has ended");
  co_return Status();
}

std::set<uint64_t> OssService::TakeComing(uint64_t session_id, kv::Batch* batch) {
  std::lock_guard guard(mutex_);
  const bool noted = holders_.contains(session_id) && !gone_.contains(session_id);
  // Else by one before this, that could not write it.
  if (!noted) coming_.insert(session_id);
  std::set<uint64_t> taken = std::exchange(coming_, {});
  std::erase_if(taken, [this](uint64_t id) { return !sessions_.contains(id); });
  for (const uint64_t id : taken) {
    batch->Put(ost::kSessionFamily, Key(kHolderPrefix, id), MarkOf(sessions_.at(id)));
    batch->Delete(ost::kMetaFamily, GoneKey(id));
  }
  return taken;
}

async::Task<void> OssService::WaitForRequests() {
  async::Shard* const shard = async::Shard::Current();
  std::optional<uint64_t> turn = in_flight_.Turn();
  while (!turn) {
    co_await shard->Sleep(kRequestsLook);
    turn = in_flight_.Turn();
  }
  while (!in_flight_.Ended(*turn)) co_await shard->Sleep(kRequestsLook);
}

async::Task<Result<std::vector<std::shared_ptr<rpc::Session>>>> OssService::LoadSessions() {
  std::vector<std::shared_ptr<rpc::Session>> out;
  ost::Target* const target = SessionTarget();
  if (target == nullptr) co_return out;
  const uint64_t boot = Boot();
  for (const auto& [index, other] : targets_) {
    SHEEN_CO_TRY(co_await other->RaiseBoot(CurrentIo(), boot));
  }
  using Rows = std::vector<std::pair<std::string, std::string>>;
  SHEEN_CO_TRY_ASSIGN(const Rows rows, co_await target->ReadSessionRows());
  std::set<uint64_t> known;
  for (const auto& [key, value] : rows) {
    SHEEN_CO_TRY_ASSIGN(const Row row, DecodeRow(key, value));
    if (key.front() != kSessionPrefix) continue;
    known.insert(row.session_id);
    out.push_back(std::make_shared<rpc::Session>(row.session_id, row.client, row.secret));
  }
  for (const auto& [index, other] : targets_) {
    SHEEN_CO_TRY(co_await other->KeepAnsweredOf(known));
  }
  const int64_t now_ns = async::Shard::Current()->WallNow().count();
  for (const uint64_t session_id : known) away_.Away(session_id, 0, now_ns);
  earlier_sessions_ = known;
  TakeRows(rows);
  SHEEN_CO_TRY(co_await TakeGone());
  for (const uint64_t session_id : Fenced()) away_.Forget(session_id);
  locks_.OnLost([this](std::set<uint64_t> lost) { return ForgetHolders(std::move(lost)); });
  locks_.BeginRecovery(Awaited());
  co_return out;
}

async::Task<Status> OssService::TakeGone() {
  ost::Target* const target = SessionTarget();
  SHEEN_CO_TRY_ASSIGN(const ost::Target::Rows rows,
                      co_await target->ReadMetaRows(std::string(kGonePrefix)));
  kv::Batch batch;
  for (const auto& [key, value] : rows) {
    const std::optional<uint64_t> session_id = SessionOfGoneKey(key);
    Result<GoneHolder> holder = DecodeGoneHolder(value);
    if (!holder) SHEEN_LOG(Warn, "{}: {}", target->name(), holder.error().ToString());
    bool counts = session_id && holder && holder->boot + 1 == target->boot();
    if (counts) {
      std::lock_guard guard(mutex_);
      counts = sessions_.contains(*session_id) && holders_.contains(*session_id) &&
               !fenced_.contains(*session_id);
      if (counts) gone_.insert(*session_id);
    }
    if (!counts) {
      batch.Delete(ost::kMetaFamily, key);
      continue;
    }
    locks_.Reinstate(*session_id, holder->locks);
    holder->boot = target->boot();
    batch.Put(ost::kMetaFamily, key, Encode(*holder));
  }
  if (batch.empty()) co_return Status();
  co_return co_await target->WriteSessionRows(CurrentIo(), std::move(batch));
}

// REQUIRES: all rows can be decoded.
void OssService::TakeRows(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::lock_guard guard(mutex_);
  for (const auto& [key, value] : rows) {
    const Result<Row> row = DecodeRow(key, value);
    if (!row) continue;
    if (key.front() == kFencePrefix) {
      fenced_.insert(row->session_id);
    } else if (key.front() == kHolderPrefix) {
      holders_.insert(row->session_id);
    } else {
      sessions_[row->session_id] = row->client;
    }
  }
  has_fences_.store(!fenced_.empty(), std::memory_order_release);
}

std::set<uint64_t> OssService::Fenced() const {
  std::lock_guard guard(mutex_);
  return fenced_;
}

std::set<uint64_t> OssService::Awaited() const {
  std::lock_guard guard(mutex_);
  std::set<uint64_t> awaited;
  std::ranges::set_difference(holders_, fenced_, std::inserter(awaited, awaited.end()));
  std::erase_if(awaited, [this](uint64_t id) {
    return !sessions_.contains(id) || gone_.contains(id);
  });
  return awaited;
}

}  // namespace sheen::oss

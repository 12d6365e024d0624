#include "oss/object_locks.h"

#include <algorithm>

#include "async/sync.h"
#include "base/log.h"
#include "oss/convert.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(5);
// Ids of accesses, beside those that clients give to their locks.
constexpr uint64_t kAccessBit = 1ULL << 63;

Nanos Now() { return async::Shard::Current()->Now(); }

std::unexpected<Error> Stopping() {
  return Fail(Errc::kUnavailable, "the server is stopping; ask again when it is back");
}

}  // namespace

struct ObjectLocks::Waiter {
  async::Shard* shard = nullptr;
  async::OneShot<bool> granted;
};

ObjectLocks::Access& ObjectLocks::Access::operator=(Access&& other) noexcept {
  if (this == &other) return *this;
  End();
  owner_ = std::exchange(other.owner_, nullptr);
  key_ = other.key_;
  name_ = other.name_;
  kept_ = std::exchange(other.kept_, std::nullopt);
  held_by_ = std::exchange(other.held_by_, 0);
  return *this;
}

void ObjectLocks::Access::End() {
  ObjectLocks* const owner = std::exchange(owner_, nullptr);
  if (owner == nullptr) return;
  if (held_by_ != 0) owner->EndMove(std::exchange(held_by_, 0));
  if (!kept_) owner->Leave(key_, name_);
}

ObjectLocks::~ObjectLocks() { SHEEN_ASSERT(callbacks_running_.load() == 0); }

ObjectLocks::Bucket& ObjectLocks::BucketOf(const ObjectKey& key) {
  return buckets_[(std::hash<Fid>()(key.id.fid) + key.id.stripe + key.target) % kBuckets];
}

// ---- entering and leaving ----

void ObjectLocks::Take(Bucket* bucket, const ObjectKey& key, lock::ExtentChanges changes,
                       Work* work) {
  for (const lock::ExtentGrant& grant : changes.granted) {
    auto node = bucket->waiters.extract({key, grant.name});
    if (!node.empty()) work->wakes.push_back(std::move(node.mapped()));
  }
  for (const lock::ExtentCallback& call : changes.callbacks) {
    work->callbacks.push_back({key, call.name});
  }
}

void ObjectLocks::Do(Work work) {
  for (const std::shared_ptr<Waiter>& waiter : work.wakes) {
    waiter->shard->Post([waiter] { waiter->granted.Set(true); });
  }
  for (const Callback& callback : work.callbacks) {
    callbacks_running_.fetch_add(1);
    async::Shard::Current()->Spawn(CallBack(callback));
  }
}

// Nobody has a lock on the object. A lock to be kept needs a table, and nobody else at work.
bool ObjectLocks::EnterCounted(Bucket* bucket, const ObjectKey& key, const Wish& wish,
                               Access* access) {
  Object& object = bucket->objects[key];
  if (object.table) return false;
  if (wish.keep != 0 && object.plain_accesses == 0) {
    object.table = std::make_unique<lock::ExtentLocks>();
    return false;
  }
  ++object.plain_accesses;
  access->owner_ = this;
  access->key_ = key;
  return true;
}

std::shared_ptr<ObjectLocks::Waiter> ObjectLocks::EnterTable(Bucket* bucket, const ObjectKey& key,
                                                             const Wish& wish, Access* access,
                                                             Work* work) {
  lock::ExtentLocks& table = *bucket->objects.at(key).table;
  lock::ExtentRequest request;
  request.mode = wish.mode;
  request.extent = wish.extent;
  if (wish.keep != 0) {
    request.name = {wish.session, wish.keep};
    request.no_wait = true;
    const bool known = table.Find(request.name).has_value();
    Result<lock::ExtentEnqueued> kept = table.Enqueue(request, Now());
    if (kept && kept->grant && !kept->grant->recalled) {
      Take(bucket, key, std::move(kept->changes), work);
      access->owner_ = this;
      access->key_ = key;
      access->name_ = request.name;
      access->kept_ = kept->grant->extent;
      if (!known) kept_count_.fetch_add(1, std::memory_order_relaxed);
      return nullptr;
    }
    if (kept && kept->grant && !known) {
      // Already wanted back: as if it had not been asked for.
      Take(bucket, key, std::move(kept->changes), work);
      if (auto taken = table.Cancel(request.name, Now())) Take(bucket, key, *taken, work);
    }
  }
  request.name = {wish.session, next_access_.fetch_add(1) | kAccessBit};
  request.exact = true;
  request.no_wait = false;
  request.brief = true;
  Result<lock::ExtentEnqueued> entered = table.Enqueue(request, Now());
  SHEEN_ASSERT(entered.has_value());
  access->owner_ = this;
  access->key_ = key;
  access->name_ = request.name;
  std::shared_ptr<Waiter> waiter;
  if (!entered->grant) {
    waiter = std::make_shared<Waiter>();
    waiter->shard = async::Shard::Current();
    bucket->waiters[{key, request.name}] = waiter;
  }
  Take(bucket, key, std::move(entered->changes), work);
  return waiter;
}

async::Task<Result<ObjectLocks::Access>> ObjectLocks::Enter(ObjectKey key, Wish wish) {
  if (recovering_.load(std::memory_order_acquire) && !co_await AwaitRecovery()) {
    co_return Stopping();
  }
  if (wish.keep != 0 && IsLosing(wish.session)) wish.keep = 0;
  Access access;
  Work work;
  std::shared_ptr<Waiter> waiter;
  {
    Bucket& bucket = BucketOf(key);
    const std::scoped_lock lock(bucket.mutex);
    if (EnterCounted(&bucket, key, wish, &access)) co_return access;
    waiter = EnterTable(&bucket, key, wish, &access, &work);
  }
  Do(std::move(work));
  if (waiter && stopping_.load()) WakeToStop(waiter.get(), key, *access.name_);
  if (waiter && !co_await waiter->granted) co_return Stopping();
  co_return access;
}

// It counts as an access, so that it is over before anybody else begins who gets the bytes should
// the lock be taken away meanwhile. It never waits: nobody else has these bytes.
async::Task<Result<ObjectLocks::Access>> ObjectLocks::EnterHeld(ObjectKey key, lock::LockName name,
                                                                lock::Extent extent) {
  // Another connection of the client is about to declare the lock.
  while (recovering_.load(std::memory_order_acquire) && IsAwaited(name.owner)) {
    if (stopping_.load()) co_return Stopping();
    co_await async::Shard::Current()->Sleep(kLook);
  }
  Access access;
  Work work;
  {
    Bucket& bucket = BucketOf(key);
    const std::scoped_lock lock(bucket.mutex);
    if (!HoldsLocked(&bucket, key, name, extent)) co_return Fail(Errc::kLockLost);
    lock::ExtentLocks& table = *bucket.objects.at(key).table;
    lock::ExtentRequest request;
    request.name = {name.owner, next_access_.fetch_add(1) | kAccessBit};
    request.mode = lock::Mode::kPw;
    request.extent = extent;
    request.exact = request.no_wait = request.brief = true;
    Result<lock::ExtentEnqueued> entered = table.Enqueue(request, Now());
    if (!entered) co_return Fail(Errc::kLockLost);
    access.owner_ = this;
    access.key_ = key;
    access.name_ = request.name;
    Take(&bucket, key, std::move(entered->changes), &work);
  }
  BeginMove(name.owner);
  access.held_by_ = name.owner;
  Do(std::move(work));
  co_return access;
}

void ObjectLocks::Leave(const ObjectKey& key, const std::optional<lock::LockName>& name) {
  Work work;
  {
    Bucket& bucket = BucketOf(key);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.objects.find(key);
    if (found == bucket.objects.end()) return;
    Object& object = found->second;
    if (!name) {
      --object.plain_accesses;
    } else if (object.table) {
      const bool kept = (name->id & kAccessBit) == 0;
      auto changes = object.table->Cancel(*name, Now());
      if (changes && kept) kept_count_.fetch_sub(1, std::memory_order_relaxed);
      if (changes) Take(&bucket, key, std::move(*changes), &work);
    }
    if (object.table && object.table->empty()) object.table.reset();
    if (!object.table && object.plain_accesses == 0) bucket.objects.erase(found);
  }
  Do(std::move(work));
}

bool ObjectLocks::Holds(const ObjectKey& key, lock::LockName name, const lock::Extent& extent) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  return HoldsLocked(&bucket, key, name, extent);
}

bool ObjectLocks::HoldsLocked(Bucket* bucket, const ObjectKey& key, lock::LockName name,
                              const lock::Extent& extent) {
  const auto found = bucket->objects.find(key);
  if (found == bucket->objects.end() || !found->second.table) return false;
  const std::optional<lock::ExtentGrant> grant = found->second.table->Find(name);
  return grant && (name.id & kAccessBit) == 0 && lock::IsWriting(grant->mode) &&
         grant->extent.Contains(extent);
}

void ObjectLocks::Release(const ObjectKey& key, lock::LockName name) {
  pages_.Remove(key, name);
  if ((name.id & kAccessBit) == 0) Leave(key, name);
}

std::optional<std::vector<ObjectLocks::Held>> ObjectLocks::HeldBy(uint64_t session) {
  auto held = HeldByEach({session});
  if (held.empty()) return std::nullopt;
  return std::move(held.begin()->second);
}

std::map<uint64_t, std::vector<ObjectLocks::Held>> ObjectLocks::HeldByEach(
    const std::set<uint64_t>& sessions) {
  std::map<uint64_t, std::vector<Held>> held;
  // Some of what one is losing may be gone already, and none of it is its own any more.
  for (const uint64_t session : sessions) {
    if (!IsLosing(session) && !IsAwaited(session)) held[session];
  }
  std::set<uint64_t> at_work;
  for (Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (const auto& [key, object] : bucket.objects) {
      if (!object.table) continue;
      for (const uint64_t owner : object.table->Owners()) {
        const auto wanted = held.find(owner);
        if (wanted == held.end()) continue;
        for (const lock::LockName& name : object.table->NamesOf(owner)) {
          if ((name.id & kAccessBit) != 0) at_work.insert(owner);
          const std::optional<lock::ExtentGrant> grant = object.table->Find(name);
          if (grant) wanted->second.push_back({key, name.id, grant->extent});
        }
      }
    }
  }
  std::erase_if(held, [&](const auto& entry) {
    return at_work.contains(entry.first) || IsLosing(entry.first);
  });
  return held;
}

// ---- calling back ----

void ObjectLocks::AddPeer(const std::shared_ptr<rpc::Peer>& peer) {
  const std::scoped_lock lock(mutex_);
  if (peer->ended()) return;  // DropPeer may have been here
  alone_since_.erase(peer->session_id());
  auto& peers = peers_[peer->session_id()];
  if (std::ranges::find(peers, peer) == peers.end()) peers.push_back(peer);
}

void ObjectLocks::DropPeer(const rpc::Peer& peer) {
  const std::scoped_lock lock(mutex_);
  const auto found = peers_.find(peer.session_id());
  if (found == peers_.end()) return;
  std::erase_if(found->second, [&](const auto& other) { return other->id() == peer.id(); });
  if (!found->second.empty()) return;
  peers_.erase(found);
  if (async::Shard::Current() != nullptr) alone_since_[peer.session_id()] = Now();
}

std::shared_ptr<rpc::Peer> ObjectLocks::PeerOf(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  const auto found = peers_.find(session);
  if (found == peers_.end()) return nullptr;
  for (const std::shared_ptr<rpc::Peer>& peer : found->second) {
    if (!peer->ended()) return peer;
  }
  return nullptr;
}

bool ObjectLocks::IsHeld(const Callback& callback) {
  Bucket& bucket = BucketOf(callback.key);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.objects.find(callback.key);
  return found != bucket.objects.end() && found->second.table &&
         found->second.table->Find(callback.name).has_value();
}

void ObjectLocks::BeginMove(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  Moves& moves = moves_[session];
  ++moves.count;
  ++moves.under_way;
}

void ObjectLocks::EndMove(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  Moves& moves = moves_.at(session);
  ++moves.count;
  if (--moves.under_way == 0 && callbacks_running_.load() == 0) moves_.erase(session);
}

uint64_t ObjectLocks::MovesOf(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  const auto found = moves_.find(session);
  if (found == moves_.end()) return 0;
  return found->second.under_way > 0 ? ++found->second.count : found->second.count;
}

async::Task<bool> ObjectLocks::Ask(Callback callback) {
  const std::shared_ptr<rpc::Peer> peer = PeerOf(callback.name.owner);
  if (!peer) co_return false;
  v1::ExtentCallback body;
  body.set_target(callback.key.target);
  SetObjectName(callback.key.id, body.mutable_object());
  body.set_lock(callback.name.id);
  const auto waiter = std::make_shared<Waiter>();
  waiter->shard = async::Shard::Current();
  rpc::AnswerTime time{kCallbackTimeout};
  const uint64_t session = callback.name.owner;
  // Slow is not dead: who writes what it holds has more time.
  time.moving = [this, session, seen = MovesOf(session)]() mutable {
    return MovesOf(session) != std::exchange(seen, MovesOf(session));
  };
  peer->Ask(rpc::Opcode::kExtentCallback, body.SerializeAsString(), std::move(time),
            [waiter](bool answered) {
              waiter->shard->Post([waiter, answered] { waiter->granted.Set(answered); });
            });
  co_return co_await waiter->granted;
}

async::Task<void> ObjectLocks::CallBack(Callback callback) {
  Nanos until = Now() + kCallbackTimeout;
  uint64_t moves = MovesOf(callback.name.owner);
  std::optional<Nanos> alone_since;
  bool gave_back = false;
  while (!stopping_.load() && IsHeld(callback)) {
    gave_back = co_await Ask(callback);
    if (gave_back) break;
    const Nanos now = Now();
    if (const uint64_t newest = MovesOf(callback.name.owner); newest != moves) {
      moves = newest;
      until = now + kCallbackTimeout;
    }
    if (PeerOf(callback.name.owner)) {
      alone_since.reset();
    } else if (!alone_since) {
      alone_since = now;
    }
    if (now >= until || (alone_since && now - *alone_since >= kReturnGrace)) break;
    co_await async::Shard::Current()->Sleep(kLook);
  }
  if (gave_back) {
    Leave(callback.key, callback.name);
  } else if (!stopping_.load() && IsHeld(callback)) {
    SHEEN_LOG(Warn,
              "session {:x} does not give back its lock on object {}: it loses all its locks here; "
              "what it has not written under them yet is refused",
              callback.name.owner, callback.key.id.ToString());
    co_await Evict(callback.name.owner);
  }
  callbacks_running_.fetch_sub(1);
}

async::Task<void> ObjectLocks::Evict(uint64_t session) {
  {
    const std::scoped_lock lock(mutex_);
    losing_.insert(session);
  }
  if (forget_) co_await forget_({session});
  DropSession(session);
  const std::scoped_lock lock(mutex_);
  losing_.erase(session);
}

bool ObjectLocks::IsLosing(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  return losing_.contains(session);
}

void ObjectLocks::DropSession(uint64_t session) {
  for (Bucket& bucket : buckets_) {
    Work work;
    {
      const std::scoped_lock lock(bucket.mutex);
      for (auto& [key, object] : bucket.objects) {
        if (!object.table) continue;
        std::vector<lock::LockName> kept;
        // Accesses under way end by themselves.
        for (const lock::LockName& name : object.table->NamesOf(session)) {
          if ((name.id & kAccessBit) == 0) kept.push_back(name);
        }
        for (const lock::LockName& name : kept) {
          auto changes = object.table->Cancel(name, Now());
          if (!changes) continue;
          kept_count_.fetch_sub(1, std::memory_order_relaxed);
          Take(&bucket, key, std::move(*changes), &work);
        }
        if (object.table->empty()) object.table.reset();
      }
      std::erase_if(bucket.objects, [](const auto& entry) {
        return !entry.second.table && entry.second.plain_accesses == 0;
      });
    }
    Do(std::move(work));
  }
  const std::scoped_lock lock(mutex_);
  awaited_.erase(session);
}

void ObjectLocks::BeginStop() {
  stopping_.store(true);
  pages_.Stop();
  for (Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (auto& [name, waiter] : bucket.waiters) {
      waiter->shard->Post([waiter] { waiter->granted.Set(false); });
    }
    bucket.waiters.clear();
  }
}

// Of a request that began to wait while BeginStop went by.
void ObjectLocks::WakeToStop(Waiter* waiter, const ObjectKey& key, lock::LockName name) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  if (bucket.waiters.erase({key, name}) > 0) waiter->granted.Set(false);
}

async::Task<void> ObjectLocks::Stop() {
  BeginStop();
  while (callbacks_running_.load() > 0) co_await async::Shard::Current()->Sleep(kLook);
}

}  // namespace sheen::oss

#include "client/lock_cache.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sheen::client {
namespace {

constexpr Nanos kRelyStep = std::chrono::seconds(1);

}  // namespace

void LockCache::SetPulse(uint32_t shard, std::shared_ptr<rpc::LinkPulse> pulse) {
  pulses_[shard] = std::move(pulse);
}

bool LockCache::Alive(const LockOrigin& origin) const {
  const auto& pulse = pulses_[origin.shard];
  return pulse && pulse->ended_count.load(std::memory_order_relaxed) == origin.link;
}

bool LockCache::IsTrusted(const LockOrigin& origin, Nanos now) const {
  if (!Alive(origin)) return false;
  const int64_t proved_ns = pulses_[origin.shard]->proved_ns.load(std::memory_order_relaxed);
  return now.count() - proved_ns < kLockLease.count();
}

bool LockCache::Trusted(const Node& node, Nanos now) const { return IsTrusted(node.origin, now); }

void LockCache::Rely(uint32_t shard, Nanos until) const {
  std::atomic<int64_t>& relied = pulses_[shard]->relied_until_ns;
  int64_t before = relied.load(std::memory_order_relaxed);
  // Not at every use: a second more or less does not matter.
  const int64_t wanted = until.count();
  while (before < wanted - kRelyStep.count() && !relied.compare_exchange_weak(before, wanted)) {
  }
}

bool LockCache::LayoutCalledSince(const Fid& fid, uint64_t moment) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  return bucket.layout_called_at > moment;
}

void LockCache::NoteLayoutGone(const Fid& fid) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  bucket.layout_called_at = NextMoment();
}

bool LockCache::MayTake(const Bucket& bucket, uint64_t sent) {
  return bucket.called_at <= sent && bucket.giving_back == 0;
}

LockCache::Node* LockCache::FindLocked(Bucket* bucket, const Fid& fid) {
  const auto found = bucket->nodes.find(fid);
  return found == bucket->nodes.end() ? nullptr : &found->second;
}

void LockCache::DropBits(Node* node, uint32_t bits) {
  node->bits &= ~bits;
  if ((bits & lock::kAttrBits) == 0) return;
  node->has_attr = false;
  node->complete = false;
}

void LockCache::EraseLocked(Bucket* bucket, const Fid& fid) {
  if (bucket->nodes.erase(fid) > 0) size_.fetch_sub(1, std::memory_order_relaxed);
}

// Another inode of the bucket that was not used lately goes; its locks are given back in the
// background.
void LockCache::EvictLocked(Bucket* bucket, const Fid& keep) {
  for (int round = 0; round < 2; ++round) {
    for (auto& [fid, node] : bucket->nodes) {
      if (fid == keep) continue;
      if (std::exchange(node.used, false)) continue;
      if (Alive(node.origin)) {
        // Nothing of it may be taken until the server has let go of it. It may know of more bits
        // than are still in use here.
        ++bucket->giving_back;
        const std::scoped_lock lock(surplus_mutex_);
        surplus_locks_[node.origin.shard].push_back({fid, lock::kAllInodeBits & ~lock::kLayout});
        surplus_.fetch_add(1, std::memory_order_relaxed);
      }
      EraseLocked(bucket, Fid(fid));
      return;
    }
  }
}

// One of each bucket in turn: what was used lately stays as long as anything else is there.
void LockCache::Trim(uint64_t inodes_max) {
  bool evicted = true;
  while (evicted) {
    evicted = false;
    for (size_t i = 0; i < kBuckets; ++i) {
      if (size() <= inodes_max) return;
      Bucket& bucket = buckets_[trim_hand_.fetch_add(1, std::memory_order_relaxed) % kBuckets];
      const std::scoped_lock lock(bucket.mutex);
      if (bucket.nodes.empty()) continue;
      EvictLocked(&bucket, Fid());
      evicted = true;
    }
  }
}

LockCache::Node* LockCache::Adopt(Bucket* bucket, const Fid& fid, const LockOrigin& origin,
                                  uint32_t bits) {
  const uint64_t inodes_max = inodes_max_.load(std::memory_order_relaxed);
  if (inodes_max == 0 || !Alive(origin)) return nullptr;
  auto [at, added] = bucket->nodes.try_emplace(fid);
  if (added && size_.fetch_add(1, std::memory_order_relaxed) >= inodes_max) {
    EvictLocked(bucket, fid);
    at = bucket->nodes.find(fid);
  }
  Node* node = &at->second;
  const bool same = node->origin.shard == origin.shard && node->origin.link == origin.link;
  if (!same) {
    // What came by another connection ends with that one: only what is held by both goes on.
    const uint32_t lasting = Trusted(*node, origin.at) ? node->bits & bits : 0;
    DropBits(node, node->bits & ~lasting);
    node->origin = origin;
  }
  const uint32_t gained = bits & ~node->bits;
  if ((gained & lock::kLookup) != 0) node->lookup_generation = NextMoment();
  if ((gained & lock::kUpdate) != 0) {
    node->update_generation = NextMoment();
    node->complete = false;
  }
  node->bits |= bits;
  node->used = true;
  return node;
}

void LockCache::PutName(Node* node, const std::string& name, Name value) {
  if (!node->names) node->names = std::make_unique<Names>();
  if (node->names->size() >= kNamesMax) {
    node->names->clear();
    node->complete = false;
  }
  (*node->names)[name] = value;
}

std::optional<Attr> LockCache::FindAttr(const Fid& fid, Nanos now) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  if (bucket.changing > 0) return std::nullopt;
  Node* node = FindLocked(&bucket, fid);
  if (node == nullptr || !node->has_attr || !Trusted(*node, now)) return std::nullopt;
  node->used = true;
  return node->attr;
}

LockCache::NameAnswer LockCache::FindName(const Fid& directory, const std::string& name,
                                          Nanos now) {
  Name found;
  {
    Bucket& bucket = BucketOf(directory);
    const std::scoped_lock lock(bucket.mutex);
    if (bucket.changing > 0) return {};
    Node* node = FindLocked(&bucket, directory);
    if (node == nullptr) return {};
    node->used = true;
    const bool covered = (node->bits & lock::kUpdate) != 0 && Trusted(*node, now);
    const auto at = node->names ? node->names->find(name) : Names::iterator();
    if (!node->names || at == node->names->end()) {
      return {covered && node->complete ? NameState::kAbsent : NameState::kUnknown, {}};
    }
    found = at->second;
    const bool listed = covered && found.generation == node->update_generation;
    if (found.kind == NameKind::kAbsent) {
      return {listed ? NameState::kAbsent : NameState::kUnknown, {}};
    }
    if (found.kind == NameKind::kAsk || (found.kind == NameKind::kByListing && !listed)) return {};
  }
  Bucket& bucket = BucketOf(found.child);
  const std::scoped_lock lock(bucket.mutex);
  if (bucket.changing > 0) return {};
  Node* node = FindLocked(&bucket, found.child);
  if (node == nullptr || !node->has_attr || !Trusted(*node, now)) return {};
  if (found.kind == NameKind::kByLookup &&
      ((node->bits & lock::kLookup) == 0 || node->lookup_generation != found.generation)) {
    return {};
  }
  node->used = true;
  return {NameState::kPresent, node->attr};
}

Fid LockCache::PeekName(const Fid& directory, const std::string& name) {
  Bucket& bucket = BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  Node* node = FindLocked(&bucket, directory);
  if (node == nullptr || !node->names) return {};
  const auto at = node->names->find(name);
  return at == node->names->end() ? Fid{} : at->second.child;
}

LockCache::Coverage LockCache::Covers(const Fid& directory, const std::string& name,
                                      const Attr& attr, Nanos now) {
  uint64_t named_by = 0;  // generation of the child's kLookup that the name was seen under
  if (!name.empty()) {
    Bucket& bucket = BucketOf(directory);
    const std::scoped_lock lock(bucket.mutex);
    const Node* node = bucket.changing > 0 ? nullptr : FindLocked(&bucket, directory);
    if (node != nullptr && node->names) {
      const auto at = node->names->find(name);
      if (at != node->names->end() && at->second.kind == NameKind::kByLookup &&
          at->second.child == attr.fid) {
        named_by = at->second.generation;
      }
    }
  }
  Bucket& bucket = BucketOf(attr.fid);
  const std::scoped_lock lock(bucket.mutex);
  const Node* node = bucket.changing > 0 ? nullptr : FindLocked(&bucket, attr.fid);
  if (node == nullptr || !Trusted(*node, now)) return {};
  Coverage covers;
  covers.shard = node->origin.shard;
  covers.attr = node->has_attr && node->attr == attr;
  covers.name = named_by != 0 && (node->bits & lock::kLookup) != 0 &&
                node->lookup_generation == named_by;
  return covers;
}

void LockCache::TakeAttr(uint64_t sent, const LockOrigin& origin, const Attr& attr,
                         uint32_t bits) {
  if ((bits & lock::kUpdate) == 0 || attr.size_unsafe) return;
  Bucket& bucket = BucketOf(attr.fid);
  const std::scoped_lock lock(bucket.mutex);
  // Asked before a change of ours began or ended: what it says may be older than that one's answer.
  if (!MayTake(bucket, sent) || bucket.changed_at > sent) return;
  Node* node = Adopt(&bucket, attr.fid, origin, bits);
  if (node == nullptr || (node->has_attr && attr.ctime_ns < node->attr.ctime_ns)) return;
  node->attr = attr;
  node->has_attr = true;
}

void LockCache::TakeName(uint64_t sent, const LockOrigin& origin, const Fid& directory,
                         const std::string& name, const Fid& child, uint32_t bits) {
  Name value{child, 0, NameKind::kByListing};
  if ((bits & lock::kLookup) != 0) {
    Bucket& bucket = BucketOf(child);
    const std::scoped_lock lock(bucket.mutex);
    if (!MayTake(bucket, sent)) return;
    const Node* node = Adopt(&bucket, child, origin, bits & lock::kLookup);
    if (node == nullptr) return;
    value.kind = NameKind::kByLookup;
    value.generation = node->lookup_generation;
  }
  Bucket& bucket = BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  if (bucket.changing > 0 || bucket.changed_at > sent) return;
  if (value.kind == NameKind::kByListing) {
    Node* node = FindLocked(&bucket, directory);
    if (node == nullptr || !MayTake(bucket, sent) || (node->bits & lock::kUpdate) == 0) return;
    value.generation = node->update_generation;
    PutName(node, name, value);
    return;
  }
  // A directory's node without locks carries names that their children's locks cover.
  auto [at, added] = bucket.nodes.try_emplace(directory);
  if (added) size_.fetch_add(1, std::memory_order_relaxed);
  PutName(&at->second, name, value);
}

void LockCache::TakeListed(uint64_t sent, const LockOrigin& origin, const Fid& directory,
                           const std::string& name, const Fid& child, uint32_t bits) {
  {
    // A change of the listing asks this lock back first: then the name may have gone as well.
    Bucket& bucket = BucketOf(directory);
    const std::scoped_lock lock(bucket.mutex);
    if (!MayTake(bucket, sent)) return;
  }
  TakeName(sent, origin, directory, name, child, bits & lock::kLookup);
}

void LockCache::TakeAbsent(uint64_t sent, const LockOrigin& origin, const Fid& directory,
                           const std::string& name) {
  Bucket& bucket = BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  if (!MayTake(bucket, sent) || bucket.changing > 0 || bucket.changed_at > sent) return;
  Node* node = Adopt(&bucket, directory, origin, lock::kUpdate);
  if (node == nullptr) return;
  PutName(node, name, {{}, node->update_generation, NameKind::kAbsent});
}

void LockCache::TakeDirectory(uint64_t sent, const LockOrigin& origin, const Fid& directory) {
  Bucket& bucket = BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  if (MayTake(bucket, sent)) Adopt(&bucket, directory, origin, lock::kUpdate);
}

uint64_t LockCache::TakeNew(uint64_t sent, const LockOrigin& origin, const Attr& attr,
                            uint32_t bits, bool empty) {
  if (bits == 0) return 0;
  Bucket& bucket = BucketOf(attr.fid);
  const std::scoped_lock lock(bucket.mutex);
  if (!MayTake(bucket, sent) || bucket.changed_at > sent) return 0;
  Node* node = Adopt(&bucket, attr.fid, origin, bits);
  if (node == nullptr) return 0;
  if ((bits & lock::kUpdate) != 0) {
    node->attr = attr;
    node->has_attr = true;
    node->complete = empty;
  }
  return (bits & lock::kLookup) != 0 ? node->lookup_generation : 0;
}

void LockCache::Callback(const Fid& fid, uint32_t bits) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  bucket.called_at = NextMoment();
  if ((bits & lock::kLayout) != 0) bucket.layout_called_at = bucket.called_at;
  if (Node* node = FindLocked(&bucket, fid)) DropBits(node, bits);
}

void LockCache::Forget(const Fid& fid) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  bucket.called_at = NextMoment();
  EraseLocked(&bucket, fid);
}

void LockCache::Clear() {
  for (Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    bucket.called_at = bucket.layout_called_at = NextMoment();
    size_.fetch_sub(bucket.nodes.size(), std::memory_order_relaxed);
    bucket.nodes.clear();
  }
}

std::vector<HeldLock> LockCache::TakeSurplus(uint32_t shard) {
  const std::scoped_lock lock(surplus_mutex_);
  surplus_.fetch_sub(surplus_locks_[shard].size(), std::memory_order_relaxed);
  return std::exchange(surplus_locks_[shard], {});
}

void LockCache::PutBack(uint32_t shard, const std::vector<HeldLock>& locks) {
  const std::scoped_lock lock(surplus_mutex_);
  surplus_locks_[shard].insert(surplus_locks_[shard].end(), locks.begin(), locks.end());
  surplus_.fetch_add(locks.size(), std::memory_order_relaxed);
}

std::vector<uint32_t> LockCache::ShardsWithSurplus() {
  std::vector<uint32_t> shards;
  const std::scoped_lock lock(surplus_mutex_);
  for (uint32_t shard = 0; shard < kShardsMax; ++shard) {
    if (!surplus_locks_[shard].empty()) shards.push_back(shard);
  }
  return shards;
}

void LockCache::GivenBack(const std::vector<HeldLock>& locks) {
  for (const HeldLock& held : locks) {
    Bucket& bucket = BucketOf(held.fid);
    const std::scoped_lock lock(bucket.mutex);
    SHEEN_ASSERT(bucket.giving_back > 0);
    --bucket.giving_back;
    bucket.called_at = NextMoment();
  }
}

LockCache::Hold::Hold(LockCache* cache, std::vector<Fid> fids)
    : cache_(cache), fids_(std::move(fids)) {
  for (const Fid& fid : fids_) {
    Bucket& bucket = cache_->BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    ++bucket.changing;
    bucket.changed_at = cache_->NextMoment();
  }
}

LockCache::Hold::~Hold() {
  for (const Fid& fid : fids_) {
    Bucket& bucket = cache_->BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    --bucket.changing;
    bucket.changed_at = bucket.called_at = cache_->NextMoment();
    cache_->EraseLocked(&bucket, fid);
  }
}

LockCache::Change::Change(LockCache* cache, std::vector<Fid> fids, std::vector<Fid> renamed)
    : cache_(cache),
      fids_(std::move(fids)),
      renamed_(std::move(renamed)),
      began_(cache->NextMoment()) {
  fids_.insert(fids_.end(), renamed_.begin(), renamed_.end());
  std::ranges::sort(fids_);
  const auto [first, last] = std::ranges::unique(fids_);
  fids_.erase(first, last);
  std::erase_if(fids_, [](const Fid& fid) { return fid.empty(); });
  for (const Fid& fid : fids_) {
    Bucket& bucket = cache_->BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    ++bucket.changing;
    bucket.changed_at = cache_->NextMoment();
  }
}

LockCache::Change::~Change() {
  if (!ended_) End(true);
}

void LockCache::Change::Refused() { End(false); }

void LockCache::Change::Done() { End(true); }

void LockCache::Change::End(bool forget) {
  SHEEN_ASSERT(!ended_);
  ended_ = true;
  for (const Fid& fid : fids_) {
    Bucket& bucket = cache_->BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    --bucket.changing;
    bucket.changed_at = cache_->NextMoment();
    if (!forget || std::ranges::find(kept_, fid) != kept_.end()) continue;
    bucket.called_at = cache_->NextMoment();
    if (std::ranges::find(renamed_, fid) != renamed_.end()) {
      cache_->EraseLocked(&bucket, fid);
    } else if (Node* node = cache_->FindLocked(&bucket, fid)) {
      cache_->DropBits(node, lock::kAttrBits);
    }
  }
}

uint64_t LockCache::Change::Keep(const LockOrigin& origin, const Attr& attr, uint32_t bits) {
  if ((bits & lock::kUpdate) == 0 || attr.size_unsafe) return 0;
  Bucket& bucket = cache_->BucketOf(attr.fid);
  const std::scoped_lock lock(bucket.mutex);
  // A callback came while the answer was on its way.
  if (!MayTake(bucket, began_)) return 0;
  Node* node = cache_->Adopt(&bucket, attr.fid, origin, bits);
  if (node == nullptr) return 0;
  if (!node->has_attr || attr.ctime_ns >= node->attr.ctime_ns) {
    node->attr = attr;
    node->has_attr = true;
  }
  kept_.push_back(attr.fid);
  return (bits & lock::kLookup) != 0 ? node->lookup_generation : 0;
}

void LockCache::Change::SetName(const Fid& directory, const std::string& name, const Fid& child,
                                uint64_t lookup_generation) {
  const NameKind kind = lookup_generation == 0 ? NameKind::kAsk : NameKind::kByLookup;
  const Name value{child, lookup_generation, kind};
  Bucket& bucket = cache_->BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  if (Node* node = cache_->FindLocked(&bucket, directory)) PutName(node, name, value);
}

void LockCache::Change::SetAbsent(const Fid& directory, const std::string& name) {
  Bucket& bucket = cache_->BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  Node* node = cache_->FindLocked(&bucket, directory);
  if (node == nullptr || (node->bits & lock::kUpdate) == 0) return;
  if (node->complete) {
    if (node->names) node->names->erase(name);
  } else {
    PutName(node, name, {{}, node->update_generation, NameKind::kAbsent});
  }
}

}  // namespace sheen::client

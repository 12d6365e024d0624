#include "client/kernel_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sheen::client {
namespace {

// Tick drops everything so long before a lease ends: a tick, and the time that telling takes.
constexpr Nanos kBeforeLease = std::chrono::milliseconds(300);
constexpr uint64_t kWholeFile = std::numeric_limits<int64_t>::max();

void RaiseTo(std::atomic<int64_t>* value, int64_t to) {
  int64_t current = value->load(std::memory_order_relaxed);
  while (current < to && !value->compare_exchange_weak(current, to)) {
  }
}

}  // namespace

void KernelCache::SetNotifier(KernelNotifier* notifier) { notifier_ = notifier; }

void KernelCache::Stop() {
  notifier_ = nullptr;
  for (Bucket& bucket : buckets_) {
    std::vector<std::function<void()>> waiting;
    {
      const std::scoped_lock lock(bucket.mutex);
      for (auto& [fid, node] : bucket.nodes) {
        std::ranges::move(node.waiting, std::back_inserter(waiting));
      }
      bucket.nodes.clear();
    }
    for (const auto& done : waiting) done();
  }
}

bool KernelCache::IsShared(const Fid& directory, Nanos now) {
  Bucket& bucket = BucketOf(directory);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(directory);
  return found != bucket.nodes.end() && found->second.shared_until > now;
}

bool KernelCache::NoteName(Node* node, KernelName name, Nanos now) {
  for (Name& known : node->names) {
    if (known.what.directory != name.directory || known.what.name != name.name) continue;
    known.until = now + kKeep;
    known.promised_at = now;
    return true;
  }
  std::erase_if(node->names, [now](const Name& known) { return known.until <= now; });
  if (node->names.size() >= kNamesMax) return false;
  node->names.push_back({std::move(name), now + kKeep, now});
  return true;
}

// The connection is asked for proofs as long as something that came by it is kept.
void KernelCache::Rely(uint32_t shard, Nanos until) {
  RaiseTo(&locks_->PulseOf(shard)->relied_until_ns, until.count());
  RaiseTo(&promised_until_, until.count());
}

KernelPromise KernelCache::PromiseEntry(const Fid& directory, const std::string& name,
                                               const Attr& attr, bool settled, Nanos now) {
  if (notifier_.load(std::memory_order_relaxed) == nullptr) return {};
  bool named = !name.empty() && !IsShared(directory, now);
  {
    Bucket& bucket = BucketOf(attr.fid);
    const std::scoped_lock lock(bucket.mutex);
    Node& node = bucket.nodes[attr.fid];
    ++node.lookups;
    node.known_until = now + kKeep;
    if (settled) node.attr_until = now + kKeep;
    if (named) named = NoteName(&node, {directory, name}, now);
  }
  const LockCache::Coverage covers =
      locks_->Covers(directory, named ? name : std::string(), attr, now);
  KernelPromise promise;
  if (settled && covers.attr) promise.attr = kKeep;
  if (named && covers.name) promise.entry = kKeep;
  if (promise.attr != Nanos(0) || promise.entry != Nanos(0)) Rely(covers.shard, now + kKeep);
  return promise;
}

Nanos KernelCache::PromiseAttr(const Attr& attr, bool settled, Nanos now) {
  if (!settled || notifier_.load(std::memory_order_relaxed) == nullptr) return Nanos(0);
  {
    Bucket& bucket = BucketOf(attr.fid);
    const std::scoped_lock lock(bucket.mutex);
    Node& node = bucket.nodes[attr.fid];
    node.attr_until = node.known_until = now + kKeep;
  }
  const LockCache::Coverage covers = locks_->Covers({}, {}, attr, now);
  if (!covers.attr) return Nanos(0);
  Rely(covers.shard, now + kKeep);
  return kKeep;
}

bool KernelCache::KeepPages(const Attr& attr, bool settled) {
  Bucket& bucket = BucketOf(attr.fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(attr.fid);
  // Without a lookup that counts there is no inode, and no page.
  if (found == bucket.nodes.end() || found->second.lookups == 0) return false;
  const int64_t now_ns = settled ? attr.ctime_ns : kNoPages;
  return std::exchange(found->second.pages_ctime_ns, now_ns) == now_ns && settled;
}

KernelListing KernelCache::OpenListing(const Attr& attr, bool alone) {
  if (notifier_.load(std::memory_order_relaxed) == nullptr) return KernelListing::kNone;
  Bucket& bucket = BucketOf(attr.fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(attr.fid);
  if (found == bucket.nodes.end()) return KernelListing::kNew;
  Node& node = found->second;
  if (node.listed && node.pages_ctime_ns == attr.ctime_ns) return KernelListing::kKeep;
  // The pages of before are gone when the kernel asks for the first of the new listing.
  node.pages_ctime_ns = kNoPages;
  node.begun_ctime_ns = alone ? attr.ctime_ns : kNoPages;
  return KernelListing::kNew;
}

void KernelCache::NoteListing(const Fid& fid, bool bare) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(fid);
  if (found == bucket.nodes.end()) return;
  Node& node = found->second;
  node.listed = true;
  const int64_t begun = std::exchange(node.begun_ctime_ns, kNoPages);
  if (begun != kNoPages) node.pages_ctime_ns = begun;
  if (bare) node.pages_ctime_ns = kNoPages;
}

void KernelCache::NoteMove(const Fid& fid, KernelName name, Nanos now) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(fid);
  if (found == bucket.nodes.end()) return;
  std::vector<Name>& names = found->second.names;
  const bool kept = std::ranges::any_of(names, [now](const Name& n) { return n.until > now; });
  if (kept) names.push_back({std::move(name), now + kKeep, now});
}

void KernelCache::Forget(const Fid& fid, uint64_t lookups) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(fid);
  if (found == bucket.nodes.end()) return;
  Node& node = found->second;
  node.lookups -= std::min(node.lookups, lookups);
  if (node.lookups == 0 && node.notices == 0) bucket.nodes.erase(found);
}

bool KernelCache::MayKnow(const Fid& fid, Nanos now) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.nodes.find(fid);
  if (found == bucket.nodes.end()) return false;
  return found->second.lookups > 0 && found->second.known_until > now;
}

void KernelCache::Recall(const Fid& fid, uint32_t bits, Nanos now, bool by_others,
                         std::function<void()> done) {
  KernelNotifier* notifier = notifier_.load();
  KernelNotice notice;
  notice.fid = fid;
  bool waits = false;
  {
    Bucket& bucket = BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.nodes.find(fid);
    if (found != bucket.nodes.end() && notifier != nullptr) {
      Node& node = found->second;
      if ((bits & lock::kAttrBits) != 0) {
        notice.attributes = std::exchange(node.attr_until, Nanos(0)) > now;
        // Who has the directory open and rewinds sees a change by its mtime, which may be set back.
        if (std::exchange(node.listed, false)) notice.data_length = kWholeFile;
      }
      if ((bits & lock::kLookup) != 0) {
        for (Name& name : std::exchange(node.names, {})) {
          if (name.until <= now) continue;
          notice.names_not_before = std::max(notice.names_not_before, name.promised_at + kSettle);
          notice.names.push_back(std::move(name.what));
        }
      }
      if (notice.tells()) ++node.notices;
      waits = node.notices > 0;
      if (waits && done) node.waiting.push_back(std::exchange(done, {}));
    }
  }
  if (by_others) {
    for (const KernelName& name : notice.names) {
      Bucket& bucket = BucketOf(name.directory);
      const std::scoped_lock lock(bucket.mutex);
      const auto found = bucket.nodes.find(name.directory);
      if (found != bucket.nodes.end()) found->second.shared_until = now + kShared;
    }
  }
  if (notice.tells()) {
    notice.done = [this, fid] { Told(fid); };
    notifier->Notify(std::move(notice));
  }
  if (!waits && done) done();
}

void KernelCache::DataLost(const Fid& fid, uint64_t offset, uint64_t length) {
  KernelNotifier* const notifier = notifier_.load();
  {
    Bucket& bucket = BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.nodes.find(fid);
    if (found == bucket.nodes.end()) return;
    found->second.pages_ctime_ns = kNoPages;
  }
  if (notifier == nullptr || length == 0) return;
  KernelNotice notice;
  notice.fid = fid;
  notice.data_offset = offset;
  notice.data_length = length;
  notifier->Notify(std::move(notice));
}

void KernelCache::ForgetPages(const Fid& fid, std::function<void()> done) {
  KernelNotifier* const notifier = notifier_.load();
  if (notifier == nullptr) {
    if (done) done();
    return;
  }
  // Not among the node's own notices: who waits for names and attributes is not to wait for pages
  // that a read holds.
  KernelNotice notice;
  notice.fid = fid;
  notice.data_length = kWholeFile;
  notice.done = std::move(done);
  notifier->Notify(std::move(notice));
}

void KernelCache::Told(const Fid& fid) {
  std::vector<std::function<void()>> waiting;
  {
    Bucket& bucket = BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.nodes.find(fid);
    if (found == bucket.nodes.end()) return;  // stopped meanwhile
    Node& node = found->second;
    if (--node.notices > 0) return;
    waiting.swap(node.waiting);
    // Of the root the kernel counts none, and may have been told of it anew.
    const bool told = node.attr_until > Nanos(0) || node.listed;
    if (node.lookups == 0 && !told) bucket.nodes.erase(found);
  }
  for (const auto& done : waiting) done();
}

// Something that was promised under locks of this shard's connection may be worth nothing soon.
bool KernelCache::LinkLost(uint32_t shard, Nanos now) {
  const std::shared_ptr<rpc::LinkPulse>& pulse = locks_->PulseOf(shard);
  if (!pulse) return false;
  const uint64_t ended = pulse->ended_count.load();
  if (std::exchange(ended_seen_[shard], ended) != ended) return true;
  if (pulse->relied_until_ns.load() <= now.count()) return false;
  const int64_t proved_ns = pulse->proved_ns.load();
  const int64_t silent_ns = now.count() - proved_ns;
  if (silent_ns < (kLockLease - kBeforeLease).count()) return false;
  // Promises are made until the lease is over, so once more then.
  if (lease_over_[shard] == proved_ns) return false;
  if (silent_ns >= kLockLease.count()) lease_over_[shard] = proved_ns;
  return true;
}

Nanos KernelCache::Tick(Nanos now) {
  bool lost = false;
  for (uint32_t shard = 0; shard < kShardsMax; ++shard) lost = LinkLost(shard, now) || lost;
  if (lost) RecallAll(now, {});
  return promised_until_.load() > now.count() ? kTick : kIdleTick;
}

void KernelCache::RecallAll(Nanos now, std::function<void()> done) {
  const auto left = std::make_shared<std::atomic<size_t>>(1);
  const auto one_done = [left, done = std::move(done)] {
    if (left->fetch_sub(1) == 1 && done) done();
  };
  for (Bucket& bucket : buckets_) {
    std::vector<Fid> fids;
    {
      const std::scoped_lock lock(bucket.mutex);
      for (auto& [fid, node] : bucket.nodes) {
        // The next opening drops it.
        node.listed = false;
        if (node.attr_until > now || !node.names.empty() || node.notices > 0) fids.push_back(fid);
      }
    }
    for (const Fid& fid : fids) {
      left->fetch_add(1);
      Recall(fid, lock::kAllInodeBits, now, false, one_done);
    }
  }
  one_done();
}

}  // namespace sheen::client

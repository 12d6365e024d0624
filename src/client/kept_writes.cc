#include "client/kept_writes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>
#include <utility>

#include "client/kept_requests.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {

// Blocks that were used, by their size's power of two: fresh memory would cost a page fault for
// each page of each write.
struct KeptWrites::Pool {
  static constexpr uint64_t kBytesMax = 64 << 20;
  static constexpr uint64_t kBlockMin = 4096;

  std::unique_ptr<std::byte[]> Get(uint64_t size) {
    {
      const std::scoped_lock lock(mutex);
      auto& blocks = free[size];
      if (!blocks.empty()) {
        std::unique_ptr<std::byte[]> block = std::move(blocks.back());
        blocks.pop_back();
        free_bytes -= size;
        return block;
      }
    }
    return std::make_unique_for_overwrite<std::byte[]>(size);
  }
  void Put(std::unique_ptr<std::byte[]> block, uint64_t size) {
    const std::scoped_lock lock(mutex);
    if (free_bytes + size > kBytesMax) return;
    free_bytes += size;
    free[size].push_back(std::move(block));
  }

  std::mutex mutex;  // guards what follows
  std::map<uint64_t, std::vector<std::unique_ptr<std::byte[]>>> free;
  uint64_t free_bytes = 0;
};

uint64_t KeptWrite::Cost() const {
  constexpr uint64_t kBesides = 512;  // the row, the allocator's own
  // Copies are in blocks of a power of two.
  const uint64_t block = bytes.empty() ? 0 : std::bit_ceil(std::max<uint64_t>(bytes.size(), 4096));
  return block + body.size() + reply.size() + kBesides;
}

std::shared_ptr<KeptWrites::Pool> KeptWrites::MakePool() { return std::make_shared<Pool>(); }

std::shared_ptr<const void> KeptWrites::Copy(ByteSpan bytes, ByteSpan* copy) {
  const uint64_t size = std::bit_ceil(std::max<uint64_t>(bytes.size(), Pool::kBlockMin));
  std::byte* const block = pool_->Get(size).release();
  std::memcpy(block, bytes.data(), bytes.size());
  *copy = {block, bytes.size()};
  return std::shared_ptr<const void>(block, [pool = pool_, size](const void* used) {
    pool->Put(std::unique_ptr<std::byte[]>(static_cast<std::byte*>(const_cast<void*>(used))),
              size);
  });
}

KeptWrites::Writes::iterator KeptWrites::EraseLocked(Target* target, Writes::const_iterator at) {
  const uint64_t cost = at->second.Cost();
  target->bytes -= cost;
  bytes_.fetch_sub(cost, std::memory_order_relaxed);
  count_.fetch_sub(1, std::memory_order_relaxed);
  return target->writes.erase(at);
}

void KeptWrites::PutLocked(Target* target, KeptWrite write) {
  const uint64_t cost = write.Cost();
  target->bytes += cost;
  bytes_.fetch_add(cost, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t transno = write.transno;
  target->writes.emplace_hint(target->writes.end(), transno, std::move(write));
}

void KeptWrites::CommittedLocked(Target* target, uint64_t last_committed) {
  auto at = target->writes.lower_bound(last_committed >> kBootShift << kBootShift);
  while (at != target->writes.end() && at->first <= last_committed) at = EraseLocked(target, at);
}

void KeptWrites::Keep(KeptWrite write, uint64_t last_committed) {
  const std::scoped_lock lock(mutex_);
  Target& target = targets_[write.ost];
  if (last_committed > 0) CommittedLocked(&target, last_committed);
  if (write.order == 0) write.order = write.transno;
  PutLocked(&target, std::move(write));
}

void KeptWrites::Committed(uint32_t ost, uint64_t last_committed) {
  if (empty()) return;
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(ost);
  if (target != targets_.end()) CommittedLocked(&target->second, last_committed);
}

std::vector<KeptWrites::Key> KeptWrites::ToReplay(const std::set<uint32_t>& osts,
                                                 uint64_t boot) const {
  std::vector<Key> keys;
  const std::scoped_lock lock(mutex_);
  for (const uint32_t ost : osts) {
    const auto target = targets_.find(ost);
    if (target == targets_.end()) continue;
    for (const auto& [transno, write] : target->second.writes) {
      if (write.boot != boot) keys.push_back({ost, write.order, transno, write.xid});
    }
  }
  // Among the changes of one object the target's own order counts, which the first transno told.
  std::ranges::sort(keys, {}, [](const Key& key) {
    return std::tuple(key.ost, key.order, key.xid);
  });
  return keys;
}

KeptWrites::Writes::const_iterator KeptWrites::FindLocked(const Writes& writes, const Key& key) {
  auto [at, end] = writes.equal_range(key.transno);
  while (at != end && at->second.xid != key.xid) ++at;
  return at == end ? writes.end() : at;
}

std::optional<KeptWrite> KeptWrites::Find(const Key& key) const {
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(key.ost);
  if (target == targets_.end()) return std::nullopt;
  const auto at = FindLocked(target->second.writes, key);
  if (at == target->second.writes.end()) return std::nullopt;
  return at->second;
}

void KeptWrites::Repeated(const Key& key, uint64_t boot, uint64_t transno) {
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(key.ost);
  if (target == targets_.end()) return;
  const auto at = FindLocked(target->second.writes, key);
  if (at == target->second.writes.end()) return;
  KeptWrite write = at->second;
  EraseLocked(&target->second, at);
  if (transno == 0) return;
  write.boot = boot;
  write.transno = transno;
  PutLocked(&target->second, std::move(write));
}

void KeptWrites::Drop(const Key& key) { Repeated(key, 0, 0); }

void KeptWrites::DropAll(uint32_t ost) {
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(ost);
  if (target == targets_.end()) return;
  auto at = target->second.writes.begin();
  while (at != target->second.writes.end()) at = EraseLocked(&target->second, at);
}

std::map<uint32_t, std::map<Fid, uint64_t>> KeptWrites::Files() const {
  std::map<uint32_t, std::map<Fid, uint64_t>> files;
  const std::scoped_lock lock(mutex_);
  for (const auto& [ost, target] : targets_) {
    for (const auto& [transno, write] : target.writes) {
      files[ost][write.file] += write.bytes.size();
    }
  }
  return files;
}

bool KeptWrites::AwaitReplay(uint32_t ost, uint64_t boot) const {
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(ost);
  if (target == targets_.end() || target->second.writes.empty()) return false;
  // Those of earlier boots are first.
  return target->second.writes.begin()->second.boot < boot;
}

std::set<uint32_t> KeptWrites::OlderThan(Nanos before) const {
  std::set<uint32_t> osts;
  const std::scoped_lock lock(mutex_);
  for (const auto& [ost, target] : targets_) {
    if (!target.writes.empty() && target.writes.begin()->second.since < before) osts.insert(ost);
  }
  return osts;
}

uint64_t KeptWrites::BytesOf(uint32_t ost) const {
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(ost);
  return target == targets_.end() ? 0 : target->second.bytes;
}

bool KeptWrites::StartWatching() {
  const std::scoped_lock lock(mutex_);
  return !std::exchange(watching_, true);
}

bool KeptWrites::StopWatching() {
  const std::scoped_lock lock(mutex_);
  if (!empty()) return false;
  watching_ = false;
  return true;
}

namespace {

template <class Request, class Reply>
std::string WithTimes(const KeptWrite& write) {
  Request request;
  Reply reply;
  if (!request.ParseFromString(write.body)) return write.body;
  if (reply.ParseFromString(write.reply)) {
    request.set_decided_ctime_ns(reply.attr().ctime_ns());
  }
  request.set_replay_of(write.transno);
  if constexpr (std::is_same_v<Request, v1::OstWriteRequest>) {
    request.clear_lock();
    request.clear_keep_lock();
    request.clear_granted_bytes();
    request.clear_grant_wanted();
    request.clear_sync();
  }
  return request.SerializeAsString();
}

}  // namespace

std::string ReplayBody(const KeptWrite& write) {
  switch (write.opcode) {
    case rpc::Opcode::kOstWrite:
      return WithTimes<v1::OstWriteRequest, v1::OstWriteReply>(write);
    case rpc::Opcode::kOstTruncate:
      return WithTimes<v1::OstTruncateRequest, v1::OstTruncateReply>(write);
    case rpc::Opcode::kOstAllocate:
      return WithTimes<v1::OstAllocateRequest, v1::OstAllocateReply>(write);
    default:
      return write.body;
  }
}

}  // namespace sheen::client

#include "client/kept_writes.h"

#include <algorithm>
#include <bit>
#include <cstring>
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

void KeptWrites::CommittedLocked(Target* target, uint64_t last_committed) {
  auto at = target->writes.lower_bound(last_committed >> kBootShift << kBootShift);
  while (at != target->writes.end() && at->first <= last_committed) {
    const uint64_t cost = at->second.Cost();
    target->bytes -= cost;
    bytes_.fetch_sub(cost, std::memory_order_relaxed);
    count_.fetch_sub(1, std::memory_order_relaxed);
    at = target->writes.erase(at);
  }
}

void KeptWrites::Keep(KeptWrite write, uint64_t last_committed) {
  const std::scoped_lock lock(mutex_);
  Target& target = targets_[write.ost];
  if (last_committed > 0) CommittedLocked(&target, last_committed);
  if (write.order == 0) write.order = write.transno;
  const uint64_t cost = write.Cost();
  target.bytes += cost;
  bytes_.fetch_add(cost, std::memory_order_relaxed);
  count_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t transno = write.transno;
  target.writes.emplace_hint(target.writes.end(), transno, std::move(write));
}

void KeptWrites::Committed(uint32_t ost, uint64_t last_committed) {
  if (empty()) return;
  const std::scoped_lock lock(mutex_);
  const auto target = targets_.find(ost);
  if (target != targets_.end()) CommittedLocked(&target->second, last_committed);
}

std::vector<KeptWrite> KeptWrites::Take(const std::set<uint32_t>& osts) {
  std::vector<KeptWrite> taken;
  const std::scoped_lock lock(mutex_);
  replaying_.insert(osts.begin(), osts.end());
  for (const uint32_t ost : osts) {
    const auto target = targets_.find(ost);
    if (target == targets_.end()) continue;
    bytes_.fetch_sub(target->second.bytes, std::memory_order_relaxed);
    count_.fetch_sub(target->second.writes.size(), std::memory_order_relaxed);
    const size_t begin = taken.size();
    for (auto& [transno, write] : target->second.writes) taken.push_back(std::move(write));
    targets_.erase(target);
    // Among the changes of one object the target's own order counts, which the first transno told.
    std::ranges::sort(taken.begin() + static_cast<std::ptrdiff_t>(begin), taken.end(), {},
                      &KeptWrite::order);
  }
  return taken;
}

void KeptWrites::EndReplay(const std::set<uint32_t>& osts) {
  const std::scoped_lock lock(mutex_);
  for (const uint32_t ost : osts) {
    const auto one = replaying_.find(ost);
    if (one != replaying_.end()) replaying_.erase(one);
  }
}

bool KeptWrites::AwaitReplay(uint32_t ost, uint64_t boot) const {
  const std::scoped_lock lock(mutex_);
  if (replaying_.contains(ost)) return true;
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

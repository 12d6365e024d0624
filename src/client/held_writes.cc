#include "client/held_writes.h"

#include <algorithm>
#include <cstring>

namespace sheen::client {
namespace {

constexpr uint64_t kUnit = 4096;  // disks give space in such pieces

// Space that [begin, end) of an object may need.
uint64_t SpaceOf(uint64_t begin, uint64_t end) {
  return (end + kUnit - 1) / kUnit * kUnit - begin / kUnit * kUnit;
}

}  // namespace

// ---- GrantPool ----

bool GrantPool::Take(uint32_t ost, uint64_t bytes) {
  if (!counted_) return true;
  const std::scoped_lock lock(mutex_);
  uint64_t& have = bytes_[ost];
  if (have < bytes) return false;
  have -= bytes;
  return true;
}

uint64_t GrantPool::TakeUpTo(uint32_t ost, uint64_t bytes) {
  if (!counted_) return 0;
  const std::scoped_lock lock(mutex_);
  const auto found = bytes_.find(ost);
  if (found == bytes_.end()) return 0;
  const uint64_t taken = std::min(found->second, bytes);
  found->second -= taken;
  return taken;
}

void GrantPool::Add(uint32_t ost, uint64_t bytes) {
  if (bytes == 0 || !counted_) return;
  const std::scoped_lock lock(mutex_);
  bytes_[ost] += bytes;
}

uint64_t GrantPool::Have(uint32_t ost) const {
  const std::scoped_lock lock(mutex_);
  const auto found = bytes_.find(ost);
  return found == bytes_.end() ? 0 : found->second;
}

uint64_t GrantPool::Wanted(uint32_t ost) const {
  if (!counted_) return 0;
  const uint64_t have = Have(ost);
  return have < kLow ? kHigh - have : 0;
}

void GrantPool::Drop(uint32_t ost) {
  const std::scoped_lock lock(mutex_);
  bytes_.erase(ost);
}

// ---- taking ----

ExtentLock* HeldWrites::FindLockLocked(uint32_t component, uint32_t stripe, uint64_t birth) {
  for (ExtentLock& lock : locks_) {
    const bool same = lock.component == component && lock.stripe == stripe;
    if (same && lock.object.birth == birth) return &lock;
  }
  return nullptr;
}

const HeldChunk* HeldWrites::OverlapLocked(uint64_t begin, uint64_t end) const {
  auto at = chunks_.upper_bound(begin);
  if (at != chunks_.begin() && std::prev(at)->second->end() > begin) --at;
  return at != chunks_.end() && at->second->file_offset < end ? at->second.get() : nullptr;
}

bool HeldWrites::AllowedLocked(const HeldPart& part) {
  const ExtentLock* const lock = FindLockLocked(part.component, part.stripe, part.birth);
  const lock::Extent extent{part.object_offset, part.object_offset + part.bytes.size()};
  return lock != nullptr && lock->state == ExtentLock::State::kHeld &&
         lock->extent.Contains(extent);
}

HeldWrites::Offer HeldWrites::Take(const std::vector<HeldPart>& parts, uint64_t handle, Nanos now,
                                   GrantPool* grants, HeldBudget* budget,
                                   std::vector<HeldChunkPtr>* full) {
  const std::scoped_lock lock(mutex_);
  if (error_ || parts.empty() || !allowed_) return Offer::kPass;
  uint64_t bytes = 0;
  for (const HeldPart& part : parts) {
    if (!AllowedLocked(part)) return Offer::kPass;
    bytes += part.bytes.size();
  }
  const bool over = bytes_ + bytes > kFileBytesMax || chunks_.size() + parts.size() > kChunksMax ||
                    budget->bytes.load() + bytes > HeldBudget::kBytesMax;
  if (over) return chunks_.empty() ? Offer::kPass : Offer::kWait;
  for (const HeldPart& part : parts) {
    if (OverlapLocked(part.file_offset, part.file_offset + part.bytes.size())) return Offer::kWait;
  }
  std::map<uint32_t, uint64_t> taken;
  for (const HeldPart& part : parts) {
    const uint64_t space = SpaceOf(part.object_offset, part.object_offset + part.bytes.size());
    if (grants->Take(part.ost, space)) {
      taken[part.ost] += space;
      continue;
    }
    for (const auto& [ost, back] : taken) grants->Add(ost, back);
    return Offer::kPass;
  }
  budget->bytes.fetch_add(bytes);
  bytes_ += bytes;
  for (const HeldPart& part : parts) {
    PutLocked(part, handle, now);
    const auto at = std::prev(chunks_.upper_bound(part.file_offset));
    HeldChunk& chunk = *at->second;
    const bool ends = chunk.end() % chunk.window == 0 || part.ends_stripe;
    if (!ends || chunk.writing) continue;
    chunk.writing = true;
    ++writing_count_;
    full->push_back(at->second);
  }
  any_.store(true, std::memory_order_release);
  return Offer::kTaken;
}

void HeldWrites::Allow(bool allowed) {
  const std::scoped_lock lock(mutex_);
  allowed_ = allowed;
}

// Behind the bytes of a chunk that waits, or into a new one.
void HeldWrites::PutLocked(const HeldPart& part, uint64_t handle, Nanos now) {
  const uint64_t space = SpaceOf(part.object_offset, part.object_offset + part.bytes.size());
  auto at = chunks_.lower_bound(part.file_offset);
  if (at != chunks_.begin()) {
    HeldChunk& before = *std::prev(at)->second;
    const uint64_t window_end = before.file_offset / before.window * before.window + before.window;
    const bool goes_on = before.end() == part.file_offset && !before.writing &&
                         part.file_offset + part.bytes.size() <= window_end &&
                         before.window == part.window && before.stripe == part.stripe &&
                         before.component == part.component &&
                         before.birth == part.birth;
    if (goes_on) {
      std::memcpy(before.data.get() + before.size, part.bytes.data(), part.bytes.size());
      before.size += part.bytes.size();
      before.granted_bytes += space;
      return;
    }
  }
  auto chunk = std::make_shared<HeldChunk>();
  chunk->file_offset = part.file_offset;
  chunk->object_offset = part.object_offset;
  chunk->window = part.window;
  const uint64_t room = part.window - part.file_offset % part.window;
  chunk->data = std::make_unique_for_overwrite<std::byte[]>(room);
  std::memcpy(chunk->data.get(), part.bytes.data(), part.bytes.size());
  chunk->size = part.bytes.size();
  chunk->component = part.component;
  chunk->stripe = part.stripe;
  chunk->ost = part.ost;
  chunk->layout = part.layout;
  chunk->birth = part.birth;
  const ExtentLock* const lock = FindLockLocked(part.component, part.stripe, part.birth);
  chunk->lock = lock->id;
  chunk->session = lock->session;
  chunk->handle = handle;
  chunk->granted_bytes = space;
  chunk->sequence = ++sequence_;
  chunk->since = now;
  chunks_.emplace(part.file_offset, std::move(chunk));
}

// ---- writing back ----

std::vector<HeldChunkPtr> HeldWrites::Begin(Nanos before) {
  std::vector<HeldChunkPtr> begun;
  const std::scoped_lock lock(mutex_);
  for (const auto& [offset, chunk] : chunks_) {
    if (chunk->writing || chunk->since > before) continue;
    chunk->writing = true;
    ++writing_count_;
    begun.push_back(chunk);
  }
  return begun;
}

void HeldWrites::EraseLocked(const HeldChunkPtr& chunk, HeldBudget* budget) {
  const auto found = chunks_.find(chunk->file_offset);
  if (found == chunks_.end() || found->second != chunk) return;
  bytes_ -= chunk->size;
  budget->bytes.fetch_sub(chunk->size);
  chunks_.erase(found);
  if (chunks_.empty()) any_.store(false, std::memory_order_release);
}

void HeldWrites::End(const HeldChunkPtr& chunk, const Status& written, HeldBudget* budget) {
  const std::scoped_lock lock(mutex_);
  --writing_count_;
  EraseLocked(chunk, budget);
  if (!written && !error_) error_ = written.error();
  waiters_.WakeAll();
}

uint64_t HeldWrites::last_sequence() const {
  const std::scoped_lock lock(mutex_);
  return sequence_;
}

bool HeldWrites::HasUpTo(uint64_t sequence) const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(
      chunks_, [sequence](const auto& entry) { return entry.second->sequence <= sequence; });
}

bool HeldWrites::HasUnder(uint64_t lock_id) const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::any_of(
      chunks_, [lock_id](const auto& entry) { return entry.second->lock == lock_id; });
}

std::optional<Error> HeldWrites::PeekError() const {
  const std::scoped_lock lock(mutex_);
  return error_;
}

bool HeldWrites::AddWaiter(std::coroutine_handle<> caller) {
  const std::scoped_lock lock(mutex_);
  if (writing_count_ == 0) return false;
  waiters_.Add(caller);
  return true;
}

bool HeldWrites::StartAging() {
  const std::scoped_lock lock(mutex_);
  if (aging_ || chunks_.empty()) return false;
  aging_ = true;
  return true;
}

bool HeldWrites::StopAging() {
  const std::scoped_lock lock(mutex_);
  if (!chunks_.empty()) return false;
  aging_ = false;
  return true;
}

void HeldWrites::SetError(const Error& error) {
  const std::scoped_lock lock(mutex_);
  if (!error_) error_ = error;
}

std::optional<Error> HeldWrites::TakeError() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(error_, std::nullopt);
}

// ---- locks ----

void HeldWrites::NoteWriteThrough() {
  const std::scoped_lock lock(mutex_);
  ++through_count_;
}

bool HeldWrites::BeginAsk(const ExtentLock& asked, Nanos now) {
  const std::scoped_lock lock(mutex_);
  // A file that is written by one call needs no lock, nor the message that gives it back.
  if (through_count_ < 2 || now < quiet_until_ || error_) return false;
  if (FindLockLocked(asked.component, asked.stripe, asked.object.birth) != nullptr) return false;
  locks_.push_back(asked);
  locks_.back().state = ExtentLock::State::kAsked;
  return true;
}

bool HeldWrites::EndAsk(uint64_t id, const std::optional<lock::Extent>& granted, Nanos now) {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(locks_, id, &ExtentLock::id);
  if (found == locks_.end()) return false;  // called back already
  if (granted && found->state == ExtentLock::State::kAsked) {
    found->extent = *granted;
    found->state = ExtentLock::State::kHeld;
    return true;
  }
  locks_.erase(found);
  quiet_until_ = now + kContended / 4;
  return false;
}

HeldWrites::Called HeldWrites::Callback(uint64_t id, Nanos now) {
  const std::scoped_lock lock(mutex_);
  quiet_until_ = now + kContended;
  const auto found = std::ranges::find(locks_, id, &ExtentLock::id);
  if (found == locks_.end()) return Called::kGone;
  if (found->state == ExtentLock::State::kAsked) {
    locks_.erase(found);
    return Called::kGone;
  }
  found->state = ExtentLock::State::kEnding;
  return Called::kFlush;
}

void HeldWrites::EndLock(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(locks_, [id](const ExtentLock& one) { return one.id == id; });
}

std::vector<HeldChunkPtr> HeldWrites::LoseLock(uint64_t id, const Error& why, HeldBudget* budget,
                                               GrantPool* grants) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(locks_, [id](const ExtentLock& one) { return one.id == id; });
  std::vector<HeldChunkPtr> lost;
  for (const auto& [offset, chunk] : chunks_) {
    if (chunk->lock == id && !chunk->writing) lost.push_back(chunk);
  }
  for (const HeldChunkPtr& chunk : lost) {
    if (grants != nullptr) grants->Add(chunk->ost, chunk->granted_bytes);
    EraseLocked(chunk, budget);
  }
  if (!lost.empty() && !error_) error_ = why;
  waiters_.WakeAll();
  return lost;
}

std::vector<ExtentLock> HeldWrites::locks() const {
  const std::scoped_lock lock(mutex_);
  return locks_;
}

bool HeldWrites::HasLocks() const {
  const std::scoped_lock lock(mutex_);
  return !locks_.empty();
}

uint64_t HeldWrites::SessionOf(uint64_t id) const {
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(locks_, id, &ExtentLock::id);
  return found == locks_.end() ? 0 : found->session;
}

std::vector<ExtentLock> HeldWrites::ReleaseAll() {
  std::vector<ExtentLock> released;
  const std::scoped_lock lock(mutex_);
  std::erase_if(locks_, [&released](const ExtentLock& one) {
    if (one.state != ExtentLock::State::kHeld) return false;
    released.push_back(one);
    return true;
  });
  return released;
}

std::map<uint32_t, uint64_t> HeldWrites::GrantedBytes() const {
  std::map<uint32_t, uint64_t> bytes;
  const std::scoped_lock lock(mutex_);
  for (const auto& [offset, chunk] : chunks_) bytes[chunk->ost] += chunk->granted_bytes;
  return bytes;
}

}  // namespace sheen::client

#include "rpc/xid_tracker.h"

namespace sheen::rpc {

bool XidTracker::Begin(Entry* entry, uint64_t xid) {
  std::lock_guard lock(mutex_);
  if (fenced_) return false;
  entry->xid = xid;
  entry->previous = nullptr;
  entry->next = head_;
  if (head_ != nullptr) head_->previous = entry;
  head_ = entry;
  ++count_;
  return true;
}

void XidTracker::End(Entry* entry) {
  std::vector<std::function<void()>> done;
  {
    std::lock_guard lock(mutex_);
    (entry->previous != nullptr ? entry->previous->next : head_) = entry->next;
    if (entry->next != nullptr) entry->next->previous = entry->previous;
    --count_;
    if (waiters_.empty() || IsRunning(entry->xid)) return;
    std::erase_if(waiters_, [&](auto& waiter) {
      if (waiter.first != entry->xid) return false;
      done.push_back(std::move(waiter.second));
      return true;
    });
  }
  for (const auto& function : done) function();
}

void XidTracker::Fence() {
  std::lock_guard lock(mutex_);
  fenced_ = true;
}

bool XidTracker::fenced() const {
  std::lock_guard lock(mutex_);
  return fenced_;
}

bool XidTracker::WhenFinished(uint64_t xid, std::function<void()> done) {
  std::lock_guard lock(mutex_);
  if (!IsRunning(xid)) return false;
  waiters_.emplace_back(xid, std::move(done));
  return true;
}

uint64_t XidTracker::count() const {
  std::lock_guard lock(mutex_);
  return count_;
}

bool XidTracker::IsRunning(uint64_t xid) const {
  for (const Entry* entry = head_; entry != nullptr; entry = entry->next) {
    if (entry->xid == xid) return true;
  }
  return false;
}

}  // namespace sheen::rpc

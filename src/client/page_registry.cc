#include "client/page_registry.h"

namespace sheen::client {
namespace {

// Of the oldest that are in use so many are looked at in vain.
constexpr size_t kLooksPerEntry = 4;

}  // namespace

uint64_t PageRegistry::Ask(const Entry& wanted, const std::function<uint64_t()>& new_id) {
  const std::scoped_lock lock(mutex_);
  if (read_.size() >= kObjectsMax) read_.clear();
  read_.insert({wanted.ost, wanted.object});
  return AskLocked(wanted, new_id);
}

uint64_t PageRegistry::AskToWrite(const Entry& wanted, const std::function<uint64_t()>& new_id) {
  const std::scoped_lock lock(mutex_);
  return read_.contains({wanted.ost, wanted.object}) ? AskLocked(wanted, new_id) : 0;
}

uint64_t PageRegistry::AskLocked(const Entry& wanted, const std::function<uint64_t()>& new_id) {
  const Key key{wanted.ost, wanted.object};
  const auto found = ids_.find(key);
  if (found != ids_.end()) {
    Entry& entry = entries_.at(found->second);
    if (entry.session == wanted.session) return entry.known ? 0 : entry.id;
    // Of a session that has ended.
    entries_.erase(found->second);
    ids_.erase(found);
  }
  const uint64_t id = new_id();
  Entry& entry = entries_[id];
  entry = wanted;
  entry.id = id;
  entry.known = false;
  ids_[key] = id;
  return id;
}

void PageRegistry::Known(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(id);
  if (found != entries_.end()) found->second.known = true;
}

PageRegistry::Entry PageRegistry::TakeLocked(std::map<uint64_t, Entry>::iterator found) {
  Entry entry = found->second;
  ids_.erase({entry.ost, entry.object});
  entries_.erase(found);
  return entry;
}

std::optional<PageRegistry::Entry> PageRegistry::TakeCalled(uint64_t id) {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  return TakeLocked(found);
}

std::vector<PageRegistry::Entry> PageRegistry::TakeOf(const std::set<uint32_t>& osts) {
  const std::scoped_lock lock(mutex_);
  std::vector<Entry> taken;
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto here = it++;
    if (osts.contains(here->second.ost)) taken.push_back(TakeLocked(here));
  }
  return taken;
}

std::vector<PageRegistry::Entry> PageRegistry::TakeSurplus(
    size_t count, const std::function<bool(const Fid&)>& may_go, size_t objects_max) {
  const std::scoped_lock lock(mutex_);
  std::vector<Entry> taken;
  if (entries_.size() <= objects_max) return taken;
  size_t looks = count * kLooksPerEntry;
  for (auto it = entries_.begin(); it != entries_.end() && taken.size() < count && looks > 0;
       --looks) {
    const auto here = it++;
    if (may_go(here->second.fid)) taken.push_back(TakeLocked(here));
  }
  return taken;
}

size_t PageRegistry::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

}  // namespace sheen::client

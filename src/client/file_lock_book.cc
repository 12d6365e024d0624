#include "client/file_lock_book.h"

namespace sheen::client {

using lock::FileLockOwner;

const FileLockBook::File* FileLockBook::Find(const Fid& fid) const {
  const auto found = files_.find(fid);
  return found == files_.end() ? nullptr : &found->second;
}

void FileLockBook::ForgetIfEmpty(const Fid& fid) {
  const auto found = files_.find(fid);
  if (found != files_.end() && found->second.Empty()) files_.erase(found);
  file_count_.store(files_.size());
}

void FileLockBook::Begin(const Fid& fid, const lock::FileLock& asked, uint64_t handle) {
  const std::scoped_lock lock(mutex_);
  File& file = files_[fid];
  file.held.Weaken(asked);
  ++file.under_way[asked.owner];
  if (handle != 0) file.owners[handle].insert(asked.owner);
  file_count_.store(files_.size());
}

void FileLockBook::End(const Fid& fid, const FileLockOwner& owner) {
  const std::scoped_lock lock(mutex_);
  File& file = files_[fid];
  const auto count = file.under_way.find(owner);
  if (count != file.under_way.end() && --count->second == 0) {
    file.under_way.erase(count);
    file.held.Settle(owner);
  }
  ForgetIfEmpty(fid);
}

bool FileLockBook::Apply(const Fid& fid, const HeldFileLocks::Change& change,
                         uint64_t generation) {
  const std::scoped_lock lock(mutex_);
  if (generation != generation_.load()) return false;
  files_[fid].held.Apply(change);
  return true;
}

std::vector<lock::FileLock> FileLockBook::PiecesIn(const Fid& fid, const FileLockOwner& owner,
                                                   const lock::Extent& extent) const {
  const std::scoped_lock lock(mutex_);
  const File* const file = Find(fid);
  return file == nullptr ? HeldFileLocks().PiecesIn(owner, extent)
                         : file->held.PiecesIn(owner, extent);
}

bool FileLockBook::Concerns(const Fid& fid, const FileLockOwner& owner) const {
  if (file_count_.load() == 0) return false;
  const std::scoped_lock lock(mutex_);
  const File* const file = Find(fid);
  return file != nullptr && (file->under_way.contains(owner) || file->held.Holds(owner));
}

void FileLockBook::BeginLetGo(const Fid& fid) {
  const std::scoped_lock lock(mutex_);
  ++files_[fid].letting_go;
  file_count_.store(files_.size());
}

void FileLockBook::EndLetGo(const Fid& fid) {
  const std::scoped_lock lock(mutex_);
  File& file = files_[fid];
  if (--file.letting_go == 0) file.waiters.WakeAll();
  ForgetIfEmpty(fid);
}

bool FileLockBook::LettingGo(const Fid& fid) const {
  if (file_count_.load() == 0) return false;
  const std::scoped_lock lock(mutex_);
  const File* const file = Find(fid);
  return file != nullptr && file->letting_go != 0;
}

bool FileLockBook::AddWaiter(const Fid& fid, std::coroutine_handle<> caller) {
  const std::scoped_lock lock(mutex_);
  const auto found = files_.find(fid);
  if (found == files_.end() || found->second.letting_go == 0) return false;
  found->second.waiters.Add(caller);
  return true;
}

bool FileLockBook::TryTurn(const Fid& fid) {
  const std::scoped_lock lock(mutex_);
  return !std::exchange(files_[fid].turn_taken, true);
}

void FileLockBook::EndTurn(const Fid& fid) {
  const std::scoped_lock lock(mutex_);
  File& file = files_[fid];
  file.turn_taken = false;
  file.turn_waiters.WakeAll();
}

bool FileLockBook::AddToTurn(const Fid& fid, std::coroutine_handle<> caller) {
  const std::scoped_lock lock(mutex_);
  const auto found = files_.find(fid);
  if (found == files_.end() || !found->second.turn_taken) return false;
  found->second.turn_waiters.Add(caller);
  return true;
}

void FileLockBook::OwnerNamed(const Fid& fid, const FileLockOwner& owner) {
  if (file_count_.load() == 0) return;
  const std::scoped_lock lock(mutex_);
  const auto found = files_.find(fid);
  if (found == files_.end()) return;
  for (auto& [handle, owners] : found->second.owners) owners.erase(owner);
  std::erase_if(found->second.owners, [](const auto& entry) { return entry.second.empty(); });
  ForgetIfEmpty(fid);
}

std::vector<FileLockOwner> FileLockBook::TakeOwners(const Fid& fid, uint64_t handle) {
  if (file_count_.load() == 0) return {};
  const std::scoped_lock lock(mutex_);
  const auto found = files_.find(fid);
  if (found == files_.end()) return {};
  const auto node = found->second.owners.extract(handle);
  ForgetIfEmpty(fid);
  if (node.empty()) return {};
  return {node.mapped().begin(), node.mapped().end()};
}

std::vector<FileLockBook::Held> FileLockBook::Declare() {
  std::vector<Held> all;
  const std::scoped_lock lock(mutex_);
  generation_.fetch_add(1);
  for (const auto& [fid, file] : files_) {
    for (const lock::FileLock& held : file.held.All()) all.push_back({fid, held});
  }
  return all;
}

void FileLockBook::Lose(const Held& held) {
  const std::scoped_lock lock(mutex_);
  const auto found = files_.find(held.fid);
  if (found == files_.end()) return;
  found->second.held.Lose(held.lock);
  ForgetIfEmpty(held.fid);
}

}  // namespace sheen::client

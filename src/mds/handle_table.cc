#include "mds/handle_table.h"

#include <algorithm>
#include <string>

namespace sheen::mds {

void HandleTable::AddSession(uint64_t session) {
  std::lock_guard lock(mutex_);
  sessions_.try_emplace(session);
}

std::vector<std::pair<Fid, uint64_t>> HandleTable::CloseSession(uint64_t session) {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<Fid, uint64_t>> open;
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return open;
  found->second.closed = true;
  for (const auto& [handle, fid] : found->second.files) open.emplace_back(fid, handle);
  return open;
}

void HandleTable::ForgetSession(uint64_t session) {
  std::lock_guard lock(mutex_);
  sessions_.erase(session);
}

Status HandleTable::CheckLocked(const Fid& fid, uint64_t session, uint64_t handle) const {
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || found->second.closed) {
    return Fail(Errc::kEvicted, "the session has ended");
  }
  const auto& files = found->second.files;
  const auto same = files.find(handle);
  if (same != files.end() && same->second != fid) {
    return Fail(Errc::kInvalid, "handle " + std::to_string(handle) + " is open on " +
                                    same->second.ToString() + " already");
  }
  if (same == files.end() && files.size() >= kHandlesPerSessionMax) {
    return Fail(Errc::kNoMemory, "the client has too many files open; close some");
  }
  return {};
}

Status HandleTable::Check(const Fid& fid, uint64_t session, uint64_t handle) const {
  std::lock_guard lock(mutex_);
  return CheckLocked(fid, session, handle);
}

Status HandleTable::Add(const Fid& fid, const OpenHandle& open) {
  std::lock_guard lock(mutex_);
  SHEEN_TRY(CheckLocked(fid, open.session, open.handle));
  sessions_[open.session].files.emplace(open.handle, fid);
  std::vector<OpenHandle>& handles = files_[fid];
  for (OpenHandle& other : handles) {
    if (other.session != open.session || other.handle != open.handle) continue;
    other.write = open.write;
    other.execute = open.execute;
    return {};
  }
  handles.push_back(open);
  return {};
}

bool HandleTable::Remove(const Fid& fid, uint64_t session, uint64_t handle) {
  std::lock_guard lock(mutex_);
  const auto file = files_.find(fid);
  if (file == files_.end()) return false;
  const size_t erased = std::erase_if(file->second, [&](const OpenHandle& open) {
    return open.session == session && open.handle == handle;
  });
  if (file->second.empty()) files_.erase(file);
  const auto found = sessions_.find(session);
  if (erased > 0 && found != sessions_.end()) found->second.files.erase(handle);
  return erased > 0;
}

std::optional<OpenHandle> HandleTable::Find(const Fid& fid, uint64_t session,
                                            uint64_t handle) const {
  std::lock_guard lock(mutex_);
  const auto file = files_.find(fid);
  if (file == files_.end()) return std::nullopt;
  for (const OpenHandle& open : file->second) {
    if (open.session == session && open.handle == handle) return open;
  }
  return std::nullopt;
}

bool HandleTable::IsOpen(const Fid& fid) const {
  std::lock_guard lock(mutex_);
  return files_.contains(fid);
}

HandleTable::Others HandleTable::OthersOf(const Fid& fid, uint64_t session, uint64_t handle) const {
  std::lock_guard lock(mutex_);
  Others others;
  const auto file = files_.find(fid);
  if (file == files_.end()) return others;
  for (const OpenHandle& open : file->second) {
    if (open.session == session && open.handle == handle) continue;
    ++others.all;
    if (open.write) ++others.writers;
  }
  return others;
}

HandleTable::OtherSessions HandleTable::OfOtherSessions(const Fid& fid, uint64_t session) const {
  std::lock_guard lock(mutex_);
  OtherSessions others;
  const auto file = files_.find(fid);
  if (file == files_.end()) return others;
  for (const OpenHandle& open : file->second) {
    if (open.session == session) continue;
    others.write = others.write || open.write;
    others.execute = others.execute || open.execute;
  }
  return others;
}

bool HandleTable::HasOpen(const Fid& fid, uint64_t session, bool for_write) const {
  std::lock_guard lock(mutex_);
  const auto file = files_.find(fid);
  if (file == files_.end()) return false;
  return std::ranges::any_of(file->second, [&](const OpenHandle& open) {
    return open.session == session && (open.write || !for_write);
  });
}

size_t HandleTable::size() const {
  std::lock_guard lock(mutex_);
  return files_.size();
}

}  // namespace sheen::mds

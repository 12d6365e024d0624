#include "client/credentials.h"

#include <algorithm>

#include "base/log.h"

namespace sheen::client {

CredentialId CredentialCache::IdFor(Identity identity) {
  const std::scoped_lock lock(mutex_);
  if (!identity.job_id.empty() && with_job_ >= kWithJobMax && !ids_.contains(identity)) {
    identity.job_id.clear();
  }
  if (identity.uid == 0 && identity.gid == 0) {
    if (identity.job_id.empty()) return 0;
    identity.groups.clear();
  }
  const auto [position, inserted] =
      ids_.try_emplace(identity, static_cast<CredentialId>(identities_.size() + 1));
  if (inserted) {
    if (!identity.job_id.empty() && ++with_job_ == kWithJobMax) {
      SHEEN_LOG(Warn, "this mount has seen {} jobs; what later ones do is not counted for them",
                with_job_);
    }
    identities_.push_back(std::move(identity));
    stamps_.push_back(0);
  }
  return position->second;
}

CredentialCache::Identity CredentialCache::Find(CredentialId id) const {
  const std::scoped_lock lock(mutex_);
  SHEEN_ASSERT(id > 0 && id <= identities_.size());
  return identities_[id - 1];
}

bool CredentialCache::KnownTo(CredentialId id, uint64_t stamp) const {
  const std::scoped_lock lock(mutex_);
  SHEEN_ASSERT(id > 0 && id <= stamps_.size());
  return stamps_[id - 1] == stamp;
}

void CredentialCache::SetKnown(CredentialId id, uint64_t stamp) {
  const std::scoped_lock lock(mutex_);
  SHEEN_ASSERT(id > 0 && id <= stamps_.size());
  stamps_[id - 1] = stamp;
}

std::vector<CredentialId> CredentialCache::InUse() const {
  const std::scoped_lock lock(mutex_);
  std::vector<CredentialId> ids;
  for (size_t i = 0; i < stamps_.size(); ++i) {
    if (stamps_[i] != 0) ids.push_back(static_cast<CredentialId>(i + 1));
  }
  return ids;
}

std::optional<bool> ModeAllows(const CredentialCache& credentials, CredentialId who,
                               const Attr& attr, uint32_t access) {
  if (who == 0) return true;
  const CredentialCache::Identity caller = credentials.Find(who);
  if (caller.uid == 0) return true;
  if (attr.has_access_acl) return std::nullopt;
  const bool member = caller.gid == attr.gid ||
                      std::ranges::find(caller.groups, attr.gid) != caller.groups.end();
  const uint32_t shift = caller.uid == attr.uid ? 6 : member ? 3 : 0;
  return ((attr.mode >> shift) & access) == access;
}

}  // namespace sheen::client

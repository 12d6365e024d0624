// CredentialCache: small ids for (uid, gid, groups, job), so that a request carries one number. The
// MDS learns what an id means once per session (kSetCredential); here is kept which session knows
// it.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "client/types.h"

namespace sheen::client {

class CredentialCache final {
 public:
  struct Identity {
    uint32_t uid = 0;
    uint32_t gid = 0;
    std::vector<uint32_t> groups;
    std::string job_id;
    auto operator<=>(const Identity&) const = default;
  };

  // Ids are not taken back, and a server keeps 65,536 for a session: when so many have a job, later
  // jobs are not told.
  static constexpr size_t kWithJobMax = 32'768;

  // 0 for uid 0 and gid 0 without a job: the superuser's further groups give it nothing.
  CredentialId IdFor(Identity identity);
  // REQUIRES: an id that IdFor gave, not 0.
  Identity Find(CredentialId id) const;
  // `stamp` names a session at one boot of the server (SessionStamp).
  bool KnownTo(CredentialId id, uint64_t stamp) const;
  void SetKnown(CredentialId id, uint64_t stamp);
  // Ids that some session was told of.
  std::vector<CredentialId> InUse() const;

 private:
  mutable std::mutex mutex_;  // guards everything below
  std::map<Identity, CredentialId> ids_;
  std::vector<Identity> identities_;  // [id - 1]
  std::vector<uint64_t> stamps_;      // [id - 1]; 0: nobody knows it
  size_t with_job_ = 0;
};

// Whether the mode bits give the caller `access`, one of 4 (read), 2 (write) and 1 (execute, or
// search of a directory). uid 0 may do all. nullopt: there is an ACL, which is for the MDS.
std::optional<bool> ModeAllows(const CredentialCache& credentials, CredentialId who,
                               const Attr& attr, uint32_t access);

}  // namespace sheen::client
